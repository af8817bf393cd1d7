//! Where a stream comes from.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use super::{AudioCodec, FrameRate, Geometry, VideoCodec};

/// A stream's name: `[A-Za-z0-9][A-Za-z0-9_-]{0,62}`. Used in URLs, metrics and logs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamId(String);

impl StreamId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for StreamId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && text.len() <= 63 && text.chars().all(legal) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "'{}' is no stream id: 1 to 63 letters, digits, '-' or '_', the first a letter or digit",
            text.chars().take(80).collect::<String>().escape_debug()
        ))
    }
}

impl TryFrom<String> for StreamId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<StreamId> for String {
    fn from(id: StreamId) -> Self {
        id.0
    }
}

/// How RTP travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Interleaved in the RTSP connection (RFC 2326 §10.12).
    #[default]
    Tcp,
    /// A UDP port pair a track.
    Udp,
    /// To a group that the camera names (RFC 2326 §12.39); for [`RtspClient::Libav`] only.
    Multicast,
}

/// What speaks RTSP with a camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RtspClient {
    /// The memory-safe one, in `camshaft worker ingest`.
    #[default]
    Native,
    /// FFmpeg's libavformat, in an engine: for cameras that the other does not get along with.
    Libav,
}

/// A synthetic camera (`test:` sources).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PatternSource {
    /// Size in pixels, both sides even.
    pub size: Geometry,
    /// Frames a second, in real time.
    pub fps: FrameRate,
    /// The codec.
    pub codec: VideoCodec,
    /// Frames from IDR to IDR.
    pub gop: u32,
    /// Consecutive B frames; 0 for none.
    pub bframes: u8,
    /// Bits a second.
    pub bitrate: u32,
    /// How far its sensor is off at most, in steps of luma. With any noise it encodes as cameras do, and costs a decoder
    /// what they do; without, as cheaply as can be.
    pub noise: u8,
    /// The codec of its sound: a beep with a white flash each second. `None`: it has no sound, and no flash.
    pub audio: Option<AudioCodec>,
}

/// What the bytes of a source that is no RTSP session are. Fixed before the first of them is read: never probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InputFormat {
    /// Packets of both tracks, interleaved.
    Container(Container),
    /// JPEGs one after the other, as `multipart/x-mixed-replace`.
    Mjpeg,
    /// One JPEG an answer, asked for again and again.
    Jpeg,
}

impl InputFormat {
    /// Every format with its name in configurations and queries.
    pub const ALL: [(&'static str, Self); 5] = [
        ("ts", Self::Container(Container::MpegTs)),
        ("flv", Self::Container(Container::Flv)),
        ("mp4", Self::Container(Container::Mp4)),
        ("mjpeg", Self::Mjpeg),
        ("jpeg", Self::Jpeg),
    ];

    /// The name used in configurations, queries and status.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name)
    }

    /// What a media type (RFC 9110 §8.3.1) says that the body is; its parameters mean nothing here.
    pub fn of_content_type(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "video/mp2t" | "video/mpegts" => Some(Self::Container(Container::MpegTs)),
            "video/x-flv" | "video/flv" => Some(Self::Container(Container::Flv)),
            "video/mp4" | "video/iso.segment" => Some(Self::Container(Container::Mp4)),
            "multipart/x-mixed-replace" | "multipart/mixed" => Some(Self::Mjpeg),
            "image/jpeg" | "image/jpg" => Some(Self::Jpeg),
            _ => None,
        }
    }

    /// What the end of a file's name says that it is.
    pub fn of_file_name(name: &str) -> Option<Self> {
        let (_, end) = name.rsplit_once('.')?;
        match end.to_ascii_lowercase().as_str() {
            "ts" | "m2ts" | "mts" => Some(Self::Container(Container::MpegTs)),
            "flv" => Some(Self::Container(Container::Flv)),
            "mp4" | "m4v" | "mov" => Some(Self::Container(Container::Mp4)),
            _ => None,
        }
    }
}

/// A container that an engine takes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Container {
    /// MPEG-2 transport stream (ISO/IEC 13818-1).
    MpegTs,
    /// Flash video (Adobe FLV 10.1).
    Flv,
    /// ISO base media (ISO/IEC 14496-12): fragmented, or with its index before the media.
    Mp4,
}

impl Container {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MpegTs => "MPEG-TS",
            Self::Flv => "FLV",
            Self::Mp4 => "MP4",
        }
    }
}

/// How a container's packets are let on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Pace {
    /// As they come; only what runs far ahead of time, a file that a server sends as fast as it can, is held.
    Live,
    /// Each at its time; after the end of the bytes others follow, whose times go on from there.
    Loop,
}

/// Whether a server's certificate counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TlsTrust {
    /// It must be for the host, and signed by an authority that is known.
    #[default]
    Verify,
    /// Any will do: whoever stands between can read and change everything.
    Insecure,
}
