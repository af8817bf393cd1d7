//! The forms in which pictures leave the worker.

use camshaft::link::{FromWorker, RenditionId};
use camshaft::media::FrameHeader;
use camshaft::media::{
    EncodeSpec, FrameRate, MediaTime, OutputSpec, PacketHeader, PixelFormat, RenditionSpec, Track, WallClock,
};

use super::source::{Picture, Walls};
use super::views::Views;
use super::{End, Fault, Link};
use crate::av::{Encoder, EncoderSettings, JpegEncoder, Layout, PictureKind, Tuning, View};

/// Makes and sends the pictures of one rendition.
pub struct Output {
    id: RenditionId,
    view: View,
    form: Form,
}

enum Form {
    Raw { format: PixelFormat, pixels: Vec<u8>, made_from: Option<u64> },
    Jpeg { quality: u8, encoder: Option<JpegEncoder>, made_from: Option<u64> },
    Encoded(Encoded),
}

impl Output {
    /// The output that `spec` asks for. `source_rate` is what encoders are told where the rendition has no rate.
    pub fn new(id: RenditionId, spec: &RenditionSpec, source_rate: FrameRate) -> Self {
        let (layout, form) = match spec.output {
            OutputSpec::Raw(format) => (Layout::Raw(format), Form::Raw { format, pixels: Vec::new(), made_from: None }),
            OutputSpec::Jpeg { quality } => (Layout::Jpeg, Form::Jpeg { quality, encoder: None, made_from: None }),
            OutputSpec::Encode(encode) => {
                let rate = spec.fps.unwrap_or(source_rate);
                (Layout::Raw(PixelFormat::I420), Form::Encoded(Encoded::new(encode, rate)))
            }
        };
        Self { id, view: View { crop: spec.crop, size: spec.size, layout }, form }
    }

    /// The view of the source that this output is made from.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Makes the next picture an IDR, if this output has such.
    pub fn force_keyframe(&mut self) {
        if let Form::Encoded(encoded) = &mut self.form {
            encoded.next_kind = PictureKind::Idr;
        }
    }

    /// Sends `picture` as the one of time `pts`. A repeated picture is made only once, but for encoders.
    pub fn send(&mut self, picture: &Picture, pts: MediaTime, views: &mut Views, link: &mut Link) -> Result<(), Fault> {
        let header = FrameHeader { pts, wall: picture.wall, size: self.view.size };
        let message = FromWorker::Frame { id: self.id, header };
        match &mut self.form {
            Form::Raw { format, pixels, made_from } => {
                if *made_from != Some(picture.serial) {
                    views.make(picture, &self.view)?.copy_to(*format, pixels)?;
                    *made_from = Some(picture.serial);
                }
                link.send(&message, pixels)?;
            }
            Form::Jpeg { quality, encoder, made_from } => {
                let encoder = match encoder {
                    Some(encoder) => encoder,
                    None => encoder.insert(JpegEncoder::open(self.view.size)?),
                };
                if *made_from != Some(picture.serial) {
                    encoder.encode(views.make(picture, &self.view)?, *quality)?;
                    *made_from = Some(picture.serial);
                }
                link.send(&message, encoder.last())?;
            }
            Form::Encoded(encoded) => encoded.send(self.id, &self.view, picture, pts, views, link)?,
        }
        Ok(())
    }

    /// Sends what an encoder holds back; nothing can be sent after that.
    pub fn finish(&mut self, link: &mut Link) -> Result<(), Fault> {
        let Form::Encoded(Encoded { encoder: Some(encoder), walls, .. }) = &mut self.form else { return Ok(()) };
        encoder.finish()?;
        send_access_units(self.id, encoder, walls, link)
    }
}

struct Encoded {
    spec: EncodeSpec,
    rate: FrameRate,
    /// Opened for the first picture, which says how its samples stand for colours.
    encoder: Option<Encoder>,
    next_kind: PictureKind,
    walls: Walls,
}

impl Encoded {
    fn new(spec: EncodeSpec, rate: FrameRate) -> Self {
        Self { spec, rate, encoder: None, next_kind: PictureKind::Any, walls: Walls::default() }
    }

    fn send(
        &mut self,
        id: RenditionId,
        view: &View,
        picture: &Picture,
        pts: MediaTime,
        views: &mut Views,
        link: &mut Link,
    ) -> Result<(), Fault> {
        let frame = views.make(picture, view)?;
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            None => self.encoder.insert(Encoder::open(EncoderSettings {
                codec: self.spec.codec,
                size: view.size,
                frame_rate: self.rate,
                rate_control: self.spec.rate_control,
                gop: self.spec.gop,
                tuning: Tuning::Live,
                color: frame.color(),
            })?),
        };
        self.walls.remember(pts, picture.wall);
        let kind = std::mem::replace(&mut self.next_kind, PictureKind::Any);
        encoder.encode(frame, pts, kind)?;
        send_access_units(id, encoder, &self.walls, link)
    }
}

fn send_access_units(id: RenditionId, encoder: &mut Encoder, walls: &Walls, link: &mut Link) -> Result<(), Fault> {
    while let Some(unit) = encoder.receive()? {
        if let Some(config) = unit.config {
            link.send(&FromWorker::EncodedConfig { id, config }, &[])?;
        }
        let wall: WallClock = walls.of(unit.pts);
        let header = PacketHeader { track: Track::Video, pts: unit.pts, dts: unit.dts, keyframe: unit.keyframe, wall };
        link.send(&FromWorker::Encoded { id, header }, &unit.data)?;
    }
    Ok(())
}

impl From<End> for Fault {
    fn from(end: End) -> Self {
        Self::Worker(end)
    }
}
