//! What times are counted in.

use camshaft::media::MediaTime;
use ffmpeg_next::ffi;

/// A fraction of a second in which times are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeBase {
    /// Numerator.
    pub num: i32,
    /// Denominator.
    pub den: i32,
}

impl TimeBase {
    /// That of [`MediaTime`].
    pub const MEDIA: Self = Self { num: 1, den: MediaTime::HZ as i32 };

    /// `time` of this base in ticks of [`MediaTime`].
    pub fn media_time(self, time: i64) -> MediaTime {
        // SAFETY: plain arithmetic; both denominators are above 0.
        MediaTime(unsafe { ffi::av_rescale_q(time, self.raw(), Self::MEDIA.raw()) })
    }

    /// `time` in this base.
    pub fn of_media(self, time: MediaTime) -> i64 {
        // SAFETY: plain arithmetic; both denominators are above 0.
        unsafe { ffi::av_rescale_q(time.0, Self::MEDIA.raw(), self.raw()) }
    }

    pub(super) fn raw(self) -> ffi::AVRational {
        ffi::AVRational { num: self.num, den: self.den.max(1) }
    }
}

impl From<ffi::AVRational> for TimeBase {
    fn from(raw: ffi::AVRational) -> Self {
        Self { num: raw.num, den: raw.den }
    }
}
