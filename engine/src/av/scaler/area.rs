//! Shrinks pictures by small exact ratios: each sample is the mean of the area that it covers.
//!
//! Cameras and detectors mostly differ by such ratios (1080p to 720p is 3:2, to 360p 3:1). The sums of whole rows and the
//! fixed weights are what compilers turn into vector code; swscale takes five to ten times as long.

use camshaft::media::{Crop, Geometry};

use super::super::error::{Error, Result};
use super::super::frame::{ColorTags, Frame};
use super::super::pixel::SourceFormat;
use ffmpeg_next::ffi::AVPixelFormat::AV_PIX_FMT_YUV420P;

/// A plane as it lies in memory: rows of `stride` bytes, of which `width` count.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// From the first sample on.
    pub bytes: &'a [u8],
    /// From row to row.
    pub stride: usize,
}

/// As [`Source`], to be written.
pub struct Target<'a> {
    /// From the first sample on.
    pub bytes: &'a mut [u8],
    /// From row to row.
    pub stride: usize,
    /// Samples a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// Shrinks a plane to the target's size; the last argument has room for one source row.
type Kernel = fn(Source, Target, &mut [u16]);

/// How many source samples become how many, along each side, and the code for it.
const RATIOS: [(usize, usize, Kernel); 6] = [
    (2, 1, shrink::<2, 1>),
    (3, 1, shrink::<3, 1>),
    (4, 1, shrink::<4, 1>),
    (6, 1, shrink::<6, 1>),
    (3, 2, shrink::<3, 2>),
    (4, 3, shrink::<4, 3>),
];

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

/// How much of source sample `from` lies below sample `to` where `M` samples become `N`, in `N`ths of a sample.
const fn overlap<const M: usize, const N: usize>(from: usize, to: usize) -> u16 {
    let (start, end) = (from * N, (from + 1) * N);
    let (to_start, to_end) = (to * M, (to + 1) * M);
    let start = if start > to_start { start } else { to_start };
    let end = if end < to_end { end } else { to_end };
    end.saturating_sub(start) as u16
}

/// The weights of `M` samples in each of the `N` that they become. Each row adds up to `M`.
struct Weights<const M: usize, const N: usize>;

impl<const M: usize, const N: usize> Weights<M, N> {
    #[allow(clippy::indexing_slicing, reason = "the compiler works it out")]
    const OF: [[u16; M]; N] = {
        let mut weights = [[0; M]; N];
        let mut to = 0;
        while to < N {
            let mut from = 0;
            while from < M {
                weights[to][from] = overlap::<M, N>(from, to);
                from += 1;
            }
            to += 1;
        }
        weights
    };
}

/// The kernel, compiled for what the CPU has.
fn shrink<const M: usize, const N: usize>(from: Source, to: Target, sums: &mut [u16]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2.
        return unsafe { shrink_avx2::<M, N>(from, to, sums) };
    }
    shrink_rows::<M, N>(from, to, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn shrink_avx2<const M: usize, const N: usize>(from: Source, to: Target, sums: &mut [u16]) {
    shrink_rows::<M, N>(from, to, sums);
}

/// `M` rows become `N`, and within them `M` samples `N`. Sums fit 16 bits: M² × 255 ≤ 36 × 255.
#[inline(always)]
#[allow(
    clippy::indexing_slicing,
    reason = "all rows are cut to one width, which lets the compiler leave the checks out"
)]
fn shrink_rows<const M: usize, const N: usize>(from: Source, to: Target, sums: &mut [u16]) {
    let width = to.width / N * M;
    let sums = &mut sums[..width];
    let bands = from.bytes.chunks(from.stride * M).zip(to.bytes.chunks_mut(to.stride * N));
    for (band, out) in bands.take(to.height / N) {
        let mut rows = band.chunks(from.stride);
        let rows: [&[u8]; M] =
            std::array::from_fn(|_| rows.next().and_then(|row| row.get(..width)).unwrap_or_default());
        if rows.iter().any(|row| row.len() != width) {
            break;
        }
        for (out, weights) in out.chunks_mut(to.stride).zip(Weights::<M, N>::OF) {
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = (0..M).map(|row| weights[row] * u16::from(rows[row][at])).sum();
            }
            for (out, sums) in out[..to.width].as_chunks_mut::<N>().0.iter_mut().zip(sums.as_chunks::<M>().0) {
                for (out, weights) in out.iter_mut().zip(Weights::<M, N>::OF) {
                    let area = (M * M) as u16;
                    let sum: u16 = weights.iter().zip(sums).map(|(weight, sum)| weight * sum).sum();
                    *out = ((sum + area / 2) / area) as u8;
                }
            }
        }
    }
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
