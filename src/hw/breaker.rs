//! A device's breaker: opened by streams that fail on it, closed by a canary trial, held open by hand.
//!
//! ```text
//!            enough streams failed                 held by hand
//!  closed ───────────────────────▶ open   any ───────────────────▶ held
//!     ▲ ◀──── the canary passed ─────┘                               │
//!     └────────────────────────── closed by hand ◀───────────────────┘
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::plan::Breaker as State;

/// When breakers open, and when they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Streams that open a device's breaker by failing on it…
    pub streams: usize,
    /// … within this time.
    pub window: Duration,
    /// Time between canary trials while it is open.
    pub canary_every: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { streams: 3, window: Duration::from_secs(60), canary_every: Duration::from_secs(300) }
    }
}

/// One device's breaker.
#[derive(Clone, Debug, Default)]
pub(super) struct Breaker {
    state: State,
    /// Who failed on the device, and when; oldest first.
    failures: VecDeque<(Instant, String)>,
    next_canary: Option<Instant>,
}

impl Breaker {
    /// Whether new work may go to the device.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes note of a failure of `stream` on the device; true if that opened the breaker.
    pub fn failed(&mut self, stream: &str, why: &str, now: Instant, settings: &BreakerSettings) -> bool {
        // Each stream counts once, with its newest failure: one bad camera is no bad device.
        self.failures.retain(|(at, who)| now.duration_since(*at) < settings.window && who != stream);
        self.failures.push_back((now, stream.to_owned()));
        if self.state != State::Closed || self.failures.len() < settings.streams {
            return false;
        }
        let streams: Vec<&str> = self.failures.iter().map(|(_, stream)| stream.as_str()).collect();
        let reason = format!("{} failed on it within {:?}, the last by {why}", streams.join(", "), settings.window);
        self.state = State::Open { reason };
        self.next_canary = Some(now + settings.canary_every);
        true
    }

    /// Whether a canary trial is due; the next one is then due after another interval.
    pub fn canary_is_due(&mut self, now: Instant, settings: &BreakerSettings) -> bool {
        let is_due = matches!(self.state, State::Open { .. }) && self.next_canary.is_some_and(|due| due <= now);
        if is_due {
            self.next_canary = Some(now + settings.canary_every);
        }
        is_due
    }

    /// A canary trial went well; true if that closed the breaker, which may have been held meanwhile.
    pub fn canary_passed(&mut self) -> bool {
        let was_open = matches!(self.state, State::Open { .. });
        if was_open {
            *self = Self::default();
        }
        was_open
    }

    /// Sets the state by hand. An open breaker is closed by its canary, a held one only by hand.
    pub fn set(&mut self, state: State, now: Instant, settings: &BreakerSettings) {
        self.failures.clear();
        self.next_canary = matches!(state, State::Open { .. }).then(|| now + settings.canary_every);
        self.state = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BreakerSettings =
        BreakerSettings { streams: 3, window: Duration::from_secs(60), canary_every: Duration::from_secs(300) };

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn failed(breaker: &mut Breaker, stream: &str, now: Instant) -> bool {
        breaker.failed(stream, "hang", now, &SETTINGS)
    }

    #[test]
    fn three_streams_within_the_window_open_it_and_one_stream_never_does() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        assert!((0..50).all(|second| !failed(&mut breaker, "a", at(start, second))));
        assert!(!failed(&mut breaker, "b", at(start, 50)));
        // The failures of a and b are too old by now.
        assert!(!failed(&mut breaker, "c", at(start, 111)));
        assert!(!failed(&mut breaker, "d", at(start, 112)));
        assert!(failed(&mut breaker, "e", at(start, 170)));
        let State::Open { reason } = breaker.state() else { panic!("{breaker:?}") };
        assert!(reason.contains("c, d, e") && reason.contains("hang"), "{reason}");
        assert!(!failed(&mut breaker, "f", at(start, 171)), "it is open already");
    }

    #[test]
    fn the_canary_closes_it_and_the_count_starts_anew() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        assert!(!breaker.canary_is_due(at(start, 1000), &SETTINGS));
        for stream in ["a", "b", "c"] {
            failed(&mut breaker, stream, start);
        }
        assert!(!breaker.canary_is_due(at(start, 299), &SETTINGS));
        assert!(breaker.canary_is_due(at(start, 300), &SETTINGS));
        assert!(!breaker.canary_is_due(at(start, 301), &SETTINGS), "one at a time");
        assert!(breaker.canary_is_due(at(start, 600), &SETTINGS), "again, as the last one failed");
        assert!(breaker.canary_passed());
        assert_eq!(*breaker.state(), State::Closed);
        assert!(!failed(&mut breaker, "d", at(start, 601)));
    }

    #[test]
    fn what_is_held_by_hand_is_closed_by_hand() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        breaker.set(State::Held { reason: "new firmware".into() }, start, &SETTINGS);
        assert!(!breaker.canary_is_due(at(start, 10_000), &SETTINGS));
        assert!(!breaker.canary_passed());
        assert!(!["a", "b", "c", "d"].iter().any(|stream| failed(&mut breaker, stream, start)));
        assert_eq!(breaker.state().name(), "held");
        breaker.set(State::Closed, start, &SETTINGS);
        assert_eq!(*breaker.state(), State::Closed);
        breaker.set(State::Open { reason: "a drill".into() }, start, &SETTINGS);
        assert!(breaker.canary_is_due(at(start, 300), &SETTINGS) && breaker.canary_passed());
    }
}
