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
use crate::metrics::Metrics;
use crate::plan::Policy;

/// When a refused client may try again: jobs of some seconds are usual.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What every job is given.
#[derive(Debug)]
pub struct Jobs {
    spawner: Arc<Spawner>,
    devices: Arc<Devices>,
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
    limits: Limits,
    running: AtomicU32,
}

/// A place among the jobs that run; free again, and the job counted by its result, when dropped.
#[derive(Debug)]
pub struct Place {
    jobs: Arc<Jobs>,
    result: JobResult,
}

impl Place {
    fn conclude(&mut self, result: JobResult) {
        self.result = result;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let running = self.jobs.running.fetch_sub(1, Ordering::Relaxed) - 1;
        self.jobs.show(running);
        self.jobs.count(self.result);
    }
}

/// How a job went, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JobResult {
    Whole,
    /// After its first byte.
    Broken,
    /// The client left.
    Abandoned,
    /// The input or the request is at fault.
    Impossible,
    /// There was no room.
    Refused,
    /// Before its first byte.
    Failed,
}

impl JobResult {
    fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Impossible | ErrorKind::UnsupportedMedia | ErrorKind::InvalidArgument => Self::Impossible,
            ErrorKind::Overloaded => Self::Refused,
            _ => Self::Failed,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Broken => "broken",
            Self::Abandoned => "abandoned",
            Self::Impossible => "impossible",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Jobs {
    /// Nothing runs yet.
    pub fn new(
        spawner: Arc<Spawner>,
        devices: Arc<Devices>,
        admission: Arc<Admission>,
        metrics: Arc<Metrics>,
        limits: Limits,
    ) -> Arc<Self> {
        let jobs = Self { spawner, devices, admission, metrics, limits, running: AtomicU32::new(0) };
        jobs.show(0);
        Arc::new(jobs)
    }

    /// Takes a place for a job.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] when `limits.jobs` run, or memory runs short.
    pub fn take_place(self: &Arc<Self>) -> Result<Place> {
        self.admission.memory().admit("job").inspect_err(|_| self.count(JobResult::Refused))?;
        let most = self.limits.jobs;
        let free = |count: u32| (count < most).then_some(count + 1);
        match self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free) {
            Ok(before) => {
                self.show(before + 1);
                Ok(Place { jobs: self.clone(), result: JobResult::Abandoned })
            }
            Err(_) => {
                self.count(JobResult::Refused);
                self.metrics.limits_reached.with_label_values(&["jobs"]).inc();
                let message =
                    format!("{most} jobs run, which is the limit (limits.jobs): try again when one has ended");
                Err(Error::new(ErrorKind::Overloaded, message).with_retry_after(RETRY_AFTER))
            }
        }
    }

    fn show(&self, running: u32) {
        self.metrics.jobs_running.with_label_values::<&str>(&[]).set(running.into());
    }

    fn count(&self, result: JobResult) {
        self.metrics.jobs.with_label_values(&[result.name()]).inc();
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
