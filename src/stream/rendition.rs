//! One rendition: made once by the pixels worker, shared by all who ask for the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::status::RenditionStatus;
use crate::error::{Error, ErrorKind};
use crate::fanout::Fanout;
use crate::link::RenditionId;
use crate::media::{Cadence, Frame, FrameRate, OutputRequest, RenditionRequest};
use crate::plan::{Candidate, Policy};
use crate::ring::{Ring, RingLimits};

/// Joins force an IDR no more often than this.
const FORCE_INTERVAL: Duration = Duration::from_secs(1);

/// What tells renditions apart: equal keys share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RenditionKey {
    /// What is asked for.
    pub request: RenditionRequest,
    /// How much the hardware is wanted.
    pub policy: Policy,
}

/// Where a rendition's media goes.
#[derive(Debug)]
pub enum Sink {
    /// Raw pictures or JPEGs.
    Pictures(Fanout<Frame>),
    /// Access units.
    Packets(Arc<Ring>),
}

/// A rendition as its consumers and the pixels task see it.
#[derive(Debug)]
pub struct Rendition {
    /// Its name within the worker.
    pub id: RenditionId,
    /// What it is.
    pub key: RenditionKey,
    /// Where its media goes.
    pub sink: Sink,
    /// Pictures or access units lost by slow consumers.
    pub dropped: AtomicU64,
    /// Pictures or access units made.
    pub frames: AtomicU64,
    /// From the receipt of the newest picture's packet to the picture; 0 until there is one.
    pub latency_micros: AtomicU64,
    /// Consumers now.
    pub consumers: AtomicU64,
    ended: CancellationToken,
    failure: Mutex<Option<(ErrorKind, String)>>,
    stages: Mutex<Option<Candidate>>,
    last_forced: Mutex<Option<Instant>>,
}

impl Rendition {
    /// A rendition that nothing has been made of yet.
    pub fn new(id: RenditionId, key: RenditionKey, limits: RingLimits) -> Self {
        let sink = match key.request.output {
            OutputRequest::Encode { .. } => Sink::Packets(Arc::new(Ring::new(limits))),
            OutputRequest::Raw(_) | OutputRequest::Jpeg { .. } => Sink::Pictures(Fanout::default()),
        };
        Self {
            id,
            key,
            sink,
            dropped: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            latency_micros: AtomicU64::new(0),
            consumers: AtomicU64::new(0),
            ended: CancellationToken::new(),
            failure: Mutex::default(),
            stages: Mutex::default(),
            last_forced: Mutex::default(),
        }
    }

    /// Ends it for all consumers, with the reason if it could not be made.
    pub fn end(&self, failure: Option<Error>) {
        if let Some(error) = failure {
            let mut slot = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            slot.get_or_insert_with(|| (error.kind(), error.chain()));
        }
        if let Sink::Packets(ring) = &self.sink {
            ring.close();
        }
        self.ended.cancel();
    }

    /// Resolves when it has ended.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Why it ended, if it could not be made.
    pub fn failure(&self) -> Option<Error> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.as_ref().map(|(kind, message)| Error::new(*kind, message.clone()))
    }

    /// Where the worker makes it.
    pub fn stages(&self) -> Option<Candidate> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes where the worker makes it.
    pub fn set_stages(&self, stages: Option<Candidate>) {
        *self.stages.lock().unwrap_or_else(PoisonError::into_inner) = stages;
    }

    /// Whether a join may force an IDR now; true at most once a second.
    pub fn may_force_keyframe(&self) -> bool {
        let mut last = self.last_forced.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|at| at.elapsed() >= FORCE_INTERVAL);
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    /// A short name for people and metrics, e.g. `i420 1280x720@5`.
    pub fn name(&self) -> String {
        let request = &self.key.request;
        let form = match request.output {
            OutputRequest::Raw(format) => format.name().to_owned(),
            OutputRequest::Jpeg { quality } => format!("jpeg q{quality}"),
            OutputRequest::Encode { codec, .. } => codec.name().to_owned(),
        };
        let side = |side: Option<u32>| side.map_or("-".to_owned(), |side| side.to_string());
        let mut name = form;
        if request.width.is_some() || request.height.is_some() {
            name += &format!(" {}x{}", side(request.width), side(request.height));
        }
        if request.cadence != Cadence::Every {
            name += &format!("@{}", request.cadence);
        }
        if let Some(crop) = request.crop {
            name += &format!(" crop {crop}");
        }
        name
    }

    /// As the API shows it.
    pub fn status(&self) -> RenditionStatus {
        let stages = self.stages();
        RenditionStatus {
            key: self.name(),
            from: String::new(),
            decode_scale: stages.as_ref().map(|stages| stages.scale.accel().to_owned()),
            encode: stages.and_then(|stages| stages.encode).map(|encode| encode.accel().to_owned()),
            fps: self.key.request.cadence.grid().map(FrameRate::as_f64),
            consumers: self.consumers.load(Ordering::Relaxed),
            frames: self.frames.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            latency_ms: Some(self.latency_micros.load(Ordering::Relaxed))
                .filter(|micros| *micros > 0)
                .map(|micros| micros as f64 / 1000.0),
        }
    }
}
