//! The consumers' side: what all of them hold, and streams of pictures, which are counted while they live and end when
//! the camera stays away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

use super::context::Place;
use super::facts::SourceFacts;
use super::pixels::Command;
use super::rendition::Rendition;
use super::status::State;
use crate::fanout::{Delivery, Subscription};
use crate::link::RenditionId;
use crate::media::{Frame, FrameRate, OutputSpec, RenditionSpec};
use crate::memory::{Memory, Pressure};
use crate::metrics::StreamMetrics;

/// Counts how many want a stream.
#[derive(Debug)]
pub struct Demand(Arc<watch::Sender<usize>>);

impl Demand {
    /// One more.
    pub fn new(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// What every consumer holds; given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    metrics: Arc<StreamMetrics>,
    kind: &'static str,
    _demand: Demand,
    _places: [Place; 2],
}

impl Ticket {
    /// A consumer of `kind` (`packets`, `pictures`, `sound`).
    pub fn new(metrics: Arc<StreamMetrics>, kind: &'static str, demand: Demand, places: [Place; 2]) -> Self {
        metrics.all.consumers.with_label_values(&[metrics.id(), kind]).inc();
        Self { metrics, kind, _demand: demand, _places: places }
    }

    pub(super) fn count_dropped(&self, count: u64) {
        self.metrics.count_by(&self.metrics.all.consumer_dropped, self.kind, count);
    }

    pub(super) fn note_stalled(&self) {
        tracing::info!(stream = self.metrics.id(), kind = self.kind, "a stalled consumer was closed");
        self.metrics.count(&self.metrics.all.consumers_stalled, 1);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.metrics.all.consumers.with_label_values(&[self.metrics.id(), self.kind]).dec();
    }
}

/// A use of a rendition; the pixels task hears when it ends.
#[derive(Debug)]
pub struct RenditionUse {
    rendition: Arc<Rendition>,
    commands: mpsc::UnboundedSender<Command>,
    _demand: Demand,
}

impl RenditionUse {
    /// A use of `rendition`, which counted it already, and of the source that it is made from.
    pub fn new(rendition: Arc<Rendition>, commands: mpsc::UnboundedSender<Command>, demand: Demand) -> Self {
        Self { rendition, commands, _demand: demand }
    }

    /// The rendition's name within the worker.
    pub fn id(&self) -> RenditionId {
        self.rendition.id
    }

    /// The rendition.
    pub fn rendition(&self) -> &Arc<Rendition> {
        &self.rendition
    }
}

impl Drop for RenditionUse {
    fn drop(&mut self) {
        // The task is gone when the stream is: nothing is left to release.
        let _ = self.commands.send(Command::Release(self.rendition.id));
    }
}

/// Resolves when the source has been away for `hold` at a stretch.
#[derive(Debug)]
pub struct Absence {
    state: watch::Receiver<State>,
    hold: Duration,
}

impl Absence {
    /// Watches `facts`.
    pub fn new(facts: &SourceFacts, hold: Duration) -> Self {
        Self { state: facts.watch_state(), hold }
    }

    /// Waits for the source however long it takes; resolves only once it is gone for good.
    pub(super) fn patient(self) -> Self {
        Self { hold: Duration::MAX, ..self }
    }

    /// Resolves once the source has been away for the whole hold, or for good. Cancel-safe up to the current wait,
    /// which starts anew.
    pub(super) async fn too_long(&mut self) {
        loop {
            if self.state.wait_for(|state| *state != State::Live).await.is_err() {
                return;
            }
            let back = self.state.wait_for(|state| *state == State::Live);
            match tokio::time::timeout(self.hold, back).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }
}

/// A picture consumer; counted while it lives.
#[derive(Debug)]
pub struct PictureStream {
    /// What is made.
    pub spec: RenditionSpec,
    /// The nominal rate: the one asked for, else the source's, else 25; 1 of keyframes.
    pub fps: FrameRate,
    pub(super) first: Option<Delivery<Frame>>,
    pub(super) pictures: Subscription<Frame>,
    pub(super) absence: Absence,
    pub(super) ticket: Ticket,
    pub(super) rendition: RenditionUse,
    pub(super) memory: Arc<Memory>,
}

impl PictureStream {
    /// The next picture, and how many this consumer lost before it; `None` when the stream has ended, the camera stayed
    /// away too long, or memory runs short.
    pub async fn next(&mut self) -> Option<Delivery<Frame>> {
        let delivery = match self.first.take() {
            Some(delivery) => delivery,
            None => tokio::select! {
                biased;
                // A reader that is always late has always a picture to take.
                () = self.shed() => return None,
                delivery = self.pictures.next() => delivery?,
                () = self.rendition.rendition().ended() => return None,
                () = self.absence.too_long() => return None,
            },
        };
        self.note_dropped(delivery.dropped);
        Some(delivery)
    }

    /// Resolves when this reader must go for want of memory, as [`Self::next`] tells one that asks it; for whoever waits
    /// for the reader instead. Readers of small pictures never must. Cancel-safe.
    pub fn shed(&self) -> impl Future<Output = ()> + Send + use<> {
        let (memory, output) = (self.memory.clone(), self.spec.output);
        async move {
            match output {
                OutputSpec::Raw(_) => memory.reached(Pressure::Shed).await,
                OutputSpec::Jpeg { .. } | OutputSpec::Encode(_) => std::future::pending().await,
            }
            memory.note_given_up("reader");
        }
    }

    /// Counts pictures that its consumer had no use for, as those are that were lost before they came here.
    pub fn note_dropped(&self, count: u64) {
        if count > 0 {
            self.ticket.count_dropped(count);
            self.rendition.rendition().dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// What its stream is counted in.
    pub fn metrics(&self) -> &Arc<StreamMetrics> {
        &self.ticket.metrics
    }

    /// Goes on however long the source stays away; ends only with the stream.
    pub fn patient(self) -> Self {
        Self { absence: self.absence.patient(), ..self }
    }

    /// Counts this consumer as closed because it took nothing.
    pub fn note_stalled(&self) {
        self.ticket.note_stalled();
    }
}
