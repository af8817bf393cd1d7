//! Spreads the first connections of a start: many cameras begin a GOP when they are asked to play, and a keyframe costs ten
//! times what another picture costs. Connected at once, all of them would send theirs at the same moment for ever.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Hands out waits within a span. Each falls into the widest gap that those before it left, so that any number of them is
/// spread evenly.
#[derive(Debug)]
pub struct Stagger {
    span: Duration,
    next: AtomicU32,
}

impl Stagger {
    /// Waits shorter than `span`.
    pub fn new(span: Duration) -> Self {
        Self { span, next: AtomicU32::new(0) }
    }

    /// The next wait; the first one is none.
    pub fn wait(&self) -> Duration {
        // Multiples of the golden ratio modulo 1, as 32-bit fractions.
        const GOLDEN: u32 = 0x9e37_79b9;
        let fraction = self.next.fetch_add(GOLDEN, Ordering::Relaxed);
        self.span.mul_f64(f64::from(fraction) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_waits_is_spread_evenly() {
        for count in 2..40_u32 {
            let stagger = Stagger::new(Duration::from_secs(1));
            let mut waits: Vec<_> = (0..count).map(|_| stagger.wait()).collect();
            assert_eq!(waits[0], Duration::ZERO);
            waits.sort();
            let gaps = waits.windows(2).map(|pair| pair[1] - pair[0]);
            let narrowest = gaps.min().unwrap().as_secs_f64();
            assert!(narrowest > 0.38 / f64::from(count), "{count} waits: {waits:?}");
        }
    }
}
