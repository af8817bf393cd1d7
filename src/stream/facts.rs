//! What is known of a stream's source: written by the task that reads it, read by status and consumers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

use super::status::{SandboxStatus, State, WorkerStatus};
use crate::events::{Change, Events, Topic};
use crate::link::usage;
use crate::media::{AudioConfig, VideoConfig};
use crate::metrics::StreamMetrics;

/// Over how long frame and bit rate are measured.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// The source's facts.
#[derive(Debug)]
pub struct SourceFacts {
    metrics: Arc<StreamMetrics>,
    events: Arc<Events>,
    state: watch::Sender<State>,
    inner: Mutex<Facts>,
}

/// The facts at one moment.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When the state was entered.
    pub since: SystemTime,
    /// Why the source is not live.
    pub reason: Option<String>,
    /// Seconds until it is tried again, counted from `since`.
    pub retry_in: Option<Duration>,
    /// The video track.
    pub video: Option<Arc<VideoConfig>>,
    /// The audio track.
    pub audio: Option<Arc<AudioConfig>>,
    /// When the last packet came.
    pub last_packet: Option<Instant>,
    /// Frames a second, measured.
    pub fps: Option<f64>,
    /// Bits a second, measured.
    pub bitrate: Option<u64>,
    /// Times the source was reached again.
    pub reconnects: u64,
    /// Packets lost or unusable.
    pub lost: u64,
    /// Clock jumps absorbed.
    pub clock_jumps: u64,
    /// The worker that reads the source.
    pub worker: Option<u32>,
    /// What holds it.
    pub sandbox: Option<SandboxStatus>,
    /// The worker that takes its container apart, and what holds it.
    pub demux: Option<(u32, Option<SandboxStatus>)>,
    /// Workers that ended unasked.
    pub restarts: u64,
    window: Window,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    start: Instant,
    frames: u64,
    bytes: u64,
}

impl SourceFacts {
    /// Facts of a source that has not been tried.
    pub fn new(metrics: Arc<StreamMetrics>, events: Arc<Events>, state: State) -> Self {
        let window = Window { start: Instant::now(), frames: 0, bytes: 0 };
        let facts = Facts {
            since: SystemTime::now(),
            reason: None,
            retry_in: None,
            video: None,
            audio: None,
            last_packet: None,
            fps: None,
            bitrate: None,
            reconnects: 0,
            lost: 0,
            clock_jumps: 0,
            worker: None,
            sandbox: None,
            demux: None,
            restarts: 0,
            window,
        };
        let facts = Self { metrics, events, state: watch::Sender::new(state), inner: Mutex::new(facts) };
        facts.show_state(state);
        facts
    }

    /// The state now.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Wakes with every change of the state.
    pub fn watch_state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// A copy of the facts.
    pub fn get(&self) -> Facts {
        self.lock().clone()
    }

    /// Changes facts in place.
    pub fn update(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.lock());
    }

    /// Enters `state`; `reason` says why, unless it is live, and `retry_in` when the source is tried again.
    pub fn enter(&self, state: State, reason: Option<String>, retry_in: Option<Duration>) {
        // The facts come first: who waits for the state reads them at once.
        self.update(|facts| {
            facts.since = SystemTime::now();
            facts.reason = reason;
            facts.retry_in = retry_in;
        });
        let (from, reason) = (self.state(), self.get().reason);
        if from != state {
            let (from, to, subject) = (from.name(), state.name(), self.metrics.id());
            self.events.tell(Change { topic: Topic::Stream, subject, from, to, reason: reason.as_deref() });
        }
        self.show_state(state);
        self.state.send_replace(state);
    }

    /// Counts a packet of the source.
    pub fn count_packet(&self, bytes: usize, is_video: bool) {
        let metrics = &self.metrics;
        metrics.count_by(&metrics.all.source_packets, if is_video { "video" } else { "audio" }, 1);
        metrics.count(&metrics.all.source_bytes, bytes as u64);
        let mut facts = self.lock();
        let now = Instant::now();
        facts.last_packet = Some(now);
        facts.window.frames += u64::from(is_video);
        facts.window.bytes += bytes as u64;
        let elapsed = now - facts.window.start;
        if elapsed >= RATE_WINDOW {
            let fps = facts.window.frames as f64 / elapsed.as_secs_f64();
            facts.fps = Some((fps * 100.0).round() / 100.0);
            facts.bitrate = Some((facts.window.bytes as f64 * 8.0 / elapsed.as_secs_f64()) as u64);
            facts.window = Window { start: now, frames: 0, bytes: 0 };
            metrics.all.source_fps.with_label_values(&[metrics.id()]).set(fps);
        }
    }

    fn show_state(&self, state: State) {
        let metrics = &self.metrics;
        for each in State::ALL {
            let value = i64::from(each == state);
            metrics.all.stream_state.with_label_values(&[metrics.id(), each.name()]).set(value);
        }
        metrics.all.stream_up.with_label_values(&[metrics.id()]).set(i64::from(state == State::Live));
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        // Facts are plain values: even a panicking writer leaves them readable.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process as the status shows it; `None` once it is gone.
pub fn worker_status(pid: u32, restarts: u64, sandbox: Option<SandboxStatus>) -> Option<WorkerStatus> {
    let usage = usage(pid)?;
    let (rss_bytes, cpu_seconds) = (usage.rss_bytes, usage.cpu_seconds);
    Some(WorkerStatus { pid, restarts, rss_bytes, cpu_seconds, gpu_seconds: None, sandbox })
}
