//! The clock of one output, which starts at 0 where the output starts.

use crate::media::{MediaTime, PacketHeader, Track};

/// Where a packet stands in an output, in ticks of 1/90 000 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    /// Decode time; rises with every packet of a track.
    pub dts: u64,
    /// Presentation time; never before `dts`.
    pub pts: u64,
}

/// Shifts a source's times so that the first keyframe is decoded at 0. One shift for both tracks keeps them in step.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    origin: Option<MediaTime>,
    next_video: u64,
    next_audio: u64,
}

impl Timeline {
    /// The packet's place; `None` if it comes before the first keyframe and is to be left out.
    ///
    /// Containers want decode times that rise and presentation times not before them; a source that breaks either is
    /// moved by as little as possible.
    pub fn place(&mut self, header: &PacketHeader) -> Option<Placement> {
        let starts_here = header.track == Track::Video && header.keyframe;
        let origin = match self.origin {
            Some(origin) => origin,
            None if starts_here => *self.origin.insert(header.dts),
            None => return None,
        };
        let since_origin = |time: MediaTime| u64::try_from(time.since(origin));
        let next = match header.track {
            Track::Video => &mut self.next_video,
            Track::Audio if header.pts < origin => return None,
            Track::Audio => &mut self.next_audio,
        };
        let dts = since_origin(header.dts).unwrap_or(0).max(*next);
        let pts = since_origin(header.pts).unwrap_or(0).max(dts);
        *next = dts.saturating_add(1);
        Some(Placement { dts, pts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::WallClock;

    fn header(track: Track, dts: i64, pts: i64, keyframe: bool) -> PacketHeader {
        PacketHeader { track, dts: MediaTime(dts), pts: MediaTime(pts), keyframe, wall: WallClock(0) }
    }

    #[test]
    fn an_output_starts_at_zero_with_a_video_keyframe() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.place(&header(Track::Audio, 90, 90, true)), None);
        assert_eq!(timeline.place(&header(Track::Video, 100, 100, false)), None);
        assert_eq!(timeline.place(&header(Track::Video, 200, 230, true)), Some(Placement { dts: 0, pts: 30 }));
        assert_eq!(timeline.place(&header(Track::Audio, 199, 199, true)), None);
        assert_eq!(timeline.place(&header(Track::Audio, 205, 205, true)), Some(Placement { dts: 5, pts: 5 }));
    }

    #[test]
    fn decode_times_rise_whatever_the_source_says() {
        let mut timeline = Timeline::default();
        let mut place = |dts, pts| timeline.place(&header(Track::Video, dts, pts, true));
        assert_eq!(place(-50, -50), Some(Placement { dts: 0, pts: 0 }));
        assert_eq!(place(-50, -50), Some(Placement { dts: 1, pts: 1 }));
        assert_eq!(place(i64::MIN, i64::MIN), Some(Placement { dts: 2, pts: 2 }));
        assert_eq!(place(50, 40), Some(Placement { dts: 100, pts: 100 }));
    }
}
