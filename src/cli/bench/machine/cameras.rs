//! How many cameras fit: a real service is given one more file camera after another, each with a detector that takes
//! pictures over HTTP, until pictures are late or missing.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::process::cpu_time;
use super::super::server::Server;
use super::clip::{Clip, Kind};
use crate::error::{Error, Result};
use crate::media::{Geometry, WallClock};
use crate::plan::Policy;

/// What a detector takes a second.
pub const DETECT_FPS: u32 = 5;
/// Its largest picture.
const DETECT_SIZE: Geometry = Geometry { width: 1280, height: 720 };
/// From a picture's receipt to its reader, past which it is late: the service itself starts to leave out work there.
const LATE_MS: f64 = 500.0;
/// Of those that are due.
const ARRIVED: f64 = 0.95;
/// The last cameras' decoders start up, and cameras connect one after the other, so that keyframes are spread.
const SETTLE: Duration = Duration::from_millis(1500);

/// The size that a detector of such a camera takes, in pixels.
pub fn detect_size(kind: Kind) -> Geometry {
    if kind.size.pixels() > DETECT_SIZE.pixels() { DETECT_SIZE } else { kind.size }
}

/// So many cameras at once, and how they fared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// How many.
    pub cameras: u32,
    /// Share of the pictures due that arrived, of the camera that got least.
    pub arrived: f64,
    /// From receipt to reader, which nineteen of twenty pictures were within, in milliseconds; null if none came.
    pub latency_ms: Option<f64>,
    /// CPU milliseconds of the service and its workers for a second of one camera.
    pub cpu_ms: f64,
    /// Milliseconds that the GPU worked for a second of one camera; null where the kernel does not say.
    pub gpu_ms: Option<f64>,
    /// Why they do not fit; null if they do.
    pub trouble: Option<String>,
}

impl Step {
    fn without_pictures(cameras: usize, error: &Error) -> Self {
        let trouble = Some(format!("a camera's detector got nothing: {}", error.chain()));
        Self { cameras: cameras as u32, arrived: 0.0, latency_ms: None, cpu_ms: 0.0, gpu_ms: None, trouble }
    }
}

/// A service for cameras.
pub struct Yard<'a> {
    server: &'a Server,
    clip: &'a Clip,
    policy: Policy,
}

impl<'a> Yard<'a> {
    /// Cameras that send `clip`, decoded under `policy` by `server`.
    pub fn new(server: &'a Server, clip: &'a Clip, policy: Policy) -> Self {
        Self { server, clip, policy }
    }

    /// Has `cameras` of them for `window`, and none afterwards.
    ///
    /// # Errors
    /// If the service ends or refuses a stream, or hardware is required and does not do it.
    pub fn try_out(&self, cameras: u32, window: Duration) -> Result<Step> {
        let ids: Vec<String> = (0..cameras).map(|number| format!("camera-{number}")).collect();
        let watched = self.watch(&ids, window);
        // First, so that readers see the end.
        let removed = ids.iter().try_for_each(|id| self.server.remove_stream(id));
        watched.and_then(|(step, _detectors)| removed.map(|()| step))
    }

    fn watch(&self, ids: &[String], window: Duration) -> Result<(Step, Vec<Detector>)> {
        let policy = Policy::ALL.iter().find(|(_, policy)| *policy == self.policy).map(|(name, _)| name);
        let source = format!("file:{}", self.clip.file.display());
        let size = detect_size(self.clip.kind);
        let mut detectors = Vec::new();
        for id in ids {
            self.server.put_stream(id, &json!({ "source": source, "policy": policy, "on_demand": true }))?;
            let path = format!("{id}/live.frames?width={}&height={}&fps={DETECT_FPS}", size.width, size.height);
            match self.server.media(&path) {
                Ok(media) => detectors.push(Detector::start(media)),
                // Past what the machine can do nothing starts in time.
                Err(error) => return Ok((Step::without_pictures(ids.len(), &error), detectors)),
            }
        }
        thread::sleep(SETTLE);
        detectors.iter().for_each(Detector::forget);
        let (begun, cpu_before, gpu_before) = (Instant::now(), cpu_time(&[self.server.pid()])?, self.look(ids)?.gpu);
        thread::sleep(window);
        let (seconds, cpu, after) = (begun.elapsed().as_secs_f64(), cpu_time(&[self.server.pid()])?, self.look(ids)?);
        let seen: Vec<Vec<f64>> = detectors.iter().map(Detector::seen).collect();
        let due = seconds * f64::from(DETECT_FPS);
        // The window may begin or end in the middle of an interval.
        let arrived = seen.iter().map(|waits| (waits.len() as f64 + 1.0) / due).fold(1.0, f64::min);
        let latency_ms = within(seen.concat(), 0.95);
        let each = |total: f64| total * 1e3 / seconds / ids.len() as f64;
        let trouble = match after.trouble {
            Some(trouble) => Some(trouble),
            None if arrived < ARRIVED => {
                Some(format!("a camera's detector got {:.0} % of its pictures", arrived * 100.0))
            }
            None => latency_ms.filter(|wait| *wait > LATE_MS).map(|wait| format!("pictures were {wait:.0} ms late")),
        };
        let gpu_ms = gpu_before.zip(after.gpu).map(|(before, after)| each(after - before));
        let cpu_ms = each(cpu.saturating_sub(cpu_before).as_secs_f64());
        Ok((Step { cameras: ids.len() as u32, arrived, latency_ms, cpu_ms, gpu_ms, trouble }, detectors))
    }

    /// What the service says of the cameras.
    fn look(&self, ids: &[String]) -> Result<Look> {
        let mut look = Look { gpu: Some(0.0), trouble: None };
        for id in ids {
            let status = self.server.status(id)?;
            let decode = status.pointer("/accel/decode").and_then(Value::as_str).unwrap_or("nothing");
            if self.policy == Policy::RequireHardware && decode != "hardware" {
                let reason = status.pointer("/accel/reason").unwrap_or(&Value::Null);
                let message = format!("a camera that the GPU was to decode was decoded by {decode} ({reason})");
                return Err(Error::unavailable(message));
            }
            let gpu = status.pointer("/workers/pixels/gpu_seconds").and_then(Value::as_f64);
            look.gpu = look.gpu.zip(gpu).map(|(sum, gpu)| sum + gpu);
            let state = status.pointer("/load/state").and_then(Value::as_str).unwrap_or("full");
            if state != "full" {
                look.trouble = Some(format!("the service had to leave out work ({state})"));
            }
        }
        Ok(look)
    }
}

struct Look {
    /// Seconds of the GPU so far, if every worker's are known.
    gpu: Option<f64>,
    trouble: Option<String>,
}

/// The value that `share` of `values` are within; `None` for none.
fn within(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share).ceil() as usize;
    values.get(at.saturating_sub(1)).copied()
}

/// A client that takes pictures and notes how old they are.
struct Detector {
    /// Milliseconds of each picture.
    waits: Arc<Mutex<Vec<f64>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Detector {
    fn start(media: impl Read + Send + 'static) -> Self {
        let (waits, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (noted, stopped) = (waits.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let mut media = BufReader::with_capacity(1 << 18, media);
            // The end of it is noticed by who counts the pictures.
            while let Ok(wait) = read_picture(&mut media) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(wait);
            }
        });
        Self { waits, stop, thread: Some(thread) }
    }

    fn forget(&self) {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn seen(&self) -> Vec<f64> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Detector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it cannot panic
        }
    }
}

/// Reads one part of `live.frames`, and says how many milliseconds ago the service received its picture.
fn read_picture(media: &mut impl BufRead) -> io::Result<f64> {
    let (mut length, mut wall, mut line) = (None, None, String::new());
    loop {
        line.clear();
        if media.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse::<u64>().ok(),
            Some(("X-Wall-Clock", value)) => wall = value.parse::<jiff::Timestamp>().ok(),
            None if line.trim_end().is_empty() && length.is_some() => break,
            _ => {}
        }
    }
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let (length, wall) = (length.ok_or_else(invalid)?, wall.ok_or_else(invalid)?);
    io::copy(&mut media.take(length), &mut io::sink())?;
    Ok((WallClock::now().0 - wall.as_microsecond()) as f64 / 1e3)
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// The most that fit.
    pub cameras: u32,
    /// Whether more were not tried.
    pub is_bounded: bool,
}

/// The most of 1 to `most` that fit, to a tenth; begins at `guess`.
pub fn search(guess: u32, most: u32, mut fits: impl FnMut(u32) -> Result<bool>) -> Result<Fit> {
    let (mut low, mut high) = (0, None);
    let mut next = guess.clamp(1, most);
    loop {
        if fits(next)? {
            low = next;
        } else {
            high = Some(next);
        }
        match high {
            None if low == most => return Ok(Fit { cameras: low, is_bounded: true }),
            None => next = (low + (low / 3).max(1)).min(most),
            Some(high) if high - low <= (low / 10).max(1) => return Ok(Fit { cameras: low, is_bounded: false }),
            Some(high) => next = low + (high - low) / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_what_fits_from_any_guess() {
        for fit in 0..=70 {
            for guess in [1, 7, 64, 500] {
                let mut tries = 0;
                let found = search(guess, 64, |cameras| {
                    tries += 1;
                    Ok(cameras <= fit)
                });
                let found = found.unwrap();
                assert!(
                    found.cameras <= fit && fit.min(64) - found.cameras <= fit / 10,
                    "{fit} from {guess}: {found:?}"
                );
                assert_eq!(found.is_bounded, fit >= 64, "{fit} from {guess}");
                assert!(tries <= 20, "{fit} from {guess}: {tries} tries");
            }
        }
    }

    #[test]
    fn a_part_says_how_old_its_picture_is() {
        let wall = WallClock(WallClock::now().0 - 250_000);
        let part =
            format!("--camshaft-frame\r\nContent-Length: 3\r\nX-Wall-Clock: {wall}\r\n\r\nabc\r\n--camshaft-frame\r\n");
        let mut twice = BufReader::new(io::Cursor::new(part.repeat(2)));
        for _ in 0..2 {
            let wait = read_picture(&mut twice).unwrap();
            assert!((249.0..2000.0).contains(&wait), "{wait}");
        }
        assert!(read_picture(&mut twice).is_err());
    }

    #[test]
    fn nineteen_of_twenty_are_within() {
        assert_eq!(within((1..=20).rev().map(f64::from).collect(), 0.95), Some(19.0));
        assert_eq!(within(vec![], 0.95), None);
    }
}
