//! What a stream's pixels are made with, and what its plans are made from.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::beside::Piece;
use super::super::context::Context;
use super::super::facts::SourceFacts;
use super::accel::{Accel, Part};
use super::failure::{Failure, Reason};
use super::renditions::Renditions;
use super::second;
use crate::config::Priority;
use crate::error::{Error, ErrorKind};
use crate::media::{MediaTime, VideoConfig};
use crate::metrics::StreamMetrics;
use crate::plan::{Backend, Candidate, Capabilities, Plan, plan};
use crate::ring::{Ring, Start};

/// Shared by all that have to do with one stream's pixels.
#[derive(Debug)]
pub struct PixelsSetup {
    /// The process's means.
    pub context: Arc<Context>,
    /// Where packets come from.
    pub ring: Arc<Ring>,
    /// What is known of the source.
    pub facts: Arc<SourceFacts>,
    /// The stream's metrics.
    pub metrics: Arc<StreamMetrics>,
    /// Which devices the stream leaves alone.
    pub accel: Accel,
    /// Second opinions under way on who is to blame for failures.
    pub inquests: TaskTracker,
    /// Ends the task.
    pub cancel: CancellationToken,
    /// Whether it gives way to others.
    pub priority: Priority,
}

impl PixelsSetup {
    /// What may be planned with now.
    pub fn capabilities(&self) -> Capabilities {
        self.accel.capabilities(self.context.devices.capabilities(), Instant::now())
    }

    /// How `renditions` are best made of what `config` describes.
    pub fn plan(&self, renditions: &Renditions, config: &VideoConfig) -> Plan {
        plan(&renditions.job(config), &self.capabilities(), renditions.policy())
    }

    /// Whether a worker that decodes on `decode` may go on.
    pub fn may_stay(&self, renditions: &Renditions, config: &VideoConfig, decode: &Backend) -> bool {
        let plan = plan(&renditions.job(config), &self.capabilities(), renditions.most_lenient());
        plan.candidates.iter().any(|candidate| candidate.decode == *decode)
    }

    /// Why the CPU decodes in `candidate` of `plan`, if it does.
    pub fn why_software(&self, plan: &Plan, candidate: &Candidate) -> Option<String> {
        if candidate.decode != Backend::Software {
            return None;
        }
        let passed_over = plan.candidates.iter().take_while(|way| *way != candidate);
        let full: BTreeSet<&str> = passed_over.filter_map(|way| way.decode.device()).collect();
        let no_room = |device| format!("hardware: {device} has no room for this (limits.device_pixels)");
        let reasons: Vec<_> = plan.rejected.iter().cloned().chain(full.into_iter().map(no_room)).collect();
        Some(reasons.join("; "))
    }

    /// What to say of a plan without candidates. A device that is left alone for a while may be asked for again.
    pub fn impossible(&self, plan: &Plan) -> Error {
        let message = format!("nothing here can make this: {}", plan.rejected.join("; "));
        let now = Instant::now();
        match self.accel.next_return(now) {
            Some(until) => Error::new(ErrorKind::Unavailable, message).with_retry_after(until - now),
            None => Error::new(ErrorKind::Impossible, message),
        }
    }

    /// Resolves when a device may be used again that is left alone; never if there is none.
    pub async fn next_return(&self) {
        match self.accel.next_return(Instant::now()) {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Where a worker starts that takes over from one whose renditions have all come to `delivered`.
    pub fn replay_from(&self, delivered: Option<MediaTime>) -> Start {
        delivered.map_or(Start::NewestKeyframe, Start::KeyframeBefore)
    }

    /// Leaves the device of `candidate` alone after a failure, and finds out whether the device is to blame: what it was
    /// given begins at `start`.
    pub fn blame(self: &Arc<Self>, candidate: &Candidate, failure: Failure, start: Start) {
        let Some(device) = candidate.decode.device().map(str::to_owned) else { return };
        // Want of processes and of memory is nobody's fault.
        if matches!(failure.reason, Reason::Start | Reason::Pressure) {
            return;
        }
        let why = format!("{} ({})", failure.reason.name(), failure.message);
        self.accel.leave(&device, Part::All, &why, Instant::now());
        let (setup, piece) = (self.clone(), Piece::since(&self.ring, start).ok());
        self.inquests.spawn(async move {
            let cancel = setup.cancel.clone();
            cancel.run_until_cancelled(second::blame(setup, device, failure, piece)).await;
        });
    }
}
