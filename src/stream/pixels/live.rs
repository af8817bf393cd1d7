//! The live worker, and the one that is to take its place: make before break.
//!
//! ```text
//!  packets   … 7 8 9 K 1 2 3 …            K: a keyframe that comes while the successor keeps up
//!  old        ─────────▶ drained          its output is used for times before that of K
//!  successor    ~~~~~~~~─────────────▶    decodes silently first; its output is used from the time of K on
//! ```
//!
//! Both are fed K and what is shown before it, so that no picture is lost whichever of them it belongs to.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::super::rendition::Rendition;
use super::budget::Budget;
use super::encodes::Encodes;
use super::failure::{Failure, Reason};
use super::inspection::Inspection;
use super::renditions::Renditions;
use super::session::{Said, Session};
use super::{Command, PixelsSetup, View};
use crate::error::Result;
use crate::link::{ToWorker, WorkerEvent};
use crate::media::{MediaTime, Packet, Track};
use crate::plan::{Backend, Candidate};
use crate::ring::{Read, Reader, Start};

/// How often progress, memory and plans are looked at.
const TICK: Duration = Duration::from_millis(250);
/// A worker gets this long to give out what it holds back.
const DRAIN: Duration = Duration::from_secs(1);
/// Streams that leave a device together do so at different times within this, for the sake of the CPU…
const LEAVING_SPREAD: Duration = Duration::from_secs(5);
/// … and those for which no keyframe comes by then are moved without one.
const LEAVING_LIMIT: Duration = Duration::from_secs(8);
/// The same for streams that come back.
const RETURNING_SPREAD: Duration = Duration::from_secs(2);
/// How long a device that has no room is left before it is asked again.
const FULL: Duration = Duration::from_secs(5);
/// A successor that does not keep up within this is given up.
const WARM_UP: Duration = Duration::from_secs(20);

/// Why a worker's life ended.
#[derive(Debug)]
pub enum Ended {
    /// The stream ends.
    Stopped,
    /// Nobody wants pixels.
    Unwanted,
    /// Nothing that is allowed makes them.
    Impossible {
        /// For people.
        reason: String,
    },
    /// There is no room for it, or none any more.
    NoRoom {
        /// For people.
        reason: String,
    },
    /// The source sends something else from this time on.
    ConfigChanged {
        /// Presentation time of the first packet of the new kind.
        at: MediaTime,
    },
    /// It died, hung, broke the protocol, or its pictures were wrong.
    Died(Failure),
    /// Its device must not be used any more, and no successor was ready in time.
    Withdrawn,
}

/// A worker that is to take the live one's place.
#[derive(Debug)]
struct Successor {
    session: Session,
    started: Instant,
    /// The time from which on its output is used; `None` while it decodes silently.
    from: Option<MediaTime>,
}

type Starting = Pin<Box<dyn Future<Output = Result<Session>> + Send>>;

/// What goes on while pixels are made.
pub struct Live {
    setup: Arc<PixelsSetup>,
    view: Arc<View>,
    current: Session,
    reader: Reader,
    inspection: Inspection,
    encodes: Encodes,
    starting: Option<Starting>,
    successor: Option<Successor>,
    /// Old workers that are ending.
    leaving: JoinSet<()>,
    changes: watch::Receiver<()>,
    /// When the plan is to be made anew.
    replan_at: Option<Instant>,
    /// When the device must be left at the latest.
    leave_by: Option<Instant>,
    /// The source has changed at this time; the worker is giving out its last pictures.
    change: Option<MediaTime>,
}

impl Live {
    /// Makes everything of `renditions` with `session`, from `start` on.
    pub fn new(
        setup: Arc<PixelsSetup>,
        view: Arc<View>,
        mut session: Session,
        start: Start,
        renditions: &mut Renditions,
    ) -> Self {
        for rendition in renditions.list() {
            session.add(&rendition, renditions.delivered(rendition.id), renditions);
        }
        let (reader, changes) = (setup.ring.reader(start), setup.context.devices.changes());
        let (inspection, encodes) = (Inspection::new(setup.clone()), Encodes::new(setup.clone()));
        Self {
            setup,
            view,
            current: session,
            reader,
            inspection,
            encodes,
            starting: None,
            successor: None,
            leaving: JoinSet::new(),
            changes,
            replan_at: Some(Instant::now()),
            leave_by: None,
            change: None,
        }
    }

    /// Feeds, watches and hears the worker, and whoever takes its place, until pixels are made no more. Says where they
    /// were made last.
    pub async fn run(
        mut self,
        inbox: &mut mpsc::UnboundedReceiver<Command>,
        renditions: &mut Renditions,
        budget: &mut Budget,
    ) -> (Ended, Candidate) {
        let mut tick = tokio::time::interval(TICK);
        let ended = loop {
            if let Err(ended) = self.turn(inbox, renditions, budget, &mut tick).await {
                break ended;
            }
        };
        let candidate = self.current.candidate().clone();
        match ended {
            Ended::Died(_) => self.current.kill(),
            _ => self.current.close().await,
        }
        self.leaving.join_all().await;
        (ended, candidate)
    }

    async fn turn(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Command>,
        renditions: &mut Renditions,
        budget: &mut Budget,
        tick: &mut tokio::time::Interval,
    ) -> Result<(), Ended> {
        if !renditions.any() {
            return Err(Ended::Unwanted);
        }
        let may_read = self.may_read();
        tokio::select! {
            biased;
            () = self.setup.cancel.cancelled() => Err(Ended::Stopped),
            reason = budget.revoked() => Err(Ended::NoRoom { reason }),
            event = self.current.step() => self.hear(event, renditions),
            event = step(&mut self.successor) => {
                self.hear_successor(event, renditions, budget);
                Ok(())
            }
            command = inbox.recv() => match command {
                Some(command) => {
                    self.obey(command, renditions, budget);
                    Ok(())
                }
                None => Err(Ended::Stopped),
            },
            session = started(&mut self.starting) => {
                self.warm_up(session);
                Ok(())
            }
            failure = self.inspection.failure() => Err(Ended::Died(failure)),
            (id, failure) = self.encodes.failure() => {
                self.current.leave_encoder(id, failure, renditions);
                Ok(())
            }
            read = self.reader.next(), if may_read => match read {
                Some(Read::Packet(packet)) => {
                    self.feed(&packet, renditions);
                    Ok(())
                }
                Some(Read::Skipped(count)) => {
                    let metrics = &self.setup.metrics;
                    metrics.count_by(&metrics.all.consumer_dropped, "decoder", count);
                    // The two are no longer fed the same.
                    self.successor = None;
                    Ok(())
                }
                None => Err(Ended::Stopped),
            },
            _ = self.changes.changed() => {
                self.devices_changed(renditions);
                Ok(())
            }
            _ = tick.tick() => self.look(renditions, budget),
        }
    }

    /// Whether whoever is next to be fed has taken what came before.
    fn may_read(&self) -> bool {
        match &self.successor {
            Some(successor) if self.current.draining().is_some() => successor.session.backlog() == 0,
            _ => self.current.draining().is_none() && self.current.backlog() == 0,
        }
    }

    fn hear(&mut self, event: Option<WorkerEvent>, renditions: &mut Renditions) -> Result<(), Ended> {
        let Some(event) = event else { return Ok(()) };
        match self.current.take(event, renditions).map_err(Ended::Died)? {
            Said::Usual => {}
            Said::Sample(sample) => self.inspection.see(sample),
            Said::Drained => match self.change {
                Some(at) => return Err(Ended::ConfigChanged { at }),
                None => self.promote(renditions)?,
            },
        }
        Ok(())
    }

    /// Hears a successor that decodes silently: all there is to know is whether it lives.
    fn hear_successor(&mut self, event: Option<WorkerEvent>, renditions: &mut Renditions, budget: &mut Budget) {
        let (Some(event), Some(successor)) = (event, &mut self.successor) else { return };
        if let Err(failure) = successor.session.take(event, renditions) {
            self.give_up(failure, renditions, budget);
        }
    }

    /// The live worker is not touched by its successor's failure.
    fn give_up(&mut self, failure: Failure, renditions: &Renditions, budget: &mut Budget) {
        let Some(Successor { session, .. }) = self.successor.take() else { return };
        tracing::warn!(stream = self.setup.metrics.id(), reason = failure.message, "a successor was given up");
        let candidate = session.candidate().clone();
        session.kill();
        self.setup.blame(&candidate, failure, Start::NewestKeyframe);
        // Its room is given back; a live worker that has lost its own meanwhile hears of it by `revoked`.
        if budget.move_to(&renditions.keys(), self.current.config(), self.current.candidate()).is_err() {
            tracing::warn!(stream = self.setup.metrics.id(), "no room is left where the live worker is; it goes on");
        }
        self.replan_at = self.setup.accel.next_return(Instant::now()).or(Some(Instant::now() + RETURNING_SPREAD));
    }

    fn feed(&mut self, packet: &Packet, renditions: &mut Renditions) {
        if packet.header.track != Track::Video {
            return;
        }
        let pts = packet.header.pts;
        let same = packet.video_config().is_some_and(|config| config.generation == self.current.config().generation);
        if !same {
            (self.change, self.successor, self.starting) = (Some(pts), None, None);
            return self.current.drain();
        }
        if packet.is_random_access() {
            self.inspection.keyframe();
            self.hand_over(pts, renditions);
        }
        let Some(successor) = &mut self.successor else { return self.current.feed(packet) };
        successor.session.feed(packet);
        // What is shown before the keyframe may follow it; once something later comes, all of that has been fed.
        let is_for_both = successor.from.is_none_or(|from| pts <= from);
        match self.current.draining() {
            None if is_for_both => self.current.feed(packet),
            None => self.current.drain(),
            Some(_) => {}
        }
    }

    /// Lets a successor that keeps up take over at the keyframe of time `pts`, which is about to be fed.
    fn hand_over(&mut self, pts: MediaTime, renditions: &mut Renditions) {
        let Some(successor) = &mut self.successor else { return };
        if successor.from.is_some() || !successor.session.keeps_up() {
            return;
        }
        successor.from = Some(pts);
        self.current.make_until(pts);
        for rendition in renditions.list() {
            let after = renditions.delivered(rendition.id).max(Some(pts.offset(-1)));
            successor.session.add(&rendition, after, renditions);
        }
    }

    /// The old worker has given out its last pictures.
    fn promote(&mut self, renditions: &mut Renditions) -> Result<(), Ended> {
        let Some(Successor { session, .. }) = self.successor.take() else { return Err(Ended::Withdrawn) };
        let old = std::mem::replace(&mut self.current, session);
        let was = old.candidate().decode.clone();
        self.leaving.spawn(old.close());
        self.inspection = Inspection::new(self.setup.clone());
        self.encodes = Encodes::new(self.setup.clone());
        let decode = &self.current.candidate().decode;
        if was.device().is_some() && decode.device().is_none() {
            let metrics = &self.setup.metrics;
            metrics.count_by(&metrics.all.fallbacks, Reason::Withdrawn.name(), 1);
        }
        self.leave_by = None;
        self.replan_at = Some(Instant::now());
        let plan = self.setup.plan(renditions, self.current.config());
        let reason = self.setup.why_software(&plan, self.current.candidate());
        self.view.made_by(self.current.pid(), self.current.candidate(), reason);
        Ok(())
    }

    fn obey(&mut self, command: Command, renditions: &mut Renditions, budget: &mut Budget) {
        match command {
            Command::Subscribe { key, reply } => {
                let config = self.current.config().clone();
                let Some(rendition) = renditions.subscribe(key, reply, Some(&config), budget) else { return };
                self.add(&rendition, renditions);
            }
            Command::KeepWarm(keys) => {
                for rendition in renditions.keep_warm(keys) {
                    self.add(&rendition, renditions);
                }
                // What is too much is taken back from whoever has the least priority.
                budget.reduce(&renditions.keys(), self.current.config());
            }
            Command::Release(id) => renditions.release(id),
            Command::ForceKeyframe(id) => {
                self.current.say(ToWorker::ForceKeyframe { id });
                if let Some(Successor { session, from: Some(_), .. }) = &mut self.successor {
                    session.say(ToWorker::ForceKeyframe { id });
                }
            }
            Command::Still { spec, reply } => self.current.ask_still(spec, reply),
        }
    }

    /// Has another rendition made.
    fn add(&mut self, rendition: &Arc<Rendition>, renditions: &mut Renditions) {
        self.replan_at = Some(Instant::now());
        match &mut self.successor {
            // The old worker makes nothing more.
            Some(Successor { session, from: Some(_), .. }) => session.add(rendition, None, renditions),
            _ => self.current.add(rendition, None, renditions),
        }
    }

    /// Once a tick.
    fn look(&mut self, renditions: &mut Renditions, budget: &mut Budget) -> Result<(), Ended> {
        if self.current.draining().is_some_and(|since| since > DRAIN) {
            match self.change {
                Some(at) => return Err(Ended::ConfigChanged { at }),
                None => self.promote(renditions)?,
            }
        }
        self.current.look().map_err(Ended::Died)?;
        self.current.pace();
        self.encodes.look(renditions);
        if let Some(successor) = &mut self.successor {
            let is_late = successor.from.is_none() && successor.started.elapsed() > WARM_UP;
            match successor.session.look() {
                // What it says is not heard while it takes over.
                Err(failure) if successor.from.is_none() => self.give_up(failure, renditions, budget),
                _ if is_late && !successor.session.keeps_up() => {
                    let failure = Failure::new(Reason::Hang, format!("does not keep up within {WARM_UP:?}"));
                    self.give_up(failure, renditions, budget);
                }
                _ => {}
            }
        }
        let expired = renditions.expire();
        if !expired.is_empty() {
            budget.reduce(&renditions.keys(), self.current.config());
        }
        for id in expired {
            self.current.say(ToWorker::RemoveRendition { id });
            if let Some(Successor { session, from: Some(_), .. }) = &mut self.successor {
                session.say(ToWorker::RemoveRendition { id });
            }
            self.replan_at = Some(Instant::now());
        }
        self.replan(renditions, budget)
    }

    /// Something has changed that plans are made from.
    fn devices_changed(&mut self, renditions: &Renditions) {
        let now = Instant::now();
        if self.setup.may_stay(renditions, self.current.config(), &self.current.candidate().decode) {
            self.leave_by = None;
            self.replan_at = Some(now + RETURNING_SPREAD.mul_f64(fastrand::f64()));
        } else if self.leave_by.is_none() {
            self.leave_by = Some(now + LEAVING_LIMIT);
            self.replan_at = Some(now + LEAVING_SPREAD.mul_f64(fastrand::f64()));
        }
    }

    fn replan(&mut self, renditions: &Renditions, budget: &mut Budget) -> Result<(), Ended> {
        let now = Instant::now();
        if self.leave_by.is_some_and(|by| by <= now) {
            return Err(Ended::Withdrawn);
        }
        // Something may have been left alone since: an encoder.
        self.replan_at = self.replan_at.or_else(|| self.setup.accel.next_return(now));
        let is_busy = self.successor.is_some() || self.starting.is_some() || self.change.is_some();
        if is_busy || self.replan_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.replan_at = self.setup.accel.next_return(now);
        self.current.restage(renditions);
        let (config, decode) = (self.current.config(), &self.current.candidate().decode);
        let may_stay = self.setup.may_stay(renditions, config, decode);
        let best = self.setup.plan(renditions, config).candidates.into_iter().next();
        let best = best.filter(|best| best.decode != *decode && (!may_stay || *decode == Backend::Software));
        if let Some(candidate) = best {
            if let Err(error) = budget.move_to(&renditions.keys(), config, &candidate) {
                // Whoever may stay does, and asks again later.
                self.replan_at = Some(now + FULL);
                return if may_stay { Ok(()) } else { Err(Ended::NoRoom { reason: error.chain() }) };
            }
            let (setup, view, config) = (self.setup.clone(), self.view.clone(), config.clone());
            self.starting = Some(Box::pin(Session::start(setup, view, config, candidate)));
        }
        Ok(())
    }

    /// Feeds a new worker what the live one was fed since the last keyframe; from now on both are fed the same.
    fn warm_up(&mut self, session: Result<Session>) {
        self.starting = None;
        let mut session = match session {
            Ok(session) => session,
            Err(error) => {
                tracing::warn!(
                    stream = self.setup.metrics.id(),
                    error = error.chain(),
                    "no successor could be started"
                );
                self.replan_at = Some(Instant::now() + RETURNING_SPREAD);
                return;
            }
        };
        for packet in self.reader.since_keyframe() {
            if packet.video_config().is_some_and(|config| config.generation == session.config().generation) {
                session.feed(&packet);
            }
        }
        self.successor = Some(Successor { session, started: Instant::now(), from: None });
    }
}

async fn started(starting: &mut Option<Starting>) -> Result<Session> {
    match starting {
        Some(starting) => starting.await,
        None => std::future::pending().await,
    }
}

async fn step(successor: &mut Option<Successor>) -> Option<WorkerEvent> {
    match successor {
        Some(Successor { session, from: None, .. }) => session.step().await,
        // Its output waits in its own queues until the old worker has given out all that comes before it.
        Some(Successor { session, .. }) => {
            session.push().await;
            None
        }
        None => std::future::pending().await,
    }
}
