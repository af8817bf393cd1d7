//! Pixels as FFmpeg's functions take them: a pointer and a distance of rows for each plane.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_next::ffi::AVPixelFormat;

use crate::format::Layout;
use crate::memory::Memory;

/// A part of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Planes somewhere in memory. Whoever uses them keeps the memory alive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picture {
    pub(crate) planes: [*mut u8; 4],
    pub(crate) strides: [c_int; 4],
    pub(crate) format: AVPixelFormat,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Picture {
    /// The whole picture that lies in `memory`.
    pub(crate) fn new(layout: &Layout, memory: &Memory) -> Self {
        Self::part(layout, memory, Region { x: 0, y: 0, width: layout.width, height: layout.height })
    }

    /// A region of the picture that lies in `memory`, moved up and left to a whole chroma sample and cut off at the
    /// picture's end.
    pub(crate) fn part(layout: &Layout, memory: &Memory, region: Region) -> Self {
        let shift = |axis: fn(&crate::format::Plane) -> u32| layout.format.planes.iter().map(axis).max().unwrap_or(0);
        let x = region.x.min(layout.width - 1) >> shift(|plane| plane.shift_x) << shift(|plane| plane.shift_x);
        let y = region.y.min(layout.height - 1) >> shift(|plane| plane.shift_y) << shift(|plane| plane.shift_y);
        let mut picture = Self {
            planes: [ptr::null_mut(); 4],
            strides: [0; 4],
            format: layout.format.native,
            width: region.width.min(layout.width - x),
            height: region.height.min(layout.height - y),
        };
        for (index, plane) in layout.format.planes.iter().enumerate() {
            let pitch = layout.pitches[index];
            let offset =
                layout.offsets[index] + (y >> plane.shift_y) * pitch + (x >> plane.shift_x) * plane.step as u32;
            picture.planes[plane.native] = memory.at(offset as usize);
            picture.strides[plane.native] = pitch.cast_signed();
        }
        picture
    }

    /// The upper left part of this size, or all of a picture that is smaller.
    pub(crate) fn upper_left(&self, width: u32, height: u32) -> Self {
        Self { width: self.width.min(width), height: self.height.min(height), ..*self }
    }
}
