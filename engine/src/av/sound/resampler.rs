//! Samples of any kind to interleaved ones of 16 bits, at another rate and in other channels.

use camshaft::media::{MAX_CHANNELS, MAX_SAMPLE_RATE, MediaTime};
use ffmpeg_next::ffi::{self, AVSampleFormat};
use std::ffi::c_int;
use std::ptr;

use super::super::error::{Error, Result, check};
use super::super::frame::Frame;
use super::{set_channels, to_int};

/// What the samples of a frame are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    format: c_int,
    sample_rate: c_int,
    channels: c_int,
}

/// Follows whatever the decoder gives; its own output stays of one rate and number of channels.
pub struct Resampler {
    raw: *mut ffi::SwrContext,
    input: Option<Shape>,
    sample_rate: u32,
    channels: u16,
}

impl Resampler {
    /// A resampler that gives `channels` interleaved at `sample_rate`.
    pub fn new(sample_rate: u32, channels: u16) -> Self {
        Self { raw: ptr::null_mut(), input: None, sample_rate, channels }
    }

    /// Replaces `out` by what `frame` gives; the first of it sounds at the time in the result, `None` if the frame has
    /// none.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for frames that are no sound, or past the limits.
    pub fn convert(&mut self, frame: &Frame, out: &mut Vec<i16>) -> Result<Option<MediaTime>> {
        self.follow(frame)?;
        let (samples, pts) = (frame.get().nb_samples, frame.pts());
        // SAFETY: the context is set up; the call changes nothing.
        let held_back = unsafe { ffi::swr_get_delay(self.raw, MediaTime::HZ) };
        // SAFETY: as above.
        let room = check("resample", unsafe { ffi::swr_get_out_samples(self.raw, samples) })?;
        out.resize(room as usize * usize::from(self.channels), 0);
        let mut start = out.as_mut_ptr().cast::<u8>();
        let input = frame.get().extended_data.cast::<*const u8>();
        // SAFETY: `out` has room for `room` samples of all channels; the frame has `samples` of the shape that was set up.
        let made = unsafe { ffi::swr_convert(self.raw, &mut start, room, input, samples) };
        let made = check("resample", made)?;
        out.truncate(made as usize * usize::from(self.channels));
        Ok(pts.map(|pts| pts.offset(-held_back)))
    }

    /// Sets the context up for samples like those of `frame`.
    fn follow(&mut self, frame: &Frame) -> Result<()> {
        let raw = frame.get();
        let (format, sample_rate, channels) = (raw.format, raw.sample_rate, raw.ch_layout.nb_channels);
        let shape = Shape { format, sample_rate, channels };
        if self.input == Some(shape) {
            return Ok(());
        }
        let is_sound = (1..=MAX_SAMPLE_RATE as c_int).contains(&sample_rate)
            && (1..=c_int::from(MAX_CHANNELS)).contains(&channels)
            && (0..AVSampleFormat::AV_SAMPLE_FMT_NB as c_int).contains(&format);
        if !is_sound {
            return Err(Error::Unsupported(format!("{sample_rate} samples a second in {channels} channels")));
        }
        self.free();
        // SAFETY: all zeroes is an empty layout.
        let mut layout: ffi::AVChannelLayout = unsafe { std::mem::zeroed() };
        set_channels(&mut layout, self.channels);
        // SAFETY: all zeroes is an empty layout.
        let mut from: ffi::AVChannelLayout = unsafe { std::mem::zeroed() };
        // What the decoder says of an unusual order of channels is not needed, and might own memory.
        set_channels(&mut from, channels as u16);
        let rate = to_int(self.sample_rate, "samples a second")?;
        // SAFETY: `format` is one of FFmpeg's, as the range above shows, and the enum has the size of an int.
        let format = unsafe { std::mem::transmute::<c_int, AVSampleFormat>(format) };
        // SAFETY: the context is null, so that a new one is made; the layouts live until the call has copied them.
        let code = unsafe {
            ffi::swr_alloc_set_opts2(
                &mut self.raw,
                &raw mut layout,
                AVSampleFormat::AV_SAMPLE_FMT_S16,
                rate,
                &raw mut from,
                format,
                sample_rate,
                0,
                ptr::null_mut(),
            )
        };
        check("set up resampling", code)?;
        // SAFETY: the context was made and set up above.
        check("set up resampling", unsafe { ffi::swr_init(self.raw) })?;
        self.input = Some(shape);
        Ok(())
    }

    fn free(&mut self) {
        self.input = None;
        // SAFETY: the context is null or ours; the call sets it to null.
        unsafe { ffi::swr_free(&mut self.raw) };
    }
}

impl Drop for Resampler {
    fn drop(&mut self) {
        self.free();
    }
}
