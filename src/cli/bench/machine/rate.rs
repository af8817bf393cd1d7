//! How fast a way to work is, and how long a picture takes: workers are fed as fast as they take packets for the one, in
//! real time for the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clip::{Clip, FPS, TICKS};
use super::work::{Task, Work};
use crate::error::{Error, Result};
use crate::link::{FromWorker, Outgoing, Spawner, ToWorker, Worker, WorkerEvent, usage};

/// A worker that is asked to end has this long.
const GRACE: Duration = Duration::from_millis(500);
/// Pictures that are not looked at: the first ones wait for the encoder's and the driver's start.
const WARM_UP: usize = 10;
/// How long anything may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one run came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Pictures of the source a second, of all workers together.
    pub fps: f64,
    /// CPU milliseconds of the workers for a second of one stream.
    pub cpu_ms: f64,
    /// Milliseconds that the GPU worked for a second of one stream; `None` where the kernel does not say.
    pub gpu_ms: Option<f64>,
}

/// Does `task` with several workers at once for `length`, from when each has made its first picture.
///
/// # Errors
/// If a worker cannot be started, or fails: on a device no CPU steps in.
pub async fn run(spawner: &Arc<Spawner>, task: &Task, length: Duration) -> Result<Run> {
    let workers = task.workers();
    let starting = Arc::new(AtomicUsize::new(workers));
    let mut running = JoinSet::new();
    for _ in 0..workers {
        let (worker, task, starting) = (task.start(spawner).await?, task.clone(), starting.clone());
        running.spawn(async move {
            let mut count = Count { length, starting, first: None, decoded: 0, gpu: None };
            let counted = work(worker, &task.clip, Pace::AsFastAsItGoes, &mut count).await;
            counted.map(|done| (done, count.gpu))
        });
    }
    let (mut fps, mut cpu, mut pictures, mut gpu) = (0.0, 0.0, 0.0, Some(0.0));
    while let Some(ended) = running.join_next().await {
        let (done, gpu_each) = ended.map_err(|error| Error::internal("a measurement failed").with_source(error))??;
        fps += done.pictures / done.seconds;
        cpu += done.cpu;
        pictures += done.pictures;
        gpu = gpu.zip(gpu_each).map(|(sum, each)| sum + each);
    }
    let stream_seconds = pictures / f64::from(FPS);
    let gpu_ms = gpu.map(|sum| sum / workers as f64 * f64::from(FPS) * 1e3);
    Ok(Run { fps, cpu_ms: cpu * 1e3 / stream_seconds, gpu_ms })
}

/// Milliseconds from a packet to the picture or packet made of it, of a stream in real time; empty if nothing is made.
///
/// # Errors
/// As [`run`].
pub async fn latency(spawner: &Arc<Spawner>, task: &Task, length: Duration) -> Result<Vec<f64>> {
    if task.work == Work::Decode {
        return Ok(vec![]);
    }
    let pictures = (length.as_secs_f64() * f64::from(FPS)) as usize + WARM_UP;
    let mut waits = Waits { pictures, begun: None, waits: vec![] };
    work(task.start(spawner).await?, &task.clip, Pace::RealTime, &mut waits).await?;
    Ok(waits.waits.split_off(WARM_UP.min(waits.waits.len())))
}

/// How a worker is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    AsFastAsItGoes,
    RealTime,
}

/// Whoever looks at what a worker says.
trait Observer {
    type Seen;

    /// The result, once enough was seen.
    fn see(&mut self, message: &FromWorker, pid: u32) -> Option<Self::Seen>;

    /// When the packet of number 0 is sent.
    fn begin(&mut self) {}
}

/// Feeds `worker` the clip until `observer` has seen enough.
async fn work<O: Observer>(mut worker: Worker, clip: &Clip, pace: Pace, observer: &mut O) -> Result<O::Seen> {
    observer.begin();
    let feed = feed(worker.outbox.clone(), clip, pace);
    let seen = tokio::select! {
        seen = watch(&mut worker, observer) => seen,
        () = feed => Err(Error::internal("feeding a worker never ends")),
    };
    worker.stop(GRACE).await;
    seen
}

async fn feed(outbox: mpsc::Sender<Outgoing>, clip: &Clip, pace: Pace) {
    let begun = tokio::time::Instant::now();
    for (number, (header, data)) in (0u32..).zip(clip.packets()) {
        if pace == Pace::RealTime {
            tokio::time::sleep_until(begun + picture_time(number)).await;
        }
        if outbox.send((ToWorker::Packet(header), data)).await.is_err() {
            break; // watching the worker says why
        }
    }
    std::future::pending::<()>().await;
}

fn picture_time(number: u32) -> Duration {
    Duration::from_secs(1) / FPS * number
}

async fn watch<O: Observer>(worker: &mut Worker, observer: &mut O) -> Result<O::Seen> {
    loop {
        let event = tokio::time::timeout(PATIENCE, worker.next()).await.map_err(|_| {
            Error::unavailable(format!("the worker that is measured was silent for {} s", PATIENCE.as_secs()))
        })?;
        match event {
            WorkerEvent::Message(
                FromWorker::Failed { message, .. } | FromWorker::RenditionFailed { message, .. },
                _,
            ) => return Err(Error::unavailable(message)),
            WorkerEvent::Message(message, _) => {
                if let Some(seen) = observer.see(&message, worker.pid) {
                    return Ok(seen);
                }
            }
            WorkerEvent::Exited(exit) => {
                let message = format!("the worker that is measured ended ({})", exit.description);
                return Err(Error::unavailable(message));
            }
        }
    }
}

/// Counts pictures from when all workers have begun.
struct Count {
    length: Duration,
    /// Workers that have not made a picture yet.
    starting: Arc<AtomicUsize>,
    /// When counting began, with pictures and CPU seconds until then.
    first: Option<(Instant, u64, f64)>,
    decoded: u64,
    /// Seconds of the GPU for each picture, as far as told.
    gpu: Option<f64>,
}

/// What a worker did while it was counted.
struct Done {
    pictures: f64,
    seconds: f64,
    cpu: f64,
}

impl Observer for Count {
    type Seen = Done;

    fn see(&mut self, message: &FromWorker, pid: u32) -> Option<Done> {
        let decoded = match message {
            FromWorker::Consumed { decoded, .. } if *decoded > 0 => *decoded,
            FromWorker::Stats { gpu_seconds: Some(seconds), .. } if self.decoded > 0 => {
                self.gpu = Some(seconds / self.decoded as f64);
                return None;
            }
            _ => return None,
        };
        if self.decoded == 0 {
            self.starting.fetch_sub(1, Ordering::Relaxed);
        }
        self.decoded = decoded;
        let cpu = || usage(pid).map_or(0.0, |usage| usage.cpu_seconds);
        let Some((begun, before, cpu_before)) = self.first else {
            if self.starting.load(Ordering::Relaxed) == 0 {
                self.first = Some((Instant::now(), decoded, cpu()));
            }
            return None;
        };
        let seconds = begun.elapsed().as_secs_f64();
        let pictures = (decoded - before) as f64;
        // One at least, however slow.
        let is_enough = begun.elapsed() >= self.length && pictures > 0.0;
        is_enough.then(|| Done { pictures, seconds, cpu: cpu() - cpu_before })
    }
}

/// Notes how long each picture took.
struct Waits {
    pictures: usize,
    begun: Option<Instant>,
    waits: Vec<f64>,
}

impl Observer for Waits {
    type Seen = ();

    fn begin(&mut self) {
        self.begun = Some(Instant::now());
    }

    fn see(&mut self, message: &FromWorker, _pid: u32) -> Option<()> {
        let pts = match message {
            FromWorker::Frame { header, .. } => header.pts,
            FromWorker::Encoded { header, .. } => header.pts,
            _ => return None,
        };
        let sent = self.begun? + picture_time(u32::try_from(pts.0 / TICKS).ok()?);
        self.waits.push(sent.elapsed().as_secs_f64() * 1e3);
        (self.waits.len() >= self.pictures).then_some(())
    }
}
