//! The task that owns a stream's pixels worker: starts it when pixels are wanted, stops it after a linger, replaces it
//! when it dies and lets consumers see one continuous timeline all the while.
//!
//! ```text
//! idle ──wanted──▶ session (one worker) ──unwanted──▶ idle
//!                    │  died, hung: next candidate of the plan, ring replayed from the last keyframe
//!                    └──configuration changed: again, from the packet that carries it
//! ```

mod budget;
mod degraded;
mod gpu;
mod ladder;
pub mod load;
mod renditions;
mod session;
mod stages;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::facts::SourceFacts;
use super::rendition::{Rendition, RenditionKey};
use super::status::{RenditionStatus, SandboxStatus};
use crate::config::Priority;
use crate::error::{Error, ErrorKind, Result};
use crate::link::RenditionId;
use crate::media::{Frame, MediaTime, StillSpec, VideoConfig};
use crate::metrics::StreamMetrics;
use crate::plan::{Candidate, Plan, next_after, plan};
use crate::ring::{Ring, Start};
use budget::Budget;
use load::Load;
use renditions::Renditions;
use session::{Ended, Session};

/// Renditions made by one worker at most; the decoder's surface pool is sized for it.
pub const MAX_RENDITIONS: usize = 8;
/// The wait before a second respawn in a row; doubles up to [`MAX_RESPAWN_WAIT`]. The first is immediate.
const RESPAWN_WAIT: Duration = Duration::from_millis(250);
const MAX_RESPAWN_WAIT: Duration = Duration::from_secs(10);
/// A worker that lived this long is no part of a series of deaths.
const SERIES: Duration = Duration::from_secs(10);
/// After this many deaths at the same place, that place is skipped.
const DEATHS_BEFORE_SKIPPING: u32 = 2;

/// What consumers ask of the task.
#[derive(Debug)]
pub enum Command {
    /// A rendition, made if need be. The answer holds a place that is given back by [`Command::Release`].
    Subscribe {
        /// What is wanted.
        key: RenditionKey,
        /// The rendition, or why not.
        reply: oneshot::Sender<Result<Arc<Rendition>>>,
    },
    /// A consumer of this rendition has left.
    Release(RenditionId),
    /// The next picture of an encoded rendition is to be an IDR.
    ForceKeyframe(RenditionId),
    /// The newest decoded picture as JPEG; `None` when nobody decodes.
    Still {
        /// Size and quality.
        spec: StillSpec,
        /// The picture.
        reply: oneshot::Sender<Option<Frame>>,
    },
}

/// The side of the task that the rest of the stream holds.
#[derive(Debug)]
pub struct Pixels {
    commands: mpsc::UnboundedSender<Command>,
    view: Arc<View>,
}

/// What is known of the worker, for status.
#[derive(Debug, Default)]
pub struct View(Mutex<PixelsFacts>);

/// The facts at one moment.
#[derive(Clone, Debug, Default)]
pub struct PixelsFacts {
    /// The worker's process.
    pub worker: Option<u32>,
    /// Workers that died and were replaced.
    pub restarts: u64,
    /// Time that the GPU's engines worked for the worker, in seconds, where the kernel says.
    pub gpu_seconds: Option<f64>,
    /// What runs where, and since when.
    pub accel: Option<(Candidate, SystemTime)>,
    /// Why not the hardware.
    pub reason: Option<String>,
    /// What is being made.
    pub renditions: Vec<Arc<Rendition>>,
    /// What is given up for want of room or time, and why.
    pub load: (Load, Option<String>),
    /// What holds the worker.
    pub sandbox: Option<SandboxStatus>,
}

impl View {
    fn update(&self, change: impl FnOnce(&mut PixelsFacts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes the load, and returns the one before.
    fn exchange_load(&self, load: Load, reason: Option<String>) -> Load {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut facts.load, (load, reason)).0
    }
}

impl Pixels {
    /// The handle and the task, which is to be spawned. `warm` renditions are made always.
    pub fn new(setup: PixelsSetup, warm: Vec<RenditionKey>) -> (Self, PixelsTask) {
        let (commands, inbox) = mpsc::unbounded_channel();
        let view = Arc::new(View::default());
        let budget = Budget::new(setup.context.clone(), setup.metrics.id(), setup.priority);
        let renditions = Renditions::new(setup.context.clone(), setup.metrics.clone(), view.clone(), warm);
        let task = PixelsTask {
            setup,
            inbox,
            view: view.clone(),
            renditions,
            candidate: None,
            series: Series::default(),
            start: Start::NewestKeyframe,
            budget,
        };
        (Self { commands, view }, task)
    }

    /// Sends a command.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] when the stream is ending.
    pub fn send(&self, command: Command) -> Result<()> {
        self.commands.send(command).map_err(|_| Error::new(ErrorKind::Cancelled, "the stream is ending"))
    }

    /// The facts now.
    pub fn facts(&self) -> PixelsFacts {
        self.view.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The renditions as the API shows them.
    pub fn rendition_status(&self) -> Vec<RenditionStatus> {
        self.facts().renditions.iter().map(|rendition| rendition.status()).collect()
    }

    /// For guards that release what they hold when dropped.
    pub fn commands(&self) -> mpsc::UnboundedSender<Command> {
        self.commands.clone()
    }
}

/// What the task works with.
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
    /// Ends the task.
    pub cancel: CancellationToken,
    /// Whether it gives way to others.
    pub priority: Priority,
}

/// The task.
#[derive(Debug)]
pub struct PixelsTask {
    setup: PixelsSetup,
    inbox: mpsc::UnboundedReceiver<Command>,
    view: Arc<View>,
    renditions: Renditions,
    /// The candidate of the plan that the next worker uses.
    candidate: Option<Candidate>,
    series: Series,
    start: Start,
    budget: Budget,
}

/// Deaths in a row.
#[derive(Debug, Default)]
struct Series {
    deaths: u32,
    last_delivered: Option<MediaTime>,
}

impl PixelsTask {
    /// Runs until the stream ends.
    pub async fn run(mut self) {
        while self.wait_until_wanted().await {
            let started = Instant::now();
            match self.session().await {
                Ended::Stopped => break,
                Ended::Unwanted => {
                    self.budget.release();
                    self.series = Series::default();
                    self.start = Start::NewestKeyframe;
                }
                Ended::NoRoom { reason } => {
                    if !self.wait_for_room(&reason).await {
                        break;
                    }
                }
                Ended::ConfigChanged { at } => self.start = Start::KeyframeBefore(at),
                Ended::Died { reason } => {
                    if !self.recover(&reason, started.elapsed()).await {
                        break;
                    }
                }
            }
        }
        self.renditions.end_all();
    }

    /// Waits for a rendition to make; false when the task is to end.
    async fn wait_until_wanted(&mut self) -> bool {
        let mut state = self.setup.facts.watch_state();
        loop {
            if self.setup.cancel.is_cancelled() {
                return false;
            }
            let has_source = self.setup.ring.video_config().is_some();
            if has_source && self.renditions.any() {
                return true;
            }
            tokio::select! {
                () = self.setup.cancel.cancelled() => return false,
                changed = state.changed() => if changed.is_err() { return false },
                command = self.inbox.recv() => match command {
                    None => return false,
                    Some(Command::Subscribe { key, reply }) => {
                        let config = self.setup.ring.video_config();
                        // No worker runs that would have to be told of it.
                        drop(self.renditions.subscribe(key, reply, config.as_deref(), &mut self.budget));
                    }
                    Some(Command::Release(id)) => self.renditions.release(id),
                    Some(Command::ForceKeyframe(_)) => {}
                    Some(Command::Still { reply, .. }) => drop(reply.send(None)),
                },
                () = self.renditions.next_expiry() => drop(self.renditions.expire()),
            }
        }
    }

    async fn session(&mut self) -> Ended {
        let Some(config) = self.setup.ring.video_config() else { return Ended::Unwanted };
        let mut plan = self.plan(&config);
        let ways = self.ways(&plan);
        if ways.is_empty() {
            let message = format!("nothing here can decode this stream: {}", plan.rejected.join("; "));
            self.renditions.fail_all(|| Error::new(ErrorKind::Impossible, message.clone()));
            return Ended::Unwanted;
        }
        let candidate = match self.budget.admit(&self.renditions.keys(), &config, &ways) {
            Ok(candidate) => candidate,
            Err(error) => return Ended::NoRoom { reason: error.chain() },
        };
        let passed_over = ways.iter().take_while(|way| **way != candidate);
        let full: BTreeSet<&str> = passed_over.filter_map(|way| way.decode.device()).collect();
        let no_room = |device| format!("hardware: {device} has no room for this (limits.device_pixels)");
        plan.rejected.extend(full.into_iter().map(no_room));
        let reader = self.setup.ring.reader(self.start);
        let session = Session::start(&self.setup, self.view.clone(), reader, config, candidate.clone()).await;
        let mut session = match session {
            Ok(session) => session,
            Err(error) => return Ended::Died { reason: error.chain() },
        };
        self.show(&session, &candidate, &plan);
        let ended = session.run(&self.setup, &mut self.inbox, &mut self.renditions, &mut self.budget).await;
        let pid = session.pid();
        session.close(&ended).await;
        load::show(&self.setup, &self.view, Load::default(), None);
        self.view.update(|facts| {
            facts.worker = None;
            facts.gpu_seconds = None;
            facts.accel = None;
            facts.sandbox = None;
        });
        tracing::debug!(stream = self.setup.metrics.id(), pid, ?ended, "pixels worker ended");
        ended
    }

    fn plan(&self, config: &VideoConfig) -> Plan {
        plan(&self.renditions.job(config), &self.setup.context.devices.capabilities(), self.renditions.policy())
    }

    fn show(&self, session: &Session, candidate: &Candidate, plan: &Plan) {
        let reason = (candidate.decode.accel() == "software").then(|| plan.rejected.join("; "));
        let device = candidate.decode.device().unwrap_or_default();
        let metrics = &self.setup.metrics;
        let labels = [metrics.id(), candidate.decode.accel(), device];
        metrics.all.acceleration.with_label_values(&labels).set(1);
        tracing::info!(
            stream = metrics.id(),
            pid = session.pid(),
            accel = candidate.decode.accel(),
            reason,
            "pixels worker started"
        );
        self.view.update(|facts| {
            facts.worker = Some(session.pid());
            facts.accel = Some((candidate.clone(), SystemTime::now()));
            facts.reason = reason;
        });
    }

    /// Chooses how to go on after a death; false when the task is to end.
    async fn recover(&mut self, reason: &str, lived: Duration) -> bool {
        let metrics = &self.setup.metrics;
        metrics.all.worker_restarts.with_label_values(&[metrics.id(), "pixels", class_of(reason)]).inc();
        self.view.update(|facts| facts.restarts += 1);
        let delivered = self.renditions.earliest_delivered();
        if lived >= SERIES || delivered != self.series.last_delivered {
            self.series.deaths = 0;
        }
        self.series = Series { deaths: self.series.deaths + 1, last_delivered: delivered };
        tracing::warn!(stream = metrics.id(), reason, in_a_row = self.series.deaths, "pixels worker died");
        let plan = self.setup.ring.video_config().map(|config| self.plan(&config));
        let next = plan.and_then(|plan| {
            let failed = self.candidate.as_ref().or(plan.candidates.first())?;
            next_after(&plan, failed).cloned()
        });
        if let Some(next) = next {
            metrics.count_by(&metrics.all.fallbacks, class_of(reason), 1);
            self.candidate = Some(next);
        }
        self.start = match delivered {
            // What killed it twice is left out: the stream goes on at the next keyframe.
            _ if self.series.deaths > DEATHS_BEFORE_SKIPPING => Start::NextKeyframe,
            Some(time) => Start::KeyframeBefore(time),
            None => Start::NewestKeyframe,
        };
        let doublings = self.series.deaths.saturating_sub(2).min(16);
        let wait = if self.series.deaths <= 1 { Duration::ZERO } else { RESPAWN_WAIT * (1 << doublings) };
        tokio::select! {
            () = self.setup.cancel.cancelled() => false,
            () = tokio::time::sleep(wait.min(MAX_RESPAWN_WAIT)) => true,
        }
    }
}

/// A death's reason as a metric label: few values, whatever the text says.
fn class_of(reason: &str) -> &'static str {
    const CLASSES: [(&str, &str); 6] = [
        ("device: ", "device"),
        ("no progress", "hang"),
        ("memory", "memory"),
        ("signal", "signal"),
        ("exit code", "exit"),
        ("protocol", "protocol"),
    ];
    CLASSES.iter().find(|(part, _)| reason.contains(part)).map_or("error", |(_, class)| class)
}
