//! One timeline for both tracks.
//!
//! RTP timestamps of different tracks start anywhere; what relates them is `rtptime` of PLAY's `RTP-Info`
//! (RFC 2326 §12.33), from which retina counts. Not all cameras send it, and some send nonsense. So each track is
//! checked once, at its first packet, against the time at which that came, and is shifted onto it if the two cannot
//! both be right. RTCP sender reports are not used here, only for the time of day: they come seconds later, and a shift then would tear a hole.

use std::time::{Duration, Instant};

use crate::media::{MediaTime, Track};

/// How far a track's first time may lie from its arrival and still be believed: servers start with what they have
/// buffered.
const PLAUSIBLE: i64 = 10 * MediaTime::HZ;
/// The same for a track that starts at exactly 0, which is also what retina says without any `rtptime`. Audio that
/// travels several frames a packet comes this late.
const PLAUSIBLE_AT_ZERO: i64 = MediaTime::HZ / 5;

/// Places packets of both tracks on one timeline that begins, give or take what the server had buffered, at 0.
#[derive(Default)]
pub(super) struct Timeline {
    began: Option<Instant>,
    video_shift: Option<i64>,
    audio_shift: Option<i64>,
}

impl Timeline {
    /// The time of a packet of `track` that retina puts at `npt` and that was received at `received`.
    pub(super) fn place(&mut self, track: Track, npt: MediaTime, received: Instant) -> MediaTime {
        let began = *self.began.get_or_insert(received);
        let shift = match track {
            Track::Video => &mut self.video_shift,
            Track::Audio => &mut self.audio_shift,
        };
        npt.offset(*shift.get_or_insert_with(|| shift_onto(ticks(received.saturating_duration_since(began)), npt)))
    }
}

fn ticks(duration: Duration) -> i64 {
    MediaTime::from_micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)).0
}

fn shift_onto(arrival: i64, npt: MediaTime) -> i64 {
    let plausible = if npt.0 == 0 { PLAUSIBLE_AT_ZERO } else { PLAUSIBLE };
    let shift = arrival.saturating_sub(npt.0);
    if shift.saturating_abs() > plausible { shift } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn plausible_times_are_kept_as_they_are() {
        let (mut timeline, start) = (Timeline::default(), Instant::now());
        assert_eq!(timeline.place(Track::Video, MediaTime(-90_000), start), MediaTime(-90_000));
        assert_eq!(timeline.place(Track::Audio, MediaTime(0), later(start, 85)), MediaTime(0));
        assert_eq!(timeline.place(Track::Audio, MediaTime(1920), later(start, 5000)), MediaTime(1920));
    }

    #[test]
    fn a_track_that_starts_late_without_rtptime_is_put_where_it_arrived() {
        let (mut timeline, start) = (Timeline::default(), Instant::now());
        timeline.place(Track::Video, MediaTime(0), start);
        assert_eq!(timeline.place(Track::Audio, MediaTime(0), later(start, 1000)), MediaTime(90_000));
        assert_eq!(timeline.place(Track::Audio, MediaTime(900), later(start, 1010)), MediaTime(90_900));
    }

    #[test]
    fn a_nonsensical_rtptime_is_overruled() {
        let (mut timeline, start) = (Timeline::default(), Instant::now());
        assert_eq!(timeline.place(Track::Video, MediaTime(1 << 40), start), MediaTime(0));
        assert_eq!(timeline.place(Track::Audio, MediaTime(i64::MIN), later(start, 100)).0, i64::MIN + i64::MAX);
    }
}
