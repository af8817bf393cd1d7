//! The packet ring: a bounded memory of encoded packets that reaches back to at least one keyframe, read by any number
//! of cursors. Copies, joins, snapshots and crash recovery all read from here.
//!
//! Whole GOPs leave at the front while the ring is longer than its limits and a later keyframe remains. A single GOP
//! larger than the hard limit is given up from its head on: the ring then can't be joined until the next keyframe, and
//! [`Stats::joinable`] says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

use crate::media::{AudioConfig, MediaTime, Packet, PacketHeader, Track, TrackConfig, VideoConfig, WallClock};

/// Wall clocks are told in milliseconds, so that the oldest picture's may come back a little early.
const WALL_TOLERANCE: i64 = 1_000;

/// Bounds of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// Ticks of 1/90 000 s kept, where a later keyframe allows.
    pub ticks: i64,
    /// Bytes kept, where a later keyframe allows.
    pub bytes: u64,
    /// Bytes that are never exceeded.
    pub hard_bytes: u64,
    /// A reader more than this many ticks behind skips to the newest keyframe.
    pub lag_ticks: i64,
    /// A reader more than this many bytes behind skips to the newest keyframe.
    pub lag_bytes: u64,
}

/// A bounded memory of packets; cheap to share behind an [`Arc`].
#[derive(Debug)]
pub struct Ring {
    limits: RingLimits,
    /// The track in which readers start, at a keyframe.
    lead: Track,
    state: Mutex<State>,
    /// The sequence number of the next packet; receivers wake when it moves, and end when the sender is dropped.
    head: watch::Sender<Head>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    next: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    /// Sequence number of `entries[0]`.
    first: u64,
    /// Sequence numbers of the packets held where readers can start, oldest first.
    keyframes: VecDeque<u64>,
    /// Bytes ever pushed.
    pushed: u64,
    video: Option<Arc<VideoConfig>>,
    audio: Option<Arc<AudioConfig>>,
}

#[derive(Debug)]
struct Entry {
    packet: Arc<Packet>,
    /// Bytes ever pushed before this packet.
    offset: u64,
}

/// What the ring holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Seconds from the oldest packet to the newest.
    pub seconds: f64,
    /// Bytes held.
    pub bytes: u64,
    /// Whether a reader can start from what is held.
    pub joinable: bool,
}

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the newest keyframe held, else at the next to come.
    NewestKeyframe,
    /// At the newest keyframe not after this time, else at the oldest held, else at the next to come.
    KeyframeBefore(MediaTime),
    /// At the next keyframe to come.
    NextKeyframe,
}

/// What a reader yields.
#[derive(Clone, Debug)]
pub enum Read {
    /// The next packet. The first is always a keyframe of the video track, or any of a ring of sound.
    Packet(Arc<Packet>),
    /// This many packets were passed over, because the reader was too slow; a keyframe follows.
    Skipped(u64),
}

/// A cursor into a ring.
#[derive(Debug)]
pub struct Reader {
    ring: Arc<Ring>,
    head: watch::Receiver<Head>,
    next: u64,
    /// Packets before this one were there when the reader came; they are no lag.
    backlog_end: u64,
    needs_keyframe: bool,
}

impl Ring {
    /// An empty ring.
    pub fn new(limits: RingLimits) -> Self {
        Self::led_by(Track::Video, limits)
    }

    /// An empty ring for sound alone, which can be joined at every packet.
    pub fn of_sound(limits: RingLimits) -> Self {
        Self::led_by(Track::Audio, limits)
    }

    fn led_by(lead: Track, limits: RingLimits) -> Self {
        let head = watch::Sender::new(Head { next: 0, closed: false });
        Self { limits, lead, state: Mutex::default(), head }
    }

    fn can_start_at(&self, packet: &Packet) -> bool {
        packet.header.track == self.lead && packet.header.keyframe
    }

    /// Adds a packet, lets go of what is over the limits, and wakes the readers.
    pub fn push(&self, packet: Packet) {
        let mut state = self.state();
        match &packet.config {
            TrackConfig::Video(config) => state.video = Some(config.clone()),
            TrackConfig::Audio(config) => state.audio = Some(config.clone()),
        }
        let next = state.first + state.entries.len() as u64;
        if self.can_start_at(&packet) {
            state.keyframes.push_back(next);
        }
        let offset = state.pushed;
        state.pushed += packet.data.len() as u64;
        state.entries.push_back(Entry { packet: Arc::new(packet), offset });
        state.trim(&self.limits);
        drop(state);
        self.head.send_modify(|head| head.next = next + 1);
    }

    /// Lets go of all that is older than the newest keyframe, and gives how many bytes that were.
    pub fn keep_newest_gop(&self) -> u64 {
        let mut state = self.state();
        let before = state.bytes();
        if let Some(newest) = state.keyframes.back().copied() {
            state.drop_before(newest);
        }
        before - state.bytes()
    }

    /// Ends every reader once it has read what is held.
    pub fn close(&self) {
        self.head.send_modify(|head| head.closed = true);
    }

    /// The configuration of the newest video packet.
    pub fn video_config(&self) -> Option<Arc<VideoConfig>> {
        self.state().video.clone()
    }

    /// The configuration of the newest audio packet.
    pub fn audio_config(&self) -> Option<Arc<AudioConfig>> {
        self.state().audio.clone()
    }

    /// What the ring holds.
    pub fn stats(&self) -> Stats {
        let state = self.state();
        let ends = state.entries.front().zip(state.entries.back());
        Stats {
            seconds: ends.map_or(0.0, |(old, new)| {
                MediaTime(new.packet.header.dts.since(old.packet.header.dts)).seconds().max(0.0)
            }),
            bytes: state.bytes(),
            joinable: !state.keyframes.is_empty(),
        }
    }

    /// The times of the oldest keyframe and of the newest video packet held.
    pub fn span(&self) -> Option<(MediaTime, MediaTime)> {
        let state = self.state();
        let oldest = state.get(*state.keyframes.front()?)?.header.pts;
        let newest = state.entries.iter().rev().find(|entry| entry.packet.video_config().is_some())?;
        Some((oldest, newest.packet.header.pts))
    }

    /// The time of the picture whose wall clock is nearest to `wall`, of those that can be decoded; before the oldest, the
    /// time by that one's clock.
    pub fn nearest(&self, wall: WallClock) -> Option<MediaTime> {
        let state = self.state();
        let skipped = state.keyframes.front()?.checked_sub(state.first)?;
        let headers = state.entries.iter().skip(skipped as usize).map(|entry| &entry.packet.header);
        let mut pictures = headers.filter(|header| header.track == Track::Video);
        let oldest = *pictures.next()?;
        let early = oldest.wall.0.saturating_sub(wall.0);
        if early > WALL_TOLERANCE {
            return Some(oldest.pts.offset(-MediaTime::from_micros(early).0));
        }
        let distance = |header: &&PacketHeader| header.wall.0.saturating_sub(wall.0).saturating_abs();
        let nearest = std::iter::once(&oldest).chain(pictures).min_by_key(distance)?;
        Some(nearest.pts)
    }

    /// Resolves when a picture of `wall` or later has come, or none can come any more. Cancel-safe.
    pub async fn reached(&self, wall: WallClock) {
        let mut head = self.head.subscribe();
        // An error means that the ring is gone.
        let _ = head.wait_for(|head| head.closed || self.newest_wall().is_some_and(|newest| newest >= wall)).await;
    }

    fn newest_wall(&self) -> Option<WallClock> {
        let state = self.state();
        let newest = state.entries.iter().rev().find(|entry| entry.packet.header.track == Track::Video)?;
        Some(newest.packet.header.wall)
    }

    /// A reader from `start` on.
    pub fn reader(self: &Arc<Self>, start: Start) -> Reader {
        let head = self.head.subscribe();
        let state = self.state();
        let end = state.first + state.entries.len() as u64;
        let found = match start {
            Start::NextKeyframe => None,
            Start::NewestKeyframe => state.keyframes.back().copied(),
            Start::KeyframeBefore(time) => {
                let before = |at: &&u64| state.get(**at).is_some_and(|packet| packet.header.pts <= time);
                state.keyframes.iter().rev().find(before).or(state.keyframes.front()).copied()
            }
        };
        drop(state);
        Reader {
            ring: self.clone(),
            head,
            next: found.unwrap_or(end),
            backlog_end: end,
            needs_keyframe: found.is_none(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; should it ever, the packets are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn get(&self, sequence: u64) -> Option<&Arc<Packet>> {
        let index = sequence.checked_sub(self.first)?;
        self.entries.get(index as usize).map(|entry| &entry.packet)
    }

    fn bytes(&self) -> u64 {
        self.entries.front().map_or(0, |oldest| self.pushed - oldest.offset)
    }

    fn trim(&mut self, limits: &RingLimits) {
        while self.is_over(limits)
            && let Some(&second) = self.keyframes.get(1)
        {
            self.drop_before(second);
        }
        while self.bytes() > limits.hard_bytes && self.entries.len() > 1 {
            self.drop_before(self.first + 1);
        }
        if self.keyframes.is_empty() && self.is_over(limits) {
            // Nothing here can be joined or replayed: keep only what readers at the edge are about to take.
            while self.is_over(limits) && self.entries.len() > 1 {
                self.drop_before(self.first + 1);
            }
        }
    }

    fn is_over(&self, limits: &RingLimits) -> bool {
        let Some((oldest, newest)) = self.entries.front().zip(self.entries.back()) else { return false };
        let ticks = newest.packet.header.dts.since(oldest.packet.header.dts);
        ticks > limits.ticks || self.bytes() > limits.bytes
    }

    fn drop_before(&mut self, sequence: u64) {
        while self.first < sequence && self.entries.pop_front().is_some() {
            self.first += 1;
        }
        while self.keyframes.front().is_some_and(|at| *at < self.first) {
            self.keyframes.pop_front();
        }
    }
}

impl Reader {
    /// The next packet, or a note of what was passed over; `None` once the ring is closed and read to its end.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Read> {
        loop {
            let head = *self.head.borrow_and_update();
            if let Some(read) = self.try_next() {
                return Some(read);
            }
            if head.closed {
                return None;
            }
            self.head.changed().await.ok()?;
        }
    }

    /// What the reader has passed since the last keyframe before its place, that keyframe included.
    pub fn since_keyframe(&self) -> Vec<Arc<Packet>> {
        let state = self.ring.state();
        let Some(keyframe) = state.keyframes.iter().rev().find(|at| **at < self.next) else { return Vec::new() };
        (*keyframe..self.next).filter_map(|sequence| state.get(sequence).cloned()).collect()
    }

    /// What [`Reader::next`] would yield, if it is there already.
    pub fn try_next(&mut self) -> Option<Read> {
        let ring = self.ring.clone();
        let state = ring.state();
        let end = state.first + state.entries.len() as u64;
        if let Some(skipped) = self.skip_if_behind(&state, end) {
            return Some(Read::Skipped(skipped));
        }
        while self.next < end {
            let packet = state.get(self.next)?;
            self.next += 1;
            if self.needs_keyframe && !ring.can_start_at(packet) {
                continue;
            }
            self.needs_keyframe = false;
            return Some(Read::Packet(packet.clone()));
        }
        None
    }

    fn skip_if_behind(&mut self, state: &State, end: u64) -> Option<u64> {
        let overrun = self.next < state.first;
        if !overrun && !self.lags(state) {
            return None;
        }
        let keyframe = state.keyframes.back().copied().filter(|at| *at > self.next);
        let target = match keyframe {
            Some(at) => at,
            None if overrun => end,
            None => return None,
        };
        let skipped = target - self.next;
        self.needs_keyframe = keyframe.is_none();
        self.next = target;
        // What is there now is the new backlog: skipping again before it is read would never show anything.
        self.backlog_end = end;
        Some(skipped)
    }

    fn lags(&self, state: &State) -> bool {
        if self.next < self.backlog_end {
            return false;
        }
        let limits = &self.ring.limits;
        let index = self.next.saturating_sub(state.first) as usize;
        let Some((own, newest)) = state.entries.get(index).zip(state.entries.back()) else { return false };
        let ticks = newest.packet.header.dts.since(own.packet.header.dts);
        ticks > limits.lag_ticks || state.pushed - own.offset > limits.lag_bytes
    }
}

#[cfg(test)]
mod tests;
