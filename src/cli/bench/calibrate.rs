//! `camshaft bench --calibrate`: how many pixels a second this machine decodes, as lines for the configuration.

use bytes::Bytes;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

use super::clip;
use crate::cli::probe;
use crate::error::{Error, Result};
use crate::link::{FromWorker, PixelsTask, Program, Role, Spawner, ToWorker, Worker, WorkerEvent};
use crate::media::{MediaTime, PacketHeader, Track, VideoCodec, VideoConfig, WallClock, nal, parse_parameter_sets};
use crate::plan::{Backend, Capabilities, DeviceChoice, Input, Job, Policy, Rate, Scale, plan};

/// Whole GOPs of the clip, which are fed over and over.
const CLIP_SECONDS: &str = "8";
/// Ticks of 1/90 000 s between two pictures of the clip.
const PICTURE: i64 = MediaTime::HZ / 25;
/// How long each measurement lasts.
const MEASURE: Duration = Duration::from_secs(8);
/// Workers that share a GPU while it is measured: one alone leaves it waiting.
const ON_DEVICE: usize = 4;
/// A quarter is left for everything else, and for cameras whose pictures are harder than the clip's.
const USED_PERCENT: u64 = 75;
/// H.264: the access unit delimiter's type (ITU-T H.264 table 7-1).
const DELIMITER: u8 = 9;

/// Measures and prints.
///
/// # Errors
/// If ffmpeg or the engine is missing, or a worker fails.
pub fn run(work: &Path) -> Result<()> {
    let clip = Arc::new(Clip::read(&clip::prepare(work)?)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal("cannot start the runtime").with_source(error))?;
    let capabilities = probe::look(DeviceChoice::Auto)?.capabilities();
    runtime.block_on(measure(clip, &capabilities))
}

async fn measure(clip: Arc<Clip>, capabilities: &Capabilities) -> Result<()> {
    let spawner = probe::spawner()?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let software = rate(&spawner, &clip, &Backend::Software, cpus).await?;
    println!("# {}, decoded for {} s by {cpus} workers at once", clip::DESCRIPTION, MEASURE.as_secs());
    println!("limits:");
    println!("  software_pixels: {}   # {USED_PERCENT} % of the {} measured", mega(used(software)), mega(software));
    let job = Job { input: Input::from(&clip.config), scale: Scale::Unneeded, encode: None, rate: Rate::Bitrate };
    let mut slowest = None;
    for candidate in plan(&job, capabilities, Policy::RequireHardware).candidates {
        let rate = rate(&spawner, &clip, &candidate.decode, ON_DEVICE).await?;
        println!("  # {}: {} measured", candidate.decode.device().unwrap_or_default(), mega(rate));
        slowest = Some(slowest.map_or(rate, |slowest: u64| slowest.min(rate)));
    }
    match slowest {
        Some(rate) => println!("  device_pixels: {}   # {USED_PERCENT} % of the slowest GPU's", mega(used(rate))),
        None => println!("  # no GPU here decodes H.264: device_pixels is left as it is"),
    }
    Ok(())
}

/// Pixels a second that so many workers decode together on `backend`.
async fn rate(spawner: &Arc<Spawner>, clip: &Arc<Clip>, backend: &Backend, workers: usize) -> Result<u64> {
    let mut running = JoinSet::new();
    for _ in 0..workers {
        let worker = spawner.worker(Program::Engine, "calibrate").await?;
        running.spawn(decode(worker, clip.clone(), backend.clone()));
    }
    let mut sum = 0;
    while let Some(ended) = running.join_next().await {
        let pictures = ended.map_err(|error| Error::internal("a measurement failed").with_source(error))??;
        sum += (pictures * clip.config.geometry.pixels() as f64) as u64;
    }
    Ok(sum)
}

/// Pictures a second that one worker decodes.
async fn decode(mut worker: Worker, clip: Arc<Clip>, backend: Backend) -> Result<f64> {
    let outbox = worker.outbox.clone();
    let begin =
        ToWorker::Begin(Role::Pixels(PixelsTask { config: clip.config.clone(), decode: backend, sample_ticks: None }));
    let feed = async move {
        // A worker that is gone says so through its events.
        let mut is_there = outbox.send((begin, Bytes::new())).await.is_ok();
        for (number, (keyframe, data)) in clip.access_units.iter().cycle().enumerate() {
            if !is_there {
                break;
            }
            let time = MediaTime(number as i64 * PICTURE);
            let header =
                PacketHeader { track: Track::Video, pts: time, dts: time, keyframe: *keyframe, wall: WallClock::now() };
            is_there = outbox.send((ToWorker::Packet(header), data.clone())).await.is_ok();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        rate = count(&mut worker) => rate,
        () = feed => Err(Error::internal("feeding a worker never ends")),
    }
}

/// Counts from the first picture on, so that starting costs nothing.
async fn count(worker: &mut Worker) -> Result<f64> {
    let mut first: Option<(Instant, u64)> = None;
    loop {
        match worker.next().await {
            WorkerEvent::Message(FromWorker::Consumed { decoded, .. }, _) if decoded > 0 => {
                let (start, before) = *first.get_or_insert((Instant::now(), decoded));
                if start.elapsed() >= MEASURE {
                    return Ok((decoded - before) as f64 / start.elapsed().as_secs_f64());
                }
            }
            WorkerEvent::Message(FromWorker::Failed { message, .. }, _) => return Err(Error::unavailable(message)),
            WorkerEvent::Message(..) => {}
            WorkerEvent::Exited(exit) => {
                return Err(Error::unavailable(format!("a worker ended: {}", exit.description)));
            }
        }
    }
}

/// What is decoded.
struct Clip {
    config: VideoConfig,
    /// Whether it is a keyframe, and its NAL units behind their lengths.
    access_units: Vec<(bool, Bytes)>,
}

impl Clip {
    fn read(path: &Path) -> Result<Self> {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg
            .args(["-nostdin", "-v", "error", "-t", CLIP_SECONDS, "-i"])
            .arg(path)
            .args(["-map", "0:v", "-c", "copy"]);
        ffmpeg.args(["-bsf:v", "h264_mp4toannexb,h264_metadata=aud=insert", "-f", "h264", "-"]);
        let output = ffmpeg.output().map_err(|error| Error::unavailable("cannot run ffmpeg").with_source(error))?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            return Err(Error::unavailable(format!("ffmpeg cannot read {}: {complaint}", path.display())));
        }
        Self::split(&output.stdout)
    }

    fn split(stream: &[u8]) -> Result<Self> {
        const CODEC: VideoCodec = VideoCodec::H264;
        let units = nal::annexb_units(stream);
        let kinds = |wanted| move |unit: &&&[u8]| nal::kind(CODEC, unit) == wanted;
        let sets: Vec<Bytes> = units
            .iter()
            .filter(kinds(nal::NalKind::ParameterSet))
            .take(2)
            .map(|set| Bytes::copy_from_slice(set))
            .collect();
        let said = parse_parameter_sets(CODEC, &sets)?;
        let config = VideoConfig {
            generation: 0,
            codec: CODEC,
            parameter_sets: sets,
            profile: said.profile,
            rfc6381: said.rfc6381,
            geometry: said.geometry,
            frame_rate: said.frame_rate,
            bit_depth: said.bit_depth,
            reorder_depth: said.reorder_depth,
        };
        let is_delimiter = |unit: &&[u8]| unit.first().is_some_and(|first| first & 0x1f == DELIMITER);
        let access_units = units
            .split(is_delimiter)
            .filter(|unit| !unit.is_empty())
            .map(|unit| {
                let keyframe = unit.iter().any(|nal| nal::kind(CODEC, nal) == nal::NalKind::KeySlice);
                (keyframe, nal::length_prefixed(unit.iter().copied()))
            })
            .collect();
        Ok(Self { config, access_units })
    }
}

fn used(rate: u64) -> u64 {
    rate * USED_PERCENT / 100
}

/// As the configuration takes it.
fn mega(pixels: u64) -> String {
    format!("{}M", pixels / 1_000_000)
}
