//! Asks a device's driver what it can do. A driver that aborts costs this process only.

use camshaft::link::FromWorker;
use std::path::Path;

use super::{End, Link};
use crate::va;

/// Answers with the driver's table, or why there is none.
///
/// # Errors
/// If nobody is there to take the answer.
pub fn run(device: &str, link: &mut Link) -> Result<(), End> {
    link.send(&FromWorker::Probed(va::table(Path::new(device))), &[])
}
