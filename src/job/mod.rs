//! Jobs: bytes in, bytes out. One worker a job demuxes, decodes, encodes and muxes; it asks for its input, and all that it
//! makes goes out. Nothing is queued: a job that there is no room for is refused at once.

mod conversation;
mod plan;
mod spool;

pub use conversation::{Ended, Running};
pub use spool::{Spool, SpoolLimits};

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::admission::Admission;
use crate::config::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::hw::Devices;
use crate::link::Spawner;
use crate::media::JobSpec;
use crate::plan::Policy;

/// When a refused client may try again: jobs of some seconds are usual.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What every job is given.
#[derive(Debug)]
pub struct Jobs {
    spawner: Arc<Spawner>,
    devices: Arc<Devices>,
    admission: Arc<Admission>,
    limits: Limits,
    running: AtomicU32,
}

/// A place among the jobs that run; free again when dropped.
#[derive(Debug)]
pub struct Place(Arc<Jobs>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Jobs {
    /// Nothing runs yet.
    pub fn new(spawner: Arc<Spawner>, devices: Arc<Devices>, admission: Arc<Admission>, limits: Limits) -> Arc<Self> {
        Arc::new(Self { spawner, devices, admission, limits, running: AtomicU32::new(0) })
    }

    /// Takes a place for a job.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] when `limits.jobs` run.
    pub fn take_place(self: &Arc<Self>) -> Result<Place> {
        let most = self.limits.jobs;
        let free = |count: u32| (count < most).then_some(count + 1);
        match self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free) {
            Ok(_) => Ok(Place(self.clone())),
            Err(_) => {
                let message =
                    format!("{most} jobs run, which is the limit (limits.jobs): try again when one has ended");
                Err(Error::new(ErrorKind::Overloaded, message).with_retry_after(RETRY_AFTER))
            }
        }
    }

    /// Jobs that run now.
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// A spool for a job's input.
    pub fn spool(&self) -> Arc<Spool> {
        Spool::new(SpoolLimits::new(self.limits.job_spool))
    }

    /// Starts the job that `spec` asks for on what `input` holds or will hold. Returns once its first byte is there, so
    /// that what cannot be done is an error rather than a piece of a file.
    ///
    /// # Errors
    /// [`ErrorKind::Impossible`] for input that is not what it must be, or a request that does not fit it;
    /// [`ErrorKind::Overloaded`] where there is no room; [`ErrorKind::Unavailable`] if the worker fails.
    pub async fn start(&self, spec: JobSpec, policy: Policy, input: Arc<Spool>, place: Place) -> Result<Running> {
        conversation::start(self, spec, policy, input, place).await
    }
}
