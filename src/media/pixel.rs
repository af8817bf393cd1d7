//! Pixel formats of raw output.

use serde::{Deserialize, Serialize};

use super::Geometry;

/// A layout of raw pixels, planes one after another without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelFormat {
    /// Planar Y, U, V; chroma halved both ways (ffmpeg `yuv420p`).
    I420,
    /// Planar Y, then interleaved UV; chroma halved both ways.
    Nv12,
    /// Y alone.
    Gray,
    /// Packed R, G, B bytes.
    Rgb24,
    /// Packed B, G, R bytes (OpenCV's order).
    Bgr24,
}

impl PixelFormat {
    /// Every format, with the name it has in `format=`.
    pub const ALL: [(&'static str, Self); 5] = [
        ("i420", Self::I420),
        ("nv12", Self::Nv12),
        ("gray", Self::Gray),
        ("rgb24", Self::Rgb24),
        ("bgr24", Self::Bgr24),
    ];

    /// The name it has in `format=`, headers and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::I420 => "i420",
            Self::Nv12 => "nv12",
            Self::Gray => "gray",
            Self::Rgb24 => "rgb24",
            Self::Bgr24 => "bgr24",
        }
    }

    /// Bytes of one picture; odd sides round the chroma planes up, as FFmpeg does.
    pub fn frame_bytes(self, size: Geometry) -> usize {
        let (width, height) = (size.width as usize, size.height as usize);
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        match self {
            Self::I420 | Self::Nv12 => width * height + 2 * chroma,
            Self::Gray => width * height,
            Self::Rgb24 | Self::Bgr24 => 3 * width * height,
        }
    }
}
