//! Eight cameras and two hundred viewers: what that takes of the machine, and what comes late.

use serde_json::json;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{Camera, Camshaft, Clip, Coding, Parts, children};

const CAMERAS: usize = 8;
const VIEWERS: usize = 200;
/// A picture that is seen this long after its packet was received is late.
const LATE: f64 = 0.5;

/// What the viewers have seen.
#[derive(Default)]
struct Seen {
    bytes: AtomicU64,
    pictures: AtomicU64,
    late: AtomicU64,
    dropped: AtomicU64,
    /// Milliseconds.
    longest_pause: AtomicU64,
    ended: AtomicU64,
}

/// How each viewer watches: most take copies, some pictures for a detector, some JPEGs, some an encode that they share.
const WAYS: [(&str, usize); 4] = [
    ("live.ts", 160),
    ("live.frames?width=320&height=180&fps=5&format=i420", 24),
    ("live.mjpeg?width=320&fps=5", 8),
    ("live.ts?codec=h264&height=180&fps=10&bitrate=300k", 8),
];

/// Runs for `time` and writes a report.
pub fn run(time: Duration) {
    let clip = Clip::make(Coding { size: (640, 360), ..Coding::default() });
    let cameras: Vec<Camera> = (0..CAMERAS).map(|_| Camera::start(&clip, &[])).collect();
    let streams: String = cameras
        .iter()
        .enumerate()
        .map(|(number, camera)| format!("  cam-{number}: {{ source: \"{}\" }}\n", camera.url()))
        .collect();
    let server = Camshaft::start(&streams);
    (0..CAMERAS).for_each(|number| drop(server.wait_live(&format!("cam-{number}"))));
    let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let ways = WAYS.iter().flat_map(|(path, count)| std::iter::repeat_n(*path, *count));
    let viewers: Vec<_> = ways
        .enumerate()
        .map(|(number, path)| {
            let body = server.open(&format!("/v1/streams/cam-{}/{path}", number % CAMERAS));
            let (seen, stop, path) = (seen.clone(), stop.clone(), path.to_owned());
            std::thread::spawn(move || match path.starts_with("live.frames") {
                true => look(body, &seen, &stop),
                false => take(body, &seen, &stop),
            })
        })
        .collect();
    assert_eq!(viewers.len(), VIEWERS);
    // The first pictures are the ring's.
    std::thread::sleep(Duration::from_secs(5));
    for count in [&seen.bytes, &seen.pictures, &seen.late, &seen.dropped, &seen.longest_pause] {
        count.store(0, Ordering::Relaxed);
    }
    let (before, started) = (Cpu::of(&server, &cameras), Instant::now());
    std::thread::sleep(time);
    let (used, elapsed) = (Cpu::of(&server, &cameras).since(&before), started.elapsed().as_secs_f64());
    let memory = all_memory(&server);
    stop.store(true, Ordering::Relaxed);
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let lost: f64 = ["packets", "pictures", "decoder"].iter().map(|kind| dropped(&server, kind)).sum();
    let report = json!({
        "cameras": CAMERAS, "viewers": VIEWERS, "seconds": elapsed,
        "cpu_percent": { "supervisor": used.supervisor * 100.0 / elapsed, "workers": used.workers * 100.0 / elapsed,
                         "cameras": used.cameras * 100.0 / elapsed, "viewers": used.viewers * 100.0 / elapsed },
        "memory_bytes": memory,
        "megabits_per_second": count(&seen.bytes) as f64 * 8.0 / elapsed / 1e6,
        "pictures_looked_at": count(&seen.pictures), "late": count(&seen.late), "dropped_before_viewers": count(&seen.dropped),
        "dropped_by_service": lost, "longest_pause_ms": count(&seen.longest_pause), "viewers_ended": count(&seen.ended),
        "load_average": std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    });
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("load.json");
    std::fs::write(&path, format!("{report:#}\n")).unwrap();
    eprintln!("{report:#}\n{}", path.display());
    assert_eq!(count(&seen.ended), 0, "every viewer stays");
    assert!(count(&seen.pictures) > 0 && count(&seen.bytes) > 0);
    // Each leaves with what it is given next.
    viewers.into_iter().for_each(|viewer| viewer.join().unwrap());
}

/// Reads whatever comes, and notes how long nothing did.
fn take(mut body: impl Read, seen: &Seen, stop: &AtomicBool) {
    let (mut buffer, mut last) = (vec![0; 64 << 10], Instant::now());
    while !stop.load(Ordering::Relaxed) {
        match body.read(&mut buffer) {
            Ok(0) | Err(_) => {
                seen.ended.fetch_add(u64::from(!stop.load(Ordering::Relaxed)), Ordering::Relaxed);
                return;
            }
            Ok(length) => drop(seen.bytes.fetch_add(length as u64, Ordering::Relaxed)),
        }
        seen.longest_pause.fetch_max(last.elapsed().as_millis() as u64, Ordering::Relaxed);
        last = Instant::now();
    }
}

/// Looks at each picture's headers.
fn look(body: impl Read, seen: &Seen, stop: &AtomicBool) {
    let mut parts = Parts::new(body);
    while !stop.load(Ordering::Relaxed) {
        let part = parts.next();
        let received: f64 = seconds(part.header("x-wall-clock"));
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - received;
        seen.bytes.fetch_add(part.body.len() as u64, Ordering::Relaxed);
        seen.pictures.fetch_add(1, Ordering::Relaxed);
        seen.late.fetch_add(u64::from(age > LATE), Ordering::Relaxed);
        seen.dropped.fetch_add(part.header("x-dropped").parse().unwrap(), Ordering::Relaxed);
    }
}

/// A time of day in RFC 3339, as seconds since 1970.
fn seconds(text: &str) -> f64 {
    let time: jiff::Timestamp = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    time.as_microsecond() as f64 / 1e6
}

fn dropped(server: &Camshaft, kind: &str) -> f64 {
    let text = server.admin("/metrics").text();
    let of_kind = format!("camshaft_consumer_dropped_total{{kind=\"{kind}\"");
    let lines = text.lines().filter(|line| line.starts_with(&of_kind));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).fold(0.0, |sum, value| sum + value)
}

fn all_memory(server: &Camshaft) -> u64 {
    let workers = children(server.pid()).into_iter().map(|(pid, _)| pid);
    workers.chain([server.pid()]).filter_map(camshaft::memory::private_bytes).sum()
}

/// Seconds of CPU.
struct Cpu {
    supervisor: f64,
    workers: f64,
    cameras: f64,
    viewers: f64,
}

impl Cpu {
    fn of(server: &Camshaft, cameras: &[Camera]) -> Self {
        let cpu = |pid: u32| camshaft::link::usage(pid).map_or(0.0, |usage| usage.cpu_seconds);
        Self {
            supervisor: cpu(server.pid()),
            workers: children(server.pid()).iter().map(|(pid, _)| cpu(*pid)).sum(),
            cameras: cameras.iter().map(|camera| cpu(camera.pid())).sum(),
            viewers: cpu(std::process::id()),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            supervisor: self.supervisor - before.supervisor,
            workers: self.workers - before.workers,
            cameras: self.cameras - before.cameras,
            viewers: self.viewers - before.viewers,
        }
    }
}
