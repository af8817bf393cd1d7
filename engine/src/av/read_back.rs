//! Pictures from a GPU's surfaces back into memory.
//!
//! There are two ways. The driver can copy the surface into an image of its own (`vaGetImage`), from which we copy
//! again; or it lends us the surface's memory (`vaDeriveImage`). The second saves a copy, but on Gen7 to Gen9 that memory
//! is not cached, and reading it can be a hundred times slower. Only the machine itself can tell: both are measured on the
//! first pictures.

use camshaft::media::Geometry;
use ffmpeg_next::ffi;
use std::ffi::c_int;
use std::io::Write;
use std::time::{Duration, Instant};

use super::device::{Device, WaitClock};
use super::error::{Error, Result, check};
use super::frame::Frame;

/// Pictures read each way before one is chosen; the first ones pay for what is set up once.
const ROUNDS: usize = 3;

/// Reads surfaces of a device.
pub struct ReadBack {
    wait: WaitClock,
    choice: Choice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `vaGetImage`.
    Copy,
    /// `vaDeriveImage`.
    Map,
}

/// How the way is found.
enum Choice {
    /// Times of each way so far, a megapixel.
    Measuring {
        copy: Vec<Duration>,
        map: Vec<Duration>,
    },
    Made(Way),
}

/// A picture in memory, used again and again for surfaces of one size.
#[derive(Default)]
pub struct Copy {
    /// The whole of it.
    whole: Option<Frame>,
    /// Its visible part.
    visible: Option<Frame>,
}

impl Copy {
    /// The picture read last.
    pub fn picture(&self) -> Option<&Frame> {
        self.visible.as_ref()
    }
}

impl ReadBack {
    /// Reads surfaces of `device`.
    pub fn new(device: &Device) -> Self {
        Self { wait: device.wait_clock().clone(), choice: Choice::Measuring { copy: Vec::new(), map: Vec::new() } }
    }

    /// Replaces the picture in `copy` by that of `surface`.
    pub fn read(&mut self, surface: &Frame, copy: &mut Copy) -> Result<()> {
        let whole = match copy.whole.take().filter(|whole| fits(whole, surface)) {
            Some(whole) => whole,
            None => Frame::for_surface(surface)?,
        };
        let whole = copy.whole.insert(whole);
        let wait = self.wait.clone();
        // One error is no failure, as in decoding: the picture is still there.
        let read = wait.time(|| self.read_whole(surface, whole).or_else(|_| self.read_whole(surface, whole)));
        read.map_err(Error::of_device)?;
        whole.copy_color(surface);
        let visible = match &mut copy.visible {
            Some(visible) => visible,
            none => none.insert(Frame::empty()?),
        };
        visible.refer_to(whole)?;
        visible.cut_corner(surface.corner())
    }

    fn read_whole(&mut self, surface: &Frame, whole: &mut Frame) -> Result<()> {
        let (copies, maps) = match &mut self.choice {
            Choice::Made(way) => return way.read(surface, whole),
            Choice::Measuring { copy, map } => (copy, map),
        };
        let way = if copies.len() <= maps.len() { Way::Copy } else { Way::Map };
        let start = Instant::now();
        match way.read(surface, whole) {
            Ok(()) => {}
            // Many drivers lend only some kinds of surfaces.
            Err(_) if way == Way::Map => {
                self.choose(Way::Copy, "the driver does not lend its surfaces");
                return Way::Copy.read(surface, whole);
            }
            Err(error) => return Err(error),
        }
        let times = if way == Way::Copy { &mut *copies } else { &mut *maps };
        times.push(a_megapixel(start.elapsed(), surface.size()));
        if let (Some(copy), Some(map)) = (shortest(copies), shortest(maps)) {
            let way = if copy <= map { Way::Copy } else { Way::Map };
            self.choose(way, &format!("a megapixel took {copy:?} by vaGetImage, {map:?} by vaDeriveImage"));
        }
        Ok(())
    }

    fn choose(&mut self, way: Way, why: &str) {
        let name = match way {
            Way::Copy => "vaGetImage",
            Way::Map => "vaDeriveImage",
        };
        // Nobody is left to tell if standard error is gone.
        let _ = writeln!(std::io::stderr(), "INFO surfaces are read by {name}: {why}");
        self.choice = Choice::Made(way);
    }
}

impl Way {
    fn read(self, surface: &Frame, whole: &mut Frame) -> Result<()> {
        match self {
            Self::Copy => {
                // SAFETY: the frame has planes of the surface's format and size, the surface is valid.
                let code = unsafe { ffi::av_hwframe_transfer_data(whole.as_mut_ptr(), surface.as_ptr(), 0) };
                check("read a surface", code)?;
            }
            Self::Map => {
                let mut lent = Frame::empty()?;
                lent.get_mut().format = whole.get().format;
                let flags = ffi::AV_HWFRAME_MAP_READ as c_int | ffi::AV_HWFRAME_MAP_DIRECT as c_int;
                // SAFETY: the frame is empty but for its format, the surface is valid.
                let code = unsafe { ffi::av_hwframe_map(lent.as_mut_ptr(), surface.as_ptr(), flags) };
                check("map a surface", code)?;
                // SAFETY: both frames have planes of the same format and size.
                let code = unsafe { ffi::av_frame_copy(whole.as_mut_ptr(), lent.as_ptr()) };
                check("read a surface", code)?;
            }
        }
        Ok(())
    }
}

fn fits(whole: &Frame, surface: &Frame) -> bool {
    let (whole, raw) = (whole.get(), surface.get());
    (whole.width, whole.height, whole.format) == (raw.width, raw.height, surface.sample_format())
}

fn a_megapixel(time: Duration, size: Geometry) -> Duration {
    time.mul_f64(1e6 / size.pixels().max(1) as f64)
}

fn shortest(times: &[Duration]) -> Option<Duration> {
    times.iter().min().copied().filter(|_| times.len() >= ROUNDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_judged_by_its_best_time_a_pixel_once_it_has_had_its_rounds() {
        let times = [9, 2, 4].map(Duration::from_millis);
        assert_eq!(shortest(&times[..ROUNDS - 1]), None);
        assert_eq!(shortest(&times), Some(Duration::from_millis(2)));
        let quarter = a_megapixel(Duration::from_millis(1), Geometry::new(500, 500));
        assert_eq!(quarter, Duration::from_millis(4));
        assert_eq!(a_megapixel(Duration::ZERO, Geometry::new(0, 0)), Duration::ZERO);
    }
}
