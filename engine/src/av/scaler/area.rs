//! Shrinks pictures by small exact ratios: each sample is the mean of the area that it covers.

use camshaft::media::{Crop, Geometry};

use super::super::error::{Error, Result};
use super::super::frame::{ColorTags, Frame};
use super::super::pixel::SourceFormat;
use super::shrink::{Kernel, RATIOS, Source, Target};
use ffmpeg_next::ffi::AVPixelFormat::AV_PIX_FMT_YUV420P;

/// Shrinks planar pictures of 8 bits by one of the ratios.
pub struct Area {
    kernel: Kernel,
    sums: Vec<u16>,
}

impl Area {
    /// For pictures of `from` to be made `to`; `None` if that is none of the ratios, in luma or in chroma.
    pub fn between(from: Geometry, to: Geometry) -> Option<Self> {
        let side = |side: u32| usize::try_from(side).ok();
        let ([width, height], [to_width, to_height]) =
            ([side(from.width)?, side(from.height)?], [side(to.width)?, side(to.height)?]);
        let fits = |many: usize, few: usize| {
            // Chroma has half the samples of each side, which must come out even too.
            let exact = |from: usize, to: usize| from.is_multiple_of(2 * many) && from / many * few == to;
            exact(width, to_width) && exact(height, to_height)
        };
        let (_, _, kernel) = RATIOS.into_iter().find(|(many, few, _)| fits(*many, *few))?;
        Some(Self { kernel, sums: vec![0; width] })
    }

    /// Room for the pictures that come out.
    ///
    /// # Errors
    /// FFmpeg's, if memory runs out.
    pub fn output(to: Geometry, color: ColorTags) -> Result<Frame> {
        let mut output = Frame::with_planes(to, AV_PIX_FMT_YUV420P)?;
        output.describe(AV_PIX_FMT_YUV420P, color);
        Ok(output)
    }

    /// Shrinks the part `crop` of `frame`, whose corner moves to the even column and row before it, to fill `output`.
    ///
    /// # Errors
    /// If a plane of either is missing or too small.
    pub fn scale(&mut self, frame: &Frame, crop: Crop, output: &mut Frame) -> Result<()> {
        let (x, y) = (crop.x as usize / 2, crop.y as usize / 2);
        let size = output.size();
        output.make_writable()?;
        for (index, (columns, rows)) in SourceFormat::Bits8.planes().iter().enumerate() {
            let (bytes, stride) = frame.plane(index).ok_or_else(missing)?;
            let bytes = bytes.get(y * rows * stride + x * columns..).ok_or_else(missing)?;
            let (width, height) = (size.width as usize / 2 * columns, size.height as usize / 2 * rows);
            let (target, target_stride) = output.plane_mut(index).ok_or_else(missing)?;
            let target = Target { bytes: target, stride: target_stride, width, height };
            (self.kernel)(Source { bytes, stride }, target, &mut self.sums);
        }
        Ok(())
    }
}

fn missing() -> Error {
    Error::Unsupported("a picture without all its planes cannot be scaled".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use camshaft::media::PixelFormat;

    /// The mean over the area of each sample, one sample at a time: both sides are stretched by `few` first, so that all
    /// corners are whole numbers.
    fn reference(plane: &[u8], width: usize, height: usize, many: usize, few: usize) -> Vec<u8> {
        let mean = |x: usize, y: usize| {
            let span = |to: usize| to * many..(to + 1) * many;
            let row =
                |row: usize| span(x).map(|column| u32::from(plane[row / few * width + column / few])).sum::<u32>();
            let area = (many * many) as u32;
            ((span(y).map(row).sum::<u32>() + area / 2) / area) as u8
        };
        let (to_width, to_height) = (width / many * few, height / many * few);
        (0..to_height).flat_map(|y| (0..to_width).map(move |x| mean(x, y))).collect()
    }

    fn noise(size: Geometry) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..PixelFormat::I420.frame_bytes(size)).map(|_| next()).collect()
    }

    #[test]
    fn every_ratio_gives_the_mean_of_each_area() {
        for (many, few, _) in RATIOS {
            let (width, height) = (24 * many, 8 * many);
            let from = Geometry::new(width as u32, height as u32);
            let to = Geometry::new((24 * few) as u32, (8 * few) as u32);
            let picture = noise(from);
            let mut frame = Frame::i420(from).unwrap();
            frame.draw_i420(&picture).unwrap();
            let whole = Crop { width: from.width, height: from.height, x: 0, y: 0 };
            let mut output = Area::output(to, ColorTags::UNSPECIFIED).unwrap();
            Area::between(from, to).unwrap().scale(&frame, whole, &mut output).unwrap();
            let (luma, chroma) = picture.split_at(width * height);
            let (blue, red) = chroma.split_at(chroma.len() / 2);
            let mut expected = reference(luma, width, height, many, few);
            expected.extend(reference(blue, width / 2, height / 2, many, few));
            expected.extend(reference(red, width / 2, height / 2, many, few));
            assert_eq!(output.samples().unwrap(), expected, "{many}:{few}");
        }
    }

    #[test]
    fn other_ratios_are_left_to_others() {
        let hd = Geometry::new(1920, 1080);
        assert!(Area::between(hd, Geometry::new(1280, 720)).is_some());
        for other in [(1280, 540), (1000, 562), (1920, 1080), (3840, 2160), (0, 0)] {
            assert!(Area::between(hd, Geometry::new(other.0, other.1)).is_none(), "{other:?}");
        }
        // Chroma of 159 columns has no exact half.
        assert!(Area::between(Geometry::new(318, 180), Geometry::new(159, 90)).is_none());
    }
}
