//! Decodes one source once, and makes of it all renditions and stills that are asked for.

mod encoded;
mod output;
mod pacing;
mod renditions;
mod samples;
mod source;
mod stills;
mod surfaces;
mod thrift;
mod views;

use bytes::Bytes;
use camshaft::error::ErrorKind;
use camshaft::link::{FailureKind, FromWorker, PixelsTask, ToWorker};
use camshaft::media::{MAX_PIXELS, PacketHeader, Track, parse_parameter_sets};
use std::cell::RefCell;
use std::rc::Rc;

use super::{End, Gpu, Link, protocol};
use crate::av::{self, ReadBack};
use renditions::Renditions;
use samples::Samples;
use source::Source;
pub use source::Walls;
use stills::Stills;
use thrift::{Thrift, Verdict};
use views::Views;

/// What ends a rendition, or all of them.
enum Fault {
    Rendition(av::Error),
    Worker(End),
}

impl From<av::Error> for Fault {
    fn from(error: av::Error) -> Self {
        Self::Rendition(error)
    }
}

/// A device that cannot scale a picture or give it back serves no rendition; one that cannot encode serves all others.
fn device_ends_worker(error: av::Error) -> Fault {
    if error.is_device() { Fault::Worker(error.into()) } else { Fault::Rendition(error) }
}

/// Takes packets and requests until told to stop. Everything happens on this thread, in the order of the messages.
///
/// # Errors
/// Why the worker ends other than by being told to.
pub fn run(task: &PixelsTask, gpu: Option<Gpu>, link: &mut Link) -> Result<(), End> {
    check(task)?;
    let device = gpu.as_ref().map(|gpu| gpu.device.clone());
    let reader = device.as_ref().map(|device| Rc::new(RefCell::new(ReadBack::new(device))));
    let mut pixels = Pixels {
        source: Source::open(&task.config, device.as_ref())?,
        thrift: Thrift::new(task.config.codec),
        renditions: Renditions::new(task.config.frame_rate, Views::new(reader.clone()), device),
        samples: Samples::new(task.sample_ticks, reader.clone()),
        stills: Stills::new(Views::new(reader)),
        gpu,
    };
    link.send(&FromWorker::Ready, &[])?;
    loop {
        let (message, payload) = link.receive()?;
        match message {
            ToWorker::Packet(header) => pixels.packet(&header, &payload, link)?,
            ToWorker::AddRendition { id, spec, stages, after } => {
                pixels.renditions.add(id, &spec, &stages, after, link)?;
            }
            ToWorker::Restage { id, stages } => pixels.renditions.restage(id, &stages, link)?,
            ToWorker::RemoveRendition { id } => pixels.renditions.remove(id),
            ToWorker::ForceKeyframe { id } => pixels.renditions.force_keyframe(id),
            ToWorker::Still { id, spec, at } => {
                pixels.catch_up(link)?;
                pixels.stills.answer(id, &spec, at, link)?;
            }
            ToWorker::KeepStill { at } => pixels.stills.keep(at),
            ToWorker::Drain => pixels.drain(link)?,
            ToWorker::Effort(effort) => {
                pixels.source.set_effort(effort);
                pixels.renditions.set_effort(effort);
            }
            ToWorker::Stop => return Ok(()),
            ToWorker::Begin(_) | ToWorker::Confine(_) => return Err(protocol("a worker's role is given once")),
            ToWorker::Input | ToWorker::InputSize(_) | ToWorker::JobStages(_) => {
                return Err(protocol("nothing was asked that this answers"));
            }
            ToWorker::Bytes | ToWorker::EndOfBytes => return Err(protocol("bytes are for a demuxer")),
        }
    }
}

struct Pixels {
    source: Source,
    thrift: Thrift,
    renditions: Renditions,
    stills: Stills,
    samples: Samples,
    gpu: Option<Gpu>,
}

impl Pixels {
    fn packet(&mut self, header: &PacketHeader, access_unit: &Bytes, link: &mut Link) -> Result<(), End> {
        if header.track == Track::Video {
            match self.thrift.judge(header, access_unit, &self.renditions) {
                Verdict::Decode => {
                    self.catch_up(link)?;
                    self.decode(header, access_unit, link)?;
                }
                Verdict::DecodeAlone => {
                    self.decode(header, access_unit, link)?;
                    self.empty(link)?;
                }
                Verdict::LeaveOut | Verdict::Hold => {}
            }
        }
        let (decoded, broken) = (self.source.decoded(), self.source.broken());
        if let Some(gpu) = &mut self.gpu {
            gpu.report(link)?;
        }
        link.send(&FromWorker::Consumed { decoded, broken }, &[])
    }

    /// Decodes what was held back.
    fn catch_up(&mut self, link: &mut Link) -> Result<(), End> {
        for (header, access_unit) in self.thrift.release() {
            self.decode(&header, &access_unit, link)?;
        }
        Ok(())
    }

    fn decode(&mut self, header: &PacketHeader, access_unit: &[u8], link: &mut Link) -> Result<(), End> {
        let Self { source, renditions, stills, samples, .. } = self;
        source.feed(header, access_unit, |picture| {
            stills.see(&picture);
            renditions.show(&picture, link)?;
            samples.see(&picture, link)
        })
    }

    /// Takes out of the decoder what it holds back.
    fn empty(&mut self, link: &mut Link) -> Result<(), End> {
        let Self { source, renditions, stills, samples, .. } = self;
        source.drain(|picture| {
            stills.see(&picture);
            renditions.show(&picture, link)?;
            samples.see(&picture, link)
        })
    }

    fn drain(&mut self, link: &mut Link) -> Result<(), End> {
        self.empty(link)?;
        self.renditions.finish(link)?;
        link.send(&FromWorker::Drained, &[])
    }
}

/// Refuses what is past the limits before any decoder sees it. The parameter sets are read here once more: what the
/// configuration says of them came from another worker.
fn check(task: &PixelsTask) -> Result<(), End> {
    let config = &task.config;
    let limit = |what: String| End::failed(FailureKind::Limit, what);
    if config.geometry.pixels() == 0 || config.geometry.pixels() > MAX_PIXELS {
        return Err(limit(format!("a source of {} is past the limit of {MAX_PIXELS} pixels", config.geometry)));
    }
    if !config.codec.has_nal_units() {
        // The decoder holds each picture to the limit.
        return Ok(());
    }
    parse_parameter_sets(config.codec, &config.parameter_sets).map_err(|error| {
        let kind = match error.kind() {
            ErrorKind::Impossible => FailureKind::Limit,
            _ => FailureKind::Unsupported,
        };
        End::failed(kind, error.chain())
    })?;
    Ok(())
}
