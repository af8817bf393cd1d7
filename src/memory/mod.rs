//! Memory of the whole service against its limit: the overload ladder. As it runs short, new work is refused, then what can
//! be had again is given up, then the largest worker is ended, before the kernel ends the whole container.

mod groups;
mod process;

pub use groups::Groups;
pub use process::private_bytes;

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};
use crate::metrics::Metrics;

/// By how many percent of the limit use must fall below a step's threshold before the step is left: what was given up
/// would otherwise be taken again at once.
const CALM: u32 = 5;
/// When a refused client may try again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// How short memory is; each step includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Not at all.
    #[default]
    None,
    /// New streams, jobs and work on pixels are refused.
    Refuse,
    /// Readers of raw pictures are ended, and rings reach back to the newest keyframe only.
    Shed,
    /// The largest worker is ended, one after the other.
    End,
}

/// Percent of the limit at which each step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Of [`Pressure::Refuse`].
    pub refuse: u32,
    /// Of [`Pressure::Shed`].
    pub shed: u32,
    /// Of [`Pressure::End`].
    pub end: u32,
}

impl Default for Thresholds {
    /// As the configuration's.
    fn default() -> Self {
        Self { refuse: 80, shed: 90, end: 95 }
    }
}

impl Thresholds {
    /// The step at this use, coming from `before`.
    fn step(&self, percent: u32, before: Pressure) -> Pressure {
        let steps = [(Pressure::End, self.end), (Pressure::Shed, self.shed), (Pressure::Refuse, self.refuse)];
        let holds = |(step, threshold): &(Pressure, u32)| match before >= *step {
            true => percent.saturating_add(CALM) > *threshold,
            false => percent >= *threshold,
        };
        steps.into_iter().find(holds).map_or(Pressure::None, |(step, _)| step)
    }
}

/// Bytes in use, and how many there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// In use; what the kernel can drop, as cached files, is left out.
    pub used: u64,
    /// The limit.
    pub limit: u64,
}

impl Reading {
    /// Use in percent of the limit.
    pub fn percent(self) -> u32 {
        u32::try_from(self.used.saturating_mul(100) / self.limit.max(1)).unwrap_or(u32::MAX)
    }
}

/// How short memory is, for all whom that concerns.
#[derive(Debug)]
pub struct Memory {
    thresholds: Thresholds,
    metrics: Arc<Metrics>,
    state: watch::Sender<(Pressure, Reading)>,
}

impl Memory {
    /// Not short of memory, as long as nothing else is noted.
    pub fn new(thresholds: Thresholds, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { thresholds, metrics, state: watch::Sender::default() })
    }

    /// How short it is now.
    pub fn pressure(&self) -> Pressure {
        self.state.borrow().0
    }

    /// Resolves while it is at least as short as `pressure`. Cancel-safe.
    pub async fn reached(&self, pressure: Pressure) {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state.wait_for(|(now, _)| *now >= pressure).await;
    }

    /// Whether there is memory for more of `what` (`stream`, `job`, `pixels`).
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] from [`Pressure::Refuse`] on.
    pub fn admit(&self, what: &'static str) -> Result<()> {
        let (pressure, reading) = *self.state.borrow();
        if pressure == Pressure::None {
            return Ok(());
        }
        self.note_given_up(what);
        let message = format!(
            "the service uses {} % of the {} MiB of memory that it may have: nothing new begins from limits.memory_refuse \
             ({} %) on. End what is not needed, or give it more",
            reading.percent(),
            reading.limit >> 20,
            self.thresholds.refuse
        );
        Err(Error::new(ErrorKind::Overloaded, message).with_retry_after(RETRY_AFTER))
    }

    /// Counts something that was refused or given up.
    pub fn note_given_up(&self, what: &'static str) {
        self.metrics.memory_given_up.with_label_values(&[what]).inc();
    }

    /// Takes note of how much is in use; gives the step that this leads to.
    pub fn note(&self, reading: Reading) -> Pressure {
        let before = self.pressure();
        let now = self.thresholds.step(reading.percent(), before);
        if now != before {
            let percent = reading.percent();
            tracing::warn!(from = ?before, to = ?now, percent, limit = reading.limit, "memory: a step of the overload ladder");
        }
        let show = |gauge: &prometheus::IntGaugeVec, value: u64| {
            gauge.with_label_values::<&str>(&[]).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        show(&self.metrics.memory_used, reading.used);
        show(&self.metrics.memory_limit, reading.limit);
        show(&self.metrics.memory_pressure, now as u64);
        self.state.send_replace((now, reading));
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_taken_at_its_threshold_and_left_a_little_below() {
        let memory = Memory::new(Thresholds::default(), Arc::new(Metrics::new()));
        let at = |used| memory.note(Reading { used, limit: 100 });
        let (none, refuse, shed, end) = (Pressure::None, Pressure::Refuse, Pressure::Shed, Pressure::End);
        let way = [(79, none), (80, refuse), (76, refuse), (75, none), (96, end), (91, end), (90, shed), (86, shed)];
        for (used, expected) in way {
            assert_eq!(at(used), expected, "{used} %");
        }
        assert_eq!(at(85), refuse);
        let error = memory.admit("stream").unwrap_err();
        assert!(error.message().contains("85 %") && error.retry_after().is_some(), "{error:?}");
        assert_eq!(at(10), none);
        assert!(memory.admit("stream").is_ok());
    }

    #[test]
    fn a_limit_of_nothing_is_no_division_by_it() {
        assert_eq!(Reading { used: 5, limit: 0 }.percent(), 500);
        assert_eq!(Reading { used: u64::MAX, limit: 1 }.percent(), u32::MAX);
    }
}
