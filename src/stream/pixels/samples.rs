//! Points of decoded pictures as the worker shows them: do they look right, and are they the same as those of another
//! decoder?

use bytes::Bytes;

use super::failure::Reason;
use crate::link::MAX_SAMPLE_POINTS;
use crate::media::{Geometry, MediaTime};

/// The spread of a picture's luma, darkest to brightest, up to which it shows nothing.
const FLAT: u8 = 4;
/// The PSNR of pictures that are the same, for which there is no number.
pub const SAME: f64 = 100.0;

/// One picture, as far as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Presentation time.
    pub pts: MediaTime,
    /// The whole picture's size.
    pub size: Geometry,
    /// Whether the decoder had to make up parts of it.
    pub flawed: bool,
    /// Luma of some points.
    pub points: Bytes,
}

impl Sample {
    /// A sample that a worker sent; `None` if it is none.
    pub fn new(pts: MediaTime, size: Geometry, flawed: bool, points: Bytes) -> Option<Self> {
        let is_one = !points.is_empty() && points.len() <= MAX_SAMPLE_POINTS;
        is_one.then_some(Self { pts, size, flawed, points })
    }

    /// Whether it shows nothing.
    fn is_flat(&self) -> bool {
        let (darkest, brightest) =
            self.points.iter().fold((u8::MAX, 0), |(d, b), point| (d.min(*point), b.max(*point)));
        brightest.saturating_sub(darkest) <= FLAT
    }

    /// How alike two samples are, in dB; at most [`SAME`].
    pub fn psnr(&self, other: &Self) -> f64 {
        if self.size != other.size || self.points.len() != other.points.len() {
            return 0.0;
        }
        let squares = self.points.iter().zip(&other.points).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2));
        let mean = squares.sum::<u64>() as f64 / self.points.len().max(1) as f64;
        if mean == 0.0 { SAME } else { (10.0 * (255.0 * 255.0 / mean).log10()).min(SAME) }
    }
}

/// What goes on from sample to sample.
#[derive(Debug, Default)]
pub struct Watch {
    last: Option<Sample>,
    /// What was looked into already; not again until pictures have been otherwise.
    settled: Option<Reason>,
}

impl Watch {
    /// What was suspected may be suspected again.
    pub fn forget(&mut self) {
        self.settled = None;
    }

    /// What the next sample gives rise to suspect. A suspicion is no proof: scenes stand still, and nights are dark.
    pub fn suspect(&mut self, sample: Sample) -> Option<Reason> {
        let is_frozen = self.last.as_ref().is_some_and(|last| last.points == sample.points);
        let suspicion = if sample.is_flat() {
            Some(Reason::Flat)
        } else if is_frozen {
            Some(Reason::Frozen)
        } else {
            None
        };
        self.last = Some(sample);
        let is_new = suspicion != self.settled;
        self.settled = suspicion;
        suspicion.filter(|_| is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(points: &[u8]) -> Sample {
        Sample::new(MediaTime(0), Geometry::new(4, 1), false, Bytes::copy_from_slice(points)).unwrap()
    }

    #[test]
    fn what_stands_still_or_shows_nothing_is_suspected_once() {
        let mut watch = Watch::default();
        let seen: Vec<_> = [
            &[1, 90, 3, 4][..],
            &[1, 90, 3, 5],
            &[1, 90, 3, 5],
            &[1, 90, 3, 5],
            &[1, 90, 3, 6],
            &[1, 90, 3, 6],
            &[0, 0, 1, 0],
            &[0, 0, 1, 0],
            &[1, 90, 3, 6],
            &[0, 0, 0, 0],
        ]
        .map(|points| watch.suspect(sample(points)))
        .into();
        let (frozen, flat) = (Some(Reason::Frozen), Some(Reason::Flat));
        assert_eq!(seen, [None, None, frozen, None, None, frozen, flat, None, None, flat]);
    }

    #[test]
    fn the_same_points_are_the_same_and_others_are_measured() {
        let picture = sample(&[10, 20, 30, 40]);
        assert_eq!(picture.psnr(&picture), SAME);
        assert!((picture.psnr(&sample(&[11, 21, 31, 41])) - 48.13).abs() < 0.01);
        assert!(picture.psnr(&sample(&[0, 0, 0, 0])) < 20.0);
        let smaller = Sample { size: Geometry::new(2, 2), ..picture.clone() };
        assert_eq!(picture.psnr(&smaller), 0.0);
        let too_many = Bytes::from(vec![0; MAX_SAMPLE_POINTS + 1]);
        assert_eq!(Sample::new(MediaTime(0), Geometry::new(4, 1), false, too_many), None);
    }
}
