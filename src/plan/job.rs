//! What is to be planned.

use super::va::{Entrypoint, Profile, RateControlMode};
use crate::media::{Geometry, RateControl, VideoCodec as Codec, VideoConfig};

/// Profiles of H.264 that decode what a stream is in where nothing says its profile.
const ANY_H264: &[Profile] = &[Profile::H264High, Profile::H264Main, Profile::H264ConstrainedBaseline];

impl Codec {
    /// What camshaft encodes, in any way.
    pub const ENCODED: [Self; 3] = [Self::H264, Self::Hevc, Self::Mjpeg];

    /// The profiles under which a device may encode it, best first. Empty for what camshaft does not encode.
    pub fn encode_profiles(self) -> &'static [Profile] {
        match self {
            Self::H264 => ANY_H264,
            Self::Hevc => &[Profile::HevcMain],
            Self::Mjpeg => &[Profile::JpegBaseline],
            Self::Mpeg4 | Self::Mpeg2 | Self::Vp8 | Self::Vp9 | Self::Av1 => &[],
        }
    }

    /// The entrypoints that encode it, best first: the low-power one lacks tools, and on some GPUs rate control.
    pub fn encode_entrypoints(self) -> &'static [Entrypoint] {
        match self {
            Self::Mjpeg => &[Entrypoint::EncPicture],
            _ => &[Entrypoint::EncSlice, Entrypoint::EncSliceLp],
        }
    }
}

/// Reads what is to be encoded: one of [`Codec::ENCODED`].
///
/// # Errors
/// A sentence that lists what is allowed.
pub fn parse_encode(text: &str) -> Result<Codec, String> {
    let encoded = Codec::ALL.iter().filter(|(_, codec, _)| Codec::ENCODED.contains(codec));
    let names: Vec<&str> = encoded.map(|(name, ..)| *name).collect();
    let codec = names.contains(&text).then(|| text.parse()).transpose()?;
    codec.ok_or_else(|| format!("must be one of {}", names.join(", ")))
}

/// Reads bits a sample.
///
/// # Errors
/// A sentence that lists what is allowed.
pub fn parse_bit_depth(text: &str) -> Result<u8, String> {
    match text {
        "8" => Ok(8),
        "10" => Ok(10),
        _ => Err("must be 8 or 10".into()),
    }
}

/// What comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The codec.
    pub codec: Codec,
    /// Profile in lower case as in [`VideoConfig::profile`]; `None` if it is not known.
    pub profile: Option<String>,
    /// Bits a sample: 8 or 10.
    pub bit_depth: u8,
    /// Visible size in pixels, if it is known.
    pub size: Option<Geometry>,
}

impl Input {
    /// The VA-API profiles of which any one decodes this. Empty if VA-API has none, or FFmpeg no way to it: a decoder
    /// takes the profile that the stream names, and no 10-bit H.264 (FFmpeg `libavcodec/vaapi_decode.c`).
    pub fn profiles(&self) -> &'static [Profile] {
        let profile = self.profile.as_deref();
        match (self.codec, profile, self.bit_depth) {
            (Codec::H264, Some("baseline"), 8) => &[Profile::H264ConstrainedBaseline],
            (Codec::H264, Some("main"), 8) => &[Profile::H264Main],
            (Codec::H264, Some("high"), 8) => &[Profile::H264High],
            (Codec::H264, None, 8) => ANY_H264,
            (Codec::Hevc, Some("main") | None, 8) => &[Profile::HevcMain],
            (Codec::Hevc, Some("main10"), _) | (Codec::Hevc, None, 10) => &[Profile::HevcMain10],
            (Codec::Mjpeg, _, 8) => &[Profile::JpegBaseline],
            (Codec::Mpeg2, _, 8) => &[Profile::Mpeg2Main],
            (Codec::Vp8, _, 8) => &[Profile::Vp8Version0To3],
            (Codec::Vp9, _, 8) => &[Profile::Vp9Profile0],
            (Codec::Vp9, _, 10) => &[Profile::Vp9Profile2],
            (Codec::Av1, ..) => &[Profile::Av1Profile0],
            _ => &[],
        }
    }

    /// Whether a device has any profile of the same codec.
    pub(super) fn is_family(&self, profile: Profile) -> bool {
        let prefix = match self.codec {
            Codec::H264 => "H264",
            Codec::Hevc => "HEVC",
            Codec::Mjpeg => "JPEG",
            Codec::Mpeg4 => "MPEG4",
            Codec::Mpeg2 => "MPEG2",
            Codec::Vp8 => "VP8",
            Codec::Vp9 => "VP9",
            Codec::Av1 => "AV1",
        };
        profile.short_name().starts_with(prefix)
    }
}

impl From<&VideoConfig> for Input {
    fn from(config: &VideoConfig) -> Self {
        Self {
            codec: config.codec,
            profile: Some(config.profile.clone()),
            bit_depth: config.bit_depth,
            size: Some(config.geometry),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What comes in.
    pub input: Input,
    /// Whether pictures are cropped or change their size.
    pub scale: Scale,
    /// What goes out, if it is encoded.
    pub encode: Option<Codec>,
    /// What an encoder is told to hold.
    pub rate: Rate,
}

/// What an encoder is told to hold. JPEG has a quality only, whatever stands here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rate {
    /// A bit rate.
    #[default]
    Bitrate,
    /// A quality.
    Quality,
}

impl Rate {
    /// The modes of a device's encoder that hold it, best first.
    pub(super) fn modes(self) -> &'static [RateControlMode] {
        match self {
            Self::Bitrate => &[RateControlMode::Cbr, RateControlMode::Vbr],
            Self::Quality => &[RateControlMode::Icq, RateControlMode::Cqp],
        }
    }
}

impl From<RateControl> for Rate {
    fn from(rate_control: RateControl) -> Self {
        match rate_control {
            RateControl::Bitrate(_) => Self::Bitrate,
            RateControl::Quality(_) => Self::Quality,
        }
    }
}

/// Whether pictures are cropped or change their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// They do.
    Needed,
    /// They go out as they came in.
    Unneeded,
}

impl Job {
    /// Whether pictures must pass through video processing on their way: to be scaled, or to reach a form that can be
    /// read back or that encoders take. MJPEG decodes into the camera's chroma format, and encoders take 8 bits in 4:2:0;
    /// JPEG is full range, and cameras send limited range.
    pub(super) fn needs_processing(&self) -> bool {
        let is_jpeg = self.input.codec == Codec::Mjpeg;
        let convert = self.encode.is_some_and(|encode| self.input.bit_depth > 8 || encode == Codec::Mjpeg);
        self.scale == Scale::Needed || is_jpeg || convert
    }
}
