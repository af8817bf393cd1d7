//! Where a session's media comes from: a stream's packets, or the JPEGs of a rendition.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::media::{AudioRequest, Frame, MediaTime, OutputRequest, Packet, RenditionRequest, WallClock};
use crate::output::Carrier;
use crate::query::Media;
use crate::stream::{PacketStream, Packets, PictureStream, Read, SoundRequest, Stream};

/// A consumer of a stream that stays while the camera is away.
#[derive(Debug)]
pub enum Feed {
    /// Access units.
    Packets(Box<PacketStream>),
    /// JPEGs.
    Pictures(Box<PictureStream>),
}

/// One access unit or picture.
#[derive(Clone, Debug)]
pub enum Unit {
    /// Of either track.
    Packet(Arc<Packet>),
    /// Of the video track.
    Picture(Frame),
}

impl Unit {
    /// When it is presented.
    pub fn pts(&self) -> MediaTime {
        match self {
            Self::Packet(packet) => packet.header.pts,
            Self::Picture(frame) => frame.header.pts,
        }
    }

    /// When it is decoded, and when it was received.
    pub fn received(&self) -> (MediaTime, WallClock) {
        match self {
            Self::Packet(packet) => (packet.header.dts, packet.header.wall),
            Self::Picture(frame) => (frame.header.pts, frame.header.wall),
        }
    }
}

impl Feed {
    /// Joins what `media` and `audio` ask for of `stream`.
    ///
    /// # Errors
    /// As [`Stream::copy`] and [`Stream::encoded`]; [`crate::error::ErrorKind::InvalidArgument`] for a named rendition
    /// that RTSP does not carry.
    pub async fn open(stream: &Stream, media: &Media, audio: AudioRequest) -> Result<Self> {
        let sound = Some(SoundRequest { audio, carrier: Carrier::Rtsp });
        let (request, policy) = match media {
            Media::Copy => return Ok(Self::Packets(Box::new(stream.copy(sound).await?.patient()))),
            Media::Rendition(request, policy) => (*request, *policy),
            Media::CamerasOr(request) => (*request, None),
            Media::Named(name, policy) => (named(stream, name)?, *policy),
        };
        let policy = policy.unwrap_or_else(|| stream.policy());
        Ok(match request.output {
            OutputRequest::Encode { .. } => {
                Self::Packets(Box::new(stream.encoded(request, policy, sound).await?.patient()))
            }
            _ => Self::Pictures(Box::new(stream.pictures(request, policy).await?.patient())),
        })
    }

    /// The next unit; `None` when the stream has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Unit> {
        match self {
            Self::Packets(packets) => loop {
                // A gap ends at a keyframe, with which every decoder goes on.
                if let Read::Packet(packet) = packets.next().await? {
                    return Some(Unit::Packet(packet));
                }
            },
            Self::Pictures(pictures) => Some(Unit::Picture(pictures.next().await?.item)),
        }
    }

    /// Counts this consumer as closed because it took nothing.
    pub fn note_stalled(&self) {
        match self {
            Self::Packets(packets) => packets.note_stalled(),
            Self::Pictures(pictures) => pictures.note_stalled(),
        }
    }
}

fn named(stream: &Stream, name: &str) -> Result<RenditionRequest> {
    let request = stream.named_rendition(name)?;
    match request.output {
        OutputRequest::Raw(_) => Err(Error::invalid(format!(
            "rendition '{name}' makes raw pictures, which RTSP does not carry: read it over HTTP"
        ))),
        _ => Ok(request),
    }
}
