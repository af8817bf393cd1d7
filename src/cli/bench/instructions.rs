//! The jobs in instructions, counted by valgrind: the same whatever else the machine does. Of one GOP of the clip: the
//! difference between what two GOPs take and what one does, so that start-up drops out.

use bytes::Bytes;
use std::io::BufReader;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::baseline;
use super::report::{Comparison, Row, Unit};
use super::stage::Stage;
use crate::error::{Error, Result};
use crate::link::wire::{receive, send};
use crate::link::{FromWorker, PixelsTask, Role, ToWorker};
use crate::media::nal::{self, NalKind};
use crate::media::{
    Cadence, EncodeSpec, FrameRate, Geometry, MediaTime, OutputSpec, PacketHeader, PixelFormat, RateControl,
    RenditionSpec, Track, VideoCodec, VideoConfig, WallClock, parse_parameter_sets,
};
use crate::plan::{Backend, Candidate};
use crate::sandbox::Confinement;

/// Seconds of a GOP of the clip.
const GOP: u64 = 2;
/// Ticks from picture to picture.
const PICTURE: i64 = MediaTime::HZ / 25;

/// The renditions of the jobs, as `jobs.rs` asks for them.
const DETECT: RenditionSpec = RenditionSpec {
    crop: None,
    size: Geometry { width: 1280, height: 720 },
    cadence: Cadence::Fps(FrameRate { num: 5, den: 1 }),
    output: OutputSpec::Raw(PixelFormat::I420),
};
const LIVE: RenditionSpec = RenditionSpec {
    crop: None,
    size: Geometry { width: 640, height: 360 },
    cadence: Cadence::Every,
    output: OutputSpec::Encode(EncodeSpec {
        codec: VideoCodec::H264,
        rate_control: RateControl::Bitrate(600_000),
        gop: 50,
    }),
};
const STILLS: RenditionSpec = RenditionSpec {
    cadence: Cadence::Fps(FrameRate { num: 1, den: 1 }),
    output: OutputSpec::Jpeg { quality: 80 },
    ..DETECT
};

/// The engine's work against that of the ffmpeg processes of today.
pub fn instructions(stage: &Stage) -> Result<Vec<Row>> {
    let clips = [cut(stage, GOP)?, cut(stage, 2 * GOP)?];
    let ours = |name: &str, renditions: &[RenditionSpec]| {
        slope(name, "camshaft-engine", |whole| by_engine(stage, &clips[whole], renditions))
    };
    let theirs = |name: &str, command: &str| {
        slope(name, "ffmpeg", |whole| by_ffmpeg(command, &clips[whole].to_string_lossy(), &stage.work))
    };
    let (detect, four) = (ours("detect", &[DETECT])?, ours("four", &[DETECT, LIVE, STILLS])?);
    let no_viewer = ours("no viewer", &[DETECT, STILLS])?;
    let todays = theirs("detect", baseline::DETECT)?;
    let each = baseline::FOUR.iter().map(|command| theirs("four", command)).collect::<Result<Vec<_>>>()?;
    let one = theirs("one for four", baseline::ONE)?;
    let unwatched =
        each.iter().enumerate().filter(|(number, _)| *number != baseline::LIVE).map(|(_, count)| count).sum();
    let row = |job, baseline, reach, ours, theirs| {
        Comparison { job, unit: Unit::Instructions, baseline, reach }.row(&[ours], &[theirs])
    };
    Ok(vec![
        row("detect", "Frigate's ffmpeg", 0.90, detect, todays),
        row("four", "four ffmpegs", 0.36, four, each.iter().sum()),
        row("four", "one ffmpeg, four outputs", 0.68, four, one),
        row("no viewer", "three ffmpegs", 0.48, no_viewer, unwatched),
    ])
}

/// Millions of instructions for a second of the stream; `count` takes the clip's number.
fn slope(job: &str, whose: &str, count: impl Fn(usize) -> Result<u64>) -> Result<f64> {
    eprintln!("instructions of {whose}: {job}");
    let (one, two) = (count(0)?, count(1)?);
    Ok(two.saturating_sub(one) as f64 / 1e6 / GOP as f64)
}

/// The clip from its second GOP on.
fn cut(stage: &Stage, seconds: u64) -> Result<PathBuf> {
    let piece = stage.work.join(format!("clip-{seconds}s.mp4"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-y", "-ss", "2", "-i"]).arg(stage.clip());
    ffmpeg.args(["-t", &seconds.to_string(), "-c", "copy"]).arg(&piece);
    let done = ffmpeg.status().map_err(|error| Error::unavailable("cannot run ffmpeg").with_source(error))?;
    if done.success() { Ok(piece) } else { Err(Error::unavailable("ffmpeg could not cut the clip")) }
}

fn valgrind() -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--"]);
    command
}

fn by_ffmpeg(arguments: &str, clip: &str, work: &Path) -> Result<u64> {
    let arguments = arguments.replace("-rtsp_transport tcp ", "");
    let mut command = valgrind();
    command.arg("ffmpeg").args(baseline::words(&arguments, clip, work));
    let output = command.stdin(Stdio::null()).output().map_err(no_valgrind)?;
    collected(&output.stderr, output.status.success())
}

fn by_engine(stage: &Stage, clip: &Path, renditions: &[RenditionSpec]) -> Result<u64> {
    let clip = Packets::read(clip)?;
    let broken = |error: std::io::Error| Error::unavailable("the engine under valgrind fell silent").with_source(error);
    let (ours, theirs) = UnixStream::pair().map_err(broken)?;
    let mut command = valgrind();
    command.arg(stage.program.with_file_name("camshaft-engine"));
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stderr(Stdio::piped());
    let worker = command.spawn().map_err(no_valgrind)?;
    let mut reader = BufReader::new(ours.try_clone().map_err(broken)?);
    let listener = thread::spawn(move || {
        while let Ok(Some((message, _))) = receive::<FromWorker>(&mut reader) {
            if matches!(message, FromWorker::Drained) {
                break;
            }
        }
    });
    let mut link = &ours;
    let mut say = |message: &ToWorker, payload: &[u8]| send(&mut link, message, payload).map_err(broken);
    // valgrind does what the sandbox forbids.
    say(&ToWorker::Confine(Confinement { layers: vec![], ..Confinement::default() }), &[])?;
    let task = PixelsTask { config: clip.config.clone(), decode: Backend::Software, sample_ticks: None };
    say(&ToWorker::Begin(Role::Pixels(task)), &[])?;
    for (id, spec) in (1..).zip(renditions) {
        let encode = matches!(spec.output, OutputSpec::Encode(_)).then_some(Backend::Software);
        let stages = Candidate { decode: Backend::Software, scale: Backend::Software, encode, mode: None };
        say(&ToWorker::AddRendition { id, spec: *spec, stages, after: None }, &[])?;
    }
    for (number, data) in (0..).zip(&clip.packets) {
        let pts = MediaTime(number * PICTURE);
        let keyframe = nal::units(data).any(|unit| nal::kind(VideoCodec::H264, unit) == NalKind::KeySlice);
        let header = PacketHeader { track: Track::Video, pts, dts: pts, keyframe, wall: WallClock::default() };
        say(&ToWorker::Packet(header), data)?;
    }
    say(&ToWorker::Drain, &[])?;
    let _ = listener.join();
    say(&ToWorker::Stop, &[])?;
    let output = worker.wait_with_output().map_err(broken)?;
    collected(&output.stderr, output.status.success())
}

/// The pictures of a clip of H.264 with a slice each.
struct Packets {
    config: VideoConfig,
    packets: Vec<Bytes>,
}

impl Packets {
    fn read(path: &Path) -> Result<Self> {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-loglevel", "error", "-i"]).arg(path);
        ffmpeg.args(["-c:v", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "-"]);
        let output = ffmpeg.output().map_err(|error| Error::unavailable("cannot run ffmpeg").with_source(error))?;
        let units = nal::annexb_units(&output.stdout);
        let kind = |unit: &[u8]| nal::kind(VideoCodec::H264, unit);
        let sets = units.iter().filter(|unit| kind(unit) == NalKind::ParameterSet).take(2);
        let parameter_sets: Vec<Bytes> = sets.map(|set| Bytes::copy_from_slice(set)).collect();
        let said = parse_parameter_sets(VideoCodec::H264, &parameter_sets)?;
        let config = VideoConfig {
            generation: 0,
            codec: VideoCodec::H264,
            parameter_sets,
            profile: said.profile,
            rfc6381: said.rfc6381,
            geometry: said.geometry,
            frame_rate: FrameRate::new(25, 1),
            bit_depth: said.bit_depth,
            reorder_depth: said.reorder_depth,
        };
        let slices = units.iter().filter(|unit| matches!(kind(unit), NalKind::Slice | NalKind::KeySlice));
        Ok(Self { config, packets: slices.map(|slice| nal::length_prefixed([*slice])).collect() })
    }
}

/// What valgrind says at the end: `Collected : 1234`.
fn collected(report: &[u8], succeeded: bool) -> Result<u64> {
    let report = String::from_utf8_lossy(report);
    let count = report.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok());
    count.filter(|_| succeeded).ok_or_else(|| Error::unavailable(format!("valgrind counted nothing: {report}")))
}

fn no_valgrind(error: std::io::Error) -> Error {
    Error::unavailable("cannot run valgrind: apt-get install valgrind").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valgrind_is_believed_when_it_has_counted() {
        let report = b"==7== Events    : Ir\n==7== Collected : 861000000\n==7== I refs: 861,000,000\n";
        assert_eq!(collected(report, true).unwrap(), 861_000_000);
        assert!(collected(report, false).is_err());
        assert!(collected(b"ffmpeg: no such option", true).unwrap_err().chain().contains("no such option"));
    }
}
