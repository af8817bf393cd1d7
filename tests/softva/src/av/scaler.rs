//! Scaling and conversion by libswscale.

use std::ptr::{self, NonNull};

use ffmpeg_next::ffi::{self, AVPixelFormat};

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

/// All that a context of libswscale is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    source: (u32, u32, AVPixelFormat),
    target: (u32, u32, AVPixelFormat),
    filter: Filter,
    ranges: Ranges,
}

/// A scaler that adapts itself to what it gets.
#[derive(Debug)]
pub(crate) struct Scaler {
    current: Option<(Shape, Context)>,
}

impl Scaler {
    pub(crate) fn new() -> Self {
        Self { current: None }
    }

    /// Fills `target` with `source`.
    ///
    /// # Errors
    /// [`Status::OPERATION_FAILED`] if libswscale cannot do that.
    pub(crate) fn convert(&mut self, source: &Picture, target: &Picture, filter: Filter, ranges: Ranges) -> Result<()> {
        let shape = Shape {
            source: (source.width, source.height, source.format),
            target: (target.width, target.height, target.format),
            filter,
            ranges,
        };
        if shape.source == shape.target && ranges.source_is_full == ranges.target_is_full {
            copy(source, target);
            return Ok(());
        }
        let context = match self.current.take() {
            Some((known, context)) if known == shape => context,
            _ => Context::new(&shape)?,
        };
        let (_, context) = self.current.insert((shape, context));
        context.scale(source, target)
    }
}

/// A context of libswscale.
#[derive(Debug)]
struct Context(NonNull<ffi::SwsContext>);

// SAFETY: nobody else has the pointer, and libswscale binds a context to no thread.
unsafe impl Send for Context {}

impl Context {
    fn new(shape: &Shape) -> Result<Self> {
        // SAFETY: no preconditions.
        let context = Self(NonNull::new(unsafe { ffi::sws_alloc_context() }).ok_or(Status::ALLOCATION_FAILED)?);
        let flags = match shape.filter {
            Filter::Nearest => ffi::SWS_POINT as i64,
            Filter::Bilinear => ffi::SWS_BILINEAR as i64,
        };
        let (source_width, source_height, source_format) = shape.source;
        let (target_width, target_height, target_format) = shape.target;
        // Ranges must be known before it is initialized: it chooses its functions then.
        let options = [
            (c"srcw", source_width.into()),
            (c"srch", source_height.into()),
            (c"src_format", source_format as i64),
            (c"src_range", shape.ranges.source_is_full.into()),
            (c"dstw", target_width.into()),
            (c"dsth", target_height.into()),
            (c"dst_format", target_format as i64),
            (c"dst_range", shape.ranges.target_is_full.into()),
            (c"sws_flags", flags),
        ];
        for (name, value) in options {
            // SAFETY: an object with options, and a terminated string.
            if unsafe { ffi::av_opt_set_int(context.0.as_ptr().cast(), name.as_ptr(), value, 0) } < 0 {
                return Err(Status::OPERATION_FAILED);
            }
        }
        // SAFETY: a context that is not initialized yet.
        let ready = unsafe { ffi::sws_init_context(context.0.as_ptr(), ptr::null_mut(), ptr::null_mut()) };
        if ready < 0 { Err(Status::OPERATION_FAILED) } else { Ok(context) }
    }

    fn scale(&mut self, source: &Picture, target: &Picture) -> Result<()> {
        let planes = source.planes.map(<*mut u8>::cast_const);
        // SAFETY: both pictures have as many rows and bytes in them as the context was made for.
        let rows = unsafe {
            ffi::sws_scale(
                self.0.as_ptr(),
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
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: ours, and not used again.
        unsafe { ffi::sws_freeContext(self.0.as_ptr()) };
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
