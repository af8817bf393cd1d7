//! What comes of one source: its ring, its facts, and what is made of its packets. A stream has one, and a second one of
//! its camera's substream if the configuration names that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::consumer::{Absence, Demand, RenditionUse};
use super::context::Context;
use super::facts::{self, SourceFacts};
use super::pixels::{Accel, Command, Pixels, PixelsFacts, PixelsSetup};
use super::push::Pusher;
use super::rendition::RenditionKey;
use super::sound::{SoundSetup, Sounds};
use super::source::{self, SourceTask};
use super::status::{
    AccelStatus, ClockStatus, FeedStatus, LoadStatus, RenditionStatus, RingStatus, SourceStatus, State, WorkerStatus,
    WorkersStatus,
};
use super::{Moment, rfc3339, still};
use crate::config::StreamSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::media::{AudioConfig, AudioRequest, Frame, Geometry, MediaTime, StillSpec};
use crate::metrics::StreamMetrics;
use crate::output::Carrier;
use crate::ring::{Read, Reader, Ring};

/// How long the live worker is waited for before another one decodes the newest picture.
const LIVE_STILL: Duration = Duration::from_secs(1);

/// How long a picture that is asked for by its time is waited for: main streams come later than substreams.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// One source and all that is kept and made of it.
#[derive(Debug)]
pub struct Feed {
    context: Arc<Context>,
    settings: Arc<StreamSettings>,
    /// Its packets.
    pub ring: Arc<Ring>,
    /// What is known of the source.
    pub facts: Arc<SourceFacts>,
    /// What is made of its pictures.
    pub pixels: Pixels,
    /// What is made of its sound.
    pub sounds: Sounds,
    /// Its series.
    pub metrics: Arc<StreamMetrics>,
    demand: Arc<watch::Sender<usize>>,
}

impl Feed {
    /// Starts the tasks that read the source of `settings` and make pictures of it, `warm` renditions always. `name` is
    /// its name in metrics, events and the log.
    pub fn start(
        name: &str,
        settings: Arc<StreamSettings>,
        context: &Arc<Context>,
        warm: Vec<RenditionKey>,
        pushers: mpsc::Receiver<Pusher>,
        cancel: &CancellationToken,
    ) -> (Arc<Self>, [JoinHandle<()>; 2]) {
        let metrics = Arc::new(context.metrics.stream(name));
        let state = if settings.on_demand { State::Idle } else { State::Connecting };
        let facts = Arc::new(SourceFacts::new(metrics.clone(), context.events.clone(), state));
        let ring = Arc::new(Ring::new(context.ring_limits()));
        let demand = Arc::new(watch::Sender::new(0));
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
        let (pixels, pixels_task) = Pixels::new(Arc::new(setup), warm);
        let sounds = Sounds::new(SoundSetup {
            context: context.clone(),
            source: ring.clone(),
            metrics: metrics.clone(),
            cancel: cancel.clone(),
        });
        let tasks = [tokio::spawn(source::run(source)), tokio::spawn(pixels_task.run())];
        let context = context.clone();
        (Arc::new(Self { context, settings, ring, facts, pixels, sounds, metrics, demand }), tasks)
    }

    /// Wants the source for as long as the answer lives.
    pub fn demand(&self) -> Demand {
        Demand::new(&self.demand)
    }

    /// The size of its pictures, once known.
    pub fn size(&self) -> Option<Geometry> {
        Some(self.facts.get().video?.geometry)
    }

    /// The audio track of the source, if it has announced one.
    pub fn audio(&self) -> Option<Arc<AudioConfig>> {
        self.facts.get().audio
    }

    /// Whether the source has been tried and is not there.
    pub fn is_away(&self) -> bool {
        match self.facts.state() {
            State::Live => false,
            State::Reconnecting | State::Failed => true,
            State::Idle | State::Connecting => self.facts.get().reason.is_some(),
        }
    }

    /// Waits until it is known whether the source is there, for as long as consumers are held. True if it is.
    pub async fn is_there(&self) -> bool {
        let mut state = self.facts.watch_state();
        let settled = state.wait_for(|state| *state == State::Live || self.is_away());
        matches!(tokio::time::timeout(self.context.limits.hold, settled).await, Ok(Ok(state)) if *state == State::Live)
    }

    /// Waits until media comes, for as long as consumers are held.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] with the reason if none does.
    pub async fn wait_live(&self) -> Result<()> {
        let mut state = self.facts.watch_state();
        // Bad credentials do not heal while anybody waits.
        let settled = state.wait_for(|state| matches!(state, State::Live | State::Failed));
        match tokio::time::timeout(self.context.limits.hold, settled).await {
            Ok(Ok(state)) if *state == State::Live => Ok(()),
            _ => Err(self.nothing_came()),
        }
    }

    /// Why there is no media, and when to ask again.
    pub fn nothing_came(&self) -> Error {
        let facts = self.facts.get();
        let reason = facts.reason.unwrap_or_else(|| "nothing came from the source yet".to_owned());
        let retry = facts.retry_in.unwrap_or(Duration::from_secs(2)).max(Duration::from_secs(1));
        let message = format!("stream '{}' has no media: {reason}", self.metrics.id());
        Error::unavailable(message).with_retry_after(retry)
    }

    /// The first packet of `reader`, and what it is to be read with.
    ///
    /// # Errors
    /// As [`Self::wait_live`].
    pub async fn first_packet(&self, reader: &mut Reader) -> Result<(Read, Arc<crate::media::VideoConfig>)> {
        let deadline = tokio::time::Instant::now() + self.context.limits.hold;
        loop {
            let read = tokio::time::timeout_at(deadline, reader.next()).await;
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

    /// A use of the rendition of this key, made if need be, that keeps up its `demand`.
    ///
    /// # Errors
    /// What rules it out.
    pub async fn subscribe(&self, key: RenditionKey, demand: Demand) -> Result<RenditionUse> {
        let (reply, answer) = oneshot::channel();
        self.pixels.send(Command::Subscribe { key, reply })?;
        let rendition = answer.await.map_err(|_| Error::new(ErrorKind::Cancelled, "the stream is ending"))??;
        Ok(RenditionUse::new(rendition, self.pixels.commands(), demand))
    }

    /// Ends consumers when the source stays away.
    pub fn absence(&self) -> Absence {
        Absence::new(&self.facts, self.context.limits.hold)
    }

    /// The picture of that moment as JPEG.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the ring does not reach back so far; [`ErrorKind::Impossible`] if the size or the policy
    /// rules it out; [`ErrorKind::Unavailable`] if nothing came.
    pub async fn still(&self, spec: StillSpec, moment: Moment) -> Result<Frame> {
        if let Some(config) = self.ring.video_config() {
            crate::media::resolve_size(config.geometry, spec.crop, spec.width, spec.height)?;
        }
        if moment == Moment::Newest {
            let (reply, answer) = oneshot::channel();
            self.pixels.send(Command::Still { spec, reply })?;
            if let Ok(Ok(Some(frame))) = tokio::time::timeout(LIVE_STILL, answer).await {
                self.metrics.count_by(&self.metrics.all.stills, "live_worker", 1);
                return Ok(frame);
            }
        }
        self.metrics.count_by(&self.metrics.all.stills, "own_worker", 1);
        let at = self.media_time(moment).await;
        let (capabilities, policy) = (self.pixels.capabilities(), self.settings.policy);
        still::still(&self.context, &self.ring, self.metrics.id(), &capabilities, policy, spec, at).await
    }

    /// The moment on the source's timeline: reckoned back from the newest picture, or that of the picture whose wall clock
    /// is nearest. A picture that is still on its way is waited for.
    async fn media_time(&self, moment: Moment) -> Option<MediaTime> {
        match moment {
            Moment::Newest => None,
            Moment::Ago(ago) => {
                let micros = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
                Some(self.ring.span()?.1.offset(-MediaTime::from_micros(micros).0))
            }
            Moment::At(wall) => {
                // Too late is as good as never: the newest is the nearest then.
                let _ = tokio::time::timeout(ON_ITS_WAY, self.ring.reached(wall)).await;
                self.ring.nearest(wall)
            }
        }
    }

    /// As the API shows it.
    pub fn status(&self) -> FeedStatus {
        let facts = self.facts.get();
        let pixels = self.pixels.facts();
        let ring = self.ring.stats();
        let (video, audio) = (facts.video.as_deref(), facts.audio.as_deref());
        let audio_out = facts.audio.as_ref().map(audio_out).unwrap_or_default();
        FeedStatus {
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
                clock: ClockStatus {
                    from: facts.clock.from.name().to_owned(),
                    offset_ms: facts.clock.offset.map(|micros| micros as f64 / 1000.0),
                },
            },
            accel: self.accel_status(&pixels),
            load: LoadStatus { state: pixels.load.0.name().to_owned(), reason: pixels.load.1 },
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

    /// What is made of it, as the API shows it; `from` is its name there.
    pub fn rendition_status(&self, from: &'static str) -> impl Iterator<Item = RenditionStatus> {
        let renditions = self.pixels.facts().renditions;
        renditions.into_iter().map(move |rendition| RenditionStatus { from: from.to_owned(), ..rendition.status() })
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
}

/// For each container, the codec of the sound that comes with pictures in it.
fn audio_out(audio: &Arc<AudioConfig>) -> BTreeMap<String, String> {
    let codec = |carrier: Carrier| carrier.sound(AudioRequest::Copy, audio).map(|sound| sound.config().codec.name());
    Carrier::ALL.into_iter().filter_map(|(name, carrier)| Some((name.to_owned(), codec(carrier)?.to_owned()))).collect()
}
