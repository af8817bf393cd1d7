//! Decoding on a device: how FFmpeg is made to do it, and how its silence is understood.
//!
//! FFmpeg asks for a pixel format each time it sets a decoder up, and quietly decodes in software if the device does not
//! take the stream. Here that is a failure: whoever planned this decoder for a device has other plans for the CPU.

use camshaft::media::Geometry;
use ffmpeg_next::ffi::{self, AVPixelFormat};
use std::ffi::c_int;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::codec::Codec;
use super::device::Device;
use super::error::{Error, Result, Silence};
use super::frame::Frame;

/// Surfaces beyond those that the codec refers to: each of 8 renditions may keep its last picture, stills keep two, and
/// encoders hold on to the last ones for a moment.
const SPARE_SURFACES: c_int = 8 + 2 + 4;
/// More access units than any stream holds back before its first picture: 16 frames of reordering, in fields.
const MOST_WITHOUT_PICTURE: u32 = 2 * 16 + 4;
/// More pictures than any stream holds back: 16 frames of reordering, and one that may be forgiven.
const MOST_MISSING: u32 = 16 + 2;
/// Pictures without trouble after which an error is forgotten: 20 s of a camera.
const FORGIVEN_AFTER: u32 = 500;

/// What was sent to a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Keyframe,
    Other,
}

/// What goes on between a decoder and its device.
pub(super) struct Hwaccel {
    device: Rc<Device>,
    /// Set when FFmpeg did not offer the device's surfaces.
    is_refused: Arc<AtomicBool>,
    errors: u32,
    good: u32,
    balance: Balance,
}

impl Hwaccel {
    /// Makes `codec`, which is not open yet, decode pictures of `size` on `device`.
    pub(super) fn install(codec: &mut Codec, device: &Rc<Device>, size: Geometry) -> Result<Self> {
        let is_refused = Arc::new(AtomicBool::new(false));
        let reference = device.buffer().give()?;
        let settings = codec.settings();
        settings.hw_device_ctx = reference;
        settings.opaque = Arc::as_ptr(&is_refused).cast_mut().cast();
        settings.get_format = Some(choose_format);
        settings.extra_hw_frames = SPARE_SURFACES;
        let device = Rc::clone(device);
        Ok(Self { device, is_refused, errors: 0, good: 0, balance: Balance::new(size) })
    }

    /// Takes note of an access unit with slices that the decoder took, and of a keyframe, with which the count of what is
    /// missing starts anew.
    ///
    /// # Errors
    /// [`Error::Silent`] if pictures are long overdue.
    pub(super) fn sent(&mut self, kind: Sent) -> Result<()> {
        self.balance.sent(kind).map_err(|silence| self.is_silent(silence))
    }

    /// Takes note of a picture.
    ///
    /// # Errors
    /// [`Error::Device`] if it was not decoded on the device; [`Error::Silent`] if it has another size.
    pub(super) fn received(&mut self, frame: &Frame) -> Result<()> {
        if !frame.is_surface() {
            return Err(Error::Device(format!(
                "a picture came from the software decoder, not from {}",
                self.device.path()
            )));
        }
        let units = if frame.is_interlaced() { 2 } else { 1 };
        self.balance.received(frame.size(), units).map_err(|silence| self.is_silent(silence))?;
        self.good += 1;
        if self.good >= FORGIVEN_AFTER {
            (self.good, self.errors) = (0, 0);
        }
        Ok(())
    }

    fn is_silent(&self, (silence, what): (Silence, String)) -> Error {
        Error::Silent(silence, format!("{} gave {what}", self.device.path()))
    }

    /// Judges what a call of the codec gave: errors that are not the device's are passed on.
    pub(super) fn judge(&mut self, error: Error) -> Error {
        let path = self.device.path();
        if self.is_refused.load(Ordering::Relaxed) {
            return Error::Device(format!("the driver of {path} does not decode this stream"));
        }
        if error.is_out_of_memory() {
            return Error::Device(format!("{path} has no more surfaces: {error}"));
        }
        if error.is_io() {
            (self.errors, self.good) = (self.errors + 1, 0);
            if self.errors > 1 {
                return Error::Device(format!("{path} failed more than once: {error}"));
            }
        }
        error
    }
}

/// Pictures that went in against those that came out.
#[derive(Debug)]
struct Balance {
    size: Geometry,
    without_picture: u32,
    /// Access units since the last keyframe that no picture has come of yet.
    missing: u32,
}

impl Balance {
    fn new(size: Geometry) -> Self {
        Self { size, without_picture: 0, missing: 0 }
    }

    /// Takes note of an access unit; says so if pictures are long overdue.
    fn sent(&mut self, kind: Sent) -> Result<(), (Silence, String)> {
        self.without_picture += 1;
        self.missing = if kind == Sent::Keyframe { 1 } else { self.missing + 1 };
        if self.without_picture <= MOST_WITHOUT_PICTURE && self.missing <= MOST_MISSING {
            return Ok(());
        }
        let missing = self.missing.max(self.without_picture);
        Err((Silence::Missing, format!("{missing} pictures fewer than went in")))
    }

    /// Takes note of a picture of `size` that came of so many access units: two may be its fields.
    fn received(&mut self, size: Geometry, units: u32) -> Result<(), (Silence, String)> {
        if size != self.size {
            return Err((Silence::WrongSize, format!("a picture of {size} where {} is due", self.size)));
        }
        self.without_picture = 0;
        self.missing = self.missing.saturating_sub(units);
        Ok(())
    }
}

/// FFmpeg's question which of the formats in `offered` a decoder is to give.
unsafe extern "C" fn choose_format(context: *mut ffi::AVCodecContext, offered: *const AVPixelFormat) -> AVPixelFormat {
    const VAAPI: c_int = AVPixelFormat::AV_PIX_FMT_VAAPI as c_int;
    const END: c_int = AVPixelFormat::AV_PIX_FMT_NONE as c_int;
    // Read as integers: a newer FFmpeg may offer formats that the bindings do not know.
    let mut next = offered.cast::<c_int>();
    loop {
        // SAFETY: FFmpeg's list goes on until END, and `next` has not passed it.
        let format = unsafe { next.read() };
        match format {
            VAAPI => return AVPixelFormat::AV_PIX_FMT_VAAPI,
            END => break,
            _ => next = next.wrapping_add(1),
        }
    }
    // SAFETY: FFmpeg passes the context that `install` prepared.
    let flag = unsafe { (*context).opaque }.cast::<AtomicBool>();
    // SAFETY: `opaque` is the flag of the `Hwaccel` that lives beside the codec.
    if let Some(is_refused) = unsafe { flag.as_ref() } {
        is_refused.store(true, Ordering::Relaxed);
    }
    AVPixelFormat::AV_PIX_FMT_NONE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size() -> Geometry {
        Geometry::new(320, 180)
    }

    #[test]
    fn pictures_that_never_come_are_missed_and_reordering_is_not() {
        let mut balance = Balance::new(size());
        balance.sent(Sent::Keyframe).unwrap();
        for _ in 0..16 {
            balance.sent(Sent::Other).unwrap();
        }
        for _ in 0..500 {
            balance.received(size(), 1).unwrap();
            balance.sent(Sent::Other).unwrap();
        }
        // From now on every second one is missing.
        let found = (0..40).find_map(|count| {
            let _ = count % 2 == 0 && balance.received(size(), 1).is_ok();
            balance.sent(Sent::Other).err()
        });
        assert!(found.is_some_and(|(silence, _)| silence == Silence::Missing));
    }

    #[test]
    fn a_device_that_gives_nothing_is_noticed_over_keyframes() {
        let mut balance = Balance::new(size());
        let found = (0..=MOST_WITHOUT_PICTURE).map(|_| balance.sent(Sent::Keyframe)).find_map(Result::err);
        let (silence, what) = found.unwrap();
        assert_eq!((silence, what.as_str()), (Silence::Missing, "37 pictures fewer than went in"));
    }

    #[test]
    fn a_picture_of_another_size_is_wrong() {
        let mut balance = Balance::new(size());
        balance.sent(Sent::Keyframe).unwrap();
        let (silence, what) = balance.received(Geometry::new(320, 192), 1).unwrap_err();
        assert_eq!((silence, what.as_str()), (Silence::WrongSize, "a picture of 320x192 where 320x180 is due"));
    }
}
