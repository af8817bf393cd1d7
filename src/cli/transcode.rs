//! `camshaft transcode`: one file or stream into another, without a service.

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::task::AbortOnDropHandle;
use url::form_urlencoded::Serializer;

use super::{logs, probe};
use crate::admission::{Admission, Budgets};
use crate::config::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::job::{Ended, Jobs, Running, Spool};
use crate::media::MediaTime;
use crate::memory::{Memory, Thresholds};
use crate::metrics::Metrics;
use crate::plan::{DeviceChoice, Policy};
use crate::query::{TranscodeRequest, parse_format};

/// Transcode a file or a stream.
///
/// Ends with 0 if all of it was made, 2 for arguments that are wrong, 3 if the input is not what it must be or cannot
/// become what was asked for, 4 for what may pass (no engine, hardware that is required and failed), 5 if it broke in the
/// middle; OUT is not left behind then.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  camshaft transcode clip.mkv small.mp4 --height 360 --bitrate 600k
  camshaft transcode clip.mp4 still.jpg --at 12.5
  curl -sf http://nvr:8080/v1/streams/yard/live.ts | camshaft transcode - - --format mp4 --duration 10 >ten-seconds.mp4")]
pub struct Args {
    /// What is read; - for standard input
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// What is written, whole or not at all; - for standard output, piece by piece
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// mp4, ts, mkv, mjpeg, y4m, raw or jpg [default: by the ending of OUT]
    #[arg(long)]
    format: Option<String>,
    /// copy, h264, hevc, mjpeg or av1
    #[arg(long)]
    codec: Option<String>,
    /// Pixels; one side keeps the aspect ratio
    #[arg(long)]
    width: Option<String>,
    /// Pixels
    #[arg(long)]
    height: Option<String>,
    /// Frames a second
    #[arg(long)]
    fps: Option<String>,
    /// Such as 2M or 800k
    #[arg(long)]
    bitrate: Option<String>,
    /// 1 to 100
    #[arg(long)]
    quality: Option<String>,
    /// Frames from IDR to IDR
    #[arg(long)]
    gop: Option<String>,
    /// copy, aac or none
    #[arg(long)]
    audio: Option<String>,
    /// Seconds of the input that are left out
    #[arg(long)]
    start: Option<String>,
    /// Seconds that are made
    #[arg(long)]
    duration: Option<String>,
    /// For jpg: seconds
    #[arg(long)]
    at: Option<String>,
    /// How much the hardware is wanted
    #[arg(long, default_value = "prefer-hardware")]
    policy: Policy,
    /// Which device may be used: auto, the path of a render node, or pci:0000:00:02.0
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads of the decoder and of the encoder, 1 to 64 [default: one for each CPU, at most four]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: Option<u32>,
    /// Print what was done as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Wrong arguments, as clap has it.
const USAGE: u8 = 2;
const IMPOSSIBLE: u8 = 3;
const UNAVAILABLE: u8 = 4;
const BROKEN: u8 = 5;

/// Does it.
pub fn run(args: Args) -> ExitCode {
    logs::start(logs::Format::Text, logs::COMMAND);
    let done = transcode(&args);
    match done {
        Ok(Ended::Whole) => ExitCode::SUCCESS,
        Ok(Ended::Broken(why)) => {
            eprintln!("camshaft: {why}");
            ExitCode::from(BROKEN)
        }
        Err(error) => {
            eprintln!("camshaft: {}", error.chain());
            ExitCode::from(match error.kind() {
                ErrorKind::InvalidArgument | ErrorKind::NotFound => USAGE,
                ErrorKind::Impossible | ErrorKind::UnsupportedMedia => IMPOSSIBLE,
                _ => UNAVAILABLE,
            })
        }
    }
}

fn transcode(args: &Args) -> Result<Ended> {
    let request = request(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Error::internal("cannot start the runtime").with_source(error))?;
    let ended = runtime.block_on(work(args, request));
    // Standard input may block a thread for ever.
    runtime.shutdown_background();
    ended
}

/// What a URL's query would say.
fn request(args: &Args) -> Result<TranscodeRequest> {
    let ending = args.output.extension().and_then(|ending| ending.to_str());
    let ending = ending.map(|ending| if ending == "jpeg" { "jpg" } else { ending });
    let by_name = ending.filter(|ending| parse_format(ending).is_ok()).map(str::to_owned);
    let Some(format) = args.format.clone().or(by_name) else {
        return Err(Error::invalid("the ending of OUT names no format: give --format"));
    };
    let given = [
        ("codec", &args.codec),
        ("width", &args.width),
        ("height", &args.height),
        ("fps", &args.fps),
        ("bitrate", &args.bitrate),
        ("quality", &args.quality),
        ("gop", &args.gop),
        ("audio", &args.audio),
        ("start", &args.start),
        ("duration", &args.duration),
        ("at", &args.at),
    ];
    let mut query = Serializer::new(String::new());
    query.append_pair("format", &format);
    for (key, value) in given {
        if let Some(value) = value {
            query.append_pair(key, value);
        }
    }
    TranscodeRequest::parse(Some(&query.finish()), None)
}

async fn work(args: &Args, request: TranscodeRequest) -> Result<Ended> {
    let source = open(&args.input).await?;
    let spawner = probe::spawner()?;
    let devices = probe::devices(&spawner, args.device.clone());
    if args.policy != Policy::Software {
        devices.look().await;
    }
    // Whoever schedules this process has given it its room.
    let budgets = Budgets::new(Some(u64::MAX), Some(u64::MAX));
    let metrics = Arc::new(Metrics::new());
    let memory = Memory::new(Thresholds::default(), metrics.clone());
    let admission = Admission::new(budgets, memory, metrics.clone());
    let limits = Limits { job_threads: args.threads.unwrap_or_else(usual_threads), ..Limits::default() };
    let jobs = Jobs::new(spawner, devices, admission, metrics, limits);
    let input = jobs.spool();
    let started = Instant::now();
    let _feed = AbortOnDropHandle::new(tokio::spawn(feed(source, input.clone())));
    let running = jobs.start(request.spec, args.policy, input, jobs.take_place()?).await?;
    let mut output = Output::create(&args.output)?;
    let bar = bar(&running);
    let mut offset = 0u64;
    while let Ok(bytes) = running.output.read(offset, 1 << 20).await {
        if bytes.is_empty() {
            break;
        }
        offset += bytes.len() as u64;
        output.write(&bytes)?;
        bar.set_position(running.stats.borrow().position.0.max(0) as u64);
    }
    let ended = running.ended().await;
    bar.finish_and_clear();
    if ended == Ended::Whole {
        output.keep()?;
        report(args, &running, offset, started);
    }
    Ok(ended)
}

/// Encoders gain little of more, and their pictures lose.
fn usual_threads() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(4) as u32)
}

async fn open(path: &Path) -> Result<Box<dyn AsyncRead + Send + Unpin>> {
    if path.as_os_str() == "-" {
        let input = std::io::stdin().as_fd().try_clone_to_owned();
        let input = input.map_err(|error| Error::invalid("cannot read standard input").with_source(error))?;
        return Ok(Box::new(tokio::fs::File::from_std(input.into())));
    }
    let file = tokio::fs::File::open(path).await;
    let file = file.map_err(|error| Error::invalid(format!("cannot read {}", path.display())).with_source(error))?;
    Ok(Box::new(file))
}

async fn feed(mut source: Box<dyn AsyncRead + Send + Unpin>, input: Arc<Spool>) {
    let mut buffer = vec![0; 256 << 10];
    loop {
        let written = match source.read(&mut buffer).await {
            Ok(0) => return input.end(Ok(())),
            Ok(length) => {
                let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                input.write(bytes).await.map_err(|error| error.chain())
            }
            Err(error) => Err(format!("the input cannot be read: {error}")),
        };
        if let Err(why) = written {
            return input.end(Err(why));
        }
    }
}

/// A file that appears under its name once it is whole.
enum Output {
    Standard,
    File { file: tempfile::NamedTempFile, path: PathBuf },
}

impl Output {
    fn create(path: &Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Standard);
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().prefix(".camshaft-").tempfile_in(directory);
        let file = file.map_err(|error| unwritable(path, error))?;
        Ok(Self::File { file, path: path.to_owned() })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Standard => std::io::stdout().write_all(bytes).map_err(|error| unwritable(Path::new("-"), error)),
            Self::File { file, path } => file.write_all(bytes).map_err(|error| unwritable(path, error)),
        }
    }

    fn keep(self) -> Result<()> {
        match self {
            Self::Standard => std::io::stdout().flush().map_err(|error| unwritable(Path::new("-"), error)),
            Self::File { file, path } => file.persist(&path).map(drop).map_err(|error| unwritable(&path, error.error)),
        }
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    Error::invalid(format!("cannot write {}", path.display())).with_source(error)
}

/// Progress by the time of the pictures; hidden where nobody looks.
fn bar(running: &Running) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    match running.source.duration {
        Some(MediaTime(length)) => {
            let style = ProgressStyle::with_template("{wide_bar} {percent}% ETA {eta}");
            ProgressBar::new(length.max(0) as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        }
        None => ProgressBar::new_spinner(),
    }
}

fn report(args: &Args, running: &Running, bytes: u64, started: Instant) {
    let stats = *running.stats.borrow();
    let seconds = started.elapsed().as_secs_f64();
    let fps = stats.frames_out as f64 / seconds.max(1e-3);
    let encode = running.stages.encode.as_ref().map(|encode| encode.accel());
    if args.json {
        let report = serde_json::json!({
            "container": running.source.container,
            "codec": running.source.codec_name,
            "decode": running.stages.decode.accel(),
            "encode": encode,
            "reason": running.reason,
            "frames_in": stats.frames_in,
            "frames_out": stats.frames_out,
            "broken_packets": stats.broken,
            "bytes": bytes,
            "seconds": seconds,
            "fps": fps,
        });
        println!("{report}");
    } else {
        let decode = running.stages.decode.accel();
        let encode = encode.unwrap_or("none");
        let frames = stats.frames_out;
        eprintln!("{frames} frames in {seconds:.1} s, {fps:.0} a second (decode {decode}, encode {encode})");
    }
}
