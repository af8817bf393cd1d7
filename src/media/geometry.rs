//! Sizes and rectangles in pixels.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest picture that is decoded or made, in pixels (17 Mpx admits 4K DCI and 5120×3200 cameras).
pub const MAX_PIXELS: u64 = 17_000_000;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Geometry {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Geometry {
    /// A size of `width` × `height` pixels.
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Pixels in a picture.
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// This size with either side replaced; one side given keeps the aspect ratio, rounded to even.
    pub fn scaled_to(self, width: Option<u32>, height: Option<u32>) -> Self {
        let even = |side: u64| ((side.max(2) + 1) & !1) as u32;
        let (w, h) = (u64::from(self.width.max(1)), u64::from(self.height.max(1)));
        match (width, height) {
            (Some(width), Some(height)) => Self { width, height },
            (Some(width), None) => Self { width, height: even((u64::from(width) * h + w / 2) / w) },
            (None, Some(height)) => Self { width: even((u64::from(height) * w + h / 2) / h), height },
            (None, None) => self,
        }
    }
}

impl Geometry {
    /// As [`Self::scaled_to`], with both sides rounded to the nearest even number, as encoders need them.
    pub fn fitted_to(self, width: Option<u32>, height: Option<u32>) -> Self {
        let (w, h) = (f64::from(self.width.max(1)), f64::from(self.height.max(1)));
        let even = |side: f64| ((side / 2.0).round().max(1.0) * 2.0) as u32;
        let (to_w, to_h) = match (width.map(f64::from), height.map(f64::from)) {
            (Some(width), Some(height)) => (width, height),
            (Some(width), None) => (width, width * h / w),
            (None, Some(height)) => (height * w / h, height),
            (None, None) => (w, h),
        };
        Self { width: even(to_w), height: even(to_h) }
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A rectangle of the source picture, in source pixels; `W:H:X:Y` as ffmpeg's crop filter writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Crop {
    /// Columns kept.
    pub width: u32,
    /// Rows kept.
    pub height: u32,
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
}

impl Crop {
    /// The size of what is kept.
    pub fn geometry(self) -> Geometry {
        Geometry::new(self.width, self.height)
    }

    /// Whether the rectangle lies inside a picture of size `outer`.
    pub fn fits(self, outer: Geometry) -> bool {
        let inside = |start: u32, length: u32, whole: u32| {
            length > 0 && u64::from(start) + u64::from(length) <= u64::from(whole)
        };
        inside(self.x, self.width, outer.width) && inside(self.y, self.height, outer.height)
    }
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.width, self.height, self.x, self.y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_keeps_the_aspect_ratio_and_is_even() {
        let full_hd = Geometry::new(1920, 1080);
        assert_eq!(full_hd.scaled_to(Some(1280), None), Geometry::new(1280, 720));
        assert_eq!(full_hd.scaled_to(None, Some(480)), Geometry::new(854, 480));
        assert_eq!(full_hd.scaled_to(Some(1279), Some(3)), Geometry::new(1279, 3));
        assert_eq!(Geometry::new(0, 0).scaled_to(Some(10), None), Geometry::new(10, 10));
    }

    #[test]
    fn encoders_get_the_nearest_even_size() {
        let full_hd = Geometry::new(1920, 1080);
        assert_eq!(full_hd.fitted_to(None, Some(240)), Geometry::new(426, 240));
        assert_eq!(full_hd.fitted_to(Some(641), None), Geometry::new(642, 360));
        assert_eq!(Geometry::new(33, 17).fitted_to(None, None), Geometry::new(34, 18));
        assert_eq!(Geometry::new(0, 0).fitted_to(None, None), Geometry::new(2, 2));
    }

    #[test]
    fn a_crop_must_lie_inside() {
        let outer = Geometry::new(100, 50);
        assert!(Crop { width: 100, height: 50, x: 0, y: 0 }.fits(outer));
        assert!(!Crop { width: 100, height: 50, x: 1, y: 0 }.fits(outer));
        assert!(!Crop { width: u32::MAX, height: 1, x: u32::MAX, y: 0 }.fits(outer));
        assert!(!Crop { width: 0, height: 1, x: 0, y: 0 }.fits(outer));
    }
}
