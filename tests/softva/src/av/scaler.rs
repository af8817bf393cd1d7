//! Scaling and conversion by libswscale.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_next::ffi;

use super::picture::Picture;
use crate::va::{Result, Status};

/// How pixels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// The nearest one: exact where only the layout changes.
    Nearest,
    /// Bilinear, over all that falls into a pixel.
    Bilinear,
}

/// Whether Y'CbCr takes the full range, in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    pub(crate) source_is_full: bool,
    pub(crate) target_is_full: bool,
}

/// A scaler that adapts itself to what it gets.
#[derive(Debug)]
pub(crate) struct Scaler {
    raw: *mut ffi::SwsContext,
}

// SAFETY: the context belongs to nobody else and to no thread.
unsafe impl Send for Scaler {}

impl Scaler {
    pub(crate) fn new() -> Self {
        Self { raw: ptr::null_mut() }
    }

    /// Fills `target` with `source`.
    ///
    /// # Errors
    /// [`Status::OPERATION_FAILED`] if libswscale cannot do that.
    pub(crate) fn convert(&mut self, source: &Picture, target: &Picture, filter: Filter, ranges: Ranges) -> Result<()> {
        let same_size = (source.width, source.height) == (target.width, target.height);
        if same_size && source.format == target.format && ranges.source_is_full == ranges.target_is_full {
            copy(source, target);
            return Ok(());
        }
        self.adapt(source, target, filter)?;
        self.set_ranges(ranges);
        let planes = source.planes.map(<*mut u8>::cast_const);
        // SAFETY: both pictures have as many rows and bytes in them as the context was made for.
        let rows = unsafe {
            ffi::sws_scale(
                self.raw,
                planes.as_ptr(),
                source.strides.as_ptr(),
                0,
                source.height.cast_signed(),
                target.planes.as_ptr(),
                target.strides.as_ptr(),
            )
        };
        if rows > 0 { Ok(()) } else { Err(Status::OPERATION_FAILED) }
    }

    fn adapt(&mut self, source: &Picture, target: &Picture, filter: Filter) -> Result<()> {
        let flags = match filter {
            Filter::Nearest => ffi::SWS_POINT,
            Filter::Bilinear => ffi::SWS_BILINEAR,
        };
        // SAFETY: the context is ours or null; it is freed or taken over.
        self.raw = unsafe {
            ffi::sws_getCachedContext(
                self.raw,
                source.width.cast_signed(),
                source.height.cast_signed(),
                source.format,
                target.width.cast_signed(),
                target.height.cast_signed(),
                target.format,
                flags as c_int,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null(),
            )
        };
        if self.raw.is_null() { Err(Status::OPERATION_FAILED) } else { Ok(()) }
    }

    fn set_ranges(&mut self, ranges: Ranges) {
        // SAFETY: no preconditions; a table that lives for ever.
        let coefficients = unsafe { ffi::sws_getCoefficients(ffi::SWS_CS_ITU601 as c_int) };
        const UNCHANGED: c_int = 1 << 16;
        // Formats without a range refuse, and keep what they have.
        // SAFETY: a context, and tables of four numbers.
        unsafe {
            ffi::sws_setColorspaceDetails(
                self.raw,
                coefficients,
                ranges.source_is_full.into(),
                coefficients,
                ranges.target_is_full.into(),
                0,
                UNCHANGED,
                UNCHANGED,
            )
        };
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        // SAFETY: ours or null, and not used again.
        unsafe { ffi::sws_freeContext(self.raw) };
    }
}

fn copy(source: &Picture, target: &Picture) {
    let mut target_planes = target.planes;
    let mut source_planes = source.planes.map(<*mut u8>::cast_const);
    // SAFETY: both pictures have the format and as many rows and bytes in them.
    unsafe {
        ffi::av_image_copy(
            target_planes.as_mut_ptr(),
            target.strides.as_ptr().cast_mut(),
            source_planes.as_mut_ptr(),
            source.strides.as_ptr(),
            source.format,
            source.width.cast_signed(),
            source.height.cast_signed(),
        )
    };
}
