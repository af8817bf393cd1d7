//! Planes shrunk by small exact ratios; pure arithmetic, which `benches/scaler.rs` measures alone.
//!
//! Cameras and detectors mostly differ by such ratios (1080p to 720p is 3:2, to 360p 3:1). The sums of whole rows and the
//! fixed weights are what compilers turn into vector code; swscale takes five to ten times as long.

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
pub type Kernel = fn(Source, Target, &mut [u16]);

/// How many source samples become how many, along each side, and the code for it.
pub const RATIOS: [(usize, usize, Kernel); 6] = [
    (2, 1, shrink::<2, 1>),
    (3, 1, shrink::<3, 1>),
    (4, 1, shrink::<4, 1>),
    (6, 1, shrink::<6, 1>),
    (3, 2, shrink::<3, 2>),
    (4, 3, shrink::<4, 3>),
];

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
