//! H.264 and H.265 parameter sets: what a source says about its pictures, checked against the limits before any
//! decoder sees a byte of it.

use bytes::Bytes;

use super::{FrameRate, Geometry, VideoCodec};
use crate::error::{Error, Result};

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
    /// Pictures held back for reordering.
    pub reorder_depth: u8,
}

/// Reads bare NAL units ((VPS,) SPS, PPS).
pub fn parse_parameter_sets(_codec: VideoCodec, _units: &[Bytes]) -> Result<StreamParameters> {
    Err(Error::internal("not written yet"))
}
