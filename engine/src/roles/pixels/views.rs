//! Views of the newest pictures, each made once however many renditions want it.

use std::cell::RefCell;
use std::rc::Rc;

use super::source::Picture;
use super::surfaces::Surfaces;
use crate::av::{Error, Frame, ReadBack, SampleRange, Scaler, SourceShape, SurfaceView, View};

/// Where a picture that is decoded on a device is cropped and scaled. One in memory is so on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the CPU, from the whole picture.
    Cpu,
    /// On the device that decodes.
    Device,
}

/// A view, and where it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedView {
    /// What is made.
    pub view: View,
    /// Where.
    pub place: Place,
}

impl PlacedView {
    /// What of this view is made on a device if it is made there, for a reader or an encoder that wants `range`.
    pub fn on_device(&self, range: SampleRange) -> SurfaceView {
        SurfaceView { crop: self.view.crop, size: self.view.size, range }
    }
}

/// A scaler for each view, with what it made last.
pub struct Views {
    entries: Vec<Entry>,
    /// Where pictures are surfaces.
    surfaces: Option<Surfaces>,
}

struct Entry {
    wanted: PlacedView,
    scaler: Scaler,
    made_from: Option<u64>,
}

impl Views {
    /// Nothing yet; of surfaces, if there is a `reader` for them.
    pub fn new(reader: Option<Rc<RefCell<ReadBack>>>) -> Self {
        Self { entries: Vec::new(), surfaces: reader.map(Surfaces::new) }
    }

    /// The view of `picture` that is `wanted`, in memory: the picture itself where nothing is to be done.
    pub fn make<'a>(&'a mut self, picture: &'a Picture, wanted: &PlacedView) -> Result<&'a Frame, Error> {
        let Self { entries, surfaces } = self;
        let (frame, rest) = match surfaces.as_mut().filter(|_| picture.frame.is_surface()) {
            None => (&picture.frame, wanted.view),
            Some(surfaces) => match wanted.place {
                Place::Cpu => (surfaces.read_source(picture)?, wanted.view),
                Place::Device => {
                    (surfaces.read(picture, &wanted.on_device(SampleRange::Same))?, View { crop: None, ..wanted.view })
                }
            },
        };
        let shape = SourceShape::of(frame)?;
        if shape.satisfies(&rest) {
            return Ok(frame);
        }
        let entry = entry(entries, wanted, shape, &rest)?;
        if entry.made_from != Some(picture.serial) {
            entry.scaler.scale(frame)?;
            entry.made_from = Some(picture.serial);
        }
        Ok(entry.scaler.output())
    }

    /// The `view` of `picture` on its device.
    pub fn surface<'a>(&'a mut self, picture: &'a Picture, view: &SurfaceView) -> Result<&'a Frame, Error> {
        match &mut self.surfaces {
            Some(surfaces) => surfaces.surface(picture, view),
            None => Err(Error::Unsupported("the picture is not on a device".into())),
        }
    }

    /// Drops what belongs to views that nobody wants any more.
    pub fn retain(&mut self, wanted: &[PlacedView]) {
        self.entries.retain(|entry| wanted.contains(&entry.wanted));
        if let Some(surfaces) = &mut self.surfaces {
            // Those that an encoder alone wants differ in their range only.
            let is_made_of = |view: &SurfaceView| wanted.iter().any(|wanted| wanted.on_device(view.range) == *view);
            surfaces.retain(is_made_of);
        }
    }
}

/// The scaler for what is `wanted`, made anew where the source has changed its shape.
#[allow(clippy::indexing_slicing, reason = "found or just pushed")]
fn entry<'a>(
    entries: &'a mut Vec<Entry>,
    wanted: &PlacedView,
    shape: SourceShape,
    rest: &View,
) -> Result<&'a mut Entry, Error> {
    let fits = |entry: &Entry| entry.wanted == *wanted && entry.scaler.shape() == shape;
    let index = match entries.iter().position(fits) {
        Some(index) => index,
        None => {
            entries.retain(|entry| entry.wanted != *wanted);
            entries.push(Entry { wanted: *wanted, scaler: Scaler::new(shape, rest)?, made_from: None });
            entries.len() - 1
        }
    };
    Ok(&mut entries[index])
}
