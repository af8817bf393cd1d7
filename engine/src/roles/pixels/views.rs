//! Views of the newest pictures, each made once however many renditions want it.

use super::source::Picture;
use crate::av::{Error, Frame, Scaler, View};

/// A scaler for each view, with what it made last.
#[derive(Default)]
pub struct Views {
    entries: Vec<Entry>,
}

struct Entry {
    view: View,
    scaler: Scaler,
    made_from: Option<u64>,
}

impl Views {
    /// The `view` of `picture`: the picture itself where nothing is to be done.
    pub fn make<'a>(&'a mut self, picture: &'a Picture, view: &View) -> Result<&'a Frame, Error> {
        if picture.shape.satisfies(view) {
            return Ok(&picture.frame);
        }
        let entry = self.entry(picture, view)?;
        if entry.made_from != Some(picture.serial) {
            entry.scaler.scale(&picture.frame)?;
            entry.made_from = Some(picture.serial);
        }
        Ok(entry.scaler.output())
    }

    /// Drops the scalers of views that nobody wants any more.
    pub fn retain(&mut self, is_wanted: impl Fn(&View) -> bool) {
        self.entries.retain(|entry| is_wanted(&entry.view));
    }

    /// The scaler for `view`, made anew where the source has changed its shape.
    fn entry(&mut self, picture: &Picture, view: &View) -> Result<&mut Entry, Error> {
        let fits = |entry: &Entry| entry.view == *view && entry.scaler.shape() == picture.shape;
        let index = match self.entries.iter().position(fits) {
            Some(index) => index,
            None => {
                self.retain(|other| other != view);
                let scaler = Scaler::new(picture.shape, view)?;
                self.entries.push(Entry { view: *view, scaler, made_from: None });
                self.entries.len() - 1
            }
        };
        Ok(&mut self.entries[index])
    }
}
