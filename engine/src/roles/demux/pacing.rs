//! Packets at their time, where they come faster.

use camshaft::media::{MediaTime, Pace};
use std::time::{Duration, Instant};

use super::input::Input;
use crate::roles::End;

/// How far a live source may run ahead of the time since its first packet: servers begin with what they have buffered.
const LEAD: Duration = Duration::from_secs(10);
/// By how much its clock may be faster than ours: a hundredth.
const DRIFT: u32 = 100;
/// A step of a source's clock beyond this is a jump.
const JUMP: i64 = 10 * MediaTime::HZ;

/// Holds what comes too early.
pub(super) struct Pacer {
    pace: Pace,
    /// When a packet of which time was let through.
    anchor: Option<(Instant, MediaTime)>,
    last: MediaTime,
}

impl Pacer {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, anchor: None, last: MediaTime(0) }
    }

    /// Waits until a packet with this decode time may go on. While that takes, what follows waits in the link, in the
    /// supervisor and in the source.
    pub(super) fn wait(&mut self, dts: MediaTime, input: &mut Input) -> Result<(), End> {
        let now = Instant::now();
        if self.anchor.is_some() && dts.since(self.last).abs() > JUMP {
            self.anchor = None;
        }
        self.last = dts;
        let (began, first) = *self.anchor.get_or_insert((now, dts));
        if let Some(early) = self.early(now - began, dts.since(first)) {
            std::thread::sleep(early);
            // Nobody else was to blame for the wait.
            input.patience().picture_came();
        }
        Ok(())
    }

    /// How much too early a packet is, `ticks` behind the first one.
    fn early(&self, elapsed: Duration, ticks: i64) -> Option<Duration> {
        let media = Duration::from_secs_f64(ticks.max(0) as f64 / MediaTime::HZ as f64);
        let due = match self.pace {
            Pace::Loop => media,
            Pace::Live => media.saturating_sub(LEAD + elapsed / DRIFT),
        };
        due.checked_sub(elapsed).filter(|early| !early.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_time_and_a_camera_may_lead() {
        let (file, camera) = (Pacer::new(Pace::Loop), Pacer::new(Pace::Live));
        let second = Duration::from_secs(1);
        assert_eq!(file.early(second, 2 * MediaTime::HZ), Some(second));
        assert_eq!(file.early(second, MediaTime::HZ), None);
        assert_eq!(camera.early(second, 11 * MediaTime::HZ), None);
        assert!(camera.early(second, 20 * MediaTime::HZ).unwrap() > 8 * second);
        // A clock that is fast by half a percent never has to wait.
        let day = Duration::from_secs(86_400);
        assert_eq!(camera.early(day, 86_400 * MediaTime::HZ / 1000 * 1005), None);
    }
}
