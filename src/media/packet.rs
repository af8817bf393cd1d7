//! Encoded packets, as they travel over the link and rest in the ring.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{AudioConfig, MediaTime, VideoConfig, WallClock};

/// The largest access unit that is carried, in bytes; a 4K keyframe takes 1–2 MB.
pub const MAX_ACCESS_UNIT: usize = 8 << 20;

/// Which of a source's tracks a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Track {
    /// The one video track.
    Video,
    /// The one audio track.
    Audio,
}

/// A packet without its bytes, as sent over the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketHeader {
    /// The track.
    pub track: Track,
    /// Presentation time.
    pub pts: MediaTime,
    /// Decode time; never above `pts` once the reorder depth is known, and increasing.
    pub dts: MediaTime,
    /// Whether decoding can start here (IDR, or IRAP for H.265). Always true for audio.
    pub keyframe: bool,
    /// When it was received or captured.
    pub wall: WallClock,
}

/// What a track's packets are to be read with.
#[derive(Clone, Debug)]
pub enum TrackConfig {
    /// For [`Track::Video`].
    Video(Arc<VideoConfig>),
    /// For [`Track::Audio`].
    Audio(Arc<AudioConfig>),
}

/// One access unit. Video: NAL units, each behind its length in 4 bytes, big-endian (ISO/IEC 14496-15); parameter
/// sets live in the configuration, though a camera's own may stand in `data` as well. Audio: one raw frame, or any number of whole
/// samples.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Track, times, key flag.
    pub header: PacketHeader,
    /// What to read `data` with.
    pub config: TrackConfig,
    /// The bytes, shared by all who hold the packet.
    pub data: Bytes,
}

impl Packet {
    /// The configuration, if this is a video packet.
    pub fn video_config(&self) -> Option<&Arc<VideoConfig>> {
        match &self.config {
            TrackConfig::Video(config) => Some(config),
            TrackConfig::Audio(_) => None,
        }
    }

    /// Whether a reader can start here: a keyframe of the video track.
    pub fn is_random_access(&self) -> bool {
        self.header.track == Track::Video && self.header.keyframe
    }
}
