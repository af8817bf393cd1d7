//! The renditions of one stream, whichever worker makes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::oneshot;

use super::super::rendition::{Rendition, RenditionKey, Sink};
use super::budget::Budget;
use super::{MAX_RENDITIONS, PixelsSetup, View, stages};
use crate::error::{Error, ErrorKind, Result};
use crate::link::RenditionId;
use crate::media::{Frame, MediaTime, Packet, PacketHeader, TrackConfig, VideoConfig, WallClock};
use crate::plan::{Input, Job, Policy, Scale, plan};

/// All renditions of a stream.
#[derive(Debug)]
pub struct Renditions {
    setup: Arc<PixelsSetup>,
    view: Arc<View>,
    warm: Vec<RenditionKey>,
    next_id: RenditionId,
    held: HashMap<RenditionId, Held>,
}

/// A rendition and what only the task knows of it.
#[derive(Debug)]
struct Held {
    rendition: Arc<Rendition>,
    /// Never removed: named in the configuration.
    warm: bool,
    /// When the last consumer left.
    unused_since: Option<Instant>,
    /// The newest time handed to consumers; nothing at or before it is handed out again.
    delivered: Option<MediaTime>,
    /// What an encoded rendition's packets are to be read with.
    config: Option<Arc<VideoConfig>>,
}

impl Renditions {
    /// The `warm` ones, kept for as long as the stream lives.
    pub fn new(setup: Arc<PixelsSetup>, view: Arc<View>, warm: Vec<RenditionKey>) -> Self {
        let mut renditions = Self { setup, view, warm, next_id: 0, held: HashMap::new() };
        renditions.warm_up();
        renditions
    }

    fn warm_up(&mut self) {
        for key in self.warm.clone() {
            self.add(key, true);
        }
    }

    /// Keeps `warm` made from now on, and nothing else. Returns what is new and must be added to the worker.
    pub fn keep_warm(&mut self, warm: Vec<RenditionKey>) -> Vec<Arc<Rendition>> {
        for held in self.held.values_mut() {
            held.warm = warm.contains(&held.rendition.key);
            let is_used = held.warm || held.rendition.consumers.load(Ordering::Relaxed) > 0;
            held.unused_since = if is_used { None } else { held.unused_since.or_else(|| Some(Instant::now())) };
        }
        let is_made = |key: &RenditionKey| self.held.values().any(|held| held.rendition.key == *key);
        let missing: Vec<_> = warm.iter().filter(|key| !is_made(key)).copied().collect();
        self.warm = warm;
        missing.into_iter().map(|key| self.add(key, true)).collect()
    }

    /// Every rendition there is, for whoever changes them meanwhile.
    pub fn list(&self) -> Vec<Arc<Rendition>> {
        self.all().cloned().collect()
    }

    /// Whether there is anything to make.
    pub fn any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether any of them was asked for by a consumer.
    pub fn are_awaited(&self) -> bool {
        self.held.values().any(|held| !held.warm || held.rendition.consumers.load(Ordering::Relaxed) > 0)
    }

    /// Every rendition there is.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Rendition>> {
        self.held.values().map(|held| &held.rendition)
    }

    /// What tells them apart.
    pub fn keys(&self) -> Vec<RenditionKey> {
        self.all().map(|rendition| rendition.key).collect()
    }

    /// The rendition of that name, if it is still there.
    pub fn get(&self, id: RenditionId) -> Option<Arc<Rendition>> {
        self.held.get(&id).map(|held| held.rendition.clone())
    }

    /// The newest time delivered of `id`.
    pub fn delivered(&self, id: RenditionId) -> Option<MediaTime> {
        self.held.get(&id)?.delivered
    }

    /// The newest time that every rendition which delivered anything has delivered.
    pub fn earliest_delivered(&self) -> Option<MediaTime> {
        self.held.values().filter_map(|held| held.delivered).min()
    }

    /// What the worker is to do, as far as the plan must know: as much as any of the renditions takes.
    pub fn job(&self, source: &VideoConfig) -> Job {
        let jobs: Vec<Job> =
            self.all().filter_map(|rendition| stages::job(&rendition.key.request, source).ok()).collect();
        let scale = jobs.iter().map(|job| job.scale).find(|scale| *scale == Scale::Needed);
        Job {
            input: Input::from(source),
            scale: scale.unwrap_or(Scale::Unneeded),
            encode: jobs.iter().find_map(|job| job.encode),
            rate: jobs.iter().find(|job| job.encode.is_some()).map(|job| job.rate).unwrap_or_default(),
        }
    }

    /// The strictest policy among the renditions: one worker decodes for all of them.
    pub fn policy(&self) -> Policy {
        let strictness = |policy: &Policy| match policy {
            Policy::PreferHardware => 0,
            Policy::Software => 1,
            Policy::RequireHardware => 2,
        };
        self.all().map(|rendition| rendition.key.policy).max_by_key(strictness).unwrap_or_default()
    }

    /// The most lenient policy: what somebody puts up with, others have to.
    pub fn most_lenient(&self) -> Policy {
        let all_software = self.all().all(|rendition| rendition.key.policy == Policy::Software);
        if all_software { Policy::Software } else { Policy::PreferHardware }
    }

    /// Answers a subscription. Returns the rendition if it is new and must be added to the worker.
    pub fn subscribe(
        &mut self,
        key: RenditionKey,
        reply: oneshot::Sender<Result<Arc<Rendition>>>,
        source: Option<&VideoConfig>,
        budget: &mut Budget,
    ) -> Option<Arc<Rendition>> {
        let (rendition, is_new) = match self.find_or_add(key, source, budget) {
            Ok(found) => found,
            Err(error) => {
                // An asker that went away needs no answer.
                let _ = reply.send(Err(error));
                return None;
            }
        };
        rendition.consumers.fetch_add(1, Ordering::Relaxed);
        if let Some(held) = self.held.get_mut(&rendition.id) {
            held.unused_since = None;
        }
        if reply.send(Ok(rendition.clone())).is_err() {
            self.release(rendition.id);
        }
        is_new.then_some(rendition)
    }

    fn find_or_add(
        &mut self,
        key: RenditionKey,
        source: Option<&VideoConfig>,
        budget: &mut Budget,
    ) -> Result<(Arc<Rendition>, bool)> {
        if let Some(held) = self.held.values().find(|held| held.rendition.key == key) {
            return Ok((held.rendition.clone(), false));
        }
        let mut ways = Vec::new();
        if let Some(source) = source {
            let job = stages::job(&key.request, source)?;
            let plan = plan(&job, &self.setup.capabilities(), key.policy);
            if plan.candidates.is_empty() {
                return Err(self.setup.impossible(&plan));
            }
            ways = plan.candidates;
        }
        if self.held.len() >= MAX_RENDITIONS {
            self.expire_unused();
        }
        if self.held.len() >= MAX_RENDITIONS {
            let names: Vec<_> = self.all().map(|rendition| rendition.name()).collect();
            let message = format!(
                "this stream already makes {MAX_RENDITIONS} renditions ({}): ask for one of these",
                names.join(", ")
            );
            return Err(Error::new(ErrorKind::Overloaded, message));
        }
        if let Some(source) = source {
            let keys: Vec<_> = self.all().map(|rendition| rendition.key).chain([key]).collect();
            budget.extend(&keys, source, &ways)?;
        }
        Ok((self.add(key, false), true))
    }

    fn add(&mut self, key: RenditionKey, warm: bool) -> Arc<Rendition> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let rendition = Arc::new(Rendition::new(id, key, self.setup.context.ring_limits()));
        let held = Held { rendition: rendition.clone(), warm, unused_since: None, delivered: None, config: None };
        self.held.insert(id, held);
        self.show();
        rendition
    }

    /// A consumer of `id` has left.
    pub fn release(&mut self, id: RenditionId) {
        let Some(held) = self.held.get_mut(&id) else { return };
        if held.rendition.consumers.fetch_sub(1, Ordering::Relaxed) == 1 && !held.warm {
            held.unused_since = Some(Instant::now());
        }
    }

    /// Resolves when the next unused rendition has lingered long enough; never if none is unused.
    pub async fn next_expiry(&self) {
        match self.held.values().filter_map(|held| held.unused_since).min() {
            Some(since) => tokio::time::sleep_until((since + self.setup.context.limits.pixels_linger).into()).await,
            None => std::future::pending().await,
        }
    }

    /// Removes what has lingered long enough and returns the names of what it removed.
    pub fn expire(&mut self) -> Vec<RenditionId> {
        let linger = self.setup.context.limits.pixels_linger;
        self.remove_where(|held| held.unused_since.is_some_and(|since| since.elapsed() >= linger))
    }

    fn expire_unused(&mut self) {
        self.remove_where(|held| held.unused_since.is_some());
    }

    fn remove_where(&mut self, condition: impl Fn(&Held) -> bool) -> Vec<RenditionId> {
        let ids: Vec<_> = self.held.iter().filter(|(_, held)| condition(held)).map(|(id, _)| *id).collect();
        for id in &ids {
            if let Some(held) = self.held.remove(id) {
                held.rendition.end(None);
            }
        }
        self.show();
        ids
    }

    /// Ends one rendition for its consumers, with the reason.
    pub fn fail(&mut self, id: RenditionId, error: Error) {
        let Some(held) = self.held.remove(&id) else { return };
        tracing::warn!(
            stream = self.setup.metrics.id(),
            rendition = held.rendition.name(),
            error = error.chain(),
            "a rendition ended"
        );
        held.rendition.end(Some(error));
        self.show();
    }

    /// Ends all renditions for their consumers, with the reason. Those of the configuration then wait for better times.
    pub fn fail_all(&mut self, error: impl Fn() -> Error) {
        let ids: Vec<_> = self.held.keys().copied().collect();
        for id in ids {
            self.fail(id, error());
        }
        self.warm_up();
    }

    /// Ends what has consumers, with the reason; what is kept warm is there again at once for those to come.
    pub fn turn_away(&mut self, error: impl Fn() -> Error) {
        let used = |held: &&Held| held.rendition.consumers.load(Ordering::Relaxed) > 0;
        let used: Vec<_> = self.held.values().filter(used).map(|held| (held.rendition.clone(), held.warm)).collect();
        for (rendition, warm) in used {
            self.fail(rendition.id, error());
            if warm {
                self.add(rendition.key, true);
            }
        }
    }

    /// Ends all renditions because the stream ends.
    pub fn end_all(&mut self) {
        self.remove_where(|_| true);
    }

    /// Hands a picture to its consumers, unless its time was handed out before. Returns whether it was new.
    pub fn deliver_picture(&mut self, id: RenditionId, frame: Frame) -> bool {
        // A rendition just removed may still have pictures under way.
        let Some(held) = self.held.get_mut(&id) else { return false };
        if held.delivered.is_some_and(|last| frame.header.pts <= last) {
            return false;
        }
        held.delivered = Some(frame.header.pts);
        observe(&self.setup, &held.rendition, frame.header.wall);
        if let Sink::Pictures(fanout) = &held.rendition.sink {
            fanout.send(frame);
        }
        true
    }

    /// Takes the configuration of an encoded rendition; renumbered, so that a restarted encoder is told apart.
    pub fn take_config(&mut self, id: RenditionId, config: VideoConfig) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let generation = held.config.as_ref().map_or(0, |before| before.generation + 1);
        held.config = Some(Arc::new(VideoConfig { generation, ..config }));
    }

    /// Hands an access unit to its consumers, unless its time was handed out before. Returns whether it was new.
    pub fn deliver_packet(&mut self, id: RenditionId, header: PacketHeader, data: bytes::Bytes) -> bool {
        let Some(held) = self.held.get_mut(&id) else { return false };
        let Some(config) = held.config.clone() else { return false };
        if held.delivered.is_some_and(|last| header.pts <= last) {
            return false;
        }
        held.delivered = Some(header.pts);
        observe(&self.setup, &held.rendition, header.wall);
        if let Sink::Packets(ring) = &held.rendition.sink {
            ring.push(Packet { header, config: TrackConfig::Video(config), data });
        }
        true
    }

    fn show(&self) {
        let mut renditions: Vec<_> = self.all().cloned().collect();
        renditions.sort_by_key(|rendition| rendition.id);
        self.view.update(|facts| facts.renditions = renditions);
    }
}

fn observe(setup: &PixelsSetup, rendition: &Rendition, wall: WallClock) {
    let (metrics, received) = (&setup.metrics, setup.facts.received(wall));
    rendition.frames.fetch_add(1, Ordering::Relaxed);
    metrics.count_by(&metrics.all.rendition_frames, &rendition.name(), 1);
    let micros = u64::try_from(WallClock::now().0.saturating_sub(received.0)).unwrap_or(0);
    rendition.latency_micros.store(micros, Ordering::Relaxed);
    metrics.all.stage_latency.with_label_values(&[metrics.stream()]).observe(micros as f64 / 1e6);
}
