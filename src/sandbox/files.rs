//! Files and TCP ports, by Landlock. See the kernel's `Documentation/userspace-api/landlock.rst`.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};

use super::{ConfineError, Confinement, Layer, Missing, Needs};

/// The newest interface whose rights are handled; what a kernel does not know is left out.
const NEWEST: ABI = ABI::V6;
/// The first with rules for TCP: Linux 6.7.
const WITH_TCP: ABI = ABI::V4;

/// Whether this kernel has Landlock.
pub fn is_landlock_there() -> bool {
    // A ruleset that is never put on.
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create).is_ok()
}

/// Puts on what is asked for, and gives the layers that the kernel lacks.
///
/// # Errors
/// If the rules are refused, or the kernel has no Landlock and that is not accepted.
pub(super) fn restrict(confinement: &Confinement, needs: Needs) -> Result<Vec<Layer>, ConfineError> {
    let asks = |layer| confinement.layers.contains(&layer);
    if !asks(Layer::Files) && !asks(Layer::Network) {
        return Ok(vec![]);
    }
    let status = put_on(confinement, needs).map_err(|error| ConfineError::Landlock(error.to_string()))?;
    match status {
        LandlockStatus::Available { effective_abi, .. } if effective_abi >= WITH_TCP => Ok(vec![]),
        LandlockStatus::Available { .. } => Ok(vec![Layer::Network]),
        _ if asks(Layer::Files) && confinement.missing == Missing::Refused => Err(ConfineError::NoLandlock),
        _ => Ok(vec![Layer::Files, Layer::Network]),
    }
}

fn put_on(confinement: &Confinement, needs: Needs) -> Result<LandlockStatus, RulesetError> {
    let asks = |layer| confinement.layers.contains(&layer);
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    if asks(Layer::Files) {
        ruleset = ruleset.handle_access(AccessFs::from_all(NEWEST))?;
    }
    if asks(Layer::Network) {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?.scope(Scope::from_all(NEWEST))?;
    }
    let mut ruleset = ruleset.create()?;
    if asks(Layer::Files) {
        // Paths that are not there are left out.
        ruleset = ruleset.add_rules(path_beneath_rules(&confinement.readable, AccessFs::from_read(NEWEST)))?;
    }
    if let Needs::Camera { port } = needs
        && asks(Layer::Network)
    {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset.restrict_self()?.landlock)
}
