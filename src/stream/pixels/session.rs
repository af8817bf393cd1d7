//! One pixels worker's life: fed from the ring, watched, and read until it ends.

use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

use super::super::rendition::Rendition;
use super::super::status::SandboxStatus;
use super::budget::Budget;
use super::gpu::GpuUse;
use super::ladder::Ladder;
use super::load::{self, Load};
use super::renditions::Renditions;
use super::{Command, PixelsSetup, View, stages};
use crate::error::{Error, ErrorKind, Result};
use crate::hw::Lease;
use crate::link::{
    FailureKind, FromWorker, Outgoing, PixelsTask as PixelsRole, Program, RenditionId, Role, ToWorker, Worker,
    WorkerEvent, usage,
};
use crate::media::{Frame, MediaTime, Packet, PixelFormat, RenditionSpec, StillSpec, Track, VideoConfig};
use crate::plan::{Backend, Candidate, Policy};
use crate::ring::{Read, Reader};
use crate::sandbox::Confined;

/// How often progress and memory are looked at.
const TICK: Duration = Duration::from_millis(250);
/// A worker gets this long to give out what its decoder holds back when the source changes.
const DRAIN: Duration = Duration::from_secs(1);
/// A worker that is asked to end gets this long.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Why a worker's life ended.
#[derive(Debug)]
pub enum Ended {
    /// The stream ends.
    Stopped,
    /// Nobody wants pixels.
    Unwanted,
    /// The source sends something else from this time on.
    ConfigChanged {
        /// Presentation time of the first packet of the new kind.
        at: MediaTime,
    },
    /// There is no room for it, or none any more.
    NoRoom {
        /// For people.
        reason: String,
    },
    /// It died, hung or broke the protocol.
    Died {
        /// For people.
        reason: String,
    },
}

/// A worker and what is under way with it.
#[derive(Debug)]
pub struct Session {
    worker: Worker,
    reader: Reader,
    config: Arc<VideoConfig>,
    candidate: Candidate,
    queue: VecDeque<Outgoing>,
    sent: u64,
    consumed: u64,
    /// Since when input has been due; `None` while all is consumed.
    due_since: Option<Instant>,
    decoded: u64,
    broken: u64,
    stills: HashMap<u32, oneshot::Sender<Option<Frame>>>,
    next_still: u32,
    view: Arc<View>,
    gpu: GpuUse,
    /// Counts the stream on its device.
    _lease: Option<Lease>,
    /// The source has changed; the old worker is giving out its last pictures.
    draining: Option<(MediaTime, Instant)>,
    /// Times of the packets that were sent and not consumed yet.
    under_way: VecDeque<MediaTime>,
    ladder: Ladder,
}

impl Session {
    /// Starts a worker for packets of `config`, read by `reader`; what it uses is shown in `view`.
    ///
    /// # Errors
    /// If no process can be started.
    pub async fn start(
        setup: &PixelsSetup,
        view: Arc<View>,
        reader: Reader,
        config: Arc<VideoConfig>,
        candidate: Candidate,
    ) -> Result<Self> {
        let worker = setup.context.spawner.worker(Program::Engine, setup.metrics.id()).await?;
        let role = PixelsRole { config: config.as_ref().clone(), decode: candidate.decode.clone() };
        let lease = candidate.decode.device().and_then(|device| setup.context.devices.lease(device));
        let mut session = Self {
            worker,
            reader,
            config,
            candidate,
            queue: VecDeque::new(),
            sent: 0,
            consumed: 0,
            due_since: Some(Instant::now()),
            decoded: 0,
            broken: 0,
            stills: HashMap::new(),
            next_still: 0,
            view,
            gpu: GpuUse::default(),
            _lease: lease,
            draining: None,
            under_way: VecDeque::new(),
            ladder: Ladder::new(setup.context.limits.overload_calm),
        };
        session.say(ToWorker::Begin(Role::Pixels(role)));
        Ok(session)
    }

    /// The worker's process id.
    pub fn pid(&self) -> u32 {
        self.worker.pid
    }

    /// Feeds, watches and reads the worker until it ends.
    pub async fn run(
        &mut self,
        setup: &PixelsSetup,
        inbox: &mut mpsc::UnboundedReceiver<Command>,
        renditions: &mut Renditions,
        budget: &mut Budget,
    ) -> Ended {
        let known: Vec<_> = renditions.all().cloned().collect();
        for rendition in known {
            self.add(setup, &rendition, renditions);
        }
        let outbox = self.worker.outbox.clone();
        let mut tick = tokio::time::interval(TICK);
        loop {
            if !renditions.any() {
                return Ended::Unwanted;
            }
            tokio::select! {
                biased;
                () = setup.cancel.cancelled() => return Ended::Stopped,
                reason = budget.revoked() => return Ended::NoRoom { reason },
                event = self.worker.next() => {
                    if let Some(ended) = self.take(event, setup, renditions) {
                        return ended;
                    }
                }
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command, setup, renditions, budget),
                    None => return Ended::Stopped,
                },
                permit = outbox.reserve(), if !self.queue.is_empty() => {
                    // A worker that is gone says so through its events.
                    if let (Ok(permit), Some(message)) = (permit, self.queue.pop_front()) {
                        permit.send(message);
                    }
                }
                read = self.reader.next(), if self.queue.is_empty() && self.draining.is_none() => match read {
                    Some(Read::Packet(packet)) => self.feed(&packet),
                    Some(Read::Skipped(count)) => {
                        setup.metrics.count_by(&setup.metrics.all.consumer_dropped, "decoder", count);
                    }
                    None => return Ended::Stopped,
                },
                _ = tick.tick() => {
                    if let Some(ended) = self.look(setup) {
                        return ended;
                    }
                    self.step(setup);
                    let expired = renditions.expire();
                    if !expired.is_empty() {
                        budget.reduce(&renditions.keys(), &self.config);
                    }
                    for id in expired {
                        self.say(ToWorker::RemoveRendition { id });
                    }
                }
            }
        }
    }

    /// Ends the process: at once if it is in trouble, else with a word.
    pub async fn close(mut self, ended: &Ended) {
        for (_, reply) in self.stills.drain() {
            let _ = reply.send(None);
        }
        match ended {
            Ended::Died { .. } => self.worker.kill(),
            _ => self.worker.stop(STOP_GRACE).await,
        }
    }

    fn say(&mut self, message: ToWorker) {
        self.queue.push_back((message, Bytes::new()));
    }

    /// Tells the worker to make `rendition`, or ends it where the source does not allow it any more.
    fn add(&mut self, setup: &PixelsSetup, rendition: &Arc<Rendition>, renditions: &mut Renditions) {
        let spec = match rendition.key.request.resolve(&self.config) {
            Ok(spec) => spec,
            Err(error) => return renditions.fail(rendition.id, error),
        };
        let capabilities = setup.context.devices.capabilities();
        let made = stages::job(&rendition.key.request, &self.config)
            .and_then(|job| stages::stages(&job, &capabilities, rendition.key.policy, &self.candidate));
        let stages = match made {
            Ok(stages) => stages,
            Err(error) => return renditions.fail(rendition.id, error),
        };
        self.make(rendition, spec, stages, renditions);
    }

    fn make(&mut self, rendition: &Rendition, spec: RenditionSpec, stages: Candidate, renditions: &Renditions) {
        rendition.set_stages(Some(stages.clone()));
        let after = renditions.delivered(rendition.id);
        self.say(ToWorker::AddRendition { id: rendition.id, spec, stages, after });
    }

    /// Has a rendition whose encoder failed on the device encoded on the CPU from now on; false if it was not on the
    /// device, or must not be anywhere else.
    fn encode_in_software(
        &mut self,
        id: RenditionId,
        message: &str,
        setup: &PixelsSetup,
        renditions: &Renditions,
    ) -> bool {
        let Some(rendition) = renditions.get(id) else { return false };
        let Some(stages) = rendition.stages() else { return false };
        let was_on_device = matches!(stages.encode, Some(Backend::Vaapi { .. }));
        let Ok(spec) = rendition.key.request.resolve(&self.config) else { return false };
        if !was_on_device || rendition.key.policy == Policy::RequireHardware {
            return false;
        }
        let metrics = &setup.metrics;
        metrics.count_by(&metrics.all.fallbacks, FailureKind::Device.name(), 1);
        let name = rendition.name();
        tracing::warn!(stream = metrics.id(), rendition = name, reason = message, "encoded in software from now on");
        let stages = stages.encoding_in_software();
        self.make(&rendition, spec, stages, renditions);
        true
    }

    fn feed(&mut self, packet: &Packet) {
        if packet.header.track != Track::Video {
            return;
        }
        let same = packet.video_config().is_some_and(|config| config.generation == self.config.generation);
        if !same {
            self.draining = Some((packet.header.pts, Instant::now()));
            return self.say(ToWorker::Drain);
        }
        self.sent += 1;
        self.under_way.push_back(packet.header.pts);
        self.due_since.get_or_insert_with(Instant::now);
        self.queue.push_back((ToWorker::Packet(packet.header), packet.data.clone()));
    }

    fn obey(&mut self, command: Command, setup: &PixelsSetup, renditions: &mut Renditions, budget: &mut Budget) {
        match command {
            Command::Subscribe { key, reply } => {
                let config = self.config.clone();
                if let Some(rendition) = renditions.subscribe(key, reply, Some(&config), budget) {
                    self.add(setup, &rendition, renditions);
                }
            }
            Command::Release(id) => renditions.release(id),
            Command::ForceKeyframe(id) => self.say(ToWorker::ForceKeyframe { id }),
            Command::Still { spec, reply } => self.ask_still(spec, reply),
        }
    }

    fn ask_still(&mut self, spec: StillSpec, reply: oneshot::Sender<Option<Frame>>) {
        if self.decoded == 0 {
            let _ = reply.send(None);
            return;
        }
        let id = self.next_still;
        self.next_still = self.next_still.wrapping_add(1);
        self.stills.insert(id, reply);
        self.say(ToWorker::Still { id, spec, at: None });
    }

    /// Takes what the worker did; every field is hostile until checked.
    fn take(&mut self, event: WorkerEvent, setup: &PixelsSetup, renditions: &mut Renditions) -> Option<Ended> {
        let (message, payload) = match event {
            WorkerEvent::Exited(exit) => return Some(Ended::Died { reason: exit.description }),
            WorkerEvent::Message(message, payload) => (message, payload),
        };
        match message {
            FromWorker::Ready => {
                let confined = self.worker.confined();
                let metrics = &setup.metrics;
                let is_enforced = confined.is_some_and(Confined::is_enforced);
                metrics.all.worker_sandboxed.with_label_values(&[metrics.id(), "pixels"]).set(is_enforced.into());
                self.view.update(|facts| facts.sandbox = confined.map(SandboxStatus::from));
            }
            FromWorker::Consumed { decoded, broken } => self.count_progress(setup, decoded, broken),
            FromWorker::Frame { id, header } => {
                let largest = PixelFormat::Rgb24.frame_bytes(header.size).max(1 << 20);
                if payload.is_empty() || header.size.pixels() > crate::media::MAX_PIXELS || payload.len() > largest {
                    return Some(breach("a picture whose size does not fit its bytes"));
                }
                renditions.deliver_picture(id, Frame { header, data: payload });
            }
            FromWorker::EncodedConfig { id, config } => renditions.take_config(id, config),
            FromWorker::Encoded { id, header } => {
                if payload.is_empty() || payload.len() > crate::media::MAX_ACCESS_UNIT {
                    return Some(breach("an empty or oversized access unit"));
                }
                renditions.deliver_packet(id, header, payload);
            }
            FromWorker::Still { id, header } => {
                if let Some(reply) = self.stills.remove(&id) {
                    // An asker that went away needs no answer.
                    let _ = reply.send(header.map(|header| Frame { header, data: payload }));
                }
            }
            FromWorker::RenditionFailed { id, kind: FailureKind::Device, message }
                if self.encode_in_software(id, &message, setup, renditions) => {}
            FromWorker::RenditionFailed { id, message, .. } => {
                renditions.fail(id, Error::new(ErrorKind::Internal, format!("the worker cannot make this: {message}")));
            }
            FromWorker::Stats { gpu_seconds, gpu_wait_seconds } => {
                let gpu_seconds = self.gpu.count(&setup.metrics, gpu_seconds, gpu_wait_seconds);
                self.view.update(|facts| facts.gpu_seconds = gpu_seconds);
            }
            FromWorker::Drained => {
                let (at, _) = self.draining?;
                return Some(Ended::ConfigChanged { at });
            }
            FromWorker::Failed { kind, message } => {
                return Some(Ended::Died { reason: format!("{}: {message}", kind.name()) });
            }
            FromWorker::VideoConfig(_)
            | FromWorker::AudioConfig(_)
            | FromWorker::Packet(_)
            | FromWorker::Lost { .. }
            | FromWorker::Tried { .. }
            | FromWorker::TrialsDone
            | FromWorker::Probed(_)
            | FromWorker::Confined(_) => {
                return Some(breach("something that only a worker of another role says"));
            }
        }
        None
    }

    fn count_progress(&mut self, setup: &PixelsSetup, decoded: u64, broken: u64) {
        self.consumed += 1;
        self.under_way.pop_front();
        self.due_since = (self.consumed < self.sent).then(Instant::now);
        let metrics = &setup.metrics;
        metrics.count(&metrics.all.frames_decoded, decoded.saturating_sub(self.decoded));
        metrics.count(&metrics.all.packets_broken, broken.saturating_sub(self.broken));
        (self.decoded, self.broken) = (decoded, broken);
    }

    /// Once a tick: moves a worker on the CPU along the overload ladder, if that is due.
    fn step(&mut self, setup: &PixelsSetup) {
        if self.candidate.decode != Backend::Software {
            return;
        }
        let newest = setup.ring.span().map(|(_, newest)| newest);
        let behind = newest.zip(self.under_way.front()).map_or(0, |(newest, oldest)| newest.since(*oldest).max(0));
        let behind = Duration::from_secs_f64(MediaTime(behind).seconds());
        if let Some(effort) = self.ladder.look(Instant::now(), behind) {
            self.say(ToWorker::Effort(effort));
            let reason = format!("the worker was {:.1} s behind the camera", behind.as_secs_f64());
            load::show(setup, &self.view, Load::Worked(effort), Some(&reason));
        }
    }

    /// Once a tick: hangs and memory.
    fn look(&mut self, setup: &PixelsSetup) -> Option<Ended> {
        if let Some((at, since)) = self.draining
            && since.elapsed() > DRAIN
        {
            return Some(Ended::ConfigChanged { at });
        }
        let limits = &setup.context.limits;
        if self.sent > self.consumed && self.due_since.is_some_and(|since| since.elapsed() >= limits.watchdog) {
            let reason = format!("no progress for {:?} while input was due", limits.watchdog);
            return Some(Ended::Died { reason });
        }
        let usage = usage(self.worker.pid)?;
        let metrics = &setup.metrics;
        metrics.all.worker_rss_bytes.with_label_values(&[metrics.id(), "pixels"]).set(usage.rss_bytes as i64);
        (usage.rss_bytes > limits.pixels_memory)
            .then(|| Ended::Died { reason: format!("memory over its limit of {} bytes", limits.pixels_memory) })
    }
}

fn breach(what: &str) -> Ended {
    Ended::Died { reason: format!("broke the link's protocol: sent {what}") }
}
