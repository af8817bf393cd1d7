//! Which pictures a rendition takes, and at what times.

use camshaft::media::{FrameGrid, FrameRate, MediaTime};
use std::ops::Range;

/// Longer gaps in the source stay gaps.
const LONGEST_FILL: i64 = 2 * MediaTime::HZ;
/// No rate has more slots in that time; times at the ends of their range would.
const MOST_FILLED: i64 = 2 * FrameRate::MAX as i64;

/// Picks pictures by their time: on the fixed grid of a frame rate, or all of them. What it picks rises strictly.
#[derive(Debug)]
pub struct Pacing {
    grid: Option<FrameGrid>,
    after: Option<MediaTime>,
    last: Option<i64>,
    share: Share,
    /// Whether the last picture was taken, where there is no grid.
    took_last: bool,
}

/// How much is taken of what could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Every slot of the grid, or every picture.
    All,
    /// Every other one. Times stay on the grid.
    Half,
}

/// What is due when a picture has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    fill: Range<i64>,
    slot: i64,
    share: Share,
}

impl Pacing {
    /// `fps` frames a second, or every picture; nothing up to and including `after`.
    pub fn new(fps: Option<FrameRate>, after: Option<MediaTime>) -> Self {
        let grid = fps.map(FrameGrid::new);
        Self { grid, after, last: None, share: Share::All, took_last: false }
    }

    /// How much is taken from now on.
    pub fn set_share(&mut self, share: Share) {
        self.share = share;
    }

    /// Whether a picture of time `pts` comes too late: its slot is taken.
    pub fn is_past(&self, pts: MediaTime) -> bool {
        let slot = self.grid.map_or(pts.0, |grid| grid.slot(pts));
        self.last.is_some_and(|last| slot <= last)
    }

    /// Whether slots without a picture of their own are filled with the one before.
    pub fn repeats(&self) -> bool {
        self.grid.is_some()
    }

    /// What is due now that a picture of time `pts` has come; `None`: it is passed over.
    ///
    /// The first picture of a slot gets it. ffmpeg's `fps` filter takes the last one, for which it must wait.
    pub fn next(&mut self, pts: MediaTime) -> Option<Due> {
        let slot = self.grid.map_or(pts.0, |grid| grid.slot(pts));
        let last = self.last.unwrap_or(slot.saturating_sub(1));
        if slot <= last {
            return None;
        }
        if self.share == Share::Half {
            self.took_last = !self.took_last;
            // Even slots, so that workers agree on them.
            let is_taken = self.grid.map_or(self.took_last, |_| is_even(slot));
            if !is_taken {
                return None;
            }
        }
        self.last = Some(slot);
        let gap = self.time(slot).since(self.time(last));
        let is_short = gap <= LONGEST_FILL && slot.saturating_sub(last) <= MOST_FILLED;
        let fill = if self.grid.is_some() && is_short { last + 1..slot } else { slot..slot };
        Some(Due { fill, slot, share: self.share })
    }

    /// The times at which the picture before the new one is due again.
    pub fn fill_times(&self, due: &Due) -> impl Iterator<Item = MediaTime> + use<> {
        let (grid, after, share) = (self.grid, self.after, due.share);
        let time = move |slot| grid.map_or(MediaTime(slot), |grid| grid.time(slot));
        let taken = due.fill.clone().filter(move |slot| share == Share::All || is_even(*slot));
        taken.map(time).filter(move |time| after.is_none_or(|after| *time > after))
    }

    /// The time at which the new picture is due; `None`: it was delivered before.
    pub fn picture_time(&self, due: &Due) -> Option<MediaTime> {
        Some(self.time(due.slot)).filter(|time| self.after.is_none_or(|after| *time > after))
    }

    fn time(&self, slot: i64) -> MediaTime {
        self.grid.map_or(MediaTime(slot), |grid| grid.time(slot))
    }
}

fn is_even(slot: i64) -> bool {
    slot.rem_euclid(2) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fps(num: u32, den: u32) -> Option<FrameRate> {
        FrameRate::new(num, den)
    }

    /// (source picture, time) of everything made from pictures at `times`.
    fn made(mut pacing: Pacing, times: impl IntoIterator<Item = i64>) -> Vec<(usize, i64)> {
        let mut out = Vec::new();
        let mut previous = None;
        for (index, pts) in times.into_iter().enumerate() {
            let Some(due) = pacing.next(MediaTime(pts)) else { continue };
            if let Some(previous) = previous {
                out.extend(pacing.fill_times(&due).map(|time| (previous, time.0)));
            }
            out.extend(pacing.picture_time(&due).map(|time| (index, time.0)));
            previous = Some(index);
        }
        out
    }

    #[test]
    fn every_picture_once_without_a_rate() {
        let times = [0, 3600, 3600, 3599, 7200];
        assert_eq!(made(Pacing::new(None, None), times), [(0, 0), (1, 3600), (4, 7200)]);
        assert_eq!(made(Pacing::new(None, Some(MediaTime(3600))), times), [(4, 7200)]);
    }

    #[test]
    fn a_lower_rate_picks_and_a_higher_one_repeats() {
        let source = |count: i64| (0..count).map(|n| n * 3600);
        let picked = made(Pacing::new(fps(5, 1), None), source(13));
        assert_eq!(picked, [(0, 0), (3, 18_000), (8, 36_000)]);
        let repeated = made(Pacing::new(fps(50, 1), None), source(3));
        assert_eq!(repeated, [(0, 0), (0, 1800), (1, 3600), (1, 5400), (2, 7200)]);
    }

    #[test]
    fn what_was_delivered_is_not_made_again_but_fills_what_follows() {
        let pacing = Pacing::new(fps(50, 1), Some(MediaTime(3600)));
        assert_eq!(made(pacing, [0, 3600, 7200]), [(1, 5400), (2, 7200)]);
    }

    #[test]
    fn half_is_every_other_slot_of_the_same_grid() {
        let half = |fps| {
            let mut pacing = Pacing::new(fps, None);
            pacing.set_share(Share::Half);
            pacing
        };
        let source = |count: i64| (0..count).map(|n| n * 3600);
        assert_eq!(made(half(fps(5, 1)), source(24)), [(0, 0), (8, 36_000), (18, 72_000)]);
        assert_eq!(made(half(fps(50, 1)), source(3)), [(0, 0), (1, 3600), (2, 7200)]);
        assert_eq!(made(half(None), source(5)), [(0, 0), (2, 7200), (4, 14_400)]);
        // A keyframe every two seconds still fills what lies between.
        assert_eq!(made(half(fps(5, 1)), [0, 180_000]).len(), 6);
    }

    #[test]
    fn two_workers_pick_the_same_pictures() {
        let from_start = made(Pacing::new(fps(5, 1), None), (0..100).map(|n| n * 3600));
        let last = MediaTime(from_start[9].1);
        let replayed = made(Pacing::new(fps(5, 1), Some(last)), (0..100).map(|n| n * 3600));
        assert_eq!(replayed, from_start[10..]);
    }

    #[test]
    fn long_gaps_stay_and_hostile_times_end_nothing() {
        let gap = made(Pacing::new(fps(5, 1), None), [0, 2 * 90_000 + 18_000]);
        assert_eq!(gap.len(), 2);
        assert_eq!(made(Pacing::new(fps(5, 1), None), [0, 2 * 90_000]).len(), 11);
        for rate in [None, fps(240, 1), fps(1, u32::MAX)] {
            made(Pacing::new(rate, Some(MediaTime(i64::MIN))), [i64::MIN, 0, i64::MAX, i64::MIN]);
        }
    }
}
