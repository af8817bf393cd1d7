//! What `live.{ext}` can be, and what each form carries.

use super::sound::SoundContainer;
use crate::error::{Error, ErrorKind, Result};
use crate::media::query::OutputKind;
use crate::media::{OutputRequest, PixelFormat, VideoCodec};
use crate::output::Carrier;

/// The form of a live response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// A form for packets.
    Packets(PacketContainer),
    /// A form for pictures.
    Pictures(PictureContainer),
    /// An HLS playlist, whose segments are fragmented MP4.
    Hls,
}

/// A form for packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketContainer {
    /// Fragmented MP4.
    Mp4,
    /// MPEG-TS.
    Ts,
    /// The bare stream of this codec.
    AnnexB(VideoCodec),
}

/// A form for pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureContainer {
    /// YUV4MPEG2.
    Y4m,
    /// Raw pixels without anything between them.
    Raw,
    /// One part a picture, raw or JPEG, with its times.
    Frames,
    /// One part a JPEG.
    Mjpeg,
    /// Raw pixels in shared memory.
    Shm,
}

/// Every form, by extension.
const ALL: [(&str, Container); 10] = [
    ("mp4", Container::Packets(PacketContainer::Mp4)),
    ("ts", Container::Packets(PacketContainer::Ts)),
    ("h264", Container::Packets(PacketContainer::AnnexB(VideoCodec::H264))),
    ("h265", Container::Packets(PacketContainer::AnnexB(VideoCodec::Hevc))),
    ("y4m", Container::Pictures(PictureContainer::Y4m)),
    ("raw", Container::Pictures(PictureContainer::Raw)),
    ("frames", Container::Pictures(PictureContainer::Frames)),
    ("mjpeg", Container::Pictures(PictureContainer::Mjpeg)),
    ("m3u8", Container::Hls),
    ("shm", Container::Pictures(PictureContainer::Shm)),
];

impl Container {
    /// The form of `live.{extension}`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with the extensions there are.
    pub fn from_extension(extension: &str) -> Result<Self> {
        if let Some((_, container)) = ALL.iter().find(|(name, _)| *name == extension) {
            return Ok(*container);
        }
        let names: Vec<&str> =
            ALL.iter().map(|(name, _)| *name).chain(SoundContainer::ALL.map(|(name, _)| name)).collect();
        let extension: String = extension.chars().take(20).collect();
        let message = format!("live.{} is not known; there are {}", extension.escape_debug(), names.join(", "));
        Err(Error::new(ErrorKind::NotFound, message))
    }

    /// Its extension.
    pub fn extension(self) -> &'static str {
        ALL.iter().find(|(_, container)| *container == self).map_or("", |(name, _)| name)
    }

    /// Its place for sound, if it has one.
    pub fn carrier(self) -> Option<Carrier> {
        match self {
            Self::Packets(PacketContainer::Mp4) | Self::Hls => Some(Carrier::Mp4),
            Self::Packets(PacketContainer::Ts) => Some(Carrier::Ts),
            Self::Packets(PacketContainer::AnnexB(_)) | Self::Pictures(_) => None,
        }
    }

    /// The form in which it needs its pictures.
    pub fn output_kind(self) -> OutputKind {
        match self {
            Self::Packets(PacketContainer::Mp4 | PacketContainer::Ts) | Self::Hls => {
                OutputKind::Encode(VideoCodec::H264)
            }
            Self::Packets(PacketContainer::AnnexB(codec)) => OutputKind::Encode(codec),
            Self::Pictures(PictureContainer::Y4m | PictureContainer::Raw | PictureContainer::Shm) => OutputKind::Raw,
            Self::Pictures(PictureContainer::Frames) => OutputKind::Frames,
            Self::Pictures(PictureContainer::Mjpeg) => OutputKind::Jpeg,
        }
    }

    /// Whether it carries `output`.
    ///
    /// # Errors
    /// What it is not and where to find it; continues a sentence that starts with whatever asked for `output`.
    pub fn check(self, output: &OutputRequest) -> Result<(), String> {
        if self.carries(output) {
            return Ok(());
        }
        let fitting = ALL.iter().filter(|(_, container)| container.carries(output));
        let fitting: Vec<String> = fitting.map(|(name, _)| format!("live.{name}")).collect();
        let (what, own, fitting) = (describe(output), self.extension(), fitting.join(", "));
        Err(format!("makes {what}, which live.{own} does not carry: use one of {fitting}"))
    }

    fn carries(self, output: &OutputRequest) -> bool {
        match (self, output) {
            (Self::Packets(PacketContainer::Mp4 | PacketContainer::Ts) | Self::Hls, OutputRequest::Encode { .. }) => {
                true
            }
            (Self::Packets(PacketContainer::AnnexB(own)), OutputRequest::Encode { codec, .. }) => own == *codec,
            (Self::Pictures(PictureContainer::Y4m), OutputRequest::Raw(format)) => {
                matches!(format, PixelFormat::I420 | PixelFormat::Gray)
            }
            (
                Self::Pictures(PictureContainer::Raw | PictureContainer::Frames | PictureContainer::Shm),
                OutputRequest::Raw(_),
            ) => true,
            (Self::Pictures(PictureContainer::Mjpeg | PictureContainer::Frames), OutputRequest::Jpeg { .. }) => true,
            _ => false,
        }
    }
}

fn describe(output: &OutputRequest) -> String {
    match output {
        OutputRequest::Raw(format) => format!("raw {}", format.name()),
        OutputRequest::Jpeg { .. } => "JPEGs".to_owned(),
        OutputRequest::Encode { codec, .. } => codec.name().to_owned(),
    }
}
