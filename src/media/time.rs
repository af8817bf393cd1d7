//! Media time, frame rates and the fixed grid on which frames are picked.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A moment on a stream's timeline in ticks of 1/90 000 s, the clock of RTP video (RFC 6184 §8.2.1) and of MPEG-TS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MediaTime(pub i64);

impl MediaTime {
    /// Ticks a second.
    pub const HZ: i64 = 90_000;

    /// From whole microseconds.
    pub fn from_micros(micros: i64) -> Self {
        Self((i128::from(micros) * 9 / 100) as i64)
    }

    /// From `count` units of 1/`hz` s, as an RTP clock counts.
    pub fn from_clock(count: i64, hz: u32) -> Self {
        Self((i128::from(count) * i128::from(Self::HZ) / i128::from(hz.max(1))) as i64)
    }

    /// As seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / Self::HZ as f64
    }

    /// This moment moved by `ticks`, stopping at the ends of the range.
    pub fn offset(self, ticks: i64) -> Self {
        Self(self.0.saturating_add(ticks))
    }

    /// Ticks from `earlier` to this moment.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Microseconds since the Unix epoch: when a packet was received, or captured where RTCP sender reports say so and the
/// camera's clock is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WallClock(pub i64);

impl WallClock {
    /// The wall clock now.
    pub fn now() -> Self {
        std::time::SystemTime::now().into()
    }
}

/// What a packet's [`WallClock`] is told by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClockSource {
    /// The camera's own clock, by its RTCP sender reports.
    SenderReport,
    /// This machine's clock, when the packet was received.
    #[default]
    Receipt,
}

impl ClockSource {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::SenderReport => "sender_report",
            Self::Receipt => "receipt",
        }
    }
}

impl fmt::Display for WallClock {
    /// As RFC 3339 in UTC with milliseconds, e.g. `2026-11-23T10:00:00.040Z`. Times outside the years -9999 to 9999 are
    /// written as the nearest end of that range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nearest = if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let moment = jiff::Timestamp::from_microsecond(self.0).unwrap_or(nearest);
        write!(f, "{moment:.3}")
    }
}

impl From<std::time::SystemTime> for WallClock {
    fn from(time: std::time::SystemTime) -> Self {
        let since = time.duration_since(std::time::UNIX_EPOCH);
        Self(since.map_or(0, |since| since.as_micros() as i64))
    }
}

/// Frames a second as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FrameRate {
    /// Frames …
    pub num: u32,
    /// … in this many seconds.
    pub den: u32,
}

impl FrameRate {
    /// The highest rate that is made, in frames a second.
    pub const MAX: u32 = 240;

    /// `num`/`den` frames a second in lowest terms, so that equal rates are equal values; `None` unless above 0 and at
    /// most [`Self::MAX`].
    pub fn new(num: u32, den: u32) -> Option<Self> {
        let legal = num > 0 && den > 0 && u64::from(num) <= u64::from(den) * u64::from(Self::MAX);
        let divisor = greatest_common_divisor(num, den);
        legal.then(|| Self { num: num / divisor, den: den / divisor })
    }

    /// As a decimal number.
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", (self.as_f64() * 1000.0).round() / 1000.0)
    }
}

impl FromStr for FrameRate {
    type Err = String;

    /// Reads `5`, `12.5` or `30000/1001`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.split_once('/') {
            Some((num, den)) => num.parse().ok().zip(den.parse().ok()),
            None => match text.split_once('.') {
                None => text.parse().ok().map(|num| (num, 1)),
                Some((whole, part)) if part.len() <= 3 => {
                    let den = 10u32.pow(part.len() as u32);
                    let whole: Option<u32> = whole.parse().ok();
                    let part: Option<u32> = part.parse().ok();
                    whole.zip(part).and_then(|(w, p)| w.checked_mul(den)?.checked_add(p)).map(|num| (num, den))
                }
                Some(_) => None,
            },
        };
        parsed.and_then(|(num, den)| Self::new(num, den)).ok_or_else(|| {
            format!(
                "'{text}' is no frame rate: a number above 0 and at most {}, such as 5, 12.5 or 30000/1001",
                Self::MAX
            )
        })
    }
}

/// The fixed grid on which `fps` picks frames: slot `n` is at `n / rate` seconds of the timeline, so two workers that
/// see the same frames pick the same ones, whatever came before.
#[derive(Clone, Copy, Debug)]
pub struct FrameGrid {
    rate: FrameRate,
}

impl FrameGrid {
    /// The grid of `rate`.
    pub fn new(rate: FrameRate) -> Self {
        Self { rate }
    }

    /// The slot nearest to `time`, as ffmpeg's fps filter rounds.
    pub fn slot(&self, time: MediaTime) -> i64 {
        let scale = i128::from(MediaTime::HZ) * i128::from(self.rate.den);
        let twice = i128::from(time.0) * i128::from(self.rate.num) * 2 + scale;
        twice.div_euclid(scale * 2) as i64
    }

    /// The time of `slot`.
    pub fn time(&self, slot: i64) -> MediaTime {
        let ticks = i128::from(slot) * i128::from(MediaTime::HZ) * i128::from(self.rate.den);
        MediaTime(ticks.div_euclid(i128::from(self.rate.num)) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_refused() {
        assert_eq!("5".parse(), Ok(FrameRate { num: 5, den: 1 }));
        assert_eq!("12.5".parse(), Ok(FrameRate { num: 25, den: 2 }));
        assert_eq!("30000/1001".parse(), Ok(FrameRate { num: 30000, den: 1001 }));
        for bad in ["0", "-1", "x", "241", "1/0", "1.2345", "9999999999.9", ""] {
            assert!(bad.parse::<FrameRate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wall_clock_is_written_as_rfc_3339() {
        assert_eq!(WallClock(1_795_428_000_040_999).to_string(), "2026-11-23T10:00:00.040Z");
        assert_eq!(WallClock(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            WallClock(i64::MAX).to_string(),
            jiff::Timestamp::MAX.strftime("%Y-%m-%dT%H:%M:%S.999Z").to_string()
        );
        assert!(WallClock(i64::MIN).to_string().starts_with("-009999-01-0"));
    }

    #[test]
    fn the_grid_picks_every_fifth_frame_wherever_it_starts() {
        let grid = FrameGrid::new(FrameRate { num: 5, den: 1 });
        let first_in_slot = |from: i64| {
            let mut last = None;
            (from..from + 50)
                .filter(|n| {
                    let slot = grid.slot(MediaTime(n * 3600));
                    let fresh = last != Some(slot);
                    last = Some(slot);
                    fresh
                })
                .collect::<Vec<_>>()
        };
        let early = first_in_slot(0);
        let late = first_in_slot(8);
        assert!(late[1..].iter().all(|n| early.contains(n) || *n >= 50));
        assert_eq!(grid.time(grid.slot(MediaTime(90_000))), MediaTime(90_000));
    }
}
