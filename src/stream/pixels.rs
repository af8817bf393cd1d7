//! The task that owns a stream's pixels worker: starts it when pixels are wanted, stops it after a linger, replaces it
//! when it dies and lets consumers see one continuous timeline all the while.
//!
//! ```text
//! idle ──wanted──▶ session (a worker) ──unwanted──▶ idle
//!                    │  better elsewhere, or device withdrawn: a new worker beside the old one takes over (live.rs)
//!                    │  died, hung, wrong pictures: what the plan says now, ring replayed from the last keyframe
//!                    └──configuration changed: again, from the packet that carries it
//! ```

mod accel;
mod budget;
mod degraded;
mod encodes;
mod failure;
mod gpu;
mod inspection;
mod ladder;
mod live;
pub mod load;
mod renditions;
mod samples;
mod second;
mod session;
mod setup;
mod stages;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

use super::rendition::{Rendition, RenditionKey};
use crate::error::{Error, ErrorKind, Result};
use crate::link::RenditionId;
use crate::media::{Frame, MediaTime, StillSpec};
use crate::plan::{Candidate, Capabilities};
use crate::ring::Start;
pub use accel::Accel;
use budget::Budget;
use failure::{Failure, Reason};
use live::{Ended, Live};
use load::Load;
use renditions::Renditions;
use session::Session;
pub use setup::PixelsSetup;
pub use view::PixelsFacts;
use view::View;

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
    /// These renditions are made always, from now on, and no others.
    KeepWarm(Vec<RenditionKey>),
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
    setup: Arc<PixelsSetup>,
    view: Arc<View>,
}

impl Pixels {
    /// The handle and the task, which is to be spawned. `warm` renditions are made always.
    pub fn new(setup: Arc<PixelsSetup>, warm: Vec<RenditionKey>) -> (Self, PixelsTask) {
        let (commands, inbox) = mpsc::unbounded_channel();
        let view = Arc::new(View::new(setup.metrics.clone(), setup.context.events.clone()));
        let budget = Budget::new(setup.clone());
        let task = PixelsTask {
            setup: setup.clone(),
            inbox,
            view: view.clone(),
            renditions: Renditions::new(setup.clone(), view.clone(), warm),
            series: Series::default(),
            start: Start::NewestKeyframe,
            budget,
        };
        (Self { commands, setup, view }, task)
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
        self.view.facts()
    }

    /// What may be planned with for this stream.
    pub fn capabilities(&self) -> Capabilities {
        self.setup.capabilities()
    }

    /// For guards that release what they hold when dropped.
    pub fn commands(&self) -> mpsc::UnboundedSender<Command> {
        self.commands.clone()
    }
}

/// The task.
#[derive(Debug)]
pub struct PixelsTask {
    setup: Arc<PixelsSetup>,
    inbox: mpsc::UnboundedReceiver<Command>,
    view: Arc<View>,
    renditions: Renditions,
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
                (Ended::Stopped, _) => break,
                (Ended::Unwanted, _) => {
                    self.budget.release();
                    self.series = Series::default();
                    self.start = Start::NewestKeyframe;
                    self.view.made_by_nobody(None);
                }
                (Ended::NoRoom { reason }, _) => {
                    if !self.wait_for_room(&reason).await {
                        break;
                    }
                }
                (Ended::Impossible { reason }, _) => self.view.made_by_nobody(Some(reason)),
                (Ended::ConfigChanged { at }, _) => self.start = Start::KeyframeBefore(at),
                (Ended::Withdrawn, _) => self.start = self.setup.replay_from(self.renditions.earliest_delivered()),
                (Ended::Died(failure), candidate) => {
                    if !self.recover(failure, candidate, started.elapsed()).await {
                        break;
                    }
                }
            }
        }
        self.renditions.end_all();
        self.view.made_by_nobody(None);
        self.setup.inquests.close();
        self.setup.inquests.wait().await;
    }

    /// Waits for a rendition that can be made; false when the task is to end.
    async fn wait_until_wanted(&mut self) -> bool {
        let mut state = self.setup.facts.watch_state();
        let mut devices = self.setup.context.devices.changes();
        loop {
            if self.setup.cancel.is_cancelled() {
                return false;
            }
            let config = self.setup.ring.video_config();
            // Whoever waits for what cannot be made is told so; what nobody waits for yet waits for better times.
            if let Some(config) = config.as_deref().filter(|_| self.renditions.any())
                && (self.renditions.are_awaited() || !self.setup.plan(&self.renditions, config).candidates.is_empty())
            {
                return true;
            }
            tokio::select! {
                () = self.setup.cancel.cancelled() => return false,
                changed = state.changed() => if changed.is_err() { return false },
                command = self.inbox.recv() => match command {
                    None => return false,
                    Some(Command::Subscribe { key, reply }) => {
                        // No worker runs that would have to be told of it.
                        drop(self.renditions.subscribe(key, reply, config.as_deref(), &mut self.budget));
                    }
                    Some(Command::KeepWarm(keys)) => drop(self.renditions.keep_warm(keys)),
                    Some(Command::Release(id)) => self.renditions.release(id),
                    Some(Command::ForceKeyframe(_)) => {}
                    Some(Command::Still { reply, .. }) => drop(reply.send(None)),
                },
                () = self.renditions.next_expiry() => drop(self.renditions.expire()),
                _ = devices.changed() => {}
                // Whoever was refused for the device's sake may ask again.
                () = self.setup.next_return() => self.view.made_by_nobody(None),
            }
        }
    }

    /// One worker, and those that take its place without a break. Says where pixels were made last.
    async fn session(&mut self) -> (Ended, Option<Candidate>) {
        let Some(config) = self.setup.ring.video_config() else { return (Ended::Unwanted, None) };
        let plan = self.setup.plan(&self.renditions, &config);
        if plan.candidates.is_empty() {
            self.renditions.fail_all(|| self.setup.impossible(&plan));
            return (Ended::Impossible { reason: plan.rejected.join("; ") }, None);
        }
        let candidate = match self.budget.admit(&self.renditions.keys(), &config, &plan.candidates) {
            Ok(candidate) => candidate,
            Err(error) => return (Ended::NoRoom { reason: error.chain() }, None),
        };
        let (setup, view) = (self.setup.clone(), self.view.clone());
        let session = match Session::start(setup.clone(), view.clone(), config.clone(), candidate.clone()).await {
            Ok(session) => session,
            Err(error) => return (Ended::Died(Failure::new(Reason::Start, error.chain())), Some(candidate)),
        };
        let reason = setup.why_software(&plan, &candidate);
        view.made_by(session.pid(), &candidate, reason);
        let live = Live::new(setup, view, session, self.start, &mut self.renditions);
        let (ended, candidate) = live.run(&mut self.inbox, &mut self.renditions, &mut self.budget).await;
        load::show(&self.setup, &self.view, Load::default(), None);
        self.view.update(|facts| (facts.worker, facts.gpu_seconds, facts.sandbox) = (None, None, None));
        tracing::debug!(stream = self.setup.metrics.id(), ?ended, "pixels worker ended");
        (ended, Some(candidate))
    }

    /// Chooses how to go on after a death; false when the task is to end.
    async fn recover(&mut self, failure: Failure, candidate: Option<Candidate>, lived: Duration) -> bool {
        let metrics = &self.setup.metrics;
        let Failure { reason, message } = &failure;
        metrics.all.worker_restarts.with_label_values(&[metrics.id(), "pixels", reason.name()]).inc();
        self.view.update(|facts| facts.restarts += 1);
        let delivered = self.renditions.earliest_delivered();
        if lived >= SERIES || delivered != self.series.last_delivered {
            self.series.deaths = 0;
        }
        self.series = Series { deaths: self.series.deaths + 1, last_delivered: delivered };
        tracing::warn!(stream = metrics.id(), reason = message, in_a_row = self.series.deaths, "pixels worker died");
        let replay = self.setup.replay_from(delivered);
        if let Some(candidate) = candidate.filter(|candidate| candidate.decode.device().is_some()) {
            metrics.count_by(&metrics.all.fallbacks, reason.name(), 1);
            self.setup.blame(&candidate, failure, replay);
        }
        // What killed it twice is left out: the stream goes on at the next keyframe.
        self.start = if self.series.deaths > DEATHS_BEFORE_SKIPPING { Start::NextKeyframe } else { replay };
        let doublings = self.series.deaths.saturating_sub(2).min(16);
        let wait = if self.series.deaths <= 1 { Duration::ZERO } else { RESPAWN_WAIT * (1 << doublings) };
        tokio::select! {
            () = self.setup.cancel.cancelled() => false,
            () = tokio::time::sleep(wait.min(MAX_RESPAWN_WAIT)) => true,
        }
    }
}
