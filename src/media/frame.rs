//! Decoded pictures, as they leave a pixels worker.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Geometry, MediaTime, WallClock};

/// A picture without its bytes, as sent over the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameHeader {
    /// Time of the picture; on the rendition's grid if it has one.
    pub pts: MediaTime,
    /// When the picture it was made from was received.
    pub wall: WallClock,
    /// Size in pixels.
    pub size: Geometry,
}

/// One picture: raw pixels or a JPEG, as its rendition says.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Time and size.
    pub header: FrameHeader,
    /// The bytes, shared by all who hold the frame.
    pub data: Bytes,
}
