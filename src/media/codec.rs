//! Codecs, and what a decoder or muxer must know before the first packet.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use super::{FrameRate, Geometry, MAX_CHANNELS, MAX_SAMPLE_RATE};

/// A video codec that camshaft decodes. Cameras send the first three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// ITU-T H.264, AVC.
    H264,
    /// ITU-T H.265, HEVC.
    Hevc,
    /// Motion JPEG: each packet is one baseline JPEG (ITU-T T.81).
    Mjpeg,
    /// MPEG-4 part 2 (ISO/IEC 14496-2), with its headers before each picture that stands alone.
    Mpeg4,
    /// MPEG-2 video (ITU-T H.262).
    Mpeg2,
    /// VP8 (RFC 6386).
    Vp8,
    /// VP9.
    Vp9,
    /// AV1.
    Av1,
}

impl VideoCodec {
    /// Every codec with its name in queries, and the one for people.
    pub const ALL: [(&'static str, Self, &'static str); 9] = [
        ("h264", Self::H264, "H.264"),
        ("hevc", Self::Hevc, "HEVC"),
        ("h265", Self::Hevc, "HEVC"),
        ("mjpeg", Self::Mjpeg, "MJPEG"),
        ("mpeg4", Self::Mpeg4, "MPEG-4 part 2"),
        ("mpeg2", Self::Mpeg2, "MPEG-2"),
        ("vp8", Self::Vp8, "VP8"),
        ("vp9", Self::Vp9, "VP9"),
        ("av1", Self::Av1, "AV1"),
    ];

    /// The name used in JSON, metrics and query parameters.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, codec, _)| *codec == self).map_or("", |(name, ..)| name)
    }

    /// Whether its packets are NAL units, each behind its length in 4 bytes, and its parameter sets stand beside them.
    /// Packets of the others are whole as they are.
    pub fn has_nal_units(self) -> bool {
        matches!(self, Self::H264 | Self::Hevc)
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, codec, _)| codec == self).map_or("", |(.., name)| name))
    }
}

impl FromStr for VideoCodec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, ..)| *name == text);
        found.map(|(_, codec, _)| *codec).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(name, ..)| *name).collect();
            format!("must be one of {}", names.join(", "))
        })
    }
}

/// An audio codec that camshaft carries and decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioCodec {
    /// MPEG-4 AAC, raw access units without ADTS headers.
    Aac,
    /// ITU-T G.711 µ-law.
    PcmMulaw,
    /// ITU-T G.711 A-law.
    PcmAlaw,
    /// Opus (RFC 6716), one packet each.
    Opus,
    /// Samples of 16 bits, little-endian.
    #[serde(rename = "pcm_s16le")]
    PcmS16le,
}

impl AudioCodec {
    /// The name used in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aac => "aac",
            Self::PcmMulaw => "pcm_mulaw",
            Self::PcmAlaw => "pcm_alaw",
            Self::Opus => "opus",
            Self::PcmS16le => "pcm_s16le",
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
    /// Parameter sets as bare NAL units (no start code, no length), in decoding order: (VPS,) SPS, PPS. Empty for codecs
    /// without NAL units.
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
    /// The AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1) for AAC, the identification header (RFC 7845 §5.1) for Opus;
    /// empty for the others.
    pub specific: Bytes,
    /// RFC 6381 codec string, e.g. `mp4a.40.2`; empty where none is registered.
    pub rfc6381: String,
}

impl AudioConfig {
    /// Whether rate and channels can be those of a sound.
    pub fn is_possible(&self) -> bool {
        (1..=MAX_SAMPLE_RATE).contains(&self.sample_rate) && (1..=MAX_CHANNELS).contains(&self.channels)
    }
}
