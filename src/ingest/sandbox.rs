//! What the process that parses what a camera sends gives up first.
//!
//! The camera's name is resolved before, because that opens files and speaks to name servers; what is left is the network,
//! of which the kernel can allow one TCP port (Linux 6.7), but neither an address nor a UDP port.

use std::io;
use std::net::SocketAddr;

use rustix::process::Signal;
use url::Url;

use super::failure::Failure;
use crate::config::default_port;
use crate::link::FailureKind;
use crate::sandbox::{Confined, Confinement, Deadly, Needs, Reach, confine};

/// Makes the kernel kill this process when its parent ends. A parent that ended before this call is noticed by the
/// link's end.
pub(super) fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Confines this process to the camera at `url`, whose name it resolves, and to what else it `needs` at the camera's port.
/// Gives where the camera is, within `reach`.
pub(super) fn enter(
    confinement: &Confinement,
    url: &str,
    reach: &Reach,
    needs: impl FnOnce(u16) -> Needs,
) -> Result<(Confined, Vec<SocketAddr>), Failure> {
    let url = Url::parse(url)
        .map_err(|error| Failure::new(FailureKind::Connect, format!("the camera's URL cannot be read: {error}")))?;
    let port = url.port().unwrap_or(default_port(url.scheme()));
    let found = url.socket_addrs(|| Some(port));
    let confined = confine(confinement, needs(port), Deadly::Kill)
        .map_err(|error| Failure::new(FailureKind::Unsupported, error.to_string()))?;
    let found = found.map_err(|error| {
        Failure::new(FailureKind::Connect, format!("the camera's name cannot be resolved: {error}"))
    })?;
    let permitted = reach.permitted(&found).map_err(|problem| Failure::new(FailureKind::Denied, problem))?;
    Ok((confined, permitted))
}

/// Confines this process to its link and what it has open.
pub(super) fn enter_alone(confinement: &Confinement) -> Result<Confined, Failure> {
    confine(confinement, Needs::Nothing, Deadly::Kill)
        .map_err(|error| Failure::new(FailureKind::Unsupported, error.to_string()))
}
