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
    if let Some(port) = needs.port()
        && asks(Layer::Network)
    {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset.restrict_self()?.landlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::ErrorKind::PermissionDenied;
    use std::net::{TcpListener, TcpStream};

    /// Landlock confines the calling thread and what it starts, so that each test has a thread to lose.
    fn in_a_thread(confinement: Confinement, needs: Needs, test: impl FnOnce(&[Layer]) + Send) {
        std::thread::scope(|scope| {
            scope.spawn(move || match restrict(&confinement, needs) {
                Err(ConfineError::NoLandlock) => eprintln!("this kernel has no Landlock: nothing is tested here"),
                restricted => test(&restricted.unwrap()),
            });
        });
    }

    #[test]
    fn nothing_can_be_read_but_what_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let [allowed, other] = ["allowed", "other"].map(|name| folder.path().join(name));
        for path in [&allowed, &other] {
            std::fs::write(path, "text").unwrap();
        }
        let readable = vec![allowed.to_string_lossy().into_owned(), "/nowhere".into()];
        let refused = |path: &std::path::Path| File::open(path).err().map(|error| error.kind());
        in_a_thread(Confinement { readable, ..Confinement::default() }, Needs::Nothing, |_| {
            assert_eq!((refused(&allowed), refused(&other)), (None, Some(PermissionDenied)));
            assert_eq!(std::fs::write(&allowed, "").map_err(|error| error.kind()), Err(PermissionDenied));
        });
        assert_eq!(refused(&other), None, "other threads are as they were");
    }

    #[test]
    fn tcp_reaches_the_cameras_port_only() {
        let [camera, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [camera, other] = [camera, other].map(|listener| (listener.local_addr().unwrap(), listener));
        let needs = Needs::Camera { port: camera.0.port() };
        in_a_thread(Confinement::default(), needs, |missing| {
            if missing.contains(&Layer::Network) {
                return eprintln!("this kernel's Landlock has no rules for TCP: nothing is tested here");
            }
            let refused = |result: std::io::Result<()>| result.err().map(|error| error.kind());
            assert_eq!(refused(TcpStream::connect(camera.0).map(drop)), None);
            assert_eq!(refused(TcpStream::connect(other.0).map(drop)), Some(PermissionDenied));
            assert_eq!(refused(TcpListener::bind("127.0.0.1:0").map(drop)), Some(PermissionDenied));
        });
    }
}
