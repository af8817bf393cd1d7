//! The time of day by a camera's RTCP sender reports (RFC 3550 §6.4.1), which tie the timestamps of all its tracks and
//! streams to one clock. A clock that is far from this machine's is not set, and not followed.

use retina::Timestamp;
use retina::rtcp::ReceivedCompoundPacket;

use crate::media::{ClockSource, WallClock};

/// How far the camera's clock may be from the time of receipt and still be followed. Where clocks are set, what is between
/// them is how long a picture travels.
const FOLLOWED: i64 = 5_000_000;
/// Seconds from the epoch of NTP, 1900, to that of Unix.
const NTP_EPOCH: i64 = 2_208_988_800;

/// The clock of one track.
#[derive(Debug, Default)]
pub(super) struct CameraClock {
    report: Option<Report>,
    /// The least that receipt was behind the camera's clock since the last report.
    least: Option<i64>,
    is_followed: bool,
    /// Whether the last report has been held against a packet.
    is_checked: bool,
}

/// One sender report.
#[derive(Clone, Copy, Debug)]
struct Report {
    /// In units of the track's clock.
    ticks: i64,
    wall: WallClock,
}

/// What is known of the camera's clock after a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) from: ClockSource,
    /// Microseconds.
    pub(super) offset: i64,
}

impl CameraClock {
    /// Takes a compound packet that was received at `received`; only one that begins with a sender report counts.
    pub(super) fn hear(&mut self, packet: &ReceivedCompoundPacket, received: WallClock) {
        let Some(timestamp) = packet.rtp_timestamp() else { return };
        let first = packet.pkts().next().and_then(|first| first.as_sender_report().ok().flatten());
        // Zero: the camera has no clock.
        if let Some(ntp) = first.map(|report| report.ntp_timestamp().0).filter(|ntp| *ntp != 0) {
            self.set(timestamp.elapsed(), time_of(ntp, received));
        }
    }

    fn set(&mut self, ticks: i64, wall: WallClock) {
        self.report = Some(Report { ticks, wall });
        self.is_checked = false;
    }

    /// When the packet of `timestamp` that was received at `received` was captured, as far as is known, and what there is
    /// to tell of the clock since the last report.
    pub(super) fn place(&mut self, timestamp: Timestamp, received: WallClock) -> (WallClock, Option<Reading>) {
        self.place_at(timestamp.elapsed(), timestamp.clock_rate().get(), received)
    }

    fn place_at(&mut self, ticks: i64, hz: u32, received: WallClock) -> (WallClock, Option<Reading>) {
        let Some(report) = self.report else { return (received, None) };
        let micros = i128::from(ticks.saturating_sub(report.ticks)) * 1_000_000 / i128::from(hz);
        let captured = i128::from(report.wall.0) + micros;
        let captured = WallClock(captured.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
        let offset = received.0.saturating_sub(captured.0);
        let least = self.least.map_or(offset, |least| least.min(offset));
        self.least = Some(least);
        let mut reading = None;
        if !self.is_checked {
            self.is_checked = true;
            self.is_followed = offset.saturating_abs() <= FOLLOWED;
            let from = if self.is_followed { ClockSource::SenderReport } else { ClockSource::Receipt };
            reading = Some(Reading { from, offset: least });
            self.least = None;
        }
        (if self.is_followed { captured } else { received }, reading)
    }
}

/// The moment of an NTP timestamp, of the many that are 136 years apart the one nearest to `now`.
fn time_of(ntp: u64, now: WallClock) -> WallClock {
    let now_seconds = now.0.div_euclid(1_000_000);
    let ahead = ((ntp >> 32) as u32).wrapping_sub(now_seconds.wrapping_add(NTP_EPOCH) as u32).cast_signed();
    let micros = ((ntp & 0xffff_ffff) * 1_000_000) >> 32;
    WallClock((now_seconds + i64::from(ahead)) * 1_000_000 + micros as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallClock = WallClock(1_795_428_000_000_000);

    fn later(wall: WallClock, micros: i64) -> WallClock {
        WallClock(wall.0 + micros)
    }

    #[test]
    fn packets_get_the_time_of_the_last_report() {
        let mut clock = CameraClock::default();
        assert_eq!(clock.place_at(0, 90_000, NOW), (NOW, None));
        clock.set(90_000, later(NOW, -200_000));
        let (captured, reading) = clock.place_at(93_600, 90_000, NOW);
        assert_eq!(captured, later(NOW, -160_000));
        assert_eq!(reading, Some(Reading { from: ClockSource::SenderReport, offset: 160_000 }));
        // The least delay counts, and is told with the next report.
        assert_eq!(clock.place_at(97_200, 90_000, later(NOW, 10_000)), (later(NOW, -120_000), None));
        clock.set(97_200, later(NOW, -120_000));
        let (_, reading) = clock.place_at(100_800, 90_000, later(NOW, 90_000));
        assert_eq!(reading.unwrap().offset, 130_000);
    }

    #[test]
    fn a_clock_that_is_not_set_is_told_but_not_followed() {
        let mut clock = CameraClock::default();
        clock.set(0, later(NOW, -3_600_000_000));
        let (captured, reading) = clock.place_at(0, 90_000, NOW);
        assert_eq!(captured, NOW);
        assert_eq!(reading, Some(Reading { from: ClockSource::Receipt, offset: 3_600_000_000 }));
        clock.set(0, WallClock(i64::MIN));
        assert_eq!(clock.place_at(i64::MAX, 1, NOW).0, NOW);
    }

    #[test]
    fn ntp_times_are_of_this_age_or_the_next() {
        let ntp = |wall: WallClock| ((wall.0 / 1_000_000 + NTP_EPOCH) as u64 & 0xffff_ffff) << 32 | 1 << 31;
        assert_eq!(time_of(ntp(NOW), later(NOW, 7_000_000)), later(NOW, 500_000));
        // 2036-02-07, when the seconds begin again.
        let turn = WallClock(2_085_978_496_000_000);
        assert_eq!(time_of(ntp(turn), later(turn, -3_000_000)), later(turn, 500_000));
        assert_eq!(time_of(ntp(later(turn, -1_000_000)), later(turn, 3_000_000)), later(turn, -500_000));
    }
}
