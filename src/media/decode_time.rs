//! Decode times. RTP carries presentation times only (RFC 6184 §5.1); decode times follow from how far the stream
//! reorders its pictures.

use super::{FrameRate, MediaTime};

/// The deepest reordering that H.264 and H.265 allow, in pictures.
const MAX_DEPTH: usize = 16;
/// A step of presentation times that is no reordering but a new beginning, in ticks.
const JUMP: u64 = 10 * MediaTime::HZ as u64;
/// Ticks between pictures where the stream does not say: 25 a second.
const USUAL_INTERVAL: i64 = MediaTime::HZ / 25;

/// Gives each picture, in decoding order, a decode time.
///
/// Among the last `depth + 1` pictures the one that is shown first is the one whose turn it is, so its presentation
/// time is the decode time. Before that many have come, times are counted back from the first. A stream that says it
/// reorders less than it does makes the depth grow.
#[derive(Debug, Default)]
pub struct DecodeTimes {
    depth: usize,
    interval: i64,
    /// The latest presentation times in increasing order, at most `depth + 1`.
    latest: Vec<i64>,
    last: Option<i64>,
}

impl DecodeTimes {
    /// The stream says, from the next picture on, that it holds back `reorder_depth` pictures and shows `rate` a second.
    pub fn follow(&mut self, reorder_depth: u8, rate: Option<FrameRate>) {
        let interval = rate.map(|rate| MediaTime::HZ * i64::from(rate.den) / i64::from(rate.num.max(1)));
        self.interval = interval.unwrap_or(USUAL_INTERVAL).clamp(1, MediaTime::HZ);
        self.depth = usize::from(reorder_depth).min(MAX_DEPTH);
        self.latest.drain(..self.latest.len().saturating_sub(self.depth + 1));
    }

    /// The decode time of the picture that is shown at `pts`: above the one before, and not above `pts` as long as the
    /// stream keeps to its depth. Where presentation times jump back by more than 10 s, so do decode times.
    pub fn stamp(&mut self, pts: MediaTime) -> MediaTime {
        let pts = pts.0;
        if let Some(&newest) = self.latest.last()
            && newest.abs_diff(pts) > JUMP
        {
            self.latest.clear();
            self.last = self.last.filter(|last| *last < pts);
        }
        if self.last.is_some_and(|last| pts < last) && self.depth < MAX_DEPTH {
            self.depth += 1;
        }
        self.latest.insert(self.latest.partition_point(|earlier| *earlier <= pts), pts);
        if self.latest.len() > self.depth + 1 {
            self.latest.remove(0);
        }
        let missing = (self.depth + 1 - self.latest.len()) as i64;
        let earliest = self.latest.first().copied().unwrap_or(pts);
        let due = earliest.saturating_sub(missing * self.interval);
        let dts = self.last.map_or(due, |last| due.max(last.saturating_add(1)));
        self.last = Some(dts);
        MediaTime(dts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: i64 = 3600;

    fn stamp_all(depth: u8, frames: &[i64]) -> Vec<i64> {
        let mut times = DecodeTimes::default();
        times.follow(depth, FrameRate::new(25, 1));
        frames.iter().map(|frame| times.stamp(MediaTime(frame * FRAME)).0).collect()
    }

    fn frames(numbers: &[i64]) -> Vec<i64> {
        numbers.iter().map(|number| number * FRAME).collect()
    }

    #[test]
    fn without_reordering_decode_time_is_presentation_time() {
        assert_eq!(stamp_all(0, &[0, 1, 2, 5]), frames(&[0, 1, 2, 5]));
    }

    #[test]
    fn ibbp_is_decoded_one_picture_ahead() {
        assert_eq!(stamp_all(1, &[0, 3, 1, 2, 6, 4, 5]), frames(&[-1, 0, 1, 2, 3, 4, 5]));
    }

    #[test]
    fn a_pyramid_is_decoded_two_pictures_ahead() {
        assert_eq!(stamp_all(2, &[0, 4, 2, 1, 3, 8, 6, 5, 7]), frames(&[-2, -1, 0, 1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn leading_pictures_of_an_open_gop_do_not_turn_time_back() {
        let stamped = stamp_all(2, &[3, 1, 2, 6, 4, 5, 9, 7, 8]);
        assert!(stamped.is_sorted_by(|a, b| a < b), "{stamped:?}");
    }

    #[test]
    fn a_stream_that_reorders_more_than_it_says_is_believed_by_its_deeds() {
        let order: Vec<i64> = (0..10).flat_map(|gop| [3, 1, 2].map(|frame| gop * 3 + frame)).collect();
        let stamped = stamp_all(0, &order);
        assert!(stamped.is_sorted_by(|a, b| a < b), "{stamped:?}");
        let settled = order.iter().zip(&stamped).skip(6);
        assert!(
            settled.clone().count() > 20 && settled.into_iter().all(|(pts, dts)| *dts <= pts * FRAME),
            "{stamped:?}"
        );
    }

    #[test]
    fn new_parameters_do_not_turn_time_back() {
        let mut times = DecodeTimes::default();
        let stamped: Vec<i64> = [0, 3, 1, 0, 2, 1, 2]
            .into_iter()
            .zip(0..)
            .map(|(depth, frame)| {
                times.follow(depth, None);
                times.stamp(MediaTime(frame * FRAME)).0
            })
            .collect();
        assert!(stamped.is_sorted_by(|a, b| a < b), "{stamped:?}");
    }

    #[test]
    fn a_jump_starts_anew() {
        assert_eq!(stamp_all(1, &[1000, 1001, 0, 1]), frames(&[999, 1000, -1, 0]));
        assert_eq!(stamp_all(1, &[0, 1, 1000, 1001]), frames(&[-1, 0, 999, 1000]));
    }

    proptest! {
        #[test]
        fn any_times_are_survived(depth in any::<u8>(), times in proptest::collection::vec(any::<i64>(), 0..50)) {
            let mut stamps = DecodeTimes::default();
            stamps.follow(depth, None);
            for time in times {
                stamps.stamp(MediaTime(time));
            }
        }

        #[test]
        fn times_near_each_other_give_increasing_stamps(depth in 0u8..20, times in proptest::collection::vec(0i64..900_000, 0..50)) {
            let mut stamps = DecodeTimes::default();
            stamps.follow(depth, None);
            let stamped: Vec<_> = times.into_iter().map(|time| stamps.stamp(MediaTime(time))).collect();
            prop_assert!(stamped.is_sorted_by(|a, b| a < b));
        }
    }
}
