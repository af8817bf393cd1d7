//! What is made, and in which size.

use bytes::BytesMut;
use camshaft::link::FromWorker;
use camshaft::media::{Geometry, JobFormat, JobSpec, JobVideo, PixelFormat};

use super::super::End;
use super::sound::Sound;
use super::source::Video;
use super::wire::{Output, Wire};
use super::writer::Writer;
use crate::av::{self, Frame, JpegEncoder, MuxFormat};

/// The pictures that go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Size in pixels.
    pub size: Geometry,
    /// Degrees by which they are turned clockwise.
    pub turn: u32,
}

impl Shape {
    /// What `spec` asks for of `video`. Where the output can say how pictures are to be turned, they stay as they lie, and
    /// the sides asked for are those of what is shown.
    pub fn of(spec: &JobSpec, video: &Video) -> Self {
        let shown = video.matrix.as_ref().map_or(0, av::turn);
        let swap = |size: Geometry| Geometry::new(size.height, size.width);
        let is_upright = shown.is_multiple_of(180);
        let kept = spec.format.has_rotation();
        let turn = if kept { 0 } else { shown };
        let size = if is_upright || kept { video.size } else { swap(video.size) };
        let (width, height) = if kept && !is_upright { (spec.height, spec.width) } else { (spec.width, spec.height) };
        let size = match spec.video {
            JobVideo::Copy => return Self { size: video.size, turn: 0 },
            JobVideo::Encode { .. } => size.fitted_to(width, height),
            JobVideo::Jpeg { .. } | JobVideo::Raw(_) if width.is_none() && height.is_none() => size,
            JobVideo::Jpeg { .. } | JobVideo::Raw(_) => match (width, height) {
                (Some(width), Some(height)) => Geometry::new(width, height),
                _ => size.fitted_to(width, height),
            },
        };
        Self { size, turn }
    }
}

/// What takes pictures or packets.
pub enum Target {
    /// A container.
    Packets(Writer),
    /// JPEGs.
    Jpegs { encoder: Option<JpegEncoder>, quality: u8, wire: Wire },
    /// Bare pixels, or with the headers of y4m.
    Pixels { format: PixelFormat, header: Header, pixels: Vec<u8>, wire: Wire },
}

/// What stands before bare pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Nothing.
    None,
    /// That of a y4m stream, and then of each picture.
    Y4mStream,
    /// That of each picture.
    Y4mFrame,
}

impl Target {
    /// What `spec` asks for.
    pub fn new(spec: &JobSpec, sound: &Option<Sound>, wire: &Wire) -> Result<Self, End> {
        let packets = |format| Ok(Self::Packets(Writer::new(Output(wire.clone()), format, sound)?));
        let wire = wire.clone();
        match (spec.format, spec.video) {
            (JobFormat::Mp4, _) => packets(MuxFormat::Mp4),
            (JobFormat::Ts, _) => packets(MuxFormat::Ts),
            (JobFormat::Mkv, _) => packets(MuxFormat::Mkv),
            (_, JobVideo::Raw(format)) => {
                let header = if spec.format == JobFormat::Y4m { Header::Y4mStream } else { Header::None };
                Ok(Self::Pixels { format, header, pixels: Vec::new(), wire })
            }
            (_, JobVideo::Jpeg { quality }) => Ok(Self::Jpegs { encoder: None, quality, wire }),
            _ => Err(super::protocol("the job's form contradicts what its video becomes")),
        }
    }

    /// Sends `frame` as a JPEG or as it is.
    pub fn send(&mut self, frame: &Frame, rate: camshaft::media::FrameRate) -> Result<(), End> {
        match self {
            Self::Packets(_) => Err(super::protocol("pictures are encoded first")),
            Self::Jpegs { encoder, quality, wire } => {
                let encoder = match encoder {
                    Some(encoder) => encoder,
                    None => encoder.insert(JpegEncoder::open(frame.size())?),
                };
                wire.tell(&FromWorker::Output, encoder.encode(frame, *quality)?)
            }
            Self::Pixels { format, header, pixels, wire } => {
                frame.copy_to(*format, pixels)?;
                let mut head = BytesMut::new();
                if *header == Header::Y4mStream {
                    let Geometry { width, height } = frame.size();
                    let layout = if *format == PixelFormat::Gray { "Cmono" } else { "C420jpeg" };
                    head.extend_from_slice(
                        format!("YUV4MPEG2 W{width} H{height} F{}:{} Ip A0:0 {layout}\n", rate.num, rate.den)
                            .as_bytes(),
                    );
                    *header = Header::Y4mFrame;
                }
                if *header == Header::Y4mFrame {
                    head.extend_from_slice(b"FRAME\n");
                    wire.tell(&FromWorker::Output, &head)?;
                }
                wire.tell(&FromWorker::Output, pixels)
            }
        }
    }
}
