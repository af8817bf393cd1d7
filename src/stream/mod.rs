//! One camera: a task that keeps its source connected, a ring of its packets, a task that owns its pixels worker, and
//! the consumers' ways in.

mod backoff;
mod beside;
mod choice;
mod consumer;
mod context;
mod facts;
mod feed;
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

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use consumer::PictureStream;
pub use context::Context;
pub use hls::{HlsSession, HlsSource};
pub use packets::{PacketStream, Packets, SoundStream};
pub use push::Push;
pub use registry::{Maker, Put, Streams};
pub use sound::SoundRequest;

pub use crate::ring::Read;

use crate::config::{Source, StreamSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::media::{Frame, InputFormat, MediaTime, RenditionRequest, StillSpec, StreamId, WallClock};
use crate::plan::Policy;
use choice::{Chosen, Wanted};
use consumer::Ticket;
use feed::Feed;
use hls::HlsSessions;
use push::PushPort;
use rendition::RenditionKey;
use status::{DetectStatus, FeedStatus, Status};

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

/// One camera: its source, its substream if it has one, and its consumers. Dropping the last handle does not end it; [`Stream::stop`] does.
#[derive(Debug)]
pub struct Stream {
    id: StreamId,
    settings: Arc<StreamSettings>,
    context: Arc<Context>,
    main: Arc<Feed>,
    /// The camera's substream.
    detect: Option<Arc<Feed>>,
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
        let cancel = CancellationToken::new();
        // An on-demand stream's renditions wait for a consumer like the stream itself.
        let warm = if settings.on_demand { vec![] } else { warm_renditions(&settings) };
        let (push, pushers) = PushPort::new();
        let with_detect = settings.of_detect();
        // With a substream, where they are made is not known before its size is.
        let at_once = if with_detect.is_some() { vec![] } else { warm.clone() };
        let (main, tasks) = Feed::start(id.as_str(), settings.clone(), &context, at_once, pushers, &cancel);
        let mut tasks = Vec::from(tasks);
        let detect = with_detect.map(|settings| {
            let (name, (_, nobody)) = (format!("{id}/detect"), PushPort::new());
            let (detect, own) = Feed::start(&name, Arc::new(settings), &context, vec![], nobody, &cancel);
            let warm = choice::keep_warm(main.clone(), detect.clone(), warm, context.limits.hold, cancel.clone());
            tasks.extend(own);
            tasks.push(tokio::spawn(warm));
            detect
        });
        let (consumers, tasks) = (Arc::default(), tokio::sync::Mutex::new(tasks));
        let hls = HlsSessions::default();
        Arc::new(Self { id, settings, context, main, detect, consumers, cancel, tasks, hls, push })
    }

    /// Ends the stream: its consumers, its workers, its tasks. Returns when all are gone.
    pub async fn stop(&self) {
        self.cancel.cancel();
        for task in self.tasks.lock().await.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(stream = self.id.as_str(), %error, "a stream's task failed");
            }
        }
        for feed in std::iter::once(&self.main).chain(&self.detect) {
            feed.sounds.ended().await;
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
        let Chosen { feed, size, demand: _demand } = self.choose(Wanted::from(&spec)).await?;
        let (width, height) = size.map_or((spec.width, spec.height), |size| (Some(size.width), Some(size.height)));
        feed.still(StillSpec { width, height, ..spec }, moment).await
    }

    /// The status as the API shows it.
    pub fn status(&self) -> Status {
        let FeedStatus { state, since, reason, source, accel, ring, workers, load } = self.main.status();
        let detect = self.detect.as_deref();
        let of_detect = detect.into_iter().flat_map(|detect| detect.rendition_status("detect"));
        Status {
            id: self.id.to_string(),
            state,
            since,
            reason,
            source,
            accel,
            load,
            renditions: self.main.rendition_status("main").chain(of_detect).collect(),
            consumers: self.consumer_count() as u64,
            ring,
            workers,
            detect: detect.map(|detect| DetectStatus { fallback: detect.is_away(), feed: detect.status() }),
        }
    }

    fn ticket(&self, kind: &'static str) -> Result<Ticket> {
        let max = self.context.limits.consumers_per_stream;
        let own = self.context.place(&self.consumers, max, "consumers_per_stream")?;
        let overall = self.context.take_place()?;
        Ok(Ticket::new(self.main.metrics.clone(), kind, self.main.demand(), [own, overall]))
    }
}

fn warm_renditions(settings: &StreamSettings) -> Vec<RenditionKey> {
    let key = |request: &RenditionRequest| RenditionKey { request: *request, policy: settings.policy };
    settings.renditions.values().map(key).collect()
}

fn rfc3339(time: std::time::SystemTime) -> String {
    WallClock::from(time).to_string()
}
