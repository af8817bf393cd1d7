//! How long to wait before a source is tried again.

use std::time::Duration;

use crate::config::Limits;
use crate::link::FailureKind;

/// A connection that lived this long was healthy: the next failure starts from the shortest wait again.
const HEALTHY: Duration = Duration::from_secs(60);

/// Doubling waits with jitter; bad credentials wait long from the start, because cameras lock out,
/// and so do sources that camshaft must not go to.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    auth: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits within `limits`.
    pub fn new(limits: &Limits) -> Self {
        Self { min: limits.backoff_min, max: limits.backoff_max, auth: limits.auth_backoff, next: limits.backoff_min }
    }

    /// The wait after a failure of `kind` of a connection that had media for `healthy_for`.
    pub fn after(&mut self, kind: FailureKind, healthy_for: Duration) -> Duration {
        if matches!(kind, FailureKind::Auth | FailureKind::Denied) {
            return self.auth.mul_f64(1.0 + fastrand::f64() * 0.2);
        }
        if healthy_for >= HEALTHY {
            self.next = self.min;
        }
        let wait = self.next;
        self.next = (self.next * 2).min(self.max);
        // Half of it is jitter, so that cameras behind one switch don't all come back at once.
        wait.mul_f64(0.5 + fastrand::f64() * 0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        let (min, max, auth) = (Duration::from_millis(250), Duration::from_secs(30), Duration::from_secs(30));
        Backoff { min, max, auth, next: min }
    }

    #[test]
    fn waits_double_up_to_the_maximum_and_start_again_after_health() {
        let mut backoff = backoff();
        let mut expected = Duration::from_millis(250);
        for _ in 0..12 {
            let wait = backoff.after(FailureKind::Connect, Duration::ZERO);
            assert!(wait >= expected / 2 && wait <= expected, "{wait:?} {expected:?}");
            expected = (expected * 2).min(Duration::from_secs(30));
        }
        assert!(backoff.after(FailureKind::Idle, HEALTHY) <= Duration::from_millis(250));
    }

    #[test]
    fn bad_credentials_wait_at_least_thirty_seconds() {
        for _ in 0..100 {
            assert!(backoff().after(FailureKind::Auth, HEALTHY) >= Duration::from_secs(30));
        }
    }
}
