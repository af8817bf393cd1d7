//! Pictures on a device: scaled there, and read back into memory, each once however many renditions want it.

use std::cell::RefCell;
use std::rc::Rc;

use super::source::Picture;
use crate::av::{Copy, Error, Frame, ReadBack, SurfaceScaler, SurfaceView};

/// What has been made of the newest surfaces.
pub struct Surfaces {
    /// Measures the machine once for all who read.
    reader: Rc<RefCell<ReadBack>>,
    /// The whole picture as decoded.
    source: Read,
    scaled: Vec<Scaled>,
}

#[derive(Default)]
struct Read {
    copy: Copy,
    made_from: Option<u64>,
}

struct Scaled {
    view: SurfaceView,
    /// None while nothing had to be scaled.
    scaler: Option<SurfaceScaler>,
    made_from: Option<u64>,
    read: Read,
}

impl Surfaces {
    /// Nothing yet, of pictures that `reader` reads.
    pub fn new(reader: Rc<RefCell<ReadBack>>) -> Self {
        Self { reader, source: Read::default(), scaled: Vec::new() }
    }

    /// The `view` of `picture`: its own surface where nothing is to be done.
    pub fn surface<'a>(&'a mut self, picture: &'a Picture, view: &SurfaceView) -> Result<&'a Frame, Error> {
        let Scaled { view, scaler, made_from, .. } = entry(&mut self.scaled, view);
        scaled(view, scaler, made_from, picture)
    }

    /// The picture as decoded, in memory.
    pub fn read_source(&mut self, picture: &Picture) -> Result<&Frame, Error> {
        self.source.read(&mut self.reader.borrow_mut(), &picture.frame, picture.serial)
    }

    /// The `view` of `picture`, in memory.
    pub fn read(&mut self, picture: &Picture, view: &SurfaceView) -> Result<&Frame, Error> {
        let Scaled { view, scaler, made_from, read } = entry(&mut self.scaled, view);
        // What is read may have any depth, so that only scaling is left to the device; but some drivers do not give back
        // the 4:2:2 of a camera's JPEGs (i965: EIO).
        let frame = &picture.frame;
        let is_readable = view.is_whole(frame) && frame.is_420();
        let surface = if is_readable { frame } else { scaled(view, scaler, made_from, picture)? };
        read.read(&mut self.reader.borrow_mut(), surface, picture.serial)
    }

    /// Drops what nobody wants any more.
    pub fn retain(&mut self, is_wanted: impl Fn(&SurfaceView) -> bool) {
        self.scaled.retain(|entry| is_wanted(&entry.view));
    }
}

impl Read {
    fn read(&mut self, reader: &mut ReadBack, surface: &Frame, serial: u64) -> Result<&Frame, Error> {
        if self.made_from != Some(serial) {
            self.made_from = None;
            reader.read(surface, &mut self.copy)?;
            self.made_from = Some(serial);
        }
        self.copy.picture().ok_or_else(|| Error::Device("nothing was read from the surface".into()))
    }
}

fn scaled<'a>(
    view: &SurfaceView,
    scaler: &'a mut Option<SurfaceScaler>,
    made_from: &mut Option<u64>,
    picture: &'a Picture,
) -> Result<&'a Frame, Error> {
    let surface = &picture.frame;
    if view.is_satisfied_by(surface) {
        return Ok(surface);
    }
    // A decoder that was set up anew gives surfaces of another pool.
    let scaler = match scaler.take().filter(|scaler| scaler.takes(surface)) {
        Some(same) => scaler.insert(same),
        None => {
            *made_from = None;
            scaler.insert(SurfaceScaler::new(surface, *view)?)
        }
    };
    if *made_from != Some(picture.serial) {
        *made_from = None;
        scaler.scale(surface)?;
        *made_from = Some(picture.serial);
    }
    Ok(scaler.output())
}

#[allow(clippy::indexing_slicing, reason = "found or just pushed")]
fn entry<'a>(entries: &'a mut Vec<Scaled>, view: &SurfaceView) -> &'a mut Scaled {
    let index = match entries.iter().position(|entry| entry.view == *view) {
        Some(index) => index,
        None => {
            entries.push(Scaled { view: *view, scaler: None, made_from: None, read: Read::default() });
            entries.len() - 1
        }
    };
    &mut entries[index]
}
