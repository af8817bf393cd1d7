//! Single pictures on request.

use camshaft::link::FromWorker;
use camshaft::media::FrameHeader;
use camshaft::media::{MediaTime, StillSpec, resolve_size};
use std::io::Write;
use std::rc::Rc;

use super::source::Picture;
use super::views::{Place, PlacedView, Views};
use super::{End, Link};
use crate::av::{self, JpegEncoder, Layout, View};

/// The newest picture, one that is kept for later, and what makes JPEGs of them.
pub struct Stills {
    newest: Option<Rc<Picture>>,
    kept: Option<Kept>,
    views: Views,
    encoder: Option<JpegEncoder>,
}

struct Kept {
    at: MediaTime,
    picture: Option<Rc<Picture>>,
}

impl Stills {
    /// None yet, made by way of `views`.
    pub fn new(views: Views) -> Self {
        Self { newest: None, kept: None, views, encoder: None }
    }

    /// Takes note of a new picture.
    pub fn see(&mut self, picture: &Rc<Picture>) {
        self.newest = Some(Rc::clone(picture));
        if let Some(kept) = self.kept.as_mut().filter(|kept| picture.pts <= kept.at) {
            kept.picture = Some(Rc::clone(picture));
        }
    }

    /// From now on, keeps the newest picture not after `at`.
    pub fn keep(&mut self, at: MediaTime) {
        let picture = self.newest.clone().filter(|picture| picture.pts <= at);
        self.kept = Some(Kept { at, picture });
    }

    /// Answers a request for a still. One that cannot be made is answered without a picture, and logged.
    pub fn answer(&mut self, id: u32, spec: &StillSpec, at: Option<MediaTime>, link: &mut Link) -> Result<(), End> {
        let Some(picture) = self.find(at) else {
            return link.send(&FromWorker::Still { id, header: None }, &[]);
        };
        match self.make(&picture, spec) {
            Ok((header, jpeg)) => link.send(&FromWorker::Still { id, header: Some(header) }, jpeg),
            Err(message) => {
                // Nobody is left to tell if standard error is gone.
                let _ = writeln!(std::io::stderr(), "WARN still {id} cannot be made: {message}");
                link.send(&FromWorker::Still { id, header: None }, &[])
            }
        }
    }

    fn find(&self, at: Option<MediaTime>) -> Option<Rc<Picture>> {
        let Some(at) = at else { return self.newest.clone() };
        let kept = self.kept.as_ref().filter(|kept| kept.at == at).and_then(|kept| kept.picture.clone());
        kept.or_else(|| self.newest.clone().filter(|picture| picture.pts <= at))
    }

    fn make(&mut self, picture: &Picture, spec: &StillSpec) -> Result<(FrameHeader, &[u8]), String> {
        let size = resolve_size(picture.frame.size(), spec.crop, spec.width, spec.height)
            .map_err(|error| error.message().to_owned())?;
        let view = View { crop: spec.crop, size, layout: Layout::Jpeg };
        let view = PlacedView { view, place: Place::Cpu };
        let jpeg = self.encode(picture, &view, spec.quality).map_err(|error| error.to_string())?;
        Ok((FrameHeader { pts: picture.pts, wall: picture.wall, size }, jpeg))
    }

    fn encode(&mut self, picture: &Picture, view: &PlacedView, quality: u8) -> Result<&[u8], av::Error> {
        // Scaler and encoder of the last still serve the next one if it is alike, as it is when someone polls.
        self.views.retain(std::slice::from_ref(view));
        let encoder = match self.encoder.take().filter(|encoder| encoder.size() == view.view.size) {
            Some(encoder) => encoder,
            None => JpegEncoder::open(view.view.size)?,
        };
        self.encoder.insert(encoder).encode(self.views.make(picture, view)?, quality)
    }
}
