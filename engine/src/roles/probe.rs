//! Asks a device's driver what it can do. A driver that aborts costs this process only.

use camshaft::link::FromWorker;
use camshaft::plan::DeviceError;

use super::{End, Link};
use crate::va::Driver;

/// Answers with the driver's table, or why there is none.
///
/// # Errors
/// If nobody is there to take the answer.
pub fn run(driver: Result<Driver, DeviceError>, link: &mut Link) -> Result<(), End> {
    link.send(&FromWorker::Probed(driver.and_then(|driver| driver.table())), &[])
}
