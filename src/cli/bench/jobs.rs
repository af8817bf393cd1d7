//! The jobs that run in real time and are judged by what they cost.

use std::path::Path;
use std::process::Command;

use super::baseline::Baseline;
use super::cost::{Cost, Side, observe};
use super::process::OwnedChild;
use super::report::{Comparison, Row, Unit};
use super::server::{Consumer, RAW_FRAME_BYTES, Server};
use super::stage::Stage;
use crate::error::Result;

const DETECT: &str = "cam/live.y4m?width=1280&height=720&fps=5";
const LIVE: &str = "cam/live.mp4?codec=h264&width=640&height=360&bitrate=600k&gop=50";
const STILLS: &str = "cam/live.mjpeg?width=1280&height=720&fps=1";
const RECORD: &str = "cam/live.mp4";

/// A detector alone.
pub fn detect(stage: &Stage) -> Result<Vec<Row>> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for pair in 1..=stage.pairs {
        eprintln!("detect: pair {pair} of {}", stage.pairs);
        ours.push(run_camshaft(stage, Load::Detect)?.cpu);
        theirs.push(run_baseline(stage, Baseline::detect)?.cpu);
    }
    let baseline = "Frigate's ffmpeg";
    Ok(vec![Comparison { job: "detect", unit: Unit::CpuPerSecond, baseline, reach: 1.0 }.row(&ours, &theirs)])
}

/// Four consumers of one camera.
pub fn four(stage: &Stage) -> Result<Vec<Row>> {
    let (mut ours, mut four, mut one) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 1..=stage.pairs {
        eprintln!("four consumers: round {pair} of {}", stage.pairs);
        ours.push(run_camshaft(stage, Load::Four)?);
        four.push(run_baseline(stage, Baseline::four)?);
        one.push(run_baseline(stage, Baseline::one)?);
    }
    let cpu = |costs: &[Cost]| costs.iter().map(|cost| cost.cpu).collect::<Vec<_>>();
    let memory = |costs: &[Cost]| costs.iter().map(|cost| cost.memory).collect::<Vec<_>>();
    let compare = |unit, baseline, reach| Comparison { job: "four", unit, baseline, reach };
    Ok(vec![
        compare(Unit::CpuPerSecond, "four ffmpegs", 0.52).row(&cpu(&ours), &cpu(&four)),
        compare(Unit::CpuPerSecond, "one ffmpeg, four outputs", 1.0).row(&cpu(&ours), &cpu(&one)),
        compare(Unit::Memory, "four ffmpegs", 0.60).row(&memory(&ours), &memory(&four)),
    ])
}

/// What is asked of camshaft.
#[derive(Clone, Copy, Debug)]
enum Load {
    Detect,
    Four,
}

fn run_camshaft(stage: &Stage, load: Load) -> Result<Cost> {
    let camera = stage.camera()?;
    let server = Server::start(&stage.program, &stage.work)?;
    server.add_stream("cam", &camera.url)?;
    let detector = server.consume(DETECT)?;
    let (mut watchers, mut recorder) = (Vec::new(), None);
    if let Load::Four = load {
        watchers = vec![server.consume(LIVE)?, server.consume(STILLS)?];
        recorder = Some(start_recorder(&server, stage)?);
    }
    observe(Camshaft { detector, watchers, recorder, server }, stage.steady)
}

fn run_baseline(stage: &Stage, start: impl Fn(&str, &Path) -> Result<Baseline>) -> Result<Cost> {
    let camera = stage.camera()?;
    observe(start(&camera.url, &stage.work)?, stage.steady)
}

/// A client that writes a copy to disk. ffmpeg's recorder is counted, so this one is, too.
fn start_recorder(server: &Server, stage: &Stage) -> Result<OwnedChild> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--output"]).arg(stage.work.join("record.mp4"));
    command.arg(server.url(RECORD));
    OwnedChild::start(command, "recorder", &stage.work)
}

/// camshaft with its clients. The order of the fields is the order in which they end: the server last.
struct Camshaft {
    detector: Consumer,
    watchers: Vec<Consumer>,
    recorder: Option<OwnedChild>,
    server: Server,
}

impl Side for Camshaft {
    fn pids(&self) -> Vec<u32> {
        std::iter::once(self.server.pid()).chain(self.recorder.as_ref().map(OwnedChild::pid)).collect()
    }

    fn raw_frames(&self) -> Result<f64> {
        Ok(self.detector.bytes() as f64 / RAW_FRAME_BYTES as f64)
    }

    fn check_alive(&mut self) -> Result<()> {
        self.recorder.iter_mut().try_for_each(OwnedChild::check_alive)?;
        self.watchers.iter().chain([&self.detector]).try_for_each(Consumer::check_alive)?;
        self.server.check_alive()
    }
}

impl Side for Baseline {
    fn pids(&self) -> Vec<u32> {
        self.pids()
    }

    fn raw_frames(&self) -> Result<f64> {
        self.raw_frames()
    }

    fn check_alive(&mut self) -> Result<()> {
        self.check_alive()
    }
}
