//! What the process that parses what a camera sends gives up first.
//!
//! The camera's name is resolved before, because that opens files and speaks to name servers; what is left is the network,
//! of which the kernel can allow one TCP port (Linux 6.7), but neither an address nor a UDP port.

use std::io;
use std::net::SocketAddr;

use rustix::process::Signal;
use url::Url;

use super::failure::Failure;
use crate::link::{FailureKind, IngestTask};
use crate::sandbox::{Confined, Confinement, Deadly, Needs, confine};

/// RFC 2326, 3.2.
const RTSP_PORT: u16 = 554;

/// Makes the kernel kill this process when its parent ends. A parent that ended before this call is noticed by the
/// link's end.
pub(super) fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Confines this process to the camera of `task`, whose name it resolves. Gives where the camera is.
pub(super) fn enter(confinement: &Confinement, task: &IngestTask) -> Result<(Confined, Vec<SocketAddr>), Failure> {
    let url = Url::parse(&task.url)
        .map_err(|error| Failure::new(FailureKind::Connect, format!("the camera's URL cannot be read: {error}")))?;
    let port = url.port().unwrap_or(RTSP_PORT);
    let found = url.socket_addrs(|| Some(RTSP_PORT));
    let confined = confine(confinement, Needs::Camera { port }, Deadly::Kill)
        .map_err(|error| Failure::new(FailureKind::Unsupported, error.to_string()))?;
    match found {
        Ok(addresses) => Ok((confined, addresses)),
        Err(error) => Err(Failure::new(FailureKind::Connect, format!("the camera's name cannot be resolved: {error}"))),
    }
}
