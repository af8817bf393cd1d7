//! What need not be decoded, because no rendition takes its picture: what nothing refers to between the pictures that are
//! taken, the end of a GOP behind the last of them, and all but keyframes where nobody wants more.
//!
//! It may change which picture of a slot is taken, never what that picture looks like.

use bytes::Bytes;
use camshaft::media::nal::{self, NalKind};
use camshaft::media::{MediaTime, PacketHeader, VideoCodec};

use super::renditions::{Demand, Renditions};

/// What becomes of an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is decoded, after all that is held.
    Decode,
    /// A keyframe, and nothing between it and the next one is wanted.
    DecodeAlone,
    /// Nothing will ever need it.
    LeaveOut,
    /// It waits for somebody to need it, until the next keyframe.
    Hold,
}

/// Judges the access units of one source.
pub struct Thrift {
    codec: VideoCodec,
    /// The highest temporal layer seen.
    highest_layer: u8,
    references: References,
    gop: Gop,
    held: Held,
}

impl Thrift {
    /// Nothing seen yet of a source in `codec`.
    pub fn new(codec: VideoCodec) -> Self {
        Self { codec, highest_layer: 0, references: References::default(), gop: Gop::default(), held: Held::default() }
    }

    /// Says what becomes of an access unit. On [`Verdict::Hold`] it is kept here.
    pub fn judge(&mut self, header: &PacketHeader, access_unit: &Bytes, renditions: &Renditions) -> Verdict {
        let demand = renditions.demand();
        if !self.codec.has_nal_units() {
            return self.judge_without_nal_units(header, demand, renditions);
        }
        let is_referenced = self.is_referenced(access_unit);
        if is_referenced {
            self.references.note(header.pts);
        }
        self.gop.note(header);
        if header.keyframe {
            self.held.clear();
            if demand == Demand::Keyframes {
                // The decoder is emptied after it: what refers to it starts with it again.
                self.held.push(header, access_unit);
                return Verdict::DecodeAlone;
            }
            return Verdict::Decode;
        }
        if self.held.is_past_limit {
            // What it refers to is gone.
            return Verdict::LeaveOut;
        }
        match demand {
            Demand::Everything => Verdict::Decode,
            Demand::Keyframes => self.hold(header, access_unit),
            Demand::Grid { slot } => {
                let is_replaceable = renditions.is_settled(header.pts) || self.references.fill_slots_of(slot);
                if !is_referenced && is_replaceable && self.references.are_enough() {
                    return Verdict::LeaveOut;
                }
                let end = self.gop.expected_end().map(|end| end.max(header.pts));
                match end.filter(|end| renditions.is_settled(*end)) {
                    Some(_) => self.hold(header, access_unit),
                    None => Verdict::Decode,
                }
            }
        }
    }

    /// Takes out what is held, in order.
    pub fn release(&mut self) -> Vec<(PacketHeader, Bytes)> {
        self.held.take()
    }

    /// JPEGs refer to nothing; other codecs do not say in the open which pictures nothing refers to.
    fn judge_without_nal_units(&self, header: &PacketHeader, demand: Demand, renditions: &Renditions) -> Verdict {
        let is_needless = self.codec == VideoCodec::Mjpeg
            && matches!(demand, Demand::Grid { .. })
            && renditions.is_settled(header.pts);
        if is_needless { Verdict::LeaveOut } else { Verdict::Decode }
    }

    fn hold(&mut self, header: &PacketHeader, access_unit: &Bytes) -> Verdict {
        self.held.push(header, access_unit);
        Verdict::Hold
    }

    fn is_referenced(&mut self, access_unit: &[u8]) -> bool {
        let mut is_referenced = false;
        for unit in nal::units(access_unit) {
            if !matches!(nal::kind(self.codec, unit), NalKind::Slice | NalKind::KeySlice) {
                continue;
            }
            match nal::unreferenced_layer(self.codec, unit) {
                Some(layer) => {
                    self.highest_layer = self.highest_layer.max(layer);
                    is_referenced |= layer < self.highest_layer;
                }
                None => is_referenced = true,
            }
        }
        is_referenced
    }
}

/// The times of the last pictures that others refer to.
#[derive(Debug, Default)]
struct References {
    /// In the order of their times.
    times: Vec<MediaTime>,
}

impl References {
    /// So many say how the source is built.
    const ENOUGH: usize = 8;
    const MOST: usize = 16;

    fn note(&mut self, pts: MediaTime) {
        let at = self.times.partition_point(|time| *time <= pts);
        self.times.insert(at, pts);
        if self.times.len() > Self::MOST {
            self.times.remove(0);
        }
    }

    fn are_enough(&self) -> bool {
        self.times.len() >= Self::ENOUGH
    }

    /// Whether each slot of so many ticks has one of them, with a quarter to spare for times that jitter.
    fn fill_slots_of(&self, slot: i64) -> bool {
        let longest = self.times.iter().zip(self.times.iter().skip(1)).map(|(one, next)| next.since(*one)).max();
        self.are_enough() && longest.is_some_and(|gap| gap.saturating_mul(5) <= slot.saturating_mul(4))
    }
}

/// How long a GOP lasts, where all are alike.
#[derive(Debug, Default)]
struct Gop {
    start: Option<MediaTime>,
    pictures: i64,
    last_pts: Option<MediaTime>,
    /// Ticks and pictures of the last two whole ones.
    lengths: [Option<(i64, i64)>; 2],
    is_reordered: bool,
}

impl Gop {
    fn note(&mut self, header: &PacketHeader) {
        self.is_reordered |= self.last_pts.is_some_and(|last| header.pts < last);
        self.last_pts = Some(header.pts);
        if !header.keyframe {
            self.pictures += 1;
            return;
        }
        let length = self.start.map(|start| (header.pts.since(start), self.pictures));
        self.lengths = [self.lengths[1], length];
        (self.start, self.pictures) = (Some(header.pts), 1);
    }

    /// When the last picture of this GOP is expected, at the latest.
    fn expected_end(&self) -> Option<MediaTime> {
        let [Some((before, _)), Some((ticks, pictures))] = self.lengths else { return None };
        let interval = ticks / pictures.max(1);
        let is_steady = before.abs_diff(ticks) <= interval.unsigned_abs() / 2 && interval > 0;
        self.start.filter(|_| is_steady && !self.is_reordered).map(|start| start.offset(ticks - interval / 2))
    }
}

/// Access units that may still be needed. Without a gap behind what was decoded last.
#[derive(Debug, Default)]
struct Held {
    units: Vec<(PacketHeader, Bytes)>,
    bytes: usize,
    is_past_limit: bool,
}

impl Held {
    /// A GOP longer than this is joined at the next keyframe.
    const MOST_BYTES: usize = 16 << 20;

    fn push(&mut self, header: &PacketHeader, access_unit: &Bytes) {
        self.bytes += access_unit.len();
        self.is_past_limit |= self.bytes > Self::MOST_BYTES;
        if self.is_past_limit {
            self.units.clear();
        } else {
            self.units.push((*header, access_unit.clone()));
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn take(&mut self) -> Vec<(PacketHeader, Bytes)> {
        self.bytes = 0;
        std::mem::take(&mut self.units)
    }
}
