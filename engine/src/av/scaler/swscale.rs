//! Scaling and converting by libswscale.

use camshaft::media::{Crop, Geometry};
use ffmpeg_next::ffi::{self, AVPixelFormat};
use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};

use super::super::error::{Result, check, check_pointer};
use super::super::frame::{ColorTags, Frame};
use super::super::pixel::SourceFormat;
use super::SourceShape;

/// A context for pictures of one shape.
pub struct Swscale {
    raw: NonNull<ffi::SwsContext>,
    format: SourceFormat,
}

impl Swscale {
    /// From `size` pixels of pictures like `from` to ones like `output`, whose format is `format`.
    ///
    /// # Errors
    /// FFmpeg's, for sizes that it cannot scale to.
    pub fn new(from: &SourceShape, size: Geometry, output: &Frame, format: AVPixelFormat) -> Result<Self> {
        // SAFETY: no preconditions; null means that memory ran out.
        let raw = check_pointer("allocate scaler", unsafe { ffi::sws_alloc_context() })?;
        let mut swscale = Self { raw, format: from.format };
        swscale.configure(from, size, output, format)?;
        Ok(swscale)
    }

    /// Makes `output` of the part `crop` of `frame`.
    ///
    /// # Errors
    /// FFmpeg's.
    pub fn scale(&mut self, frame: &Frame, crop: Crop, output: &mut Frame) -> Result<()> {
        let (planes, strides) = cropped(frame, self.format, crop);
        let rows = crop.height as c_int;
        let output = output.get_mut();
        // SAFETY: the planes hold at least `rows` rows of the size that the context was made for, in and out.
        let scaled = unsafe {
            ffi::sws_scale(
                self.raw.as_ptr(),
                planes.as_ptr(),
                strides.as_ptr(),
                0,
                rows,
                output.data.as_ptr(),
                output.linesize.as_ptr(),
            )
        };
        check("scale", scaled)?;
        Ok(())
    }

    fn configure(&mut self, from: &SourceShape, size: Geometry, output: &Frame, format: AVPixelFormat) -> Result<()> {
        let to = output.size();
        // Ranges are given before initialisation, or swscale takes a short cut that ignores them.
        let source_range = c_int::from(from.is_full_range());
        let output_range = c_int::from(output.color().is_full_range());
        self.set(c"srcw", size.width.into())?;
        self.set(c"srch", size.height.into())?;
        self.set(c"src_format", from.format.native() as i64)?;
        self.set(c"src_range", source_range.into())?;
        self.set(c"dstw", to.width.into())?;
        self.set(c"dsth", to.height.into())?;
        self.set(c"dst_format", format as i64)?;
        self.set(c"dst_range", output_range.into())?;
        self.set(c"sws_flags", filter(size, to).into())?;
        // SAFETY: the context has all its options; null filters mean none.
        check("set up scaler", unsafe { ffi::sws_init_context(self.raw.as_ptr(), ptr::null_mut(), ptr::null_mut()) })?;
        self.set_colors(from.color, source_range, output_range)
    }

    /// Source and result share one matrix: Y'CbCr keeps its colours' meaning, RGB is made by the source's own.
    fn set_colors(&mut self, color: ColorTags, source_range: c_int, output_range: c_int) -> Result<()> {
        // SAFETY: any number is allowed; swscale takes BT.601 for those without a matrix, as ffmpeg does.
        let matrix = unsafe { ffi::sws_getCoefficients(color.space) };
        let one = 1 << 16;
        // SAFETY: the context is initialised and `matrix` is one of swscale's static tables of 4 numbers.
        let set = unsafe {
            let raw = self.raw.as_ptr();
            ffi::sws_setColorspaceDetails(raw, matrix, source_range, matrix, output_range, 0, one, one)
        };
        check("set up colours", set)?;
        Ok(())
    }

    fn set(&mut self, option: &CStr, value: i64) -> Result<()> {
        // SAFETY: the context is valid and starts with its AVClass, as the call wants.
        check("set up scaler", unsafe { ffi::av_opt_set_int(self.raw.as_ptr().cast(), option.as_ptr(), value, 0) })?;
        Ok(())
    }
}

impl Drop for Swscale {
    fn drop(&mut self) {
        // SAFETY: the context is ours and is not used again.
        unsafe { ffi::sws_freeContext(self.raw.as_ptr()) };
    }
}

/// The planes of `frame` from the crop's corner on, and their strides.
fn cropped(frame: &Frame, format: SourceFormat, crop: Crop) -> ([*const u8; 4], [c_int; 4]) {
    // Chroma has half the columns and rows. The corner is rounded to them, and luma follows so that colours stay
    // in place.
    let (x, y) = (crop.x as usize / 2, crop.y as usize / 2);
    let frame = frame.get();
    let mut planes = [ptr::null(); 4];
    let mut strides = [0; 4];
    let own = frame.data.into_iter().zip(frame.linesize);
    let cropped = planes.iter_mut().zip(&mut strides);
    for (((columns, rows), (data, linesize)), (plane, stride)) in format.planes().iter().zip(own).zip(cropped) {
        let (column, row) = (x * columns * format.sample_bytes(), y * rows);
        let offset = row as isize * linesize as isize + column as isize;
        (*plane, *stride) = (data.cast_const().wrapping_offset(offset), linesize);
    }
    (planes, strides)
}

/// Averages when shrinking, which keeps fine detail from aliasing at half the cost of bicubic.
fn filter(from: Geometry, to: Geometry) -> c_int {
    if to.width > from.width || to.height > from.height { ffi::SWS_BICUBIC } else { ffi::SWS_AREA }
}
