//! The GPUs of this machine: where they are, who may open them, what their drivers claim, and what they have proved.
//! Facts come from sysfs; everything that loads a driver happens in a worker.

mod ask;
mod breaker;
mod clocks;
mod device;
mod devices;
mod generation;
mod guard;
mod nodes;
mod remedy;
mod report;
mod trials;

pub use breaker::BreakerSettings;
pub use devices::{Devices, Lease};
pub use generation::driver_package;
pub use nodes::{Found, Gpu, Node, Number, OwnIds, Roots};
pub use remedy::{Trouble, TroubleKind};
pub use report::{DeviceReport, DevicesReport, ProfileReport};
