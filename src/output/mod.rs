//! What consumers read: containers for packets, and forms for raw pictures and JPEGs. One file per output.
//!
//! Writers are pure and synchronous: a packet or frame in, bytes out, nothing awaited, no HTTP. Each consumer has a
//! writer of its own, so that its output starts at its own first keyframe.

mod access_unit;
mod annexb;
mod audio_specific;
mod carrier;
mod fmp4;
pub mod hls;
mod mpegts;
mod multipart;
mod opus;
mod pcm;
mod raw;
mod sample_entry;
#[cfg(test)]
mod tests;
mod timeline;

use bytes::{Bytes, BytesMut};

use crate::error::Result;
use crate::media::{Frame, Packet};

pub use access_unit::parameter_sets_before;
pub use annexb::AnnexB;
pub use carrier::{Carrier, Sound};
pub use fmp4::Fmp4;
pub use mpegts::MpegTs;
pub use multipart::{FrameParts, Mjpeg};
pub use pcm::Pcm;
pub use raw::{RawFrames, Y4m};

/// Whether a container can take more packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The packet was written, or left out because this container has no place for it.
    Continue,
    /// Nothing was written: the source changed in a way that this container cannot express. End the output.
    End,
}

/// Where a container keeps parameter sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterSets {
    /// In the header alone (`avc1`, `hvc1`): the samples are the source's bytes. For copies.
    OutOfBand,
    /// In the samples too, at every keyframe (`avc3`, `hev1`), so that they may change. For encoded renditions.
    InBand,
}

/// Writes packets of one source into a container.
///
/// The output starts at the first keyframe of the video track; what comes before it is left out.
pub trait PacketMuxer: Send {
    /// The media type, with the `codecs` parameter (RFC 6381) where the container has one.
    fn content_type(&self) -> String;

    /// What goes before the first packet; may be empty.
    fn header(&self) -> Bytes;

    /// Appends one packet to `out`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Internal`] if the packet is past what the container can express. `out` may then hold
    /// part of it: end the output.
    fn packet(&mut self, packet: &Packet, out: &mut BytesMut) -> Result<Flow>;
}

/// Writes pictures of one rendition.
pub trait FrameWriter: Send {
    /// The media type.
    fn content_type(&self) -> String;

    /// What goes before the first frame; may be empty.
    fn header(&self) -> Bytes;

    /// Appends one frame to `out`, as pieces that share the frame's bytes. `dropped` frames were lost to this consumer
    /// since the one before.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Internal`] if the frame is not of the size that the output has. Nothing is written.
    fn frame(&mut self, frame: &Frame, dropped: u64, out: &mut Vec<Bytes>) -> Result<()>;
}
