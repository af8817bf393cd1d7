//! What a side costs while it works in real time.

use std::thread;
use std::time::{Duration, Instant};

use super::process::{cpu_time, proportional_set_size};
use crate::error::{Error, Result};

/// From the start of a run to the first instant that counts.
const SETTLE: Duration = Duration::from_secs(3);
/// From the start of a run to the look at its memory.
const MEMORY_AT: Duration = Duration::from_secs(6);
/// Frames a second that every side has to deliver to its detector.
const DETECT_FPS: f64 = 5.0;

/// One side of a comparison, at work.
pub trait Side {
    /// The processes that are counted, with their descendants.
    fn pids(&self) -> Vec<u32>;
    /// Raw frames delivered so far.
    fn raw_frames(&self) -> Result<f64>;
    /// An error if a process has ended.
    fn check_alive(&mut self) -> Result<()>;
}

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU milliseconds per second of the stream.
    pub cpu: f64,
    /// Proportional set size of all processes in MB (10^6 bytes).
    pub memory: f64,
}

/// Watches `side` for `steady`, after it has settled. An error if it fell behind: work left undone costs nothing.
pub fn observe(mut side: impl Side, steady: Duration) -> Result<Cost> {
    let start = Instant::now();
    let pids = side.pids();
    sleep_until(start + SETTLE);
    let (from, cpu_before, frames_before) = (Instant::now(), cpu_time(&pids)?, side.raw_frames()?);
    sleep_until(start + MEMORY_AT);
    let memory = proportional_set_size(&pids)? as f64 / 1e6;
    sleep_until(from + steady);
    let (cpu_after, frames_after, seconds) = (cpu_time(&pids)?, side.raw_frames()?, from.elapsed().as_secs_f64());
    side.check_alive()?;
    let fps = (frames_after - frames_before) / seconds;
    if fps < DETECT_FPS * 0.9 {
        return Err(Error::unavailable(format!(
            "a side delivered {fps:.1} raw frames a second instead of {DETECT_FPS}: the machine is too busy to compare"
        )));
    }
    Ok(Cost { cpu: cpu_after.saturating_sub(cpu_before).as_secs_f64() * 1e3 / seconds, memory })
}

fn sleep_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}
