//! One camera: a task that keeps its source connected, a ring of its packets, a task that owns its pixels worker, and
//! the consumers' ways in.

mod backoff;
mod beside;
mod consumer;
mod context;
mod facts;
mod hls;
mod intake;
mod join;
mod packets;
mod pixels;
mod push;
mod registry;
mod rendition;
mod sound;
mod source;
mod stagger;
pub mod status;
mod still;
mod timeline;
mod used;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use consumer::PictureStream;
pub use context::Context;
pub use hls::{HlsSession, HlsSource};
pub use packets::{PacketStream, Packets, SoundStream};
pub use push::Push;
pub use registry::{Put, Streams};
pub use sound::SoundRequest;

pub use crate::ring::Read;

use crate::config::{Source, StreamSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::media::{
    AudioConfig, AudioRequest, Frame, InputFormat, MediaTime, RenditionRequest, StillSpec, StreamId, VideoConfig,
    WallClock,
};
use crate::metrics::StreamMetrics;
use crate::output::Carrier;
use crate::plan::Policy;
use crate::ring::{Reader, Ring};
use consumer::{Absence, Demand, RenditionUse, Ticket};
use context::take_place;
use facts::SourceFacts;
use hls::HlsSessions;
use pixels::{Accel, Command, Pixels, PixelsFacts, PixelsSetup};
use push::PushPort;
use rendition::RenditionKey;
use sound::{SoundSetup, Sounds};
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
    sounds: Sounds,
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
        let sounds = Sounds::new(SoundSetup {
            context: context.clone(),
            source: ring.clone(),
            metrics: metrics.clone(),
            cancel: cancel.clone(),
        });
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
            sounds,
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
        self.sounds.ended().await;
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
        let audio_out = facts.audio.as_ref().map(audio_out).unwrap_or_default();
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
                audio_out,
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
                sound: self.sounds.status(),
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

/// For each container, the codec of the sound that comes with pictures in it.
fn audio_out(audio: &Arc<AudioConfig>) -> BTreeMap<String, String> {
    let codec = |carrier: Carrier| carrier.sound(AudioRequest::Copy, audio).map(|sound| sound.config().codec.name());
    Carrier::ALL.into_iter().filter_map(|(name, carrier)| Some((name.to_owned(), codec(carrier)?.to_owned()))).collect()
}

fn rfc3339(time: std::time::SystemTime) -> String {
    WallClock::from(time).to_string()
}
