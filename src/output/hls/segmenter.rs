//! Cuts one stream of packets into segments and parts.

use bytes::{Bytes, BytesMut};
use std::sync::Arc;

use super::window::{Map, Part, Segment, Window};
use crate::error::Result;
use crate::media::{AudioConfig, MediaTime, Packet, PacketHeader, Track, TrackConfig, VideoConfig};
use crate::output::{Flow, Fmp4, PacketMuxer, ParameterSets};

/// A segment ends at the first keyframe after this (0.9 s).
const SEGMENT_MIN: i64 = MediaTime::HZ * 9 / 10;
/// The first segment ends here if no keyframe comes (4 s); later ones within the target duration that it sets.
const SEGMENT_MAX: i64 = MediaTime::HZ * 4;
/// The shortest target duration, so that a first segment cut short by a scene change is no measure for the others.
const TARGET_MIN: u64 = 2;
/// The parts of the first segment end at the picture nearest to this (0.4 s), and set the target for the others.
const PART_AIM: i64 = MediaTime::HZ * 4 / 10;

/// Cuts packets into segments, at keyframes where these come often enough, and keeps the newest.
///
/// Targets must not change once they are published (RFC 8216bis §4.4.3.1), and only the source knows how long its GOPs
/// and frames are: the first segment sets them, and there is no playlist before it is whole.
#[derive(Debug)]
pub struct Segmenter {
    window: Window,
    muxer: Fmp4,
    video: Arc<VideoConfig>,
    audio: Option<Arc<AudioConfig>>,
    part: OpenPart,
    /// Decode time of the last picture, and how long the one before it lasted.
    last: Option<(MediaTime, i64)>,
}

/// The part that grows.
#[derive(Debug, Default)]
struct OpenPart {
    /// Decode time of its first picture.
    start: MediaTime,
    independent: bool,
    data: BytesMut,
}

impl Segmenter {
    /// A segmenter whose first packet is a keyframe with `header`; whole segments take at most `limit` bytes together.
    ///
    /// Media sequence numbers start at the stream's age in seconds. Segments are hardly shorter than a second, so a later
    /// segmenter of the same stream never counts backwards for those who knew this one.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::UnsupportedMedia`] if MP4 cannot hold `video`.
    pub fn new(
        video: Arc<VideoConfig>,
        audio: Option<Arc<AudioConfig>>,
        header: &PacketHeader,
        limit: usize,
    ) -> Result<Self> {
        // Every map has its own parameter sets, so copies and encodes alike keep them there: players want avc1, hvc1.
        let muxer = Fmp4::new(&video, audio.as_deref(), ParameterSets::OutOfBand)?;
        let open = Segment {
            sequence: u64::try_from(header.dts.0 / MediaTime::HZ).unwrap_or_default(),
            map: Arc::new(Map { number: 0, data: muxer.header() }),
            discontinuities: 0,
            start: header.dts,
            wall: header.wall,
            parts: Vec::new(),
        };
        let part = OpenPart { start: header.dts, ..OpenPart::default() };
        Ok(Self { window: Window::new(limit, open), muxer, video, audio, part, last: None })
    }

    /// What can be fetched now.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Takes one packet; true if [`Self::window`] has more to offer now.
    ///
    /// # Errors
    /// Those of [`Fmp4`]: the output cannot go on.
    pub fn packet(&mut self, packet: &Packet) -> Result<bool> {
        let before = self.window.edge();
        let is_video = packet.header.track == Track::Video;
        if is_video {
            self.cut_before(&packet.header);
        }
        if self.muxer.packet(packet, &mut self.part.data)? == Flow::End {
            self.change_source(packet)?;
            self.muxer.packet(packet, &mut self.part.data)?;
        }
        if is_video {
            self.note_picture(&packet.header);
        }
        Ok(self.window.edge() != before)
    }

    /// Ends what must end before this picture.
    fn cut_before(&mut self, header: &PacketHeader) {
        let Some((last, step)) = self.last.filter(|_| !self.part.data.is_empty()) else {
            return self.begin(header);
        };
        let gap = header.dts.since(last);
        if gap > self.segment_max() {
            // The source was away, or the reader too slow: what was there ends with its last picture.
            self.end_segment(last.offset(step), header, Discontinuity::Before);
            self.last = None;
            return;
        }
        let segment = header.dts.since(self.window.open.start);
        let at_keyframe = header.keyframe && segment >= SEGMENT_MIN;
        let is_large = self.window.is_large(self.part.data.len());
        if at_keyframe || is_large || segment.saturating_add(gap) > self.segment_max() {
            self.end_segment(header.dts, header, Discontinuity::None);
            return;
        }
        let part = header.dts.since(self.part.start);
        let is_full = self
            .window
            .part_target
            .map_or(part.saturating_add(gap / 2) >= PART_AIM, |target| part.saturating_add(gap) > target);
        if is_full {
            self.end_part(header.dts);
        }
    }

    /// Nothing of the segment that grows is written yet: it starts here at the earliest.
    fn begin(&mut self, header: &PacketHeader) {
        self.part.start = header.dts;
        self.window.open.start = header.dts;
        self.window.open.wall = header.wall;
    }

    /// The longest that a segment may become: rounded to whole seconds it is within the target duration.
    fn segment_max(&self) -> i64 {
        let target = self.window.target_seconds.and_then(|seconds| i64::try_from(seconds).ok());
        target
            .map_or(SEGMENT_MAX, |seconds| seconds.saturating_mul(MediaTime::HZ).saturating_add(MediaTime::HZ * 4 / 10))
    }

    fn note_picture(&mut self, header: &PacketHeader) {
        if self.part.data.is_empty() {
            return;
        }
        let step = self.last.map_or(0, |(last, _)| header.dts.since(last));
        self.last = Some((header.dts, step));
        self.part.independent |= header.keyframe;
    }

    fn end_part(&mut self, at: MediaTime) {
        let ended = std::mem::take(&mut self.part);
        self.part.start = at;
        if !ended.data.is_empty() {
            let ticks = at.since(ended.start).max(1);
            let data = Bytes::from(ended.data);
            self.window.open.parts.push(Part { ticks, independent: ended.independent, data });
        }
    }

    /// Ends the segment at `at`; the next starts with the picture of `header`.
    fn end_segment(&mut self, at: MediaTime, header: &PacketHeader, discontinuity: Discontinuity) {
        self.end_part(at);
        self.part.start = header.dts;
        let ended = &self.window.open;
        let next = Segment {
            sequence: ended.sequence.wrapping_add(1),
            map: ended.map.clone(),
            discontinuities: ended.discontinuities + u64::from(discontinuity == Discontinuity::Before),
            start: header.dts,
            wall: header.wall,
            parts: Vec::new(),
        };
        if self.window.target_seconds.is_none() {
            self.set_targets();
        }
        self.window.turn(next);
    }

    fn set_targets(&mut self) {
        let ended = &self.window.open;
        let seconds = MediaTime(ended.ticks()).seconds().round() as u64;
        let longest = ended.parts.iter().map(|part| part.ticks).max().unwrap_or(PART_AIM);
        self.window.target_seconds = Some(seconds.max(TARGET_MIN));
        // A little more, as cameras' clocks jitter; shorter parts are then still above the 85 % of RFC 8216bis §4.4.4.9.
        self.window.part_target = Some(longest.saturating_add(longest / 20));
    }

    /// The next segment has a header of its own, for what `packet` is to be read with.
    fn change_source(&mut self, packet: &Packet) -> Result<()> {
        match &packet.config {
            TrackConfig::Video(config) => self.video = config.clone(),
            TrackConfig::Audio(config) => self.audio = Some(config.clone()),
        }
        self.muxer = Fmp4::new(&self.video, self.audio.as_deref(), ParameterSets::OutOfBand)?;
        if !self.window.open.parts.is_empty() || !self.part.data.is_empty() {
            self.end_segment(packet.header.dts, &packet.header, Discontinuity::None);
        }
        let number = self.window.open.map.number + 1;
        self.window.open.map = Arc::new(Map { number, data: self.muxer.header() });
        self.window.open.discontinuities += 1;
        Ok(())
    }
}

/// Whether a segment's times go on from those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Discontinuity {
    None,
    Before,
}
