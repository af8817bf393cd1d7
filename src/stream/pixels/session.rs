//! One pixels worker: what it is told, what it says, and whether it still does its work.

use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

use super::super::rendition::Rendition;
use super::super::status::SandboxStatus;
use super::super::used::ProcessUse;
use super::accel::Part;
use super::failure::{Failure, Reason};
use super::gpu::GpuUse;
use super::ladder::Ladder;
use super::load::{self, Load};
use super::renditions::Renditions;
use super::samples::Sample;
use super::{PixelsSetup, View, second, stages};
use crate::error::{Error, ErrorKind, Result};
use crate::hw::Lease;
use crate::link::{
    FromWorker, Outgoing, PixelsTask as PixelsRole, Program, RenditionId, Role, ToWorker, Worker, WorkerEvent, usage,
};
use crate::media::{Frame, MediaTime, Packet, PixelFormat, StillSpec, VideoConfig};
use crate::plan::{Backend, Candidate};
use crate::sandbox::Confined;

/// A worker that is asked to end gets this long.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// A worker and what is under way with it.
#[derive(Debug)]
pub struct Session {
    setup: Arc<PixelsSetup>,
    view: Arc<View>,
    worker: Worker,
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
    used: ProcessUse,
    gpu: GpuUse,
    /// Counts the stream on its device.
    _lease: Option<Lease>,
    /// Since when it has been giving out its last pictures.
    draining_since: Option<Instant>,
    /// Another worker makes what comes from this time on.
    until: Option<MediaTime>,
    /// Times of the packets that were sent and not consumed yet.
    under_way: VecDeque<MediaTime>,
    ladder: Ladder,
}

impl Session {
    /// Starts a process and makes a session of it.
    ///
    /// # Errors
    /// If no process can be started.
    pub async fn start(
        setup: Arc<PixelsSetup>,
        view: Arc<View>,
        config: Arc<VideoConfig>,
        candidate: Candidate,
    ) -> Result<Self> {
        let worker = setup.context.spawner.worker(Program::Engine, setup.metrics.id()).await?;
        let decode = candidate.decode.clone();
        // The CPU's pictures are what others are compared with.
        let sample_ticks = decode.device().map(|_| ticks(setup.context.recovery.sample_every));
        let role = PixelsRole { config: config.as_ref().clone(), decode, sample_ticks };
        let lease = candidate.decode.device().and_then(|device| setup.context.devices.lease(device));
        let ladder = Ladder::new(setup.context.limits.overload_calm);
        let mut session = Self {
            setup,
            view,
            worker,
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
            used: ProcessUse::default(),
            gpu: GpuUse::default(),
            _lease: lease,
            draining_since: None,
            until: None,
            under_way: VecDeque::new(),
            ladder,
        };
        session.say(ToWorker::Begin(Role::Pixels(role)));
        Ok(session)
    }

    /// The worker's process id.
    pub fn pid(&self) -> u32 {
        self.worker.pid
    }

    /// Where it works.
    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// What its packets are read with.
    pub fn config(&self) -> &Arc<VideoConfig> {
        &self.config
    }

    /// Hands over one message that waits, or hears what the worker says; `None`: a message was handed over. Cancel-safe.
    pub async fn step(&mut self) -> Option<WorkerEvent> {
        let outbox = self.worker.outbox.clone();
        tokio::select! {
            biased;
            event = self.worker.next() => Some(event),
            permit = outbox.reserve(), if !self.queue.is_empty() => {
                // A worker that is gone says so through its events.
                if let (Ok(permit), Some(message)) = (permit, self.queue.pop_front()) {
                    permit.send(message);
                }
                None
            }
        }
    }

    /// Hands over one message that waits; what the worker says is left for later. Cancel-safe.
    pub async fn push(&mut self) {
        if self.queue.is_empty() {
            return std::future::pending().await;
        }
        // A worker that is gone says so when it is heard again.
        let outbox = self.worker.outbox.clone();
        let Ok(permit) = outbox.reserve().await else { return std::future::pending().await };
        if let Some(message) = self.queue.pop_front() {
            permit.send(message);
        }
    }

    /// Packets that it has not been handed yet, and other messages.
    pub fn backlog(&self) -> usize {
        self.queue.len()
    }

    /// Whether pictures come out, and nothing waits to go in.
    pub fn keeps_up(&self) -> bool {
        const UNDER_WAY: u64 = 4;
        self.decoded > 0 && self.queue.is_empty() && self.sent - self.consumed <= UNDER_WAY
    }

    /// Ends the process in good order.
    pub async fn close(mut self) {
        for (_, reply) in self.stills.drain() {
            let _ = reply.send(None);
        }
        self.worker.stop(STOP_GRACE).await;
    }

    /// Ends the process at once: it is in trouble.
    pub fn kill(mut self) {
        for (_, reply) in self.stills.drain() {
            let _ = reply.send(None);
        }
        self.worker.kill();
    }

    /// Queues a message.
    pub fn say(&mut self, message: ToWorker) {
        self.queue.push_back((message, Bytes::new()));
    }

    /// Has it give out what it holds back.
    pub fn drain(&mut self) {
        self.draining_since = Some(Instant::now());
        self.say(ToWorker::Drain);
    }

    /// How long it has been giving out its last pictures.
    pub fn draining(&self) -> Option<Duration> {
        self.draining_since.map(|since| since.elapsed())
    }

    /// Leaves what comes from `time` on to another worker.
    pub fn make_until(&mut self, time: MediaTime) {
        self.until = Some(time);
    }

    /// Tells the worker to make `rendition` from after `after`, or ends it where the source or the devices do not allow
    /// it any more.
    pub fn add(&mut self, rendition: &Arc<Rendition>, after: Option<MediaTime>, renditions: &mut Renditions) {
        let made = rendition.key.request.resolve(&self.config).and_then(|spec| Ok((spec, self.stages(rendition)?)));
        match made {
            Ok((spec, stages)) => {
                rendition.set_stages(Some(stages.clone()));
                self.say(ToWorker::AddRendition { id: rendition.id, spec, stages, after });
            }
            Err(error) => renditions.fail(rendition.id, error),
        }
    }

    /// Moves encoders to where they are best made now.
    pub fn restage(&mut self, renditions: &Renditions) {
        for rendition in renditions.all() {
            let Ok(stages) = self.stages(rendition) else { continue };
            if rendition.stages().is_some_and(|before| before.encode != stages.encode) {
                rendition.set_stages(Some(stages.clone()));
                self.say(ToWorker::Restage { id: rendition.id, stages });
            }
        }
    }

    fn stages(&self, rendition: &Rendition) -> Result<Candidate> {
        let job = stages::job(&rendition.key.request, &self.config)?;
        stages::stages(&job, &self.setup.capabilities(), rendition.key.policy, &self.candidate.decode)
    }

    /// Has a rendition that the device did not encode encoded on the CPU, if it may be.
    fn encoder_failed(&mut self, id: RenditionId, failure: Failure, renditions: &mut Renditions) {
        let Some(rendition) = renditions.get(id) else { return };
        self.blame_encoder(&rendition, failure);
        self.add(&rendition, renditions.delivered(id), renditions);
    }

    /// Moves a rendition off a device that still encodes it, but badly.
    pub fn leave_encoder(&mut self, id: RenditionId, failure: Failure, renditions: &Renditions) {
        let Some(rendition) = renditions.get(id) else { return };
        self.blame_encoder(&rendition, failure);
        self.restage(renditions);
    }

    fn blame_encoder(&self, rendition: &Rendition, Failure { reason, message }: Failure) {
        let encoder = rendition.stages().and_then(|stages| stages.encode);
        let Some(device) = encoder.as_ref().and_then(Backend::device) else { return };
        let metrics = &self.setup.metrics;
        metrics.count_by(&metrics.all.fallbacks, reason.name(), 1);
        let name = rendition.name();
        tracing::warn!(stream = metrics.id(), rendition = name, reason = message, "a device's encoder failed");
        // What went into the encoder were pictures: no camera is to blame for it.
        self.setup.accel.leave(device, Part::Encoders, &message, Instant::now());
        second::charge(&self.setup, device, Part::Encoders, reason);
    }

    /// Feeds a packet of its configuration.
    pub fn feed(&mut self, packet: &Packet) {
        self.sent += 1;
        self.under_way.push_back(packet.header.pts);
        self.due_since.get_or_insert_with(Instant::now);
        self.queue.push_back((ToWorker::Packet(packet.header), packet.data.clone()));
    }

    /// Asks for the newest picture.
    pub fn ask_still(&mut self, spec: StillSpec, reply: oneshot::Sender<Option<Frame>>) {
        if self.decoded == 0 {
            let _ = reply.send(None);
            return;
        }
        let id = self.next_still;
        self.next_still = self.next_still.wrapping_add(1);
        self.stills.insert(id, reply);
        self.say(ToWorker::Still { id, spec, at: None });
    }

    /// Takes what the worker did; every field is hostile until checked. A failure ends it; so does [`Said::Drained`].
    pub fn take(&mut self, event: WorkerEvent, renditions: &mut Renditions) -> Result<Said, Failure> {
        let (message, payload) = match event {
            WorkerEvent::Exited(exit) => return Err(exit.into()),
            WorkerEvent::Message(message, payload) => (message, payload),
        };
        let is_others = |pts: MediaTime| self.until.is_some_and(|until| pts >= until);
        match message {
            FromWorker::Ready => self.show_sandbox(),
            FromWorker::Consumed { decoded, broken } => self.count_progress(decoded, broken),
            FromWorker::Frame { id, header } => {
                let largest = PixelFormat::Rgb24.frame_bytes(header.size).max(1 << 20);
                if payload.is_empty() || header.size.pixels() > crate::media::MAX_PIXELS || payload.len() > largest {
                    return Err(Failure::breach("a picture whose size does not fit its bytes"));
                }
                if !is_others(header.pts) {
                    renditions.deliver_picture(id, Frame { header, data: payload });
                }
            }
            FromWorker::EncodedConfig { id, config } => renditions.take_config(id, config),
            FromWorker::Encoded { id, header } => {
                if payload.is_empty() || payload.len() > crate::media::MAX_ACCESS_UNIT {
                    return Err(Failure::breach("an empty or oversized access unit"));
                }
                if !is_others(header.pts) {
                    renditions.deliver_packet(id, header, payload);
                }
            }
            FromWorker::Still { id, header } => {
                if let Some(reply) = self.stills.remove(&id) {
                    // An asker that went away needs no answer.
                    let _ = reply.send(header.map(|header| Frame { header, data: payload }));
                }
            }
            FromWorker::RenditionFailed { id, kind, message } if kind.is_device() => {
                self.encoder_failed(id, Failure::new(Reason::Said(kind), message), renditions);
            }
            FromWorker::RenditionFailed { id, message, .. } => {
                renditions.fail(id, Error::new(ErrorKind::Internal, format!("the worker cannot make this: {message}")));
            }
            FromWorker::Stats { gpu_seconds, gpu_wait_seconds } => {
                let gpu_seconds = self.gpu.count(&self.setup.metrics, gpu_seconds, gpu_wait_seconds);
                self.view.update(|facts| facts.gpu_seconds = gpu_seconds);
            }
            FromWorker::Sample { pts, size, flawed } => {
                let sample = Sample::new(pts, size, flawed, payload);
                return sample
                    .map(Said::Sample)
                    .ok_or_else(|| Failure::breach("a sample without or of too many points"));
            }
            FromWorker::Drained if self.draining_since.is_some() => return Ok(Said::Drained),
            FromWorker::Failed { kind, message } => return Err(Failure::new(Reason::Said(kind), message)),
            FromWorker::Drained
            | FromWorker::VideoConfig(_)
            | FromWorker::Clock { .. }
            | FromWorker::AudioConfig(_)
            | FromWorker::Packet(_)
            | FromWorker::Lost { .. }
            | FromWorker::Tried { .. }
            | FromWorker::TrialsDone
            | FromWorker::Probed(_)
            | FromWorker::Read { .. }
            | FromWorker::MeasureInput
            | FromWorker::Access(_)
            | FromWorker::JobSource(_)
            | FromWorker::Output
            | FromWorker::Progress(_)
            | FromWorker::Finished(_)
            | FromWorker::Container(_)
            | FromWorker::Tunnel { .. }
            | FromWorker::Bytes
            | FromWorker::EndOfBytes
            | FromWorker::Confined(_) => {
                return Err(Failure::breach("something that only a worker of another role says"));
            }
        }
        Ok(Said::Usual)
    }

    fn count_progress(&mut self, decoded: u64, broken: u64) {
        self.consumed += 1;
        self.under_way.pop_front();
        self.due_since = (self.consumed < self.sent).then(Instant::now);
        let metrics = &self.setup.metrics;
        metrics.count(&metrics.all.frames_decoded, decoded.saturating_sub(self.decoded));
        metrics.count(&metrics.all.packets_broken, broken.saturating_sub(self.broken));
        (self.decoded, self.broken) = (decoded, broken);
    }

    fn show_sandbox(&self) {
        let (confined, metrics) = (self.worker.confined(), &self.setup.metrics);
        let is_enforced = confined.is_some_and(Confined::is_enforced);
        metrics.all.worker_sandboxed.with_label_values(&[metrics.id(), "pixels"]).set(is_enforced.into());
        self.view.update(|facts| facts.sandbox = confined.map(SandboxStatus::from));
    }

    /// Moves a worker on the CPU along the overload ladder, if that is due; once a tick.
    pub fn pace(&mut self) {
        if self.candidate.decode != Backend::Software {
            return;
        }
        let newest = self.setup.ring.span().map(|(_, newest)| newest);
        let behind = newest.zip(self.under_way.front()).map_or(0, |(newest, oldest)| newest.since(*oldest).max(0));
        let behind = Duration::from_secs_f64(MediaTime(behind).seconds());
        if let Some(effort) = self.ladder.look(Instant::now(), behind) {
            self.say(ToWorker::Effort(effort));
            let reason = format!("the worker was {:.1} s behind the camera", behind.as_secs_f64());
            load::show(&self.setup, &self.view, Load::Worked(effort), Some(&reason));
        }
    }

    /// Looks for hangs and for memory; once a tick.
    pub fn look(&mut self) -> Result<(), Failure> {
        let limits = &self.setup.context.limits;
        if self.sent > self.consumed && self.due_since.is_some_and(|since| since.elapsed() >= limits.watchdog) {
            let message = format!("no progress for {:?} while input was due", limits.watchdog);
            return Err(Failure::new(Reason::Hang, message));
        }
        let Some(usage) = usage(self.worker.pid) else { return Ok(()) };
        self.used.show(&self.setup.metrics, "pixels", usage);
        if usage.rss_bytes > limits.pixels_memory {
            let message = format!("memory over its limit of {} bytes", limits.pixels_memory);
            return Err(Failure::new(Reason::Memory, message));
        }
        Ok(())
    }
}

/// What there is to do about something that a worker said.
#[derive(Debug)]
pub enum Said {
    /// Nothing more.
    Usual,
    /// A picture to look at.
    Sample(Sample),
    /// It has given out everything.
    Drained,
}

fn ticks(time: Duration) -> i64 {
    MediaTime::from_micros(time.as_micros() as i64).0
}
