//! Keeps a stream's source connected: [`run`] retries, [`Connection::read`] tells the story of one connection.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::context::Context;
use super::facts::{Clock, SourceFacts};
use super::intake::{Intake, IntakeEvent, Part};
use super::push::Pusher;
use super::status::{SandboxStatus, State};
use super::timeline::Timeline;
use super::used::ProcessUse;
use crate::config::{Source, StreamSettings};
use crate::link::{FailureKind, FromWorker, Worker, usage};
use crate::media::{AudioConfig, ClockSource, MAX_ACCESS_UNIT, Packet, PacketHeader, Track, TrackConfig, VideoConfig};
use crate::memory::Pressure;
use crate::metrics::StreamMetrics;
use crate::ring::Ring;
use crate::sandbox::Confined;

/// A worker that is asked to end has this long for saying goodbye to the camera.
const STOP_GRACE: Duration = Duration::from_millis(1500);
/// How much later than the worker itself the supervisor calls it dead.
const WORKER_GRACE: Duration = Duration::from_secs(2);
/// What FFmpeg's libraries take of a process's resident memory, shared with the other engines.
const ENGINE_LIBRARIES: u64 = 64 << 20;
/// How long after its first picture a source may take to show that it has sound.
const SOUND_GRACE: Duration = Duration::from_secs(2);
/// How often memory and the last packet's age are looked at.
const TICK: Duration = Duration::from_millis(500);

/// What the task that reads a source works with.
#[derive(Debug)]
pub struct SourceTask {
    /// The process's means.
    pub context: Arc<Context>,
    /// The stream's settings.
    pub settings: Arc<StreamSettings>,
    /// Where packets go.
    pub ring: Arc<Ring>,
    /// Where facts go.
    pub facts: Arc<SourceFacts>,
    /// The stream's metrics.
    pub metrics: Arc<StreamMetrics>,
    /// How many want the stream; matters for on-demand streams.
    pub demand: watch::Receiver<usize>,
    /// Ends the task.
    pub cancel: CancellationToken,
    /// Clients that push.
    pub pushers: mpsc::Receiver<Pusher>,
}

/// Why a connection ended.
enum Ended {
    Stopped,
    Unwanted,
    Failed { kind: FailureKind, message: String },
}

/// Reads the source until the task is cancelled.
pub async fn run(mut task: SourceTask) {
    let mut backoff = Backoff::new(&task.context.limits);
    let mut timeline = Timeline::new(Instant::now());
    let mut was_live = false;
    task.stagger().await;
    while task.wait_until_wanted().await {
        let state = if was_live { State::Reconnecting } else { State::Connecting };
        if !matches!(task.facts.state(), State::Failed) {
            let reason = task.facts.get().reason;
            task.facts.enter(state, reason, None);
        }
        timeline.restart();
        task.facts.update(|facts| facts.clock = Clock::default());
        let mut connection = Connection {
            task: &mut task,
            timeline: &mut timeline,
            video: None,
            audio: None,
            live_since: None,
            used: BTreeMap::new(),
        };
        let ended = connection.run().await;
        let live_since = connection.live_since;
        was_live |= live_since.is_some();
        match ended {
            Ended::Stopped => break,
            Ended::Unwanted => {
                task.facts.enter(State::Idle, None, None);
                was_live = false;
            }
            Ended::Failed { kind, message } => {
                let wait = match task.settings.source {
                    // The next one comes when it comes.
                    Source::Push => Duration::ZERO,
                    _ => backoff.after(kind, live_since.map_or(Duration::ZERO, |since| since.elapsed())),
                };
                task.note_failure(kind, message, was_live, wait);
                if !task.pause(wait).await {
                    break;
                }
                if was_live {
                    task.facts.update(|facts| facts.reconnects += 1);
                    task.metrics.count(&task.metrics.all.source_reconnects, 1);
                }
            }
        }
    }
    task.ring.close();
}

impl SourceTask {
    /// Leaves the cameras that are connected at the same time some of it, unless somebody waits for this one.
    async fn stagger(&mut self) {
        if self.settings.on_demand {
            return;
        }
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = tokio::time::sleep(self.context.stagger.wait()) => {}
            _ = self.demand.wait_for(|demand| *demand > 0) => {}
        }
    }

    /// Waits until somebody wants an on-demand stream; false when the task is to end.
    async fn wait_until_wanted(&mut self) -> bool {
        if !self.is_on_demand() {
            return !self.cancel.is_cancelled();
        }
        tokio::select! {
            () = self.cancel.cancelled() => false,
            wanted = self.demand.wait_for(|demand| *demand > 0) => wanted.is_ok(),
        }
    }

    /// Who pushes is not asked to wait until somebody wants it.
    fn is_on_demand(&self) -> bool {
        self.settings.on_demand && self.settings.source != Source::Push
    }

    /// How long a source that is polled says nothing by itself.
    fn poll_interval(&self) -> Duration {
        match &self.settings.source {
            Source::Http(http) => Duration::from_secs_f64(1.0 / http.rate.as_f64()),
            _ => Duration::ZERO,
        }
    }

    /// The next client that pushes; `None` when the task is to end.
    async fn pusher(&mut self) -> Option<Pusher> {
        let reason = format!("waits for POST /v1/streams/{}/ingest", self.metrics.id());
        self.facts.update(|facts| facts.reason = Some(facts.reason.take().unwrap_or(reason)));
        tokio::select! {
            () = self.cancel.cancelled() => None,
            pusher = self.pushers.recv() => pusher,
        }
    }

    fn note_failure(&self, kind: FailureKind, message: String, was_live: bool, wait: Duration) {
        let state = match kind {
            FailureKind::Auth | FailureKind::Denied => State::Failed,
            _ if was_live => State::Reconnecting,
            _ => State::Connecting,
        };
        tracing::warn!(stream = self.metrics.id(), kind = kind.name(), retry_in = ?wait, "source: {message}");
        let reason = match self.settings.source {
            Source::Push => format!("{message}; waits for POST /v1/streams/{}/ingest", self.metrics.id()),
            _ => format!("{message}; next try in {:.0} s", wait.as_secs_f64().ceil()),
        };
        self.facts.enter(state, Some(reason), Some(wait));
        self.metrics.count_by(&self.metrics.all.source_failures, kind.name(), 1);
    }

    /// Sleeps before the next try; false when the task is to end.
    async fn pause(&self, wait: Duration) -> bool {
        tokio::select! {
            () = self.cancel.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }
}

/// One connection to the source.
struct Connection<'a> {
    task: &'a mut SourceTask,
    timeline: &'a mut Timeline,
    video: Option<Arc<VideoConfig>>,
    audio: Option<Arc<AudioConfig>>,
    live_since: Option<Instant>,
    used: BTreeMap<&'static str, ProcessUse>,
}

impl Connection<'_> {
    async fn run(&mut self) -> Ended {
        let pusher = match self.task.settings.source {
            Source::Push => match self.task.pusher().await {
                Some(pusher) => Some(pusher),
                None => return Ended::Stopped,
            },
            _ => None,
        };
        let mut intake = match Intake::start(self.task, pusher).await {
            Ok(intake) => intake,
            Err(error) => return Ended::Failed { kind: FailureKind::Connect, message: error.chain() },
        };
        self.show_workers(&intake);
        let ended = self.read(&mut intake).await;
        let pusher = intake.stop(STOP_GRACE).await;
        if let (Some(pusher), Ended::Failed { kind, message }) = (pusher, &ended) {
            pusher.finish(*kind, message);
        }
        self.task.facts.update(|facts| (facts.worker, facts.sandbox, facts.demux) = (None, None, None));
        ended
    }

    async fn read(&mut self, intake: &mut Intake) -> Ended {
        let limits = &self.task.context.limits;
        let mut patience = limits.connect_timeout + limits.first_media_timeout + WORKER_GRACE;
        let mut heard = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        let mut unwanted_since: Option<Instant> = None;
        loop {
            let event = tokio::select! {
                biased;
                () = self.task.cancel.cancelled() => return Ended::Stopped,
                event = intake.next(self.task) => event,
                _ = tick.tick() => {
                    if let Some(ended) = self.look(intake, heard, patience) {
                        intake.kill();
                        return ended;
                    }
                    self.forget_sound();
                    if self.is_unwanted(&mut unwanted_since) {
                        return Ended::Unwanted;
                    }
                    continue;
                }
            };
            heard = Instant::now();
            match event {
                IntakeEvent::Exited(exit) => {
                    self.task.facts.update(|facts| facts.restarts += 1);
                    self.count_death(Part::Ingest, &exit.description);
                    let message = format!("the worker that reads the source died ({})", exit.description);
                    return Ended::Failed { kind: FailureKind::Protocol, message };
                }
                IntakeEvent::Demuxing | IntakeEvent::Said(FromWorker::Ready, _) => self.show_workers(intake),
                IntakeEvent::Said(FromWorker::Failed { kind, message }, _) => {
                    return Ended::Failed { kind, message };
                }
                IntakeEvent::Said(message, payload) => {
                    if let Err(message) = self.take(message, payload) {
                        intake.kill();
                        return Ended::Failed { kind: FailureKind::Protocol, message };
                    }
                }
            }
            if self.live_since.is_some() {
                patience = self.task.context.limits.idle_timeout + self.task.poll_interval() + WORKER_GRACE;
            }
        }
    }

    /// Shows which workers there are, and what holds them.
    fn show_workers(&self, intake: &Intake) {
        let metrics = &self.task.metrics;
        let part = |wanted| intake.parts().find(|(part, _)| *part == wanted).map(|(_, worker)| worker);
        for (part, worker) in intake.parts() {
            let is_enforced = worker.confined().is_some_and(Confined::is_enforced);
            metrics.all.worker_sandboxed.with_label_values(&[metrics.id(), part.name()]).set(is_enforced.into());
        }
        let shown = |worker: &Worker| (worker.pid, worker.confined().map(SandboxStatus::from));
        let (ingest, demux) = (part(Part::Ingest).map(shown), part(Part::Demux).map(shown));
        self.task.facts.update(|facts| {
            (facts.worker, facts.sandbox) = ingest.map_or((None, None), |(pid, sandbox)| (Some(pid), sandbox));
            facts.demux = demux;
        });
    }

    /// Takes one message; an error is a breach of the link's contract.
    fn take(&mut self, message: FromWorker, payload: Bytes) -> Result<(), String> {
        match message {
            FromWorker::VideoConfig(config) => self.take_video_config(config)?,
            FromWorker::AudioConfig(config) if !config.is_possible() => {
                let AudioConfig { sample_rate, channels, .. } = config;
                tracing::warn!(
                    stream = self.task.metrics.id(),
                    sample_rate,
                    channels,
                    "the source's sound is left out"
                );
            }
            FromWorker::AudioConfig(config) => {
                let config = Arc::new(config);
                self.audio = Some(config.clone());
                self.task.facts.update(|facts| facts.audio = Some(config));
            }
            FromWorker::Packet(header) => self.take_packet(header, payload)?,
            FromWorker::Lost { packets } => {
                self.task.facts.update(|facts| facts.lost += u64::from(packets));
                self.task.metrics.count(&self.task.metrics.all.source_packets_lost, packets.into());
            }
            FromWorker::Clock { from, offset } => self.take_clock(from, offset),
            other => return Err(format!("a source worker said {}", name_of(&other))),
        }
        Ok(())
    }

    /// A source that came back without the sound that it had before.
    fn forget_sound(&self) {
        let has_settled = self.live_since.is_some_and(|since| since.elapsed() >= SOUND_GRACE);
        if has_settled && self.audio.is_none() && self.task.facts.get().audio.is_some() {
            self.task.facts.update(|facts| facts.audio = None);
        }
    }

    fn take_clock(&self, from: ClockSource, offset: i64) {
        let metrics = &self.task.metrics;
        let seconds = offset as f64 / 1e6;
        metrics.all.source_clock_offset.with_label_values(&[metrics.id()]).set(seconds);
        let before = self.task.facts.get().clock;
        if from == ClockSource::Receipt && before.offset.is_none() {
            let behind = format!("{seconds:.1} s");
            tracing::warn!(stream = metrics.id(), behind, "the camera's clock is not set: times are those of receipt");
        }
        self.task.facts.update(|facts| facts.clock = Clock { from, offset: Some(offset) });
    }

    fn take_video_config(&mut self, config: VideoConfig) -> Result<(), String> {
        if config.geometry.pixels() > crate::media::MAX_PIXELS || config.geometry.pixels() == 0 {
            return Err(format!("a source worker announced a picture of {}", config.geometry));
        }
        // Numbered by the stream, so that a camera that comes back unchanged disturbs no copy.
        let before = self.task.facts.get().video;
        let config = match before {
            Some(before) if same_but_generation(&before, &config) => before,
            Some(before) => Arc::new(VideoConfig { generation: before.generation + 1, ..config }),
            None => Arc::new(VideoConfig { generation: 0, ..config }),
        };
        self.video = Some(config.clone());
        self.task.facts.update(|facts| facts.video = Some(config));
        Ok(())
    }

    fn take_packet(&mut self, header: PacketHeader, data: Bytes) -> Result<(), String> {
        if data.is_empty() || data.len() > MAX_ACCESS_UNIT {
            return Err(format!("a source worker sent an access unit of {} bytes", data.len()));
        }
        let config = match header.track {
            Track::Video => self.video.clone().map(TrackConfig::Video),
            Track::Audio => self.audio.clone().map(TrackConfig::Audio),
        };
        let config = config.ok_or("a source worker sent a packet before its configuration")?;
        let jumps = self.timeline.jumps();
        let header = self.timeline.map(header, Instant::now());
        if self.timeline.jumps() > jumps {
            self.task.facts.update(|facts| facts.clock_jumps += 1);
            self.task.metrics.count(&self.task.metrics.all.source_clock_jumps, 1);
        }
        self.task.facts.count_packet(data.len(), header.track == Track::Video);
        let packet = Packet { header, config, data };
        let starts = packet.is_random_access();
        self.task.ring.push(packet);
        if starts && self.live_since.is_none() {
            self.live_since = Some(Instant::now());
            self.task.facts.enter(State::Live, None, None);
        }
        Ok(())
    }

    /// Once a tick: memory over its limit, or silence that even the worker should have noticed, end the connection.
    fn look(&mut self, intake: &Intake, heard: Instant, patience: Duration) -> Option<Ended> {
        let metrics = &self.task.metrics;
        let memory = &self.task.context.memory;
        if memory.pressure() >= Pressure::Shed && self.task.ring.keep_newest_gop() > 0 {
            memory.note_given_up("ring");
        }
        let stats = self.task.ring.stats();
        let id = [metrics.id()];
        metrics.all.ring_bytes.with_label_values(&id).set(stats.bytes as i64);
        metrics.all.ring_seconds.with_label_values(&id).set(stats.seconds);
        metrics.all.ring_joinable.with_label_values(&id).set(i64::from(stats.joinable));
        if let Some(last) = self.task.facts.get().last_packet {
            metrics.all.source_last_packet_age.with_label_values(&id).set(last.elapsed().as_secs_f64());
        }
        let limit = match self.task.settings.source {
            Source::Pattern(_) => self.task.context.limits.pixels_memory,
            _ => self.task.context.limits.ingest_memory,
        };
        for (part, worker) in intake.parts() {
            let Some(usage) = usage(worker.pid) else { continue };
            self.used.entry(part.name()).or_default().show(metrics, part.name(), usage);
            // A demuxer's libraries are not its own memory.
            let shared = if part == Part::Demux { ENGINE_LIBRARIES } else { 0 };
            if usage.rss_bytes > limit + shared {
                self.count_death(part, "memory limit");
                let message =
                    format!("the worker that reads the source took more than {limit} bytes of memory and was ended");
                return Some(Ended::Failed { kind: FailureKind::Limit, message });
            }
        }
        if heard.elapsed() > patience {
            self.count_death(Part::Ingest, "silent");
            let message =
                format!("nothing was heard from the worker that reads the source for {} s", patience.as_secs());
            return Some(Ended::Failed { kind: FailureKind::Idle, message });
        }
        None
    }

    fn is_unwanted(&self, since: &mut Option<Instant>) -> bool {
        if !self.task.is_on_demand() || *self.task.demand.borrow() > 0 {
            *since = None;
            return false;
        }
        since.get_or_insert_with(Instant::now).elapsed() >= self.task.context.limits.pixels_linger
    }

    fn count_death(&self, part: Part, reason: &str) {
        let metrics = &self.task.metrics;
        metrics.all.worker_restarts.with_label_values(&[metrics.id(), part.name(), reason]).inc();
    }
}

fn same_but_generation(one: &VideoConfig, other: &VideoConfig) -> bool {
    *one == VideoConfig { generation: one.generation, ..other.clone() }
}

/// A message's variant, for complaints; its contents may be hostile.
fn name_of(message: &FromWorker) -> &'static str {
    match message {
        FromWorker::Ready => "Ready",
        FromWorker::VideoConfig(_) | FromWorker::AudioConfig(_) => "a configuration",
        FromWorker::Packet(_) => "Packet",
        FromWorker::Lost { .. } => "Lost",
        FromWorker::Failed { .. } => "Failed",
        _ => "something that only a pixels worker says",
    }
}
