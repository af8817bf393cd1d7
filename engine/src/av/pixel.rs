//! Pixel formats: what the decoders give out, and what FFmpeg calls ours.

use camshaft::media::PixelFormat;
use ffmpeg_next::ffi::AVPixelFormat::{self, *};
use std::ffi::c_int;

/// How a decoder lays out its pictures: 4:2:0, since parameter sets that ask for another are refused, but for the JPEGs of
/// cameras, which are 4:2:2 as well (RFC 2435 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceFormat {
    /// 8 bits a sample, in the range that the picture's colour tags say.
    Bits8,
    /// 8 bits a sample in full range, under a name of its own that FFmpeg calls deprecated.
    Bits8FullRange,
    /// 10 bits a sample.
    Bits10,
    /// 8 bits a sample, chroma interleaved, as GPUs have it.
    Nv12,
    /// 10 bits a sample in the upper bits of 16, chroma interleaved, as GPUs have it.
    P010,
    /// 8 bits a sample, chroma with every row, in the range that the picture's colour tags say.
    Bits8Chroma422,
}

impl SourceFormat {
    /// The format with FFmpeg's number `raw`.
    pub(super) fn from_raw(raw: c_int) -> Option<Self> {
        const BITS_8: c_int = AV_PIX_FMT_YUV420P as c_int;
        const BITS_8_FULL_RANGE: c_int = AV_PIX_FMT_YUVJ420P as c_int;
        const BITS_10: c_int = AV_PIX_FMT_YUV420P10LE as c_int;
        const NV12: c_int = AV_PIX_FMT_NV12 as c_int;
        const P010: c_int = AV_PIX_FMT_P010LE as c_int;
        const CHROMA_422: c_int = AV_PIX_FMT_YUV422P as c_int;
        const CHROMA_422_FULL_RANGE: c_int = AV_PIX_FMT_YUVJ422P as c_int;
        match raw {
            BITS_8 => Some(Self::Bits8),
            BITS_8_FULL_RANGE => Some(Self::Bits8FullRange),
            BITS_10 => Some(Self::Bits10),
            NV12 => Some(Self::Nv12),
            P010 => Some(Self::P010),
            CHROMA_422 | CHROMA_422_FULL_RANGE => Some(Self::Bits8Chroma422),
            _ => None,
        }
    }

    /// FFmpeg's name, without the deprecated one for full range.
    pub(super) fn native(self) -> AVPixelFormat {
        match self {
            Self::Bits8 | Self::Bits8FullRange => AV_PIX_FMT_YUV420P,
            Self::Bits10 => AV_PIX_FMT_YUV420P10LE,
            Self::Nv12 => AV_PIX_FMT_NV12,
            Self::P010 => AV_PIX_FMT_P010LE,
            Self::Bits8Chroma422 => AV_PIX_FMT_YUV422P,
        }
    }

    /// Whether chroma has half the columns and half the rows.
    pub(super) fn is_420(self) -> bool {
        self != Self::Bits8Chroma422
    }

    /// Bytes a sample.
    pub(super) fn sample_bytes(self) -> usize {
        match self {
            Self::Bits8 | Self::Bits8FullRange | Self::Nv12 | Self::Bits8Chroma422 => 1,
            Self::Bits10 | Self::P010 => 2,
        }
    }

    /// The value of a luma sample, as 8 bits; `sample` has [`Self::sample_bytes`].
    pub(super) fn luma(self, sample: &[u8]) -> u8 {
        match (self, sample) {
            (Self::Bits10, [low, high]) => (u16::from_le_bytes([*low, *high]) >> 2) as u8,
            (_, [.., high]) => *high,
            (_, []) => 0,
        }
    }

    /// The planes' (samples a pixel pair, rows a row pair).
    pub(super) fn planes(self) -> &'static [(usize, usize)] {
        match self {
            Self::Bits8 | Self::Bits8FullRange | Self::Bits10 => &[(2, 2), (1, 1), (1, 1)],
            Self::Nv12 | Self::P010 => &[(2, 2), (2, 1)],
            Self::Bits8Chroma422 => &[(2, 2), (1, 2), (1, 2)],
        }
    }
}

/// FFmpeg's name for one of our formats.
pub(super) fn native(format: PixelFormat) -> AVPixelFormat {
    match format {
        PixelFormat::I420 => AV_PIX_FMT_YUV420P,
        PixelFormat::Nv12 => AV_PIX_FMT_NV12,
        PixelFormat::Gray => AV_PIX_FMT_GRAY8,
        PixelFormat::Rgb24 => AV_PIX_FMT_RGB24,
        PixelFormat::Bgr24 => AV_PIX_FMT_BGR24,
    }
}
