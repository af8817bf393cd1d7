//! Crop, scale and convert pictures, in software.

mod area;
mod shrink;
mod swscale;

use camshaft::media::{Crop, Geometry, PixelFormat};
use ffmpeg_next::ffi::AVPixelFormat;
use ffmpeg_next::ffi::AVPixelFormat::{AV_PIX_FMT_BGR24, AV_PIX_FMT_RGB24, AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV420P10LE};

use self::area::Area;
use self::swscale::Swscale;
use super::error::{Error, Result};
use super::frame::{ColorTags, Frame};
use super::pixel::{SourceFormat, native};

/// What pictures are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Raw pixels; Y'CbCr in limited range.
    Raw(PixelFormat),
    /// I420 in full range, as JPEG stores it (JFIF 1.02).
    Jpeg,
    /// I420 of 10 bits in limited range, for encoders.
    TenBit,
}

/// Which part of a picture is made, how large, and in which layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Cut out first; a corner between two chroma samples moves up and left to the next one, as in ffmpeg's `crop`.
    pub crop: Option<Crop>,
    /// Size of the result.
    pub size: Geometry,
    /// Layout of the result.
    pub layout: Layout,
}

/// What a scaler must know of the pictures that come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceShape {
    size: Geometry,
    format: SourceFormat,
    color: ColorTags,
}

impl SourceShape {
    /// The shape of `frame`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a pixel format other than 4:2:0 with 8 or 10 bits, and 4:2:2 with 8.
    pub fn of(frame: &Frame) -> Result<Self> {
        let raw = frame.sample_format();
        let format = SourceFormat::from_raw(raw)
            .ok_or_else(|| Error::Unsupported(format!("pictures in FFmpeg's pixel format {raw} are not handled")))?;
        Ok(Self { size: frame.size(), format, color: frame.color() })
    }

    fn is_full_range(&self) -> bool {
        self.format == SourceFormat::Bits8FullRange || self.color.is_full_range()
    }

    /// The colour tags with the range that the samples have.
    fn color_of_range(&self) -> ColorTags {
        if self.is_full_range() { self.color.as_full() } else { self.color }
    }

    /// Whether pictures of this shape are already what `view` asks for.
    pub fn satisfies(&self, view: &View) -> bool {
        let whole = view.crop.is_none() && view.size == self.size;
        let limited = !self.is_full_range();
        whole
            && match (self.format, view.layout) {
                (SourceFormat::Bits8, Layout::Raw(PixelFormat::I420 | PixelFormat::Gray)) => limited,
                (SourceFormat::Nv12, Layout::Raw(PixelFormat::Nv12 | PixelFormat::Gray)) => limited,
                (SourceFormat::Bits10, Layout::TenBit) => limited,
                (SourceFormat::Bits8 | SourceFormat::Bits8FullRange, Layout::Jpeg) => !limited,
                _ => false,
            }
    }
}

/// Makes pictures of one view from pictures of one shape, into frames that it uses again and again.
pub struct Scaler {
    shape: SourceShape,
    /// What is made first; each step takes what the one before has made.
    before: Vec<Step>,
    last: Step,
}

struct Step {
    way: Way,
    /// The part of what comes in that is used.
    crop: Crop,
    output: Frame,
}

enum Way {
    Area(Area),
    Swscale(Swscale),
}

impl Scaler {
    /// A scaler from `shape` to `view`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the crop lies outside the picture; FFmpeg's for sizes that it cannot scale to.
    pub fn new(shape: SourceShape, view: &View) -> Result<Self> {
        let crop = view.crop.unwrap_or(whole(shape.size));
        if !crop.fits(shape.size) {
            let message = format!("crop {crop} (W:H:X:Y) does not fit into the source's {}", shape.size);
            return Err(Error::Unsupported(message));
        }
        let (format, color) = output_format(&shape, view.layout);
        let area = Area::between(crop.geometry(), view.size).filter(|_| shape.format.sample_bytes() == 1);
        let (mut now, mut crop, mut before) = (shape, crop, Vec::new());
        if let Some(planar) = planar_step(shape.format, format, area.is_some()) {
            let step = Step::convert(&now, crop, crop.geometry(), planar, now.color)?;
            now = SourceShape::of(&step.output)?;
            crop = whole(now.size);
            before.push(step);
        }
        let Some(area) = area else {
            return Ok(Self { shape, before, last: Step::convert(&now, crop, view.size, format, color)? });
        };
        let shrink = Step { way: Way::Area(area), crop, output: Area::output(view.size, now.color_of_range())? };
        let shrunk = SourceShape::of(&shrink.output)?;
        if shrunk.format.native() == format && shrunk.is_full_range() == color.is_full_range() {
            return Ok(Self { shape, before, last: shrink });
        }
        before.push(shrink);
        Ok(Self { shape, before, last: Step::convert(&shrunk, whole(view.size), view.size, format, color)? })
    }

    /// The shape that this scaler takes.
    pub fn shape(&self) -> SourceShape {
        self.shape
    }

    /// Makes the view of `frame`, which must have the scaler's shape.
    pub fn scale(&mut self, frame: &Frame) -> Result<()> {
        if SourceShape::of(frame)? != self.shape {
            return Err(Error::Unsupported("the picture is not of the scaler's shape".into()));
        }
        let mut made = frame;
        for step in &mut self.before {
            made = step.make(made)?;
        }
        self.last.make(made)?;
        Ok(())
    }

    /// What the last [`Scaler::scale`] made.
    pub fn output(&self) -> &Frame {
        &self.last.output
    }

    /// The same, without the scaler.
    pub fn into_output(self) -> Frame {
        self.last.output
    }
}

impl Step {
    fn convert(
        from: &SourceShape,
        crop: Crop,
        size: Geometry,
        format: AVPixelFormat,
        color: ColorTags,
    ) -> Result<Self> {
        let mut output = Frame::with_planes(size, format)?;
        output.describe(format, color);
        let way = Way::Swscale(Swscale::new(from, crop.geometry(), &output, format)?);
        Ok(Self { way, crop, output })
    }

    fn make(&mut self, from: &Frame) -> Result<&Frame> {
        match &mut self.way {
            Way::Area(area) => area.scale(from, self.crop, &mut self.output)?,
            Way::Swscale(swscale) => swscale.scale(from, self.crop, &mut self.output)?,
        }
        Ok(&self.output)
    }
}

/// The format to make first where a picture comes from a GPU: what follows is then the same to the bit as for a picture
/// of the CPU's decoder, and swscale's fast way to RGB is for planar pictures only.
fn planar_step(from: SourceFormat, to: AVPixelFormat, by_area: bool) -> Option<AVPixelFormat> {
    match (from, to) {
        (SourceFormat::Nv12, _) if by_area => Some(AV_PIX_FMT_YUV420P),
        (SourceFormat::Nv12, AV_PIX_FMT_RGB24 | AV_PIX_FMT_BGR24) => Some(AV_PIX_FMT_YUV420P),
        (SourceFormat::P010, AV_PIX_FMT_YUV420P10LE) => None,
        (SourceFormat::P010, _) => Some(AV_PIX_FMT_YUV420P10LE),
        _ => None,
    }
}

fn whole(size: Geometry) -> Crop {
    Crop { width: size.width, height: size.height, x: 0, y: 0 }
}

fn output_format(shape: &SourceShape, layout: Layout) -> (AVPixelFormat, ColorTags) {
    let limited = shape.color.as_limited();
    match layout {
        // For swscale gray is full range unless told otherwise, and then it is too late for its short cut from a
        // full-range source. The first plane of I420 is the same gray without that.
        Layout::Raw(PixelFormat::Gray) if shape.is_full_range() => (native(PixelFormat::I420), limited),
        Layout::Raw(format) => (native(format), limited),
        Layout::Jpeg => (native(PixelFormat::I420), shape.color.as_full()),
        Layout::TenBit => (AV_PIX_FMT_YUV420P10LE, limited),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ffmpeg_next::ffi;
    use std::ffi::c_int;

    const SIZE: Geometry = Geometry { width: 64, height: 32 };
    const BT_709: c_int = ffi::AVColorSpace::AVCOL_SPC_BT709 as c_int;

    /// A flat picture as a decoder would give it out.
    fn flat(format: AVPixelFormat, color: ColorTags, [y, cb, cr]: [u8; 3]) -> Frame {
        let mut frame = Frame::i420(SIZE).unwrap();
        let luma = SIZE.pixels() as usize;
        let mut picture = vec![y; luma];
        picture.extend(vec![cb; luma / 4]);
        picture.extend(vec![cr; luma / 4]);
        frame.draw_i420(&picture).unwrap();
        frame.describe(format, color);
        frame
    }

    /// The first sample of each plane (or channel) of the view.
    fn view(frame: &Frame, size: Geometry, layout: Layout) -> [u8; 3] {
        let view = View { crop: None, size, layout };
        let shape = SourceShape::of(frame).unwrap();
        assert!(!shape.satisfies(&view));
        let mut scaler = Scaler::new(shape, &view).unwrap();
        scaler.scale(frame).unwrap();
        let format = match layout {
            Layout::Raw(format) => format,
            Layout::Jpeg => PixelFormat::I420,
            Layout::TenBit => panic!("this reads samples of one byte"),
        };
        let mut out = Vec::new();
        scaler.output().copy_to(format, &mut out).unwrap();
        let luma = size.pixels() as usize;
        match format {
            PixelFormat::I420 => [out[0], out[luma], out[luma + luma / 4]],
            PixelFormat::Nv12 => [out[0], out[luma], out[luma + 1]],
            PixelFormat::Gray => [out[0]; 3],
            PixelFormat::Rgb24 | PixelFormat::Bgr24 => [out[0], out[1], out[2]],
        }
    }

    fn close(found: [u8; 3], expected: [u8; 3]) -> bool {
        found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 2)
    }

    const FULL_SIZES: [Geometry; 3] = [SIZE, Geometry { width: 32, height: 16 }, Geometry { width: 128, height: 64 }];

    #[test]
    fn full_range_sources_become_limited_raw_pictures() {
        let tagged = (AVPixelFormat::AV_PIX_FMT_YUV420P, ColorTags::UNSPECIFIED.as_full());
        let named = (AVPixelFormat::AV_PIX_FMT_YUVJ420P, ColorTags::UNSPECIFIED);
        for (format, color) in [tagged, named] {
            let white = flat(format, color, [255, 128, 228]);
            for size in FULL_SIZES {
                let limited = view(&white, size, Layout::Raw(PixelFormat::I420));
                assert!(close(limited, [235, 128, 216]), "{size} {limited:?}");
                assert!(close(view(&white, size, Layout::Raw(PixelFormat::Nv12)), [235, 128, 216]), "{size}");
                let gray = view(&white, size, Layout::Raw(PixelFormat::Gray));
                assert!(close(gray, [235; 3]), "{size} {gray:?}");
            }
            let same = View { crop: None, size: SIZE, layout: Layout::Jpeg };
            assert!(SourceShape::of(&white).unwrap().satisfies(&same));
        }
    }

    #[test]
    fn limited_sources_become_full_range_jpegs_and_stay_limited_raw() {
        let black = flat(AVPixelFormat::AV_PIX_FMT_YUV420P, ColorTags::UNSPECIFIED, [16, 128, 216]);
        for size in FULL_SIZES {
            let full = view(&black, size, Layout::Jpeg);
            assert!(close(full, [0, 128, 228]), "{size} {full:?}");
        }
        for size in &FULL_SIZES[1..] {
            assert!(close(view(&black, *size, Layout::Raw(PixelFormat::I420)), [16, 128, 216]), "{size}");
            assert!(close(view(&black, *size, Layout::Raw(PixelFormat::Gray)), [16; 3]), "{size}");
        }
        let same = View { crop: None, size: SIZE, layout: Layout::Raw(PixelFormat::Gray) };
        assert!(SourceShape::of(&black).unwrap().satisfies(&same));
    }

    #[test]
    fn rgb_is_made_by_the_matrix_of_the_source() {
        // Pure red in each of the matrices (ITU-R BT.601 and BT.709), limited and full range.
        let limited = ColorTags::UNSPECIFIED;
        let hd = ColorTags { space: BT_709, ..limited };
        let red = [
            (limited, [81, 90, 240]),
            (hd, [63, 102, 240]),
            (limited.as_full(), [76, 85, 255]),
            (hd.as_full(), [54, 99, 255]),
        ];
        for (color, samples) in red {
            let frame = flat(AVPixelFormat::AV_PIX_FMT_YUV420P, color, samples);
            for size in FULL_SIZES {
                let found = view(&frame, size, Layout::Raw(PixelFormat::Rgb24));
                assert!(close(found, [254, 0, 0]), "{color:?} {size} {found:?}");
            }
        }
    }

    #[test]
    fn ten_bits_become_eight() {
        let mut frame = Frame::with_planes(SIZE, AVPixelFormat::AV_PIX_FMT_YUV420P10LE).unwrap();
        let [y, cb, cr] = [940u16, 512, 300];
        let raw = frame.get_mut();
        for (plane, value) in [(0, y), (1, cb), (2, cr)] {
            let rows = SIZE.height as usize >> usize::from(plane > 0);
            let length = raw.linesize[plane] as usize / 2 * rows;
            // SAFETY: the plane is ours and has this many samples of two bytes.
            unsafe { std::slice::from_raw_parts_mut(raw.data[plane].cast::<u16>(), length) }.fill(value);
        }
        for size in FULL_SIZES {
            let found = view(&frame, size, Layout::Raw(PixelFormat::I420));
            assert!(close(found, [235, 128, 75]), "{size} {found:?}");
        }
    }

    #[test]
    fn a_crop_outside_and_a_picture_of_another_shape_are_errors() {
        let frame = flat(AVPixelFormat::AV_PIX_FMT_YUV420P, ColorTags::UNSPECIFIED, [16, 128, 128]);
        let shape = SourceShape::of(&frame).unwrap();
        let outside = Crop { width: 64, height: 32, x: 1, y: 0 };
        let view = View { crop: Some(outside), size: SIZE, layout: Layout::Jpeg };
        let Err(error) = Scaler::new(shape, &view) else { panic!("the crop is outside") };
        assert!(error.to_string().contains("64:32:1:0"), "{error}");
        let mut scaler = Scaler::new(shape, &View { crop: None, ..view }).unwrap();
        assert!(scaler.scale(&Frame::i420(Geometry::new(32, 32)).unwrap()).is_err());
        assert!(SourceShape::of(&Frame::empty().unwrap()).is_err());
    }

    fn samples(frame: &Frame, format: AVPixelFormat, size: Geometry, layout: Layout) -> Vec<u8> {
        let shape = SourceShape::of(frame).unwrap();
        let mut input = Step::convert(&shape, whole(shape.size), shape.size, format, shape.color).unwrap();
        let input = input.make(frame).unwrap();
        let view = View { crop: None, size, layout };
        let mut scaler = Scaler::new(SourceShape::of(input).unwrap(), &view).unwrap();
        scaler.scale(input).unwrap();
        scaler.output().samples().unwrap()
    }

    #[test]
    fn pictures_from_a_gpu_give_the_same_samples_as_those_of_the_cpu() {
        // Shrinking fills the lower bits.
        let size = Geometry::new(500, 300);
        let mut drawn = Frame::i420(size).unwrap();
        let picture: Vec<u8> = (0..PixelFormat::I420.frame_bytes(size)).map(|at| (at * 7 % 251) as u8).collect();
        drawn.draw_i420(&picture).unwrap();
        let deep_view = View { crop: None, size: Geometry::new(318, 178), layout: Layout::TenBit };
        let mut deep = Scaler::new(SourceShape::of(&drawn).unwrap(), &deep_view).unwrap();
        deep.scale(&drawn).unwrap();
        let own = deep.output().size();
        for layout in [Layout::Raw(PixelFormat::I420), Layout::Raw(PixelFormat::Nv12), Layout::Jpeg] {
            let planar = samples(deep.output(), AV_PIX_FMT_YUV420P10LE, own, layout);
            assert_eq!(samples(deep.output(), AVPixelFormat::AV_PIX_FMT_P010LE, own, layout), planar, "{layout:?}");
        }
        // 8 bits at one of the exact ratios.
        let smaller = Geometry::new(250, 150);
        for layout in [Layout::Raw(PixelFormat::I420), Layout::Raw(PixelFormat::Nv12), Layout::Jpeg] {
            let planar = samples(&drawn, AVPixelFormat::AV_PIX_FMT_YUV420P, smaller, layout);
            assert_eq!(samples(&drawn, AVPixelFormat::AV_PIX_FMT_NV12, smaller, layout), planar, "{layout:?}");
        }
    }

    #[test]
    fn a_crop_is_cut_out_before_it_is_shrunk() {
        let size = Geometry::new(64, 32);
        let mut drawn = Frame::i420(size).unwrap();
        let picture: Vec<u8> = (0..PixelFormat::I420.frame_bytes(size)).map(|at| (at * 7 % 251) as u8).collect();
        drawn.draw_i420(&picture).unwrap();
        let crop = Crop { width: 24, height: 12, x: 10, y: 6 };
        let make = |crop: Option<Crop>, size, from: &Frame| {
            let view = View { crop, size, layout: Layout::Raw(PixelFormat::I420) };
            let mut scaler = Scaler::new(SourceShape::of(from).unwrap(), &view).unwrap();
            scaler.scale(from).unwrap();
            scaler.into_output()
        };
        let at_once = make(Some(crop), Geometry::new(12, 6), &drawn);
        let cut = make(Some(crop), crop.geometry(), &drawn);
        let in_turn = make(None, Geometry::new(12, 6), &cut);
        assert_eq!(at_once.samples().unwrap(), in_turn.samples().unwrap());
    }
}
