//! Codecs, and what a decoder or muxer must know before the first packet.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{FrameRate, Geometry};

/// A video codec that camshaft carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// ITU-T H.264, AVC.
    H264,
    /// ITU-T H.265, HEVC.
    Hevc,
}

impl VideoCodec {
    /// The name used in JSON, metrics and query parameters.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
        }
    }
}

/// An audio codec that camshaft carries along for copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioCodec {
    /// MPEG-4 AAC, raw access units without ADTS headers.
    Aac,
    /// ITU-T G.711 µ-law.
    PcmMulaw,
    /// ITU-T G.711 A-law.
    PcmAlaw,
}

impl AudioCodec {
    /// The name used in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aac => "aac",
            Self::PcmMulaw => "pcm_mulaw",
            Self::PcmAlaw => "pcm_alaw",
        }
    }
}

/// What a decoder or muxer must know of a video track. Immutable: a change in the source makes a new value with the
/// next `generation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoConfig {
    /// Counts up with every change in the source.
    pub generation: u32,
    /// The codec.
    pub codec: VideoCodec,
    /// Parameter sets as bare NAL units (no start code, no length), in decoding order: (VPS,) SPS, PPS.
    pub parameter_sets: Vec<Bytes>,
    /// Profile in lower case: `baseline`, `main`, `high`, `main10`, …
    pub profile: String,
    /// RFC 6381 codec string, e.g. `avc1.4D401F`.
    pub rfc6381: String,
    /// Visible size in pixels, after cropping.
    pub geometry: Geometry,
    /// Frame rate from the VUI or SDP, if the source says one.
    pub frame_rate: Option<FrameRate>,
    /// Bits a luma sample: 8 or 10.
    pub bit_depth: u8,
    /// How many pictures the decoder may hold back for reordering; 0 means that decode order is output order.
    pub reorder_depth: u8,
}

/// What a muxer must know of an audio track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioConfig {
    /// The codec.
    pub codec: AudioCodec,
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
    /// The AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1) for AAC; empty for G.711.
    pub specific: Bytes,
    /// RFC 6381 codec string, e.g. `mp4a.40.2`; empty where none is registered.
    pub rfc6381: String,
}
