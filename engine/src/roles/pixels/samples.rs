//! Points of decoded pictures, for whoever checks that the decoder is right.

use camshaft::link::{FromWorker, sample_step};
use camshaft::media::MediaTime;
use std::cell::RefCell;
use std::rc::Rc;

use super::source::Picture;
use super::{End, Link};
use crate::av::{Copy, Error, ReadBack};

/// Shows some of the pictures that go by.
pub struct Samples {
    /// Ticks from one to the next.
    every: Option<i64>,
    next: Option<MediaTime>,
    /// Reads surfaces, where pictures are such.
    reader: Option<Rc<RefCell<ReadBack>>>,
    copy: Copy,
    points: Vec<u8>,
}

impl Samples {
    /// One picture every so many ticks; 0: each; `None`: none.
    pub fn new(every: Option<i64>, reader: Option<Rc<RefCell<ReadBack>>>) -> Self {
        Self { every, next: None, reader, copy: Copy::default(), points: Vec::new() }
    }

    /// Shows `picture`, if it is due.
    ///
    /// # Errors
    /// If the device does not give the picture back, or nobody is there to look at it.
    pub fn see(&mut self, picture: &Picture, link: &mut Link) -> Result<(), End> {
        let Some(every) = self.every else { return Ok(()) };
        // The first pictures of a worker are viewers waiting: they are left alone.
        let next = *self.next.get_or_insert(picture.pts.offset(every));
        if picture.pts < next {
            return Ok(());
        }
        self.next = Some(picture.pts.offset(every));
        let (size, flawed) = (picture.frame.size(), picture.frame.is_flawed());
        self.read(picture, sample_step(size) as usize)?;
        link.send(&FromWorker::Sample { pts: picture.pts, size, flawed }, &self.points)
    }

    fn read(&mut self, picture: &Picture, step: usize) -> Result<(), Error> {
        let frame = match self.reader.as_ref().filter(|_| picture.frame.is_surface()) {
            None => &picture.frame,
            Some(reader) => {
                reader.borrow_mut().read(&picture.frame, &mut self.copy)?;
                self.copy.picture().ok_or_else(|| Error::Device("nothing was read from the surface".into()))?
            }
        };
        frame.thin_luma(step, &mut self.points)
    }
}
