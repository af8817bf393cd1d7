//! An owned `AVFrame`: one picture.

use camshaft::media::{Crop, Geometry, MediaTime, PixelFormat};
use ffmpeg_next::ffi::{self, AVColorRange, AVColorSpace, AVPixelFormat};
use std::ffi::c_int;
use std::ptr::{self, NonNull};

use super::error::{Error, Result, check, check_pointer};
use super::pixel::{SourceFormat, native};

const NO_PTS: i64 = ffi::AV_NOPTS_VALUE;

/// How a picture's numbers stand for colours (ITU-T H.273), as FFmpeg's integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColorTags {
    pub(super) range: c_int,
    pub(super) space: c_int,
    pub(super) primaries: c_int,
    pub(super) transfer: c_int,
}

impl ColorTags {
    /// Nothing said: readers take limited range and BT.601.
    pub const UNSPECIFIED: Self = Self { range: 0, space: 2, primaries: 2, transfer: 2 };

    /// The same colours after a conversion to limited-range Y'CbCr.
    pub(super) fn as_limited(self) -> Self {
        self.with_range(AVColorRange::AVCOL_RANGE_MPEG)
    }

    /// The same colours after a conversion to full-range Y'CbCr.
    pub(super) fn as_full(self) -> Self {
        self.with_range(AVColorRange::AVCOL_RANGE_JPEG)
    }

    fn with_range(self, range: AVColorRange) -> Self {
        let space = match self.space {
            RGB => AVColorSpace::AVCOL_SPC_UNSPECIFIED as c_int,
            space => space,
        };
        Self { range: range as c_int, space, ..self }
    }

    /// Whether samples are said to use all of 0–255.
    pub(super) fn is_full_range(self) -> bool {
        self.range == AVColorRange::AVCOL_RANGE_JPEG as c_int
    }
}

const RGB: c_int = AVColorSpace::AVCOL_SPC_RGB as c_int;

/// Tells pools of surfaces apart while something of them is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolId(*const ffi::AVHWFramesContext);

/// One picture, in memory or in a GPU's surface; its planes may be shared with the decoder or other frames and are then not written to.
pub struct Frame {
    raw: NonNull<ffi::AVFrame>,
}

impl Frame {
    /// A frame without planes.
    pub fn empty() -> Result<Self> {
        // SAFETY: no preconditions; null means that memory ran out.
        let raw = check_pointer("allocate frame", unsafe { ffi::av_frame_alloc() })?;
        Ok(Self { raw })
    }

    /// A limited-range I420 picture of `size` with planes of its own, to be drawn into.
    pub fn i420(size: Geometry) -> Result<Self> {
        Self::with_planes(size, AVPixelFormat::AV_PIX_FMT_YUV420P)
    }

    /// A picture with planes of its own; rows are padded as FFmpeg's vector code likes them.
    pub(super) fn with_planes(size: Geometry, format: AVPixelFormat) -> Result<Self> {
        let mut frame = Self::empty()?;
        let side = |side: u32| {
            c_int::try_from(side).map_err(|_| Error::Unsupported(format!("{size} is no size of a picture")))
        };
        let raw = frame.get_mut();
        (raw.width, raw.height, raw.format) = (side(size.width)?, side(size.height)?, format as c_int);
        // SAFETY: size and format are set and the frame has no planes yet; 0 asks for the best alignment.
        check("allocate picture", unsafe { ffi::av_frame_get_buffer(frame.as_mut_ptr(), 0) })?;
        Ok(frame)
    }

    /// A picture in memory that has room for the whole of `surface`, in the format of its samples.
    pub(super) fn for_surface(surface: &Self) -> Result<Self> {
        let mut frame = Self::empty()?;
        let (raw, from) = (frame.get_mut(), surface.get());
        (raw.width, raw.height, raw.format) = (from.width, from.height, surface.sample_format());
        // SAFETY: size and format are set and the frame has no planes yet; 0 asks for the best alignment.
        check("allocate picture", unsafe { ffi::av_frame_get_buffer(frame.as_mut_ptr(), 0) })?;
        Ok(frame)
    }

    /// Cuts off columns at the left and rows at the top, without touching the planes.
    pub(super) fn cut_corner(&mut self, (columns, rows): (u32, u32)) -> Result<()> {
        let frame = self.get_mut();
        (frame.crop_left, frame.crop_top) = (columns as usize, rows as usize);
        let exactly = ffi::AV_FRAME_CROP_UNALIGNED as c_int;
        // SAFETY: the frame is a valid picture in memory; FFmpeg checks the crop against its size.
        check("crop picture", unsafe { ffi::av_frame_apply_cropping(self.as_mut_ptr(), exactly) })?;
        Ok(())
    }

    /// Narrows the visible part of a surface to `crop`, which lies inside it.
    pub(super) fn narrow(&mut self, crop: Crop) {
        let (left, top) = self.corner();
        let frame = self.get_mut();
        // Chroma has half the columns and rows: an odd corner moves to the sample before it.
        let (x, y) = (left + (crop.x & !1), top + (crop.y & !1));
        let rest = |side: c_int, start: u32, length: u32| {
            usize::try_from(i64::from(side) - i64::from(start) - i64::from(length)).unwrap_or(0)
        };
        frame.crop_right = rest(frame.width, x, crop.width);
        frame.crop_bottom = rest(frame.height, y, crop.height);
        (frame.crop_left, frame.crop_top) = (x as usize, y as usize);
    }

    /// Takes over how `other`'s samples stand for colours.
    pub(super) fn copy_color(&mut self, other: &Self) {
        let color = other.color();
        self.set_color(color);
    }

    /// Makes this frame another reference to `other`'s planes, without copying them.
    pub(super) fn refer_to(&mut self, other: &Self) -> Result<()> {
        self.clear();
        // SAFETY: `self` is valid and empty, `other` is valid.
        check("share picture", unsafe { ffi::av_frame_ref(self.as_mut_ptr(), other.as_ptr()) })?;
        Ok(())
    }

    /// Drops the planes.
    pub(super) fn clear(&mut self) {
        // SAFETY: the frame is valid; unreferencing an empty one does nothing.
        unsafe { ffi::av_frame_unref(self.as_mut_ptr()) };
    }

    /// Size in pixels.
    pub fn size(&self) -> Geometry {
        let frame = self.get();
        let (left, top) = self.corner();
        let side = |side: c_int, cut: u32| u32::try_from(side).unwrap_or(0).saturating_sub(cut);
        Geometry::new(side(frame.width, left), side(frame.height, top))
    }

    /// Columns and rows of a surface that lie before the visible part. Of pictures in memory they are cut off already.
    pub(super) fn corner(&self) -> (u32, u32) {
        let frame = self.get();
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        (side(frame.crop_left), side(frame.crop_top))
    }

    /// Whether the picture lies in a GPU's surface rather than in memory.
    pub fn is_surface(&self) -> bool {
        self.get().format == AVPixelFormat::AV_PIX_FMT_VAAPI as c_int
    }

    /// The surface's pool.
    pub(super) fn pool(&self) -> Option<PoolId> {
        self.pool_context().map(|pool| PoolId(ptr::from_ref(pool)))
    }

    fn pool_context(&self) -> Option<&ffi::AVHWFramesContext> {
        // SAFETY: the field is null or a reference that lives as long as the frame is not changed.
        let reference = unsafe { self.get().hw_frames_ctx.as_ref() }?;
        // SAFETY: what such a reference refers to is an AVHWFramesContext.
        unsafe { reference.data.cast::<ffi::AVHWFramesContext>().as_ref() }
    }

    /// Presentation time, if the packet had one.
    pub fn pts(&self) -> Option<MediaTime> {
        Some(self.get().pts).filter(|pts| *pts != NO_PTS).map(MediaTime)
    }

    /// The decoder's best guess of the presentation time, in the time base of its packets.
    pub fn best_time(&self) -> Option<i64> {
        Some(self.get().best_effort_timestamp).filter(|time| *time != NO_PTS)
    }

    /// Says when the picture is shown.
    pub fn set_pts(&mut self, pts: MediaTime) {
        self.get_mut().pts = pts.0;
    }

    /// FFmpeg's number of the pixel format or, of sound, of the sample format.
    pub(super) fn format(&self) -> c_int {
        self.get().format
    }

    /// Whether two fields make up the picture.
    pub fn is_interlaced(&self) -> bool {
        interlaced(self.get())
    }

    /// Whether the decoder had to make up parts of the picture: data were damaged, or referred to what never came.
    pub fn is_flawed(&self) -> bool {
        let frame = self.get();
        frame.decode_error_flags != 0 || frame.flags & ffi::AV_FRAME_FLAG_CORRUPT as c_int != 0
    }

    /// Replaces `points` by every `step`th luma sample of every `step`th row of a picture in memory, as 8 bits.
    pub fn thin_luma(&self, step: usize, points: &mut Vec<u8>) -> Result<()> {
        let frame = self.get();
        let format = SourceFormat::from_raw(frame.format)
            .ok_or_else(|| Error::Unsupported(format!("luma of FFmpeg's pixel format {}", frame.format)))?;
        let mut row = vec![0u8; self.size().width as usize * format.sample_bytes()];
        let length = row.len() as c_int;
        points.clear();
        for y in (0..self.size().height as usize).step_by(step.max(1)) {
            // SAFETY: the first plane has `height` rows, `linesize` apart, and `y` is one of them.
            let source = unsafe { frame.data[0].offset(y as isize * frame.linesize[0] as isize) };
            // SAFETY: the row in the plane has at least as many bytes as `row`.
            unsafe { ffi::av_image_copy_plane(row.as_mut_ptr(), length, source, length, length, 1) };
            points
                .extend(row.chunks_exact(format.sample_bytes()).step_by(step.max(1)).map(|sample| format.luma(sample)));
        }
        Ok(())
    }

    /// How the samples stand for colours.
    pub fn color(&self) -> ColorTags {
        let frame = self.get();
        ColorTags {
            range: read_enum((&raw const frame.color_range).cast()),
            space: read_enum((&raw const frame.colorspace).cast()),
            primaries: read_enum((&raw const frame.color_primaries).cast()),
            transfer: read_enum((&raw const frame.color_trc).cast()),
        }
    }

    /// FFmpeg's number of the pixel format in which the samples are kept; for a surface, that of its pool.
    pub(super) fn sample_format(&self) -> c_int {
        match self.pool_context() {
            Some(pool) => read_enum((&raw const pool.sw_format).cast()),
            None => self.get().format,
        }
    }

    /// Whether the samples are 4:2:0, in memory or in a surface.
    pub fn is_420(&self) -> bool {
        SourceFormat::from_raw(self.sample_format()).is_some_and(SourceFormat::is_420)
    }

    /// Says what the planes hold, and when and how they are to be encoded.
    pub(super) fn describe(&mut self, format: AVPixelFormat, color: ColorTags) {
        self.get_mut().format = format as c_int;
        self.set_color(color);
    }

    fn set_color(&mut self, color: ColorTags) {
        let frame = self.get_mut();
        write_enum((&raw mut frame.color_range).cast(), color.range);
        write_enum((&raw mut frame.colorspace).cast(), color.space);
        write_enum((&raw mut frame.color_primaries).cast(), color.primaries);
        write_enum((&raw mut frame.color_trc).cast(), color.transfer);
    }

    /// The planes without padding, in the frame's own format.
    pub fn samples(&self) -> Result<Vec<u8>> {
        let frame = self.get();
        let format = SourceFormat::from_raw(frame.format)
            .ok_or_else(|| Error::Unsupported(format!("samples of FFmpeg's pixel format {}", frame.format)))?;
        // SAFETY: any format and size are allowed; a bad one gives an error.
        let length = unsafe { ffi::av_image_get_buffer_size(format.native(), frame.width, frame.height, 1) };
        let length = check("measure picture", length)?;
        let mut out = vec![0; length as usize];
        self.copy_planes(format.native(), &mut out)?;
        Ok(out)
    }

    /// Gives the frame planes of its own if anybody else refers to them.
    pub(super) fn make_writable(&mut self) -> Result<()> {
        // SAFETY: the frame is valid; the call copies the planes if anybody else refers to them.
        check("reuse picture", unsafe { ffi::av_frame_make_writable(self.as_mut_ptr()) })?;
        Ok(())
    }

    /// A plane of a planar 8-bit 4:2:0 picture in memory, from its first sample on, and its stride in bytes.
    pub(super) fn plane(&self, index: usize) -> Option<(&[u8], usize)> {
        let (start, length, stride) = self.plane_span(index)?;
        // SAFETY: the plane belongs to the frame, has this many bytes and is not written to while `self` is borrowed.
        Some((unsafe { std::slice::from_raw_parts(start, length) }, stride))
    }

    /// The same, of a picture that nobody else refers to, to be written; `None` if it is shared.
    pub(super) fn plane_mut(&mut self, index: usize) -> Option<(&mut [u8], usize)> {
        // SAFETY: the frame is valid.
        let is_ours = unsafe { ffi::av_frame_is_writable(self.as_mut_ptr()) } > 0;
        let (start, length, stride) = self.plane_span(index).filter(|_| is_ours)?;
        // SAFETY: the plane belongs to the frame, has this many bytes, and nobody else refers to it.
        Some((unsafe { std::slice::from_raw_parts_mut(start, length) }, stride))
    }

    fn plane_span(&self, index: usize) -> Option<(*mut u8, usize, usize)> {
        let format = SourceFormat::from_raw(self.get().format);
        format.filter(|format| matches!(format, SourceFormat::Bits8 | SourceFormat::Bits8FullRange))?;
        let (start, stride) = (*self.get().data.get(index)?, usize::try_from(*self.get().linesize.get(index)?).ok()?);
        let size = self.size();
        let half = |side: u32| side.div_ceil(2) as usize;
        let (width, height) = match index {
            0 => (size.width as usize, size.height as usize),
            _ => (half(size.width), half(size.height)),
        };
        let before_last = stride.checked_mul(height.checked_sub(1)?)?;
        (!start.is_null() && width <= stride).then_some((start, before_last + width, stride))
    }

    /// Replaces `out` by the planes without padding, in the layout of `format`, which must be the frame's own or, for
    /// [`PixelFormat::Gray`], one whose first plane is luma of 8 bits.
    pub fn copy_to(&self, format: PixelFormat, out: &mut Vec<u8>) -> Result<()> {
        out.resize(format.frame_bytes(self.size()), 0);
        self.copy_planes(native(format), out)
    }

    fn copy_planes(&self, format: AVPixelFormat, out: &mut [u8]) -> Result<()> {
        let frame = self.get();
        let capacity = c_int::try_from(out.len())
            .map_err(|_| Error::Unsupported(format!("a picture of {} is too large to copy", self.size())))?;
        // SAFETY: the planes belong to a valid frame of this size, and FFmpeg checks that `out` is long enough.
        let copied = unsafe {
            ffi::av_image_copy_to_buffer(
                out.as_mut_ptr(),
                capacity,
                frame.data.as_ptr().cast(),
                frame.linesize.as_ptr(),
                format,
                frame.width,
                frame.height,
                1,
            )
        };
        check("copy picture", copied)?;
        Ok(())
    }

    /// Replaces the picture of a frame made by [`Frame::i420`] by `picture`, planes without padding.
    pub fn draw_i420(&mut self, picture: &[u8]) -> Result<()> {
        self.make_writable()?;
        let size = self.size();
        if picture.len() != PixelFormat::I420.frame_bytes(size) {
            return Err(Error::Unsupported(format!("{} bytes are no I420 picture of {size}", picture.len())));
        }
        let (width, height) = (size.width as usize, size.height as usize);
        let (luma, chroma) = picture.split_at(width * height);
        let (blue, red) = chroma.split_at(chroma.len() / 2);
        let frame = self.get();
        let planes = [luma, blue, red].into_iter().zip(frame.data).zip(frame.linesize);
        for (index, ((plane, data), stride)) in planes.enumerate() {
            let (width, height) = if index == 0 { (width, height) } else { (width.div_ceil(2), height.div_ceil(2)) };
            let (row, rows) = (width as c_int, height as c_int);
            // SAFETY: the plane has `rows` rows of at least `row` bytes in the frame, and exactly as many in `plane`.
            unsafe {
                ffi::av_image_copy_plane(data, stride, plane.as_ptr(), row, row, rows);
            }
        }
        Ok(())
    }

    pub(super) fn as_ptr(&self) -> *const ffi::AVFrame {
        self.raw.as_ptr()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut ffi::AVFrame {
        self.raw.as_ptr()
    }

    pub(super) fn get(&self) -> &ffi::AVFrame {
        // SAFETY: the frame lives as long as `self`, and FFmpeg changes it only within calls that get `self`.
        unsafe { self.raw.as_ref() }
    }

    pub(super) fn get_mut(&mut self) -> &mut ffi::AVFrame {
        // SAFETY: as in `get`; the exclusive borrow of `self` rules out any other reference.
        unsafe { self.raw.as_mut() }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut raw = self.raw.as_ptr();
        // SAFETY: the frame is ours and is not used again; shared planes are only unreferenced.
        unsafe { ffi::av_frame_free(&mut raw) };
    }
}

/// FFmpeg 7 moved the field into a flag, and has both for now.
#[allow(deprecated)]
fn interlaced(frame: &ffi::AVFrame) -> bool {
    frame.interlaced_frame != 0
}

pub(super) fn read_enum(field: *const c_int) -> c_int {
    // SAFETY: the callers pass a field of a valid frame whose C type is an enum, which has the size of an int.
    unsafe { field.read() }
}

pub(super) fn write_enum(field: *mut c_int, value: c_int) {
    // SAFETY: as in `read`, and the callers hold the frame exclusively.
    unsafe { field.write(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_picture_is_copied_out_unchanged() {
        for size in [Geometry::new(62, 34), Geometry::new(7, 5)] {
            let bytes = PixelFormat::I420.frame_bytes(size);
            let picture: Vec<u8> = (0..bytes).map(|index| index as u8).collect();
            let mut frame = Frame::i420(size).unwrap();
            frame.draw_i420(&picture).unwrap();
            let mut out = vec![9; 3];
            frame.copy_to(PixelFormat::I420, &mut out).unwrap();
            assert_eq!(out, picture);
            frame.copy_to(PixelFormat::Gray, &mut out).unwrap();
            assert_eq!(out, picture[..size.pixels() as usize]);
            let width = size.width as usize;
            let rows = picture[..size.pixels() as usize].chunks(width).step_by(3);
            let thin: Vec<u8> = rows.flat_map(|row| row.iter().step_by(3)).copied().collect();
            frame.thin_luma(3, &mut out).unwrap();
            assert_eq!(out, thin);
            assert!(frame.draw_i420(&picture[1..]).is_err());
        }
    }

    #[test]
    fn a_shared_picture_is_not_drawn_over() {
        let size = Geometry::new(16, 16);
        let bytes = PixelFormat::I420.frame_bytes(size);
        let mut frame = Frame::i420(size).unwrap();
        frame.draw_i420(&vec![1; bytes]).unwrap();
        let mut shared = Frame::empty().unwrap();
        shared.refer_to(&frame).unwrap();
        frame.draw_i420(&vec![2; bytes]).unwrap();
        let mut out = Vec::new();
        shared.copy_to(PixelFormat::I420, &mut out).unwrap();
        assert!(out.iter().all(|byte| *byte == 1));
    }
}
