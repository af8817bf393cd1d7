//! Sound that is made of a source's: each form once, for all who want it, as long as anybody does.

mod maker;
mod session;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::context::Context;
use super::facts;
use super::status::{SandboxStatus, SoundStatus};
use crate::media::{AudioRequest, MediaTime, SoundSpec};
use crate::metrics::StreamMetrics;
use crate::output::Carrier;
use crate::ring::{Reader, Ring, Start};
use maker::Maker;

/// The sound that a consumer of packets wants beside the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SoundRequest {
    /// What is asked for.
    pub audio: AudioRequest,
    /// What it goes into.
    pub carrier: Carrier,
}

/// A stream's made sounds.
#[derive(Debug)]
pub struct Sounds {
    setup: Arc<SoundSetup>,
    making: Mutex<HashMap<SoundSpec, Weak<Making>>>,
    tasks: TaskTracker,
}

/// What makers of sound work with.
#[derive(Debug)]
pub struct SoundSetup {
    /// The process's means.
    pub context: Arc<Context>,
    /// The source's packets.
    pub source: Arc<Ring>,
    /// The stream's metrics.
    pub metrics: Arc<StreamMetrics>,
    /// Ends with the stream.
    pub cancel: CancellationToken,
}

/// One sound that is being made; its worker ends when the last handle is dropped.
#[derive(Debug)]
pub struct Making {
    ring: Arc<Ring>,
    progress: watch::Receiver<Progress>,
    _end: DropGuard,
}

/// How far the making of a sound is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Up to where it is made.
    pub made: Option<MediaTime>,
    /// The worker that makes it.
    pub worker: Option<u32>,
    /// What holds the worker.
    pub sandbox: Option<SandboxStatus>,
    /// Workers that ended unasked.
    pub restarts: u64,
}

impl Sounds {
    /// Nothing is made yet.
    pub fn new(setup: SoundSetup) -> Self {
        Self { setup: Arc::new(setup), making: Mutex::default(), tasks: TaskTracker::new() }
    }

    /// The making of `spec`, begun if nobody wanted it before.
    pub fn join(&self, spec: SoundSpec) -> Arc<Making> {
        let mut making = self.making();
        making.retain(|_, making| making.strong_count() > 0);
        if let Some(making) = making.get(&spec).and_then(Weak::upgrade) {
            return making;
        }
        let ring = Arc::new(Ring::of_sound(self.setup.context.ring_limits()));
        let (sender, progress) = watch::channel(Progress::default());
        let cancel = self.setup.cancel.child_token();
        let maker = Maker::new(self.setup.clone(), spec, ring.clone(), sender);
        self.tasks.spawn(maker.run(cancel.clone()));
        let begun = Arc::new(Making { ring, progress, _end: cancel.drop_guard() });
        making.insert(spec, Arc::downgrade(&begun));
        begun
    }

    /// Returns when every maker is gone; they end with the stream.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// As the API shows it.
    pub fn status(&self) -> Vec<SoundStatus> {
        let making = self.making();
        let live = making.iter().filter_map(|(spec, making)| Some((spec, making.upgrade()?)));
        let mut all: Vec<SoundStatus> = live
            .map(|(spec, making)| {
                let Progress { worker, restarts, sandbox, .. } = making.progress.borrow().clone();
                let worker = worker.and_then(|pid| facts::worker_status(pid, restarts, sandbox));
                SoundStatus { key: spec.to_string(), worker }
            })
            .collect();
        all.sort_by(|one, other| one.key.cmp(&other.key));
        all
    }

    fn making(&self) -> MutexGuard<'_, HashMap<SoundSpec, Weak<Making>>> {
        // Only whole entries are put in or taken out.
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Making {
    /// A reader from `start` on.
    pub fn reader(&self, start: Start) -> Reader {
        self.ring.reader(start)
    }

    /// Waits until the sound of `time` is made, but no longer than `patience`: pictures never wait for sound.
    pub async fn reached(&self, time: MediaTime, patience: Duration) {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|progress| progress.made.is_some_and(|made| made >= time));
        // Too late is as good as never.
        let _ = tokio::time::timeout(patience, reached).await;
    }
}
