//! The same work on the same clip by the ffmpeg program, as many at once.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::process::OwnedChild;
use super::clip::FPS;
use super::rate::Run;
use super::work::{Task, Work};
use crate::error::{Error, Result};
use crate::link::usage;
use crate::plan::va::Entrypoint;

/// From its start to its first picture.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

/// Does `task` for `length`, from when each process has made its first pictures; `None` where ffmpeg has no such way, for it
/// was never told to mix.
///
/// # Errors
/// If a process cannot be started or ends.
pub fn run(task: &Task, length: Duration, logs: &Path) -> Result<Option<Run>> {
    let is_pure = task.is_on_device() || task.way.decode.device().is_none();
    if !is_pure {
        return Ok(None);
    }
    let start = |number| Process::start(task, &format!("ffmpeg-{number}"), logs);
    let mut processes = (0..task.workers()).map(start).collect::<Result<Vec<_>>>()?;
    let deadline = Instant::now() + PATIENCE;
    let begun = loop {
        let seen: Option<Vec<Seen>> = processes.iter().map(Process::seen).collect();
        if let Some(seen) = seen {
            break seen;
        }
        processes.iter_mut().try_for_each(|process| process.child.check_alive())?;
        if Instant::now() > deadline {
            return Err(processes[0].child.complain(&format!("made no picture within {} s", PATIENCE.as_secs())));
        }
        thread::sleep(LOOK);
    };
    thread::sleep(length);
    let (mut fps, mut cpu, mut pictures) = (0.0, 0.0, 0.0);
    for (process, before) in processes.iter_mut().zip(begun) {
        process.child.check_alive()?;
        let now = process.seen_after(before, deadline + length)?;
        let made = (now.pictures - before.pictures) as f64;
        fps += made / (now.at - before.at).as_secs_f64();
        cpu += now.cpu - before.cpu;
        pictures += made;
    }
    Ok(Some(Run { fps, cpu_ms: cpu * 1e3 / (pictures / f64::from(FPS)), gpu_ms: None }))
}

/// What ffmpeg said last of its progress.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    pictures: u64,
    /// Seconds.
    cpu: f64,
}

struct Process {
    child: OwnedChild,
    seen: Arc<Mutex<Option<Seen>>>,
}

impl Process {
    fn start(task: &Task, name: &str, logs: &Path) -> Result<Self> {
        let mut command = Command::new("ffmpeg");
        command.args("-nostdin -hide_banner -loglevel error -nostats -stats_period 0.1 -progress pipe:1".split(' '));
        arguments(task, &mut command);
        command.stdout(Stdio::piped());
        let mut child = OwnedChild::start(command, name, logs)?;
        let (pid, seen) = (child.pid(), Arc::new(Mutex::new(None)));
        let stdout = child.take_stdout().ok_or_else(|| child.complain("has no standard output"))?;
        let noted = seen.clone();
        // Ends with the process.
        thread::spawn(move || note(stdout, pid, &noted));
        Ok(Self { child, seen })
    }

    fn seen(&self) -> Option<Seen> {
        *lock(&self.seen)
    }

    /// What it says next after `before`.
    fn seen_after(&self, before: Seen, deadline: Instant) -> Result<Seen> {
        loop {
            match self.seen() {
                Some(seen) if seen.pictures > before.pictures => return Ok(seen),
                _ if Instant::now() > deadline => return Err(self.child.complain("makes no more pictures")),
                _ => thread::sleep(LOOK),
            }
        }
    }
}

fn note(progress: impl Read, pid: u32, seen: &Mutex<Option<Seen>>) {
    for line in BufReader::new(progress).lines().map_while(std::result::Result::ok) {
        let pictures = line.strip_prefix("frame=").and_then(|count| count.trim().parse().ok());
        if let Some(pictures @ 1..) = pictures {
            let cpu = usage(pid).map_or(0.0, |usage| usage.cpu_seconds);
            *lock(seen) = Some(Seen { at: Instant::now(), pictures, cpu });
        }
    }
}

fn lock(seen: &Mutex<Option<Seen>>) -> MutexGuard<'_, Option<Seen>> {
    // A value of plain numbers is whole even if a thread that held it panicked.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread a codec, as a worker has; x264 as a worker sets it.
fn arguments(task: &Task, command: &mut Command) {
    let Task { clip, work, way } = task;
    let device = way.decode.device();
    command.args(["-threads", "1"]);
    if let Some(device) = device {
        command.args(["-hwaccel", "vaapi", "-hwaccel_output_format", "vaapi", "-hwaccel_device", device]);
    }
    command.args(["-stream_loop", "-1", "-i"]).arg(&clip.file).args(["-map", "0:v", "-filter_threads", "1"]);
    let made = work.made(clip.kind.size);
    let scale = format!("={}:{}", made.width, made.height);
    let filter = match (work, device) {
        (Work::Decode | Work::Encode, _) => None,
        (Work::Scale, None) => Some(format!("scale{scale},format=yuv420p")),
        (Work::Transcode, None) => Some(format!("scale{scale}")),
        (Work::Scale, Some(_)) => Some(format!("scale_vaapi{scale},hwdownload,format=nv12")),
        (Work::Transcode, Some(_)) => Some(format!("scale_vaapi{scale}")),
    };
    command.args(filter.iter().flat_map(|filter| ["-vf", filter]));
    if let Some(bits) = work.bitrate(clip.kind.size).map(|bits| bits.to_string()) {
        match device {
            None => command.args("-c:v libx264 -preset superfast -tune zerolatency -threads 1".split(' ')),
            Some(_) => command.args(["-c:v", "h264_vaapi"]),
        };
        if way.mode.is_some_and(|mode| mode.entrypoint == Entrypoint::EncSliceLp) {
            command.args(["-low_power", "1"]);
        }
        command.args(["-g", "50", "-b:v", &bits, "-maxrate", &bits, "-bufsize", &bits, "-f", "h264"]);
    } else if *work == Work::Decode {
        command.args(["-f", "null"]);
    } else {
        command.args(["-f", "rawvideo"]);
    }
    command.args(["-y", "/dev/null"]);
}

/// The first line of `ffmpeg -version`; `None` if there is no ffmpeg.
///
/// # Errors
/// If there is one that cannot be run.
pub fn version() -> Result<Option<String>> {
    match Command::new("ffmpeg").arg("-version").stdin(Stdio::null()).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(Some(text.split(" Copyright").next().unwrap_or_default().trim().to_owned()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::unavailable("cannot run ffmpeg").with_source(error)),
    }
}
