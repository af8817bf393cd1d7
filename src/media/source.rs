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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Interleaved in the RTSP connection (RFC 2326 §10.12).
    #[default]
    Tcp,
    /// A UDP port pair a track.
    Udp,
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
    /// The codec of its sound: a beep with a white flash each second. `None`: it has no sound, and no flash.
    pub audio: Option<AudioCodec>,
}
