//! What a worker's own code costs on the hardware path: 1080p25 H.264 to 720p raw pictures at 5 a second, in instructions a
//! source picture, outside libva, the driver and libavcodec. Counted by callgrind, so that it can be held to a bound on a
//! machine without a GPU:
//!
//! ```text
//! tests/support/with-softva.sh haswell - cargo bench --bench worker_cpu
//! ```
//!
//! The bound is 0.5 ms a picture, taken as 500 000 instructions: one a nanosecond, where CPUs do several.

use bytes::Bytes;
use camshaft::link::{FromWorker, PixelsTask, Program, Programs, Role, Spawner, ToWorker, WorkerEvent};
use camshaft::media::{
    Cadence, FrameRate, Geometry, OutputSpec, PacketHeader, PatternSource, PixelFormat, RenditionSpec, VideoCodec,
    VideoConfig,
};
use camshaft::plan::{Backend, Candidate};
use camshaft::sandbox::{Confinement, Confinements};
use std::error::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Packets = (VideoConfig, Vec<(PacketHeader, Bytes)>);

/// Instructions a source picture.
const BOUND: u64 = 500_000;
/// Two lengths, in pictures: what happens once drops out of their difference.
const LENGTHS: [usize; 2] = [25, 75];
const NODE: &str = "/dev/dri/renderD128";
/// callgrind is slow, and writes its results at the end.
const GRACE: Duration = Duration::from_secs(120);

fn main() -> Result<ExitCode> {
    let programs = Programs {
        camshaft: PathBuf::from(env!("CARGO_BIN_EXE_camshaft")),
        engine: Path::new(env!("CARGO_BIN_EXE_camshaft")).with_file_name("camshaft-engine"),
    };
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let [short, long] = runtime.block_on(async {
        let environment: Vec<_> =
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LIBVA_")).collect();
        let camera = record(&Spawner::start(programs.clone(), environment.clone(), unconfined())?).await?;
        let mut counted = [0; 2];
        for (counted, length) in counted.iter_mut().zip(LENGTHS) {
            let counts = folder.path().join(format!("callgrind-{length}"));
            let engine = wrapper(&programs.engine, &counts)?;
            let spawner = Spawner::start(Programs { engine, ..programs.clone() }, environment.clone(), unconfined())?;
            work(&spawner, &camera, length).await?;
            *counted = instructions(&counts)?;
        }
        Ok::<_, Box<dyn Error>>(counted)
    })?;
    let each = long.saturating_sub(short) / (LENGTHS[1] - LENGTHS[0]) as u64;
    let verdict = if each <= BOUND { "within" } else { "OVER" };
    println!(
        "{each} instructions a source picture outside libva, its driver and libavcodec: {verdict} the bound of {BOUND}"
    );
    Ok(if each <= BOUND { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A program that runs the engine under callgrind. Nothing is counted while a function of libva runs: whoever toggles
/// collection begins without, unless told otherwise behind it.
fn wrapper(engine: &Path, counts: &Path) -> Result<PathBuf> {
    let path = counts.with_extension("engine");
    let script = format!(
        "#!/bin/sh\nexec valgrind -q --tool=callgrind --toggle-collect='va*' --collect-atstart=yes \
         --callgrind-out-file='{}' '{}'\n",
        counts.display(),
        engine.display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// valgrind does much that the sandbox forbids.
fn unconfined() -> Confinements {
    let wide = Confinement {
        layers: Vec::new(),
        memory: 8 << 30,
        descriptors: 1024,
        file_size: 1 << 30,
        ..Confinement::default()
    };
    Confinements { ingest: wide.clone(), engine: wide }
}

/// The packets of a synthetic camera, in real time.
async fn record(spawner: &Arc<Spawner>) -> Result<Packets> {
    let source = PatternSource {
        size: Geometry::new(1920, 1080),
        fps: FrameRate { num: 25, den: 1 },
        codec: VideoCodec::H264,
        gop: 50,
        bframes: 0,
        bitrate: 4_000_000,
        noise: 0,
        audio: None,
    };
    let mut worker = spawner.worker(Program::Engine, "camera").await?;
    let _ = worker.send(ToWorker::Begin(Role::Pattern(source)), Bytes::new()).await;
    let (mut config, mut packets) = (None, Vec::new());
    while packets.len() < LENGTHS[1] {
        match worker.next().await {
            WorkerEvent::Message(FromWorker::VideoConfig(said), _) => config = Some(said),
            WorkerEvent::Message(FromWorker::Packet(header), data) => packets.push((header, data)),
            WorkerEvent::Message(..) => {}
            WorkerEvent::Exited(exit) => return Err(exit.description.into()),
        }
    }
    Ok((config.ok_or("no configuration")?, packets))
}

async fn work(spawner: &Arc<Spawner>, (config, packets): &Packets, length: usize) -> Result<()> {
    let mut worker = spawner.worker(Program::Engine, "measured").await?;
    let here = Backend::Vaapi { device: NODE.into() };
    let stages = Candidate { decode: here.clone(), scale: here.clone(), encode: None, mode: None };
    let output = OutputSpec::Raw(PixelFormat::I420);
    let spec = RenditionSpec {
        crop: None,
        size: Geometry::new(1280, 720),
        cadence: Cadence::Fps(FrameRate { num: 5, den: 1 }),
        output,
    };
    let outbox = worker.outbox.clone();
    let feed = async {
        let plain = |message| (message, Bytes::new());
        let task = PixelsTask { config: config.clone(), decode: here, sample_ticks: None };
        let begin = [
            plain(ToWorker::Begin(Role::Pixels(task))),
            plain(ToWorker::AddRendition { id: 0, spec, stages, after: None }),
        ];
        let packets = packets.iter().take(length).map(|(header, data)| (ToWorker::Packet(*header), data.clone()));
        for message in begin.into_iter().chain(packets).chain([plain(ToWorker::Drain)]) {
            if outbox.send(message).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut pictures = 0;
        loop {
            match worker.next().await {
                WorkerEvent::Message(FromWorker::Frame { .. }, _) => pictures += 1,
                WorkerEvent::Message(FromWorker::Drained, _) => return Ok(pictures),
                WorkerEvent::Message(FromWorker::Failed { message, .. }, _) => return Err(message),
                WorkerEvent::Message(..) => {}
                WorkerEvent::Exited(exit) => return Err(exit.description),
            }
        }
    };
    let pictures: usize = tokio::select! {
        read = read => read?,
        () = feed => return Err("feeding a worker never ends".into()),
    };
    worker.stop(GRACE).await;
    if pictures < length / 5 {
        return Err(format!("{pictures} pictures came of {length}").into());
    }
    Ok(())
}

/// All that was counted, but for libavcodec's own.
fn instructions(counts: &Path) -> Result<u64> {
    let output =
        Command::new("callgrind_annotate").args(["--threshold=100", "--show-percs=no"]).arg(counts).output()?;
    let text = String::from_utf8(output.stdout)?;
    let functions = text.lines().filter(|line| line.ends_with(']') && !line.contains("libavcodec"));
    let counted = functions.filter_map(|line| {
        let number: String = line.split_whitespace().next()?.chars().filter(char::is_ascii_digit).collect();
        number.parse::<u64>().ok()
    });
    match counted.sum() {
        0 => Err(format!("callgrind counted nothing: {}", String::from_utf8_lossy(&output.stderr)).into()),
        sum => Ok(sum),
    }
}
