//! The hardware table: how fast this machine's device decodes, scales and encodes, beside the CPU. A worker is fed as fast
//! as it takes packets, so that these are limits, not what one camera costs.

use bytes::Bytes;
use serde::Serialize;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cli::probe;
use crate::error::{Error, Result};
use crate::link::{FromWorker, PixelsTask, Program, Role, Spawner, ToWorker, Worker, WorkerEvent, usage};
use crate::media::nal::{self, NalKind};
use crate::media::{
    Cadence, EncodeSpec, FrameRate, Geometry, MediaTime, OutputSpec, PacketHeader, PixelFormat, RateControl,
    RenditionSpec, Track, VideoCodec, VideoConfig, WallClock, parse_parameter_sets,
};
use crate::plan::{Candidate, Capabilities, Codec, DeviceChoice, Input, Job, Policy, Rate, Scale, plan};

/// The clip's pictures a second.
const RATE: u32 = 25;
const TICKS: i64 = MediaTime::HZ / RATE as i64;
const WHOLE: Geometry = Geometry { width: 1920, height: 1080 };
const SMALL: Geometry = Geometry { width: 1280, height: 720 };
/// A worker that is asked to end has this long.
const GRACE: Duration = Duration::from_secs(2);

/// A line of the table.
#[derive(Debug, Serialize)]
pub struct Line {
    /// What is done.
    pub work: &'static str,
    /// Where decoding, scaling and encoding run: `hardware` or `software` each.
    pub place: String,
    /// Pictures of the source a second, as fast as it goes.
    pub pictures_per_second: f64,
    /// CPU milliseconds of the worker for a second of the stream.
    pub cpu_ms_per_stream_second: f64,
    /// Time that the GPU worked for a second of the stream; null where the kernel does not say.
    pub gpu_seconds_per_stream_second: Option<f64>,
    /// From the role's first message to the first picture that came out, in milliseconds; null if none is asked for.
    pub first_output_ms: Option<f64>,
}

/// What is measured: the work's name, and what is to be made.
fn works() -> [(&'static str, Option<RenditionSpec>); 4] {
    let made = |size, cadence, output| Some(RenditionSpec { crop: None, size, cadence, output });
    let h264 = |bits| {
        let rate_control = RateControl::Bitrate(bits);
        OutputSpec::Encode(EncodeSpec { codec: VideoCodec::H264, rate_control, gop: 2 * RATE })
    };
    [
        ("decode", None),
        (
            "decode, 720p raw at 5 fps",
            made(SMALL, Cadence::Fps(FrameRate { num: 5, den: 1 }), OutputSpec::Raw(PixelFormat::I420)),
        ),
        ("decode, 1080p encode", made(WHOLE, Cadence::Every, h264(4_000_000))),
        ("decode, 720p encode", made(SMALL, Cadence::Every, h264(2_000_000))),
    ]
}

/// Measures with `length` of the clip the best that the devices allow, and the CPU. Without a usable device, the CPU alone.
///
/// # Errors
/// If a worker cannot be started or fails.
pub fn measure(clip: &Path, length: Duration) -> Result<Vec<Line>> {
    let capabilities = probe::look(DeviceChoice::Auto)?.capabilities();
    let clip = Clip::read(clip, length)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Error::internal("cannot start the runtime").with_source(error))?;
    runtime.block_on(async {
        let spawner = probe::spawner()?;
        let mut lines = Vec::new();
        for (work, spec) in works() {
            for candidate in candidates(&clip.config, spec.as_ref(), &capabilities) {
                eprintln!("gpu: {work}, {}", place(&candidate));
                lines.push(clip.run(&spawner, work, spec, candidate).await?);
            }
        }
        Ok(lines)
    })
}

/// The best candidate, and the CPU, if that is another one.
fn candidates(config: &VideoConfig, spec: Option<&RenditionSpec>, capabilities: &Capabilities) -> Vec<Candidate> {
    let is_scaled = spec.is_some_and(|spec| spec.size != WHOLE);
    let encode = spec.and_then(|spec| matches!(spec.output, OutputSpec::Encode(_)).then_some(Codec::H264));
    let scale = if is_scaled { Scale::Needed } else { Scale::Unneeded };
    let job = Job { input: Input::from(config), scale, encode, rate: Rate::Bitrate };
    let best = |policy| plan(&job, capabilities, policy).candidates.into_iter().next();
    let mut found: Vec<Candidate> = [Policy::PreferHardware, Policy::Software].into_iter().filter_map(best).collect();
    found.dedup();
    found
}

fn place(candidate: &Candidate) -> String {
    let stages = [Some(&candidate.decode), Some(&candidate.scale), candidate.encode.as_ref()];
    let names: Vec<&str> = stages.into_iter().flatten().map(|stage| stage.accel()).collect();
    names.join("/")
}

/// The bench's clip, as packets.
pub struct Clip {
    /// What they are to be read with.
    pub config: VideoConfig,
    access_units: Vec<Bytes>,
    /// Packets that are fed; the clip is played over and over.
    length: usize,
}

impl Clip {
    /// So much of the clip in `path`, over and over.
    ///
    /// # Errors
    /// If ffmpeg cannot be run or reads no H.264 there.
    pub fn read(path: &Path, length: Duration) -> Result<Self> {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-loglevel", "error", "-i"]).arg(path);
        ffmpeg.args(["-c:v", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "-"]);
        let stream =
            ffmpeg.output().map_err(|error| Error::unavailable("cannot run ffmpeg").with_source(error))?.stdout;
        let kind = |unit: &[u8]| nal::kind(VideoCodec::H264, unit);
        let units = nal::annexb_units(&stream);
        let sets = units.iter().filter(|unit| kind(unit) == NalKind::ParameterSet).take(2);
        let parameter_sets: Vec<Bytes> = sets.map(|set| Bytes::copy_from_slice(set)).collect();
        let said = parse_parameter_sets(VideoCodec::H264, &parameter_sets)?;
        // One slice a picture.
        let slices = units.iter().filter(|unit| matches!(kind(unit), NalKind::Slice | NalKind::KeySlice));
        let access_units = slices.map(|slice| nal::length_prefixed([*slice])).collect();
        let config = VideoConfig {
            generation: 0,
            codec: VideoCodec::H264,
            parameter_sets,
            profile: said.profile,
            rfc6381: said.rfc6381,
            geometry: said.geometry,
            frame_rate: FrameRate::new(RATE, 1),
            bit_depth: said.bit_depth,
            reorder_depth: said.reorder_depth,
        };
        Ok(Self { config, access_units, length: length.as_secs() as usize * RATE as usize })
    }

    /// In decoding order, with times that rise.
    pub fn packets(&self) -> impl Iterator<Item = (PacketHeader, Bytes)> {
        let whole = self.access_units.iter().cycle().take(self.length);
        (0..).zip(whole).map(|(number, data)| {
            let pts = MediaTime(number * TICKS);
            let is_key = nal::units(data).any(|unit| nal::kind(VideoCodec::H264, unit) == NalKind::KeySlice);
            let header =
                PacketHeader { track: Track::Video, pts, dts: pts, keyframe: is_key, wall: WallClock::default() };
            (header, data.clone())
        })
    }

    async fn run(
        &self,
        spawner: &Arc<Spawner>,
        work: &'static str,
        spec: Option<RenditionSpec>,
        candidate: Candidate,
    ) -> Result<Line> {
        let mut worker = spawner.worker(Program::Engine, "bench").await?;
        let place = place(&candidate);
        let task = PixelsTask { config: self.config.clone(), decode: candidate.decode.clone(), sample_ticks: None };
        let rendition = spec.map(|spec| ToWorker::AddRendition { id: 0, spec, stages: candidate, after: None });
        let outbox = worker.outbox.clone();
        let feed = async {
            let plain = |message| (message, Bytes::new());
            let head = [Some(ToWorker::Begin(Role::Pixels(task))), rendition].into_iter().flatten().map(plain);
            let packets = self.packets().map(|(header, data)| (ToWorker::Packet(header), data));
            for message in head.chain(packets).chain([plain(ToWorker::Drain)]) {
                if outbox.send(message).await.is_err() {
                    // The worker is gone; reading it says why.
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let mut account = Account::new();
        let measured = tokio::select! {
            read = account.read(&mut worker) => read,
            () = feed => Err(Error::internal("feeding a worker never ends")),
        };
        worker.stop(GRACE).await;
        measured?;
        Ok(account.line(work, place, self.length))
    }
}

/// What is noted of one worker.
struct Account {
    begun: Instant,
    first_output: Option<Duration>,
    /// When everything was set up, and the CPU seconds until then.
    ready: Option<(Instant, f64)>,
    took: Duration,
    cpu: f64,
    pictures: u64,
    /// Seconds of the GPU, and pictures until they were told.
    gpu: Option<(f64, u64)>,
}

impl Account {
    fn new() -> Self {
        let (took, cpu, pictures) = (Duration::ZERO, 0.0, 0);
        Self { begun: Instant::now(), first_output: None, ready: None, took, cpu, pictures, gpu: None }
    }

    /// Reads until everything was made.
    async fn read(&mut self, worker: &mut Worker) -> Result<()> {
        let cpu = |pid| usage(pid).map_or(0.0, |usage| usage.cpu_seconds);
        loop {
            match worker.next().await {
                WorkerEvent::Message(FromWorker::Ready, _) => self.ready = Some((Instant::now(), cpu(worker.pid))),
                WorkerEvent::Message(FromWorker::Consumed { decoded, .. }, _) => self.pictures = decoded,
                WorkerEvent::Message(FromWorker::Stats { gpu_seconds: Some(seconds), .. }, _) => {
                    self.gpu = Some((seconds, self.pictures));
                }
                WorkerEvent::Message(FromWorker::Frame { .. } | FromWorker::Encoded { .. }, _) => {
                    self.first_output.get_or_insert_with(|| self.begun.elapsed());
                }
                WorkerEvent::Message(FromWorker::Drained, _) => {
                    let (ready, before) = self.ready.unwrap_or((self.begun, 0.0));
                    (self.took, self.cpu) = (ready.elapsed(), cpu(worker.pid) - before);
                    return Ok(());
                }
                WorkerEvent::Message(
                    FromWorker::Failed { message, .. } | FromWorker::RenditionFailed { message, .. },
                    _,
                ) => return Err(Error::unavailable(message)),
                WorkerEvent::Message(..) => {}
                WorkerEvent::Exited(exit) => {
                    return Err(Error::unavailable(format!(
                        "the worker that is measured ended ({})",
                        exit.description
                    )));
                }
            }
        }
    }

    fn line(&self, work: &'static str, place: String, pictures: usize) -> Line {
        let stream_seconds = pictures as f64 / f64::from(RATE);
        let gpu = self.gpu.filter(|(_, pictures)| *pictures > 0);
        Line {
            work,
            place,
            pictures_per_second: pictures as f64 / self.took.as_secs_f64(),
            cpu_ms_per_stream_second: self.cpu * 1e3 / stream_seconds,
            gpu_seconds_per_stream_second: gpu.map(|(seconds, pictures)| seconds * f64::from(RATE) / pictures as f64),
            first_output_ms: self.first_output.map(|wait| wait.as_secs_f64() * 1e3),
        }
    }
}

/// The table as text, its columns between `|`.
pub fn text(lines: &[Line]) -> String {
    let optional = |value: Option<f64>, digits| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
    let header = "| hardware: work | decode/scale/encode on | pictures/s | CPU, ms per s | GPU, s per s | first output, ms |\n\
                  |---|---|--:|--:|--:|--:|\n";
    let rows = lines.iter().map(|line| {
        format!(
            "| {} | {} | {:.0} | {:.1} | {} | {} |\n",
            line.work,
            line.place,
            line.pictures_per_second,
            line.cpu_ms_per_stream_second,
            optional(line.gpu_seconds_per_stream_second, 3),
            optional(line.first_output_ms, 0)
        )
    });
    header.to_owned() + &rows.collect::<String>()
}
