//! Pixel formats: how VA-API's FOURCCs lie in memory and what FFmpeg calls them.

use ffmpeg_next::ffi::AVPixelFormat;

use crate::va::*;

/// One plane of a format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plane {
    /// Bytes of a sample group.
    pub(crate) step: usize,
    /// log2 of how many pixels a group stands for, across.
    pub(crate) shift_x: u32,
    /// log2 of how many rows of pixels a row stands for.
    pub(crate) shift_y: u32,
    /// Which of FFmpeg's planes this is.
    pub(crate) native: usize,
}

/// A pixel format.
#[derive(Debug)]
pub(crate) struct Format {
    pub(crate) fourcc: u32,
    pub(crate) native: AVPixelFormat,
    /// The VA_RT_FORMAT that it belongs to.
    pub(crate) rt_format: u32,
    pub(crate) bits_per_pixel: u32,
    pub(crate) planes: &'static [Plane],
    /// Whether all planes have the first one's pitch, as IMC3 wants it.
    pub(crate) equal_pitches: bool,
    /// Masks of red, green, blue and alpha; 0 for Y'CbCr.
    pub(crate) masks: [u32; 4],
}

const fn plane(step: usize, shift_x: u32, shift_y: u32, native: usize) -> Plane {
    Plane { step, shift_x, shift_y, native }
}

const fn yuv(
    fourcc: u32,
    native: AVPixelFormat,
    rt_format: u32,
    bits_per_pixel: u32,
    planes: &'static [Plane],
) -> Format {
    Format { fourcc, native, rt_format, bits_per_pixel, planes, equal_pitches: fourcc == VA_FOURCC_IMC3, masks: [0; 4] }
}

const fn rgb(fourcc: u32, native: AVPixelFormat, masks: [u32; 4]) -> Format {
    Format {
        fourcc,
        native,
        rt_format: VA_RT_FORMAT_RGB32,
        bits_per_pixel: 32,
        planes: PACKED_32,
        equal_pitches: false,
        masks,
    }
}

const PACKED_32: &[Plane] = &[plane(4, 0, 0, 0)];
const PLANAR_420: &[Plane] = &[plane(1, 0, 0, 0), plane(1, 1, 1, 1), plane(1, 1, 1, 2)];
const RED_FIRST: [u32; 3] = [0xff, 0xff00, 0xff_0000];
const BLUE_FIRST: [u32; 3] = [0xff_0000, 0xff00, 0xff];

/// All formats. The first of an RT format is its default.
pub(crate) static FORMATS: [Format; 16] = [
    yuv(
        VA_FOURCC_NV12,
        AVPixelFormat::AV_PIX_FMT_NV12,
        VA_RT_FORMAT_YUV420,
        12,
        &[plane(1, 0, 0, 0), plane(2, 1, 1, 1)],
    ),
    yuv(
        VA_FOURCC_YV12,
        AVPixelFormat::AV_PIX_FMT_YUV420P,
        VA_RT_FORMAT_YUV420,
        12,
        &[plane(1, 0, 0, 0), plane(1, 1, 1, 2), plane(1, 1, 1, 1)],
    ),
    yuv(VA_FOURCC_I420, AVPixelFormat::AV_PIX_FMT_YUV420P, VA_RT_FORMAT_YUV420, 12, PLANAR_420),
    yuv(VA_FOURCC_IMC3, AVPixelFormat::AV_PIX_FMT_YUV420P, VA_RT_FORMAT_YUV420, 16, PLANAR_420),
    yuv(
        VA_FOURCC_P010,
        AVPixelFormat::AV_PIX_FMT_P010LE,
        VA_RT_FORMAT_YUV420_10,
        24,
        &[plane(2, 0, 0, 0), plane(4, 1, 1, 1)],
    ),
    yuv(
        VA_FOURCC_422H,
        AVPixelFormat::AV_PIX_FMT_YUV422P,
        VA_RT_FORMAT_YUV422,
        16,
        &[plane(1, 0, 0, 0), plane(1, 1, 0, 1), plane(1, 1, 0, 2)],
    ),
    yuv(
        VA_FOURCC_422V,
        AVPixelFormat::AV_PIX_FMT_YUV440P,
        VA_RT_FORMAT_YUV422,
        16,
        &[plane(1, 0, 0, 0), plane(1, 0, 1, 1), plane(1, 0, 1, 2)],
    ),
    yuv(VA_FOURCC_YUY2, AVPixelFormat::AV_PIX_FMT_YUYV422, VA_RT_FORMAT_YUV422, 16, &[plane(4, 1, 0, 0)]),
    yuv(VA_FOURCC_UYVY, AVPixelFormat::AV_PIX_FMT_UYVY422, VA_RT_FORMAT_YUV422, 16, &[plane(4, 1, 0, 0)]),
    yuv(
        VA_FOURCC_444P,
        AVPixelFormat::AV_PIX_FMT_YUV444P,
        VA_RT_FORMAT_YUV444,
        24,
        &[plane(1, 0, 0, 0), plane(1, 0, 0, 1), plane(1, 0, 0, 2)],
    ),
    yuv(
        VA_FOURCC_411P,
        AVPixelFormat::AV_PIX_FMT_YUV411P,
        VA_RT_FORMAT_YUV411,
        12,
        &[plane(1, 0, 0, 0), plane(1, 2, 0, 1), plane(1, 2, 0, 2)],
    ),
    yuv(VA_FOURCC_Y800, AVPixelFormat::AV_PIX_FMT_GRAY8, VA_RT_FORMAT_YUV400, 8, &[plane(1, 0, 0, 0)]),
    rgb(VA_FOURCC_BGRA, AVPixelFormat::AV_PIX_FMT_BGRA, [BLUE_FIRST[0], BLUE_FIRST[1], BLUE_FIRST[2], 0xff00_0000]),
    rgb(VA_FOURCC_BGRX, AVPixelFormat::AV_PIX_FMT_BGR0, [BLUE_FIRST[0], BLUE_FIRST[1], BLUE_FIRST[2], 0]),
    rgb(VA_FOURCC_RGBA, AVPixelFormat::AV_PIX_FMT_RGBA, [RED_FIRST[0], RED_FIRST[1], RED_FIRST[2], 0xff00_0000]),
    rgb(VA_FOURCC_RGBX, AVPixelFormat::AV_PIX_FMT_RGB0, [RED_FIRST[0], RED_FIRST[1], RED_FIRST[2], 0]),
];

/// The format of this FOURCC.
pub(crate) fn by_fourcc(fourcc: u32) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.fourcc == fourcc)
}

/// The format that a surface has if only its RT format is asked for.
pub(crate) fn by_rt_format(rt_format: u32) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.rt_format & rt_format != 0)
}

/// Where the planes of a picture lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) format: &'static Format,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pitches: [u32; 3],
    pub(crate) offsets: [u32; 3],
    pub(crate) size: usize,
}

/// Rows are this far apart at least: i965's and iHD's Y tiles are so wide.
const PITCH_ALIGNMENT: u32 = 128;
/// And planes have a multiple of so many rows. 1080 rows become 1088, as i965 has it.
const ROW_ALIGNMENT: u32 = 32;

impl Layout {
    /// The layout of a picture of `width` × `height` pixels.
    pub(crate) fn new(format: &'static Format, width: u32, height: u32) -> Self {
        let columns = width.next_multiple_of(PITCH_ALIGNMENT);
        let rows = height.next_multiple_of(ROW_ALIGNMENT);
        let mut layout = Self { format, width, height, pitches: [0; 3], offsets: [0; 3], size: 0 };
        for (index, plane) in format.planes.iter().enumerate() {
            let pitch = if format.equal_pitches { columns } else { (columns >> plane.shift_x) * plane.step as u32 };
            layout.pitches[index] = pitch;
            layout.offsets[index] = layout.size as u32;
            layout.size += (pitch * (rows >> plane.shift_y)) as usize;
        }
        layout
    }
}
