//! The stream's own timeline: 64-bit, increasing, anchored to the time of receipt. A source's jumps and wraps are
//! absorbed here and counted.

use std::time::Instant;

use crate::media::{MediaTime, PacketHeader, Track};

/// A step of the source's clock beyond this, in either direction, is a jump and not a pause.
const MAX_STEP: i64 = 10 * MediaTime::HZ;
/// What the timeline advances by where the source gives no usable step: one frame at 25 a second.
const NOMINAL_STEP: i64 = MediaTime::HZ / 25;

/// Maps a source's times onto the stream's timeline.
#[derive(Debug)]
pub struct Timeline {
    start: Instant,
    /// Stream time minus source time; `None` until the next packet anchors it.
    offset: Option<i64>,
    last_video: Option<MediaTime>,
    last_audio: Option<MediaTime>,
    jumps: u64,
}

impl Timeline {
    /// A timeline that starts at `start`.
    pub fn new(start: Instant) -> Self {
        Self { start, offset: None, last_video: None, last_audio: None, jumps: 0 }
    }

    /// The source is another one from now on (a new connection): the next packet anchors the clock anew.
    pub fn restart(&mut self) {
        self.offset = None;
    }

    /// Jumps absorbed so far.
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    /// The header with its times on the stream's timeline; `now` is when it was received. Decode times increase
    /// strictly within a track.
    pub fn map(&mut self, header: PacketHeader, now: Instant) -> PacketHeader {
        let last = match header.track {
            Track::Video => self.last_video,
            Track::Audio => self.last_audio,
        };
        if self.offset.is_none() {
            self.anchor(header.dts, last, now);
        } else if header.track == Track::Video && self.is_jump(header.dts) {
            self.jumps += 1;
            self.anchor(header.dts, last, now);
        }
        let offset = self.offset.unwrap_or_default();
        let mut dts = header.dts.offset(offset);
        if let Some(last) = last.filter(|last| dts <= *last) {
            dts = last.offset(1);
        }
        let pts = header.pts.offset(offset).max(if header.track == Track::Audio { dts } else { MediaTime(i64::MIN) });
        match header.track {
            Track::Video => self.last_video = Some(dts),
            Track::Audio => self.last_audio = Some(dts),
        }
        PacketHeader { pts, dts, ..header }
    }

    fn is_jump(&self, dts: MediaTime) -> bool {
        let Some((last, offset)) = self.last_video.zip(self.offset) else { return false };
        let step = dts.offset(offset).since(last);
        step <= -MediaTime::HZ || step > MAX_STEP
    }

    /// Puts source time `dts` at the time of receipt, but behind everything delivered before.
    fn anchor(&mut self, dts: MediaTime, last: Option<MediaTime>, now: Instant) {
        let elapsed = now.saturating_duration_since(self.start);
        let received = MediaTime::from_micros(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX));
        let earliest = [last, self.last_video, self.last_audio].into_iter().flatten().max();
        let at = earliest.map_or(received, |earliest| received.max(earliest.offset(NOMINAL_STEP)));
        self.offset = Some(at.since(dts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::WallClock;
    use proptest::prelude::*;
    use std::time::Duration;

    fn video(dts: i64) -> PacketHeader {
        let time = MediaTime(dts);
        PacketHeader { track: Track::Video, pts: time, dts: time, keyframe: false, wall: WallClock(0) }
    }

    #[test]
    fn steps_are_kept_and_jumps_absorbed() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        let first = timeline.map(video(1_000_000), at(100)).dts;
        assert_eq!(first, MediaTime(9000));
        assert_eq!(timeline.map(video(1_003_600), at(140)).dts, first.offset(3600));
        let jumped = timeline.map(video(-7), at(180)).dts;
        assert_eq!((jumped, timeline.jumps()), (MediaTime(16_200), 1));
        assert_eq!(timeline.map(video(3_593), at(220)).dts, jumped.offset(3600));
    }

    #[test]
    fn a_new_connection_goes_on_at_the_time_of_receipt() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start);
        timeline.map(video(50), start);
        timeline.restart();
        let again = timeline.map(video(0), start + Duration::from_secs(5)).dts;
        assert_eq!((again, timeline.jumps()), (MediaTime(450_000), 0));
    }

    proptest! {
        #[test]
        fn decode_times_increase_whatever_comes(times in proptest::collection::vec(any::<i64>(), 1..50)) {
            let start = Instant::now();
            let mut timeline = Timeline::new(start);
            let mut last = None;
            for dts in times {
                let mapped = timeline.map(video(dts), start).dts;
                prop_assert!(last.is_none_or(|last| mapped > last));
                last = Some(mapped);
            }
        }
    }
}
