//! H.264 and H.265 parameter sets: what a source says about its pictures, checked against the limits before any
//! decoder sees a byte of it.

mod h264;
mod h265;

use bytes::Bytes;

use super::{FrameRate, Geometry, MAX_PIXELS, VideoCodec};
use crate::error::{Error, ErrorKind, Result};

/// The most bytes that a stream's parameter sets may take together; real ones take some hundred.
const MAX_BYTES: usize = 16 << 10;
/// The most memory that a decoder may need for its pictures, in bytes.
const MAX_PICTURE_MEMORY: u64 = 512 << 20;
/// Pictures that a decoder holds beyond its reference pictures: the one being decoded and those on their way out.
const PICTURES_IN_FLIGHT: u64 = 4;
/// No level of either standard allows more reference pictures (H.264 §A.3.1, H.265 §A.4.2).
const MAX_DPB_FRAMES: u32 = 16;

/// What a stream's parameter sets say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamParameters {
    /// Visible size in pixels.
    pub geometry: Geometry,
    /// Profile in lower case.
    pub profile: String,
    /// RFC 6381 codec string.
    pub rfc6381: String,
    /// Frame rate from the VUI.
    pub frame_rate: Option<FrameRate>,
    /// Bits a luma sample.
    pub bit_depth: u8,
    /// Pictures held back for reordering. 0 also where an H.264 stream leaves it open.
    pub reorder_depth: u8,
}

/// Reads bare NAL units ((VPS,) SPS, PPS). If there are several SPS, the first one describes the stream and all are
/// held to the limits.
///
/// # Errors
/// [`ErrorKind::Impossible`] if the stream is past a limit: picture size, chroma format, bit depth, memory for
/// reference pictures, tiles. [`ErrorKind::UnsupportedMedia`] if there is no SPS, or one that cannot be read.
pub fn parse_parameter_sets(codec: VideoCodec, units: &[Bytes]) -> Result<StreamParameters> {
    let total: usize = units.iter().map(Bytes::len).sum();
    if total > MAX_BYTES {
        return Err(impossible(format!("parameter sets of {total} bytes are past the limit of {MAX_BYTES}")));
    }
    let mut described = None;
    for unit in units {
        let parsed = match codec {
            VideoCodec::H264 => h264::read(unit)?,
            VideoCodec::Hevc => h265::read(unit)?,
            _ => None,
        };
        if let Some((parameters, demands)) = parsed {
            demands.check(parameters.geometry)?;
            described = described.or(Some(parameters));
        }
    }
    described.ok_or_else(|| unreadable("the parameter sets hold no SPS"))
}

/// What decoding takes, as the SPS says.
struct Demands {
    /// Columns and rows that are decoded, before cropping.
    coded: Geometry,
    /// `chroma_format_idc`: 1 is 4:2:0.
    chroma_format: u32,
    luma_bits: u32,
    chroma_bits: u32,
    /// Reference pictures …
    dpb_frames: u32,
    /// … and which statement of the stream that number comes from.
    dpb_source: &'static str,
}

impl Demands {
    fn check(&self, visible: Geometry) -> Result<()> {
        if visible.width == 0 || visible.height == 0 {
            return Err(unreadable("the SPS crops the whole picture away"));
        }
        if self.coded.pixels() > MAX_PIXELS {
            return Err(impossible(format!(
                "a picture of {} is past the limit of {MAX_PIXELS} pixels: lower the camera's resolution",
                self.coded
            )));
        }
        if self.chroma_format != 1 {
            let name = ["4:0:0", "4:2:0", "4:2:2", "4:4:4"].get(self.chroma_format as usize).unwrap_or(&"unknown");
            return Err(impossible(format!(
                "chroma format {name} is not decoded: set the camera to 4:2:0 (profile main or high)"
            )));
        }
        if !matches!(self.luma_bits, 8 | 10) || self.luma_bits != self.chroma_bits {
            return Err(impossible(format!(
                "{} bits of luma and {} of chroma are not decoded: set the camera to 8 or 10 bits for both",
                self.luma_bits, self.chroma_bits
            )));
        }
        self.check_memory()
    }

    fn check_memory(&self) -> Result<()> {
        let bytes_a_sample = u64::from(self.luma_bits.div_ceil(8));
        let pictures = u64::from(self.dpb_frames) + PICTURES_IN_FLIGHT;
        let memory = self.coded.pixels() * 3 / 2 * bytes_a_sample * pictures;
        if memory > MAX_PICTURE_MEMORY {
            return Err(impossible(format!(
                "{} reference pictures of {} ({}) take {} MiB to decode, past the limit of {} MiB: lower the camera's \
                 resolution",
                self.dpb_frames,
                self.coded,
                self.dpb_source,
                memory >> 20,
                MAX_PICTURE_MEMORY >> 20
            )));
        }
        Ok(())
    }
}

fn impossible(message: String) -> Error {
    Error::new(ErrorKind::Impossible, message)
}

fn unreadable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::UnsupportedMedia, message)
}

#[cfg(test)]
mod tests;
