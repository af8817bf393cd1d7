//! Decodes one source once, and makes of it all renditions and stills that are asked for.

mod output;
mod pacing;
mod renditions;
mod source;
mod stills;
mod views;

use camshaft::error::ErrorKind;
use camshaft::link::{FailureKind, FromWorker, PixelsTask, ToWorker};
use camshaft::media::{MAX_PIXELS, PacketHeader, Track, parse_parameter_sets};
use camshaft::plan::Backend;

use super::{End, Link, protocol};
use crate::av;
use renditions::Renditions;
use source::Source;
pub use source::Walls;
use stills::Stills;

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

/// Takes packets and requests until told to stop. Everything happens on this thread, in the order of the messages.
///
/// # Errors
/// Why the worker ends other than by being told to.
pub fn run(task: &PixelsTask, link: &mut Link) -> Result<(), End> {
    check(task)?;
    let mut pixels = Pixels {
        source: Source::open(&task.config)?,
        renditions: Renditions::new(task.config.frame_rate),
        stills: Stills::default(),
    };
    link.send(&FromWorker::Ready, &[])?;
    loop {
        let (message, payload) = link.receive()?;
        match message {
            ToWorker::Packet(header) => pixels.packet(&header, &payload, link)?,
            ToWorker::AddRendition { id, spec, stages, after } => {
                pixels.renditions.add(id, &spec, &stages, after, link)?;
            }
            ToWorker::RemoveRendition { id } => pixels.renditions.remove(id),
            ToWorker::ForceKeyframe { id } => pixels.renditions.force_keyframe(id),
            ToWorker::Still { id, spec, at } => pixels.stills.answer(id, &spec, at, link)?,
            ToWorker::KeepStill { at } => pixels.stills.keep(at),
            ToWorker::Drain => pixels.drain(link)?,
            ToWorker::Stop => return Ok(()),
            ToWorker::Begin(_) => return Err(protocol("a worker's role is given once")),
        }
    }
}

struct Pixels {
    source: Source,
    renditions: Renditions,
    stills: Stills,
}

impl Pixels {
    fn packet(&mut self, header: &PacketHeader, access_unit: &[u8], link: &mut Link) -> Result<(), End> {
        if header.track == Track::Video {
            let Self { source, renditions, stills } = self;
            source.feed(header, access_unit, |picture| {
                stills.see(&picture);
                renditions.show(&picture, link)
            })?;
        }
        let (decoded, broken) = (self.source.decoded(), self.source.broken());
        link.send(&FromWorker::Consumed { decoded, broken }, &[])
    }

    fn drain(&mut self, link: &mut Link) -> Result<(), End> {
        let Self { source, renditions, stills } = self;
        source.drain(|picture| {
            stills.see(&picture);
            renditions.show(&picture, link)
        })?;
        renditions.finish(link)?;
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
    parse_parameter_sets(config.codec, &config.parameter_sets).map_err(|error| {
        let kind = match error.kind() {
            ErrorKind::Impossible => FailureKind::Limit,
            _ => FailureKind::Unsupported,
        };
        End::failed(kind, error.chain())
    })?;
    check_backends([&task.decode]).map_err(|message| End::failed(FailureKind::Codec, message))
}

/// Refuses stages that cannot run here.
fn check_backends<'a>(backends: impl IntoIterator<Item = &'a Backend>) -> Result<(), String> {
    for backend in backends {
        if let Backend::Vaapi { device } = backend {
            return Err(format!("VA-API on {device} is not available in this worker: plan it in software"));
        }
    }
    Ok(())
}
