//! The overload ladder: a worker that falls behind its camera is told to leave out more, step by step; one that keeps up
//! for a while, to leave out less.

use std::time::{Duration, Instant};

use crate::link::Effort;

/// How often the ladder moves at most.
const LOOK: Duration = Duration::from_secs(1);
/// A worker this far behind at two looks in a row, and not catching up, is overloaded.
const BEHIND: Duration = Duration::from_millis(500);
/// A worker no further behind than this keeps up.
const KEEPS_UP: Duration = Duration::from_millis(200);
/// The wait before a step back is doubled after each relapse, up to so many times what it is at first.
const LONGEST_CALM: u32 = 16;
/// Falling behind again this soon after a step back is a relapse.
const RELAPSE: Duration = Duration::from_secs(30);

/// One worker's place on the ladder.
#[derive(Debug)]
pub struct Ladder {
    effort: Effort,
    last_look: Option<(Instant, Duration)>,
    keeps_up_since: Option<Instant>,
    first_calm: Duration,
    /// Keeping up for so long leads one step back.
    calm: Duration,
    last_back: Option<Instant>,
}

impl Ladder {
    /// Full effort. Keeping up for `calm` leads one step back.
    pub fn new(calm: Duration) -> Self {
        let (effort, first_calm) = (Effort::Full, calm);
        Self { effort, last_look: None, keeps_up_since: None, first_calm, calm, last_back: None }
    }

    /// Looks at a worker that is `behind` its camera by this much at `now`; the effort that it is to make from now on,
    /// if that changes.
    pub fn look(&mut self, now: Instant, behind: Duration) -> Option<Effort> {
        if self.last_look.is_some_and(|(last, _)| now.saturating_duration_since(last) < LOOK) {
            return None;
        }
        // A burst from the camera is behind for a moment; a new worker by what is replayed, and catches up by itself.
        let stays_behind = self.last_look.is_some_and(|(_, before)| (BEHIND..=behind).contains(&before));
        self.last_look = Some((now, behind));
        if behind > KEEPS_UP {
            self.keeps_up_since = None;
            return stays_behind.then(|| self.give_up_more(now)).flatten();
        }
        let since = *self.keeps_up_since.get_or_insert(now);
        (now.saturating_duration_since(since) >= self.calm).then(|| self.give_up_less(now)).flatten()
    }

    fn give_up_more(&mut self, now: Instant) -> Option<Effort> {
        if let Some(back) = self.last_back.take() {
            let relapsed = now.saturating_duration_since(back) < RELAPSE;
            self.calm = if relapsed { (self.calm * 2).min(self.first_calm * LONGEST_CALM) } else { self.first_calm };
        }
        self.effort = self.effort.less()?;
        Some(self.effort)
    }

    fn give_up_less(&mut self, now: Instant) -> Option<Effort> {
        self.effort = self.effort.more()?;
        (self.keeps_up_since, self.last_back) = (Some(now), Some(now));
        Some(self.effort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Duration = Duration::from_secs(10);

    /// The steps taken while the worker is `behind` by so many milliseconds after each quarter of a second, with the
    /// quarter they came in.
    fn steps(
        ladder: &mut Ladder,
        start: Instant,
        quarters: std::ops::Range<u32>,
        behind: impl Fn(u32) -> u64,
    ) -> Vec<(u32, Effort)> {
        let quarter = Duration::from_millis(250);
        quarters
            .filter_map(|n| Some((n, ladder.look(start + quarter * n, Duration::from_millis(behind(n)))?)))
            .collect()
    }

    #[test]
    fn a_worker_that_falls_behind_goes_down_step_by_step_and_comes_back_with_hysteresis() {
        let (mut ladder, start) = (Ladder::new(CALM), Instant::now());
        let down = steps(&mut ladder, start, 0..40, |n| u64::from(n) * 100);
        let efforts: Vec<_> = down.iter().map(|(_, effort)| *effort).collect();
        assert_eq!(efforts, Effort::ALL[1..].iter().map(|(_, effort)| *effort).collect::<Vec<_>>());
        assert!(down.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 4), "at most one step a second: {down:?}");
        assert_eq!(steps(&mut ladder, start, 40..80, |_| 300), [], "neither behind nor keeping up");
        let back = steps(&mut ladder, start, 80..400, |_| 0);
        let efforts: Vec<_> = back.iter().map(|(_, effort)| *effort).collect();
        assert_eq!(efforts, [Effort::SkipLoopFilter, Effort::HalveDetect, Effort::SkipNonReference, Effort::Full]);
        assert!(back[0].0 - 80 >= 40 && back.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 40), "{back:?}");
    }

    #[test]
    fn neither_a_burst_nor_catching_up_is_overload() {
        let (mut ladder, start) = (Ladder::new(CALM), Instant::now());
        assert_eq!(steps(&mut ladder, start, 0..40, |n| if n % 8 == 0 { 3000 } else { 0 }), []);
        let (mut ladder, start) = (Ladder::new(CALM), Instant::now());
        assert_eq!(steps(&mut ladder, start, 0..40, |n| 8_000 - u64::from(n) * 200), []);
    }

    #[test]
    fn each_relapse_doubles_the_wait() {
        let (mut ladder, start) = (Ladder::new(CALM), Instant::now());
        ladder.look(start, Duration::ZERO);
        let (mut at, mut waits) = (4, Vec::new());
        for _ in 0..3 {
            let down = steps(&mut ladder, start, at..at + 8, |_| 600);
            assert_eq!(down, [(at + 4, Effort::SkipNonReference)]);
            let back = steps(&mut ladder, start, at + 8..at + 1000, |_| 0);
            let (quarter, effort) = back[0];
            assert_eq!((effort, back.len()), (Effort::Full, 1));
            waits.push((quarter - (at + 8)) / 4);
            at += 1000;
        }
        assert_eq!(waits, [10; 3], "long after the last step back it is no relapse");

        let mut ladder = Ladder::new(CALM);
        ladder.look(start, Duration::ZERO);
        let (mut at, mut waits) = (1, Vec::new());
        for _ in 0..6 {
            let mut look =
                |second, behind| ladder.look(start + Duration::from_secs(second), Duration::from_millis(behind));
            assert_eq!((look(at, 600), look(at + 1, 600)), (None, Some(Effort::SkipNonReference)));
            let back = (at + 2..).find(|second| look(*second, 0).is_some()).unwrap();
            waits.push(back - (at + 2));
            at = back + 1;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 160]);
    }
}
