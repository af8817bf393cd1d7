//! One camera: a task that keeps its source connected, a ring of its packets, a task that owns its pixels worker, and
//! the consumers' ways in.

mod backoff;
mod beside;
mod consumer;
mod context;
mod facts;
mod hls;
mod intake;
mod pixels;
mod push;
mod registry;
mod rendition;
mod source;
pub mod status;
mod still;
mod timeline;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use consumer::{PacketStream, PictureStream};
pub use context::Context;
pub use hls::{HlsSession, HlsSource};
pub use push::Push;
pub use registry::{Put, Streams};

pub use crate::ring::Read;

use crate::config::{Source, StreamSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::media::{
    AudioConfig, Frame, FrameRate, InputFormat, MediaTime, RenditionRequest, StillSpec, StreamId, VideoConfig,
    WallClock,
};
use crate::metrics::StreamMetrics;
use crate::output::{Fmp4, MpegTs};
use crate::plan::Policy;
use crate::ring::{Reader, Ring, Start};
use consumer::{Absence, Demand, RenditionUse, Ticket};
use context::take_place;
use facts::SourceFacts;
use hls::HlsSessions;
use pixels::{Accel, Command, Pixels, PixelsFacts, PixelsSetup};
use push::PushPort;
use rendition::{RenditionKey, Sink};
use source::SourceTask;
use status::{AccelStatus, LoadStatus, RingStatus, SourceStatus, State, Status, WorkerStatus, WorkersStatus};

/// How far copies reach back that start with history (6 s): three target durations of HLS, and more than the five seconds
/// that ffmpeg reads of a transport stream before it shows a picture.
const HISTORY: i64 = 6 * MediaTime::HZ;

/// Which moment a still shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// The newest picture.
    Newest,
    /// That long ago.
    Ago(Duration),
    /// At this time of day.
    At(WallClock),
}

/// One camera. Dropping the last handle does not end it; [`Stream::stop`] does.
#[derive(Debug)]
pub struct Stream {
    id: StreamId,
    settings: Arc<StreamSettings>,
    context: Arc<Context>,
    ring: Arc<Ring>,
    facts: Arc<SourceFacts>,
    pixels: Pixels,
    metrics: Arc<StreamMetrics>,
    demand: Arc<watch::Sender<usize>>,
    consumers: Arc<AtomicUsize>,
    cancel: CancellationToken,
    tasks: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
    hls: HlsSessions,
    push: PushPort,
}

impl Stream {
    /// Starts a stream's tasks.
    pub fn start(id: StreamId, settings: StreamSettings, context: Arc<Context>) -> Arc<Self> {
        let settings = Arc::new(settings);
        let metrics = Arc::new(context.metrics.stream(id.as_str()));
        let state = if settings.on_demand { State::Idle } else { State::Connecting };
        let facts = Arc::new(SourceFacts::new(metrics.clone(), context.events.clone(), state));
        let ring = Arc::new(Ring::new(context.ring_limits()));
        let demand = Arc::new(watch::Sender::new(0));
        let cancel = CancellationToken::new();
        let (push, pushers) = PushPort::new();
        let source = SourceTask {
            pushers,
            context: context.clone(),
            settings: settings.clone(),
            ring: ring.clone(),
            facts: facts.clone(),
            metrics: metrics.clone(),
            demand: demand.subscribe(),
            cancel: cancel.clone(),
        };
        let setup = PixelsSetup {
            context: context.clone(),
            ring: ring.clone(),
            facts: facts.clone(),
            metrics: metrics.clone(),
            accel: Accel::new(context.recovery.clone()),
            inquests: TaskTracker::new(),
            cancel: cancel.clone(),
            priority: settings.priority,
        };
        // An on-demand stream's renditions wait for a consumer like the stream itself.
        let warm = if settings.on_demand { vec![] } else { warm_renditions(&settings) };
        let (pixels, pixels_task) = Pixels::new(Arc::new(setup), warm);
        let tasks = vec![tokio::spawn(source::run(source)), tokio::spawn(pixels_task.run())];
        let (consumers, tasks) = (Arc::default(), tokio::sync::Mutex::new(tasks));
        let hls = HlsSessions::default();
        Arc::new(Self {
            id,
            settings,
            context,
            ring,
            facts,
            pixels,
            metrics,
            demand,
            consumers,
            cancel,
            tasks,
            hls,
            push,
        })
    }

    /// Ends the stream: its consumers, its workers, its tasks. Returns when all are gone.
    pub async fn stop(&self) {
        self.cancel.cancel();
        for task in self.tasks.lock().await.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(stream = self.id.as_str(), %error, "a stream's task failed");
            }
        }
    }

    /// The stream's name.
    pub fn id(&self) -> &StreamId {
        &self.id
    }

    /// What it was made from.
    pub fn settings(&self) -> &StreamSettings {
        &self.settings
    }

    /// The policy for requests that name none.
    pub fn policy(&self) -> Policy {
        self.settings.policy
    }

    /// Consumers now.
    pub fn consumer_count(&self) -> usize {
        self.consumers.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// A rendition that the configuration names.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; the message lists the names there are.
    pub fn named_rendition(&self, name: &str) -> Result<RenditionRequest> {
        let renditions = &self.settings.renditions;
        renditions.get(name).copied().ok_or_else(|| {
            let known: Vec<_> = renditions.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Error::new(ErrorKind::NotFound, format!("stream '{}' names no such rendition; it names: {known}", self.id))
        })
    }

    /// The source's packets, from the newest keyframe on.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the source stays away for `limits.hold`; [`ErrorKind::Overloaded`] if all places for
    /// consumers are taken.
    pub async fn copy(&self) -> Result<PacketStream> {
        self.copy_from(|_| Start::NewestKeyframe).await
    }

    /// The same from some seconds ago on, for readers that start slowly and catch up, or that choose where they start.
    ///
    /// # Errors
    /// As [`Self::copy`].
    pub async fn copy_with_history(&self) -> Result<PacketStream> {
        let start = |ring: &Ring| ring.span().map(|(_, newest)| Start::KeyframeBefore(newest.offset(-HISTORY)));
        self.copy_from(|ring| start(ring).unwrap_or(Start::NewestKeyframe)).await
    }

    async fn copy_from(&self, start: impl FnOnce(&Ring) -> Start) -> Result<PacketStream> {
        let ticket = self.ticket("packets")?;
        self.wait_live().await?;
        let mut reader = self.ring.reader(start(&self.ring));
        let (first, video) = self.first_packet(&mut reader).await?;
        let audio = self.facts.get().audio;
        Ok(PacketStream { video, audio, first: Some(first), reader, absence: self.absence(), ticket, rendition: None })
    }

    /// An encoded rendition's packets.
    ///
    /// # Errors
    /// As [`Self::copy`]; [`ErrorKind::Impossible`] if the source or the policy rules it out.
    pub async fn encoded(&self, request: RenditionRequest, policy: Policy) -> Result<PacketStream> {
        let ticket = self.ticket("packets")?;
        self.wait_live().await?;
        let used = self.subscribe(RenditionKey { request, policy }).await?;
        let Sink::Packets(ring) = &used.rendition().sink else {
            return Err(Error::internal("a rendition of pictures was asked for packets"));
        };
        // An IDR made now shows the present; the ring's last one may be a whole GOP old.
        let start = if used.rendition().may_force_keyframe() {
            self.pixels.send(Command::ForceKeyframe(used.id()))?;
            Start::NextKeyframe
        } else {
            Start::NewestKeyframe
        };
        let mut reader = ring.reader(start);
        let (first, video) = tokio::select! {
            biased;
            () = used.rendition().ended() => return Err(self.rendition_failure(&used)),
            first = self.first_packet(&mut reader) => first?,
        };
        let (absence, first) = (self.absence(), Some(first));
        Ok(PacketStream { video, audio: None, first, reader, absence, ticket, rendition: Some(used) })
    }

    /// A raw or JPEG rendition's pictures.
    ///
    /// # Errors
    /// As [`Self::encoded`].
    pub async fn pictures(&self, request: RenditionRequest, policy: Policy) -> Result<PictureStream> {
        let ticket = self.ticket("pictures")?;
        self.wait_live().await?;
        let used = self.subscribe(RenditionKey { request, policy }).await?;
        let Sink::Pictures(fanout) = &used.rendition().sink else {
            return Err(Error::internal("a rendition of packets was asked for pictures"));
        };
        let mut pictures = fanout.subscribe();
        let first = tokio::select! {
            biased;
            () = used.rendition().ended() => return Err(self.rendition_failure(&used)),
            first = tokio::time::timeout(self.context.limits.hold, pictures.next()) => first,
        };
        let first = first.ok().flatten().ok_or_else(|| self.nothing_came())?;
        let source = self.ring.video_config().ok_or_else(|| self.nothing_came())?;
        let spec = request.resolve(&source)?;
        let fps = request.fps.or(source.frame_rate).unwrap_or(FrameRate { num: 25, den: 1 });
        let (absence, first) = (self.absence(), Some(first));
        Ok(PictureStream { spec, fps, first, pictures, absence, ticket, rendition: used })
    }

    /// The HLS session that shows `source`, shared by all who want the same and started if need be.
    pub fn hls(self: &Arc<Self>, source: HlsSource) -> Arc<HlsSession> {
        self.hls.join(self, source)
    }

    /// The HLS session of this number.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it has ended.
    pub fn hls_session(&self, number: u64) -> Result<Arc<HlsSession>> {
        self.hls.get(number)
    }

    /// The audio track of the source, if it has announced one.
    pub fn audio(&self) -> Option<Arc<AudioConfig>> {
        self.facts.get().audio
    }

    /// Takes the place of the one who pushes this stream's media.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if somebody has it, or the stream comes from elsewhere.
    pub fn push(&self, format: InputFormat, content_type: &str) -> Result<Push> {
        if self.settings.source != Source::Push {
            let message = format!(
                "stream '{}' comes from elsewhere: what is pushed needs a stream whose source is push:",
                self.id
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        self.push.begin(format, content_type)
    }

    /// One picture as JPEG.
    ///
    /// # Errors
    /// As [`Self::copy`]; [`ErrorKind::NotFound`] if the ring does not reach back to the moment.
    pub async fn still(&self, spec: StillSpec, moment: Moment) -> Result<Frame> {
        let _ticket = self.ticket("still")?;
        self.wait_live().await?;
        if let Some(config) = self.ring.video_config() {
            crate::media::resolve_size(config.geometry, spec.crop, spec.width, spec.height)?;
        }
        if moment == Moment::Newest {
            let (reply, answer) = oneshot::channel();
            self.pixels.send(Command::Still { spec, reply })?;
            if let Ok(Ok(Some(frame))) = tokio::time::timeout(Duration::from_secs(1), answer).await {
                self.metrics.count_by(&self.metrics.all.stills, "live_worker", 1);
                return Ok(frame);
            }
        }
        self.metrics.count_by(&self.metrics.all.stills, "own_worker", 1);
        let at = self.media_time(moment);
        let capabilities = self.pixels.capabilities();
        still::still(&self.context, &self.ring, self.id.as_str(), &capabilities, self.policy(), spec, at).await
    }

    /// The status as the API shows it.
    pub fn status(&self) -> Status {
        let facts = self.facts.get();
        let pixels = self.pixels.facts();
        let ring = self.ring.stats();
        let (video, audio) = (facts.video.as_deref(), facts.audio.as_deref());
        let audio_carried = audio.map(audio_carried).unwrap_or_default();
        Status {
            id: self.id.to_string(),
            state: self.facts.state(),
            since: rfc3339(facts.since),
            reason: facts.reason,
            source: SourceStatus {
                url: self.settings.source.to_string(),
                codec: video.map(|video| video.codec.name().to_owned()),
                profile: video.map(|video| video.profile.clone()),
                width: video.map(|video| video.geometry.width),
                height: video.map(|video| video.geometry.height),
                fps: facts.fps,
                bitrate_bps: facts.bitrate,
                audio: audio.map(|audio| audio.codec.name().to_owned()),
                audio_carried,
                last_packet_age_s: facts.last_packet.map(|at| (at.elapsed().as_secs_f64() * 1000.0).round() / 1000.0),
                reconnects: facts.reconnects,
                packets_lost: facts.lost,
                clock_jumps: facts.clock_jumps,
            },
            accel: self.accel_status(&pixels),
            load: LoadStatus { state: pixels.load.0.name().to_owned(), reason: pixels.load.1 },
            renditions: self.pixels.rendition_status(),
            consumers: self.consumer_count() as u64,
            ring: RingStatus { seconds: ring.seconds, bytes: ring.bytes, joinable: ring.joinable },
            workers: WorkersStatus {
                demux: facts.demux.and_then(|(pid, sandbox)| facts::worker_status(pid, facts.restarts, sandbox)),
                ingest: facts.worker.and_then(|pid| facts::worker_status(pid, facts.restarts, facts.sandbox)),
                pixels: pixels
                    .worker
                    .and_then(|pid| facts::worker_status(pid, pixels.restarts, pixels.sandbox))
                    .map(|worker| WorkerStatus { gpu_seconds: pixels.gpu_seconds, ..worker }),
            },
        }
    }

    fn accel_status(&self, pixels: &PixelsFacts) -> Option<AccelStatus> {
        let decode = pixels.candidate.as_ref().map(|candidate| &candidate.decode);
        let device = decode.and_then(|decode| decode.device());
        let is_of_interest = decode.is_some() || pixels.reason.is_some();
        pixels.since.filter(|_| is_of_interest).map(|since| AccelStatus {
            decode: decode.map_or("none", |decode| decode.accel()).to_owned(),
            device: device.map(str::to_owned),
            driver: device.and_then(|device| self.context.devices.va_driver(device)),
            reason: pixels.reason.clone(),
            since: rfc3339(since),
        })
    }

    fn ticket(&self, kind: &'static str) -> Result<Ticket> {
        let max = self.context.limits.consumers_per_stream as usize;
        let own = take_place(&self.consumers, max, "limits.consumers_per_stream")?;
        let overall = self.context.take_place()?;
        Ok(Ticket::new(self.metrics.clone(), kind, Demand::new(&self.demand), [own, overall]))
    }

    /// Waits until media comes, for as long as consumers are held.
    async fn wait_live(&self) -> Result<()> {
        let mut state = self.facts.watch_state();
        // Bad credentials do not heal while anybody waits.
        let settled = state.wait_for(|state| matches!(state, State::Live | State::Failed));
        match tokio::time::timeout(self.context.limits.hold, settled).await {
            Ok(Ok(state)) if *state == State::Live => Ok(()),
            _ => Err(self.nothing_came()),
        }
    }

    /// Why there is no media, and when to ask again.
    fn nothing_came(&self) -> Error {
        let facts = self.facts.get();
        let reason = facts.reason.unwrap_or_else(|| "nothing came from the source yet".to_owned());
        let retry = facts.retry_in.unwrap_or(Duration::from_secs(2)).max(Duration::from_secs(1));
        Error::unavailable(format!("stream '{}' has no media: {reason}", self.id)).with_retry_after(retry)
    }

    async fn first_packet(&self, reader: &mut Reader) -> Result<(Read, Arc<VideoConfig>)> {
        let deadline = Instant::now() + self.context.limits.hold;
        loop {
            let read = tokio::time::timeout_at(deadline.into(), reader.next()).await;
            match read.ok().flatten().ok_or_else(|| self.nothing_came())? {
                Read::Skipped(_) => {}
                Read::Packet(packet) => {
                    let config = packet.video_config().cloned();
                    let config = config.ok_or_else(|| Error::internal("a reader started at an audio packet"))?;
                    return Ok((Read::Packet(packet), config));
                }
            }
        }
    }

    async fn subscribe(&self, key: RenditionKey) -> Result<RenditionUse> {
        let (reply, answer) = oneshot::channel();
        self.pixels.send(Command::Subscribe { key, reply })?;
        let rendition = answer.await.map_err(|_| Error::new(ErrorKind::Cancelled, "the stream is ending"))??;
        Ok(RenditionUse::new(rendition, self.pixels.commands()))
    }

    fn rendition_failure(&self, used: &RenditionUse) -> Error {
        used.rendition().failure().unwrap_or_else(|| Error::new(ErrorKind::Cancelled, "the stream is ending"))
    }

    fn absence(&self) -> Absence {
        Absence::new(&self.facts, self.context.limits.hold)
    }

    /// The moment on the stream's timeline, reckoned back from the newest packet.
    fn media_time(&self, moment: Moment) -> Option<MediaTime> {
        let (_, newest) = self.ring.span()?;
        let micros = match moment {
            Moment::Newest => return None,
            Moment::Ago(ago) => i64::try_from(ago.as_micros()).unwrap_or(i64::MAX),
            Moment::At(wall) => WallClock::now().0.saturating_sub(wall.0).max(0),
        };
        Some(newest.offset(-MediaTime::from_micros(micros).0))
    }
}

fn warm_renditions(settings: &StreamSettings) -> Vec<RenditionKey> {
    let key = |request: &RenditionRequest| RenditionKey { request: *request, policy: settings.policy };
    settings.renditions.values().map(key).collect()
}

/// For each container, whether a copy of the stream carries this audio.
fn audio_carried(audio: &AudioConfig) -> BTreeMap<String, bool> {
    let each = [("mp4", Fmp4::carries_audio(audio)), ("ts", MpegTs::carries_audio(audio))];
    each.into_iter().map(|(name, carried)| (name.to_owned(), carried)).collect()
}

fn rfc3339(time: std::time::SystemTime) -> String {
    WallClock::from(time).to_string()
}
