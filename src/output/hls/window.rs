//! The segments that can be fetched, oldest first, and the one that grows.

use bytes::Bytes;
use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::Arc;

use crate::media::{MediaTime, WallClock};

/// Whole segments that a playlist lists: more than the three target durations that RFC 8216bis §6.2.2 asks for, as
/// segments may be half as long as the target.
const LISTED: usize = 8;
/// Whole segments that can still be fetched after they left the playlist (RFC 8216bis §6.2.2).
const UNLISTED: usize = 2;

/// What a URI of a playlist names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The header of this number.
    Map(u64),
    /// The segment of this media sequence number.
    Segment(u64),
    /// A part of a segment, by media sequence number and index.
    Part(u64, usize),
}

impl Resource {
    /// The last step of its URI.
    pub fn file_name(self) -> String {
        match self {
            Self::Map(number) => format!("init{number}.mp4"),
            Self::Segment(sequence) => format!("{sequence}.m4s"),
            Self::Part(sequence, index) => format!("{sequence}.{index}.m4s"),
        }
    }
}

impl FromStr for Resource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let map = || text.strip_prefix("init")?.strip_suffix(".mp4")?.parse().ok().map(Self::Map);
        let media = || {
            let name = text.strip_suffix(".m4s")?;
            match name.split_once('.') {
                Some((sequence, index)) => Some(Self::Part(sequence.parse().ok()?, index.parse().ok()?)),
                None => name.parse().ok().map(Self::Segment),
            }
        };
        map().or_else(media).ok_or_else(|| {
            let start: String = text.chars().take(40).collect();
            format!("'{}' is no file of a playlist: take the names from live.m3u8", start.escape_debug())
        })
    }
}

/// A header (`EXT-X-MAP`), which the segments after it are read with.
#[derive(Debug)]
pub(super) struct Map {
    pub number: u64,
    pub data: Bytes,
}

/// A part (`EXT-X-PART`): whole fragments.
#[derive(Debug)]
pub(super) struct Part {
    /// Its duration in ticks of 1/90 000 s.
    pub ticks: i64,
    /// Whether it holds a keyframe.
    pub independent: bool,
    pub data: Bytes,
}

/// A segment: whole, or the one that grows.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its media sequence number.
    pub sequence: u64,
    pub map: Arc<Map>,
    /// Discontinuities before it, its own included.
    pub discontinuities: u64,
    /// The decode time of its first picture.
    pub start: MediaTime,
    /// When its first picture was received or captured.
    pub wall: WallClock,
    pub parts: Vec<Part>,
}

impl Segment {
    /// Its duration in ticks.
    pub fn ticks(&self) -> i64 {
        self.parts.iter().map(|part| part.ticks).fold(0, i64::saturating_add)
    }

    /// Its bytes so far.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.data.len()).sum()
    }
}

/// What can be fetched now.
#[derive(Debug)]
pub struct Window {
    /// Bytes that whole segments may take together.
    limit: usize,
    pub(super) segments: VecDeque<Segment>,
    pub(super) open: Segment,
    /// What no segment may exceed, in seconds; known with the first whole segment.
    pub(super) target_seconds: Option<u64>,
    /// What no part may exceed, in ticks; known with the first whole segment.
    pub(super) part_target: Option<i64>,
}

impl Window {
    pub(super) fn new(limit: usize, open: Segment) -> Self {
        Self { limit, segments: VecDeque::new(), open, target_seconds: None, part_target: None }
    }

    /// Ends the segment that grows, and starts the next.
    pub(super) fn turn(&mut self, next: Segment) {
        self.segments.push_back(std::mem::replace(&mut self.open, next));
        let is_over = |segments: &VecDeque<Segment>| {
            segments.len() > LISTED + UNLISTED || segments.iter().map(Segment::bytes).sum::<usize>() > self.limit
        };
        while self.segments.len() > 1 && is_over(&self.segments) {
            self.segments.pop_front();
        }
    }

    /// The whole segments that the playlist lists.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Segment> {
        self.segments.range(self.segments.len().saturating_sub(LISTED)..)
    }

    /// Whether there is a playlist yet: it needs one whole segment.
    pub fn is_ready(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Whether the segment that grows, with `more` bytes, is all that one may take of the window.
    pub(super) fn is_large(&self, more: usize) -> bool {
        self.open.bytes() + more > self.limit / 4
    }

    /// The part that comes next, as media sequence number and index.
    pub(super) fn edge(&self) -> (u64, usize) {
        (self.open.sequence, self.open.parts.len())
    }

    /// The media sequence number of the segment that grows.
    pub fn newest(&self) -> u64 {
        self.open.sequence
    }

    /// What no segment exceeds, in seconds; 0 while [`Self::is_ready`] is false.
    pub fn target_seconds(&self) -> u64 {
        self.target_seconds.unwrap_or_default()
    }

    /// Whether segment `sequence`, or its part `index`, is there or has been.
    pub fn has_reached(&self, sequence: u64, index: Option<usize>) -> bool {
        let part_is_there = || sequence == self.open.sequence && index.is_some_and(|i| i < self.open.parts.len());
        sequence < self.open.sequence || part_is_there()
    }

    /// Whether `resource` is what comes next: the segment that grows, or its next part.
    pub fn will_have(&self, resource: Resource) -> bool {
        match resource {
            Resource::Map(_) => false,
            Resource::Segment(sequence) => sequence == self.open.sequence,
            Resource::Part(sequence, index) => (sequence, index) == self.edge(),
        }
    }

    /// The bytes of `resource`, in pieces; `None` if they have left the window or are not there yet.
    pub fn read(&self, resource: Resource) -> Option<Vec<Bytes>> {
        let mut segments = self.segments.iter().chain([&self.open]);
        let mut find = |sequence| segments.find(|segment| segment.sequence == sequence);
        match resource {
            Resource::Map(number) => {
                let segment = segments.find(|segment| segment.map.number == number)?;
                Some(vec![segment.map.data.clone()])
            }
            Resource::Segment(sequence) => {
                let segment = find(sequence).filter(|_| sequence < self.open.sequence)?;
                Some(segment.parts.iter().map(|part| part.data.clone()).collect())
            }
            Resource::Part(sequence, index) => Some(vec![find(sequence)?.parts.get(index)?.data.clone()]),
        }
    }
}
