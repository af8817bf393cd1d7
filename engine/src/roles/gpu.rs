//! The device that a worker was given, opened before the worker's limits.

use camshaft::link::{FromWorker, JobTask, PixelsTask, Role};
use camshaft::plan::Backend;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::gpu_time::GpuTime;
use super::{End, Link};
use crate::av::{self, Device};

/// How often the supervisor is told what was used.
const REPORTED_EVERY: Duration = Duration::from_secs(1);

/// A device, and the account of its use.
pub struct Gpu {
    /// The device.
    pub device: Rc<Device>,
    time: GpuTime,
    reported: Instant,
}

impl Gpu {
    /// The device that `role` works on, if it does.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open_for(role: &Role) -> Result<Option<Self>, av::Error> {
        let (Role::Pixels(PixelsTask { decode: Backend::Vaapi { device }, .. })
        | Role::Job(JobTask { device: Some(device), .. })
        | Role::Trial { device, .. }) = role
        else {
            return Ok(None);
        };
        let device = Rc::new(Device::open(device)?);
        Ok(Some(Self { device, time: GpuTime::open(), reported: Instant::now() }))
    }

    /// Tells the supervisor what was used, if it is time to.
    pub fn report(&mut self, link: &mut Link) -> Result<(), End> {
        if self.reported.elapsed() < REPORTED_EVERY {
            return Ok(());
        }
        self.reported = Instant::now();
        let gpu_wait_seconds = self.device.wait_clock().waited().as_secs_f64();
        link.send(&FromWorker::Stats { gpu_seconds: self.time.seconds(), gpu_wait_seconds }, &[])
    }
}
