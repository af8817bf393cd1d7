//! The forms in which pictures leave the worker.

use camshaft::link::{FromWorker, RenditionId};
use camshaft::media::{FrameHeader, FrameRate, MediaTime, OutputSpec, PixelFormat, RenditionSpec};
use camshaft::plan::EncodeMode;
use std::rc::Rc;

use super::encoded::{DeviceEncoder, Encoded};
use super::source::Picture;
use super::views::{Place, PlacedView, Views};
use super::{End, Fault, Link, device_ends_worker};
use crate::av::{Device, JpegEncoder, Layout, SampleRange, SurfaceJpegEncoder, View};

/// Where the stages of a rendition run.
pub struct Stages {
    /// Cropping and scaling.
    pub scale: Place,
    /// Encoding, on this device; on the CPU if there is none.
    pub encode_on: Option<Rc<Device>>,
    /// How a device's video encoder is used.
    pub mode: Option<EncodeMode>,
}

/// Makes and sends the pictures of one rendition.
pub struct Output {
    id: RenditionId,
    view: PlacedView,
    form: Form,
}

enum Form {
    Raw { format: PixelFormat, pixels: Vec<u8>, made_from: Option<u64> },
    Jpeg { quality: u8, encoder: Option<JpegEncoder>, made_from: Option<u64> },
    DeviceJpeg { quality: u8, device: Rc<Device>, encoder: Option<SurfaceJpegEncoder>, made_from: Option<u64> },
    Encoded(Encoded),
}

impl Output {
    /// The output that `spec` asks for. `source_rate` is what encoders are told where the rendition has no rate.
    pub fn new(id: RenditionId, spec: &RenditionSpec, stages: Stages, source_rate: FrameRate) -> Self {
        let made_from = None;
        let Stages { scale, encode_on, mode } = stages;
        let (layout, form) = match (spec.output, encode_on) {
            (OutputSpec::Raw(format), _) => (Layout::Raw(format), Form::Raw { format, pixels: Vec::new(), made_from }),
            (OutputSpec::Jpeg { quality }, None) => (Layout::Jpeg, Form::Jpeg { quality, encoder: None, made_from }),
            (OutputSpec::Jpeg { quality }, Some(device)) => {
                (Layout::Jpeg, Form::DeviceJpeg { quality, device, encoder: None, made_from })
            }
            (OutputSpec::Encode(encode), device) => {
                // What goes up to a device is in its own layout.
                let layout = if device.is_some() { PixelFormat::Nv12 } else { PixelFormat::I420 };
                let place = device.zip(mode).map(|(device, mode)| DeviceEncoder { device, mode });
                let rate = spec.cadence.nominal(source_rate);
                (Layout::Raw(layout), Form::Encoded(Encoded::new(encode, rate, place)))
            }
        };
        let view = View { crop: spec.crop, size: spec.size, layout };
        Self { id, view: PlacedView { view, place: scale }, form }
    }

    /// The view of the source that this output is made from.
    pub fn view(&self) -> &PlacedView {
        &self.view
    }

    /// Whether it is an encoded stream, in which every picture leads on from the one before.
    pub fn is_encoded(&self) -> bool {
        matches!(self.form, Form::Encoded(_))
    }

    /// Makes the next picture an IDR, if this output has such.
    pub fn force_keyframe(&mut self) {
        if let Form::Encoded(encoded) = &mut self.form {
            encoded.force_keyframe();
        }
    }

    /// Sends `picture` as the one of time `pts`. A repeated picture is made only once, but for encoders.
    pub fn send(&mut self, picture: &Picture, pts: MediaTime, views: &mut Views, link: &mut Link) -> Result<(), Fault> {
        let Self { id, view, form } = self;
        let size = view.view.size;
        let message = FromWorker::Frame { id: *id, header: FrameHeader { pts, wall: picture.wall, size } };
        match form {
            Form::Raw { format, pixels, made_from } => {
                if *made_from != Some(picture.serial) {
                    views.make(picture, view).map_err(device_ends_worker)?.copy_to(*format, pixels)?;
                    *made_from = Some(picture.serial);
                }
                link.send(&message, pixels)?;
            }
            Form::Jpeg { quality, encoder, made_from } => {
                let encoder = match encoder {
                    Some(encoder) => encoder,
                    None => encoder.insert(JpegEncoder::open(size)?),
                };
                if *made_from != Some(picture.serial) {
                    encoder.encode(views.make(picture, view).map_err(device_ends_worker)?, *quality)?;
                    *made_from = Some(picture.serial);
                }
                link.send(&message, encoder.last())?;
            }
            Form::DeviceJpeg { quality, device, encoder, made_from } => {
                let surface_view = view.on_device(SampleRange::Full);
                let surface = views.surface(picture, &surface_view).map_err(device_ends_worker)?;
                let encoder = match encoder.take().filter(|encoder| encoder.takes(surface)) {
                    Some(same) => encoder.insert(same),
                    None => {
                        *made_from = None;
                        encoder.insert(SurfaceJpegEncoder::open(surface, device.wait_clock(), *quality)?)
                    }
                };
                if *made_from != Some(picture.serial) {
                    encoder.encode(surface)?;
                    *made_from = Some(picture.serial);
                }
                link.send(&message, encoder.last())?;
            }
            Form::Encoded(encoded) => encoded.send(*id, view, picture, pts, views, link)?,
        }
        Ok(())
    }

    /// Sends what an encoder holds back; nothing can be sent after that.
    pub fn finish(&mut self, link: &mut Link) -> Result<(), Fault> {
        match &mut self.form {
            Form::Encoded(encoded) => encoded.finish(self.id, link),
            Form::Raw { .. } | Form::Jpeg { .. } | Form::DeviceJpeg { .. } => Ok(()),
        }
    }
}

impl From<End> for Fault {
    fn from(end: End) -> Self {
        Self::Worker(end)
    }
}
