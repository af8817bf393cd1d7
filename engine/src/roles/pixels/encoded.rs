//! A rendition that leaves the worker as H.264 or H.265.

use camshaft::link::{FromWorker, RenditionId};
use camshaft::media::{EncodeSpec, FrameRate, MediaTime, PacketHeader, Track};
use camshaft::plan::EncodeMode;
use std::rc::Rc;

use super::source::{Picture, Walls};
use super::views::{Place, PlacedView, Views};
use super::{Fault, Link, device_ends_worker};
use crate::av::{Device, Encoder, EncoderSettings, Error, PictureKind, SampleRange, SurfacePool, Tuning};

/// Pictures in memory that a device's encoder may hold at once; one without B frames needs two.
const UPLOADED: u8 = 8;

/// A device that encodes, and how.
pub struct DeviceEncoder {
    /// The device.
    pub device: Rc<Device>,
    /// How it encodes.
    pub mode: EncodeMode,
}

/// Encodes the pictures of one rendition.
pub struct Encoded {
    spec: EncodeSpec,
    rate: FrameRate,
    /// Encoding runs there; on the CPU if there is none.
    on: Option<DeviceEncoder>,
    /// Surfaces for pictures that are made in memory and encoded on the device.
    upload: Option<SurfacePool>,
    /// Opened for the first picture, which says how its samples stand for colours.
    encoder: Option<Encoder>,
    next_kind: PictureKind,
    walls: Walls,
}

impl Encoded {
    /// An encoder of what `spec` asks for, told that `rate` pictures a second come.
    pub fn new(spec: EncodeSpec, rate: FrameRate, on: Option<DeviceEncoder>) -> Self {
        Self { spec, rate, on, upload: None, encoder: None, next_kind: PictureKind::Any, walls: Walls::default() }
    }

    /// Makes the next picture an IDR.
    pub fn force_keyframe(&mut self) {
        self.next_kind = PictureKind::Idr;
    }

    /// Sends what comes of `picture` as the one of time `pts`.
    pub fn send(
        &mut self,
        id: RenditionId,
        view: &PlacedView,
        picture: &Picture,
        pts: MediaTime,
        views: &mut Views,
        link: &mut Link,
    ) -> Result<(), Fault> {
        let uploaded;
        let frame = match (&self.on, view.place) {
            (Some(_), Place::Device) => views.surface(picture, &view.on_device(SampleRange::Same)),
            (Some(on), Place::Cpu) => {
                let made = views.make(picture, view).map_err(device_ends_worker)?;
                uploaded = pool(&mut self.upload, on, view)?.upload(made)?;
                Ok(&uploaded)
            }
            (None, _) => views.make(picture, view),
        };
        let frame = frame.map_err(device_ends_worker)?;
        let encoder = match self.encoder.take().filter(|encoder| encoder.takes(frame)) {
            Some(same) => same,
            None => {
                let settings = EncoderSettings {
                    codec: self.spec.codec,
                    size: view.view.size,
                    frame_rate: self.rate,
                    rate_control: self.spec.rate_control,
                    gop: self.spec.gop,
                    tuning: Tuning::Live,
                    bit_depth: 8,
                    color: frame.color(),
                    // Streams run side by side instead.
                    threads: 1,
                };
                match &self.on {
                    None => Encoder::open(settings)?,
                    Some(on) => Encoder::open_for(frame, on.device.wait_clock(), on.mode, settings)?,
                }
            }
        };
        let encoder = self.encoder.insert(encoder);
        self.walls.remember(pts, picture.wall);
        let kind = std::mem::replace(&mut self.next_kind, PictureKind::Any);
        encoder.encode(frame, pts, kind)?;
        send_access_units(id, encoder, &self.walls, link)
    }

    /// Sends what the encoder holds back; nothing can be sent after that.
    pub fn finish(&mut self, id: RenditionId, link: &mut Link) -> Result<(), Fault> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        encoder.finish()?;
        send_access_units(id, encoder, &self.walls, link)
    }
}

fn pool<'a>(
    pool: &'a mut Option<SurfacePool>,
    on: &DeviceEncoder,
    view: &PlacedView,
) -> Result<&'a SurfacePool, Error> {
    Ok(match pool {
        Some(pool) => pool,
        none => none.insert(SurfacePool::new(&on.device, view.view.size, UPLOADED)?),
    })
}

fn send_access_units(id: RenditionId, encoder: &mut Encoder, walls: &Walls, link: &mut Link) -> Result<(), Fault> {
    while let Some(unit) = encoder.receive()? {
        if let Some(config) = unit.config {
            link.send(&FromWorker::EncodedConfig { id, config }, &[])?;
        }
        let wall = walls.of(unit.pts);
        let header = PacketHeader { track: Track::Video, pts: unit.pts, dts: unit.dts, keyframe: unit.keyframe, wall };
        link.send(&FromWorker::Encoded { id, header }, &unit.data)?;
    }
    Ok(())
}
