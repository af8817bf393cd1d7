//! The whole of it: clips, then rates in rounds, so that a busy moment strikes all alike, then cameras.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

use super::super::server::Server;
use super::cameras::{Fit, Yard, search};
use super::clip::{Clip, FPS, Kind};
use super::ffmpeg;
use super::progress::Progress;
use super::rate::{self, Run};
use super::report::{Beside, Cameras, Figures, Rate, Way};
use super::work::{Task, Work};
use crate::cli::probe;
use crate::error::{Error, Result};
use crate::link::Spawner;
use crate::plan::{Capabilities, Policy};

/// Steps that a search for the most cameras takes, about.
const SEARCH: usize = 5;
/// Admission must not stand in the way, and a service that had too much must not be slow to forget it.
const LIMITS: &str = "limits: { software_pixels: 1000G, device_pixels: 1000G, overload_calm: 1s, streams_max: 256 }";

/// What is to be measured.
pub struct Bench<'a> {
    /// The cameras.
    pub kinds: Vec<Kind>,
    /// How often each figure is taken.
    pub repeats: u32,
    /// For how long.
    pub length: Duration,
    /// The most cameras that are tried; 0: none.
    pub most_cameras: u32,
    /// Whether the ffmpeg program is measured too.
    pub has_ffmpeg: bool,
    /// What the devices have proved.
    pub capabilities: Capabilities,
    /// Where clips and logs go.
    pub work: &'a Path,
}

/// One line of the report in the making.
struct Line {
    task: Task,
    runs: Vec<Run>,
    latency: Vec<f64>,
    beside: Vec<Run>,
    failure: Option<String>,
    beside_failure: Option<String>,
}

impl Bench<'_> {
    /// Measures all of it. What fails on its way is noted in its line.
    ///
    /// # Errors
    /// If a clip cannot be made, or the service does not start.
    pub fn run(&self) -> Result<(Vec<Rate>, Vec<Cameras>)> {
        let runtime = Runtime::new().map_err(|error| Error::internal("cannot start the runtime").with_source(error))?;
        let spawner = runtime.block_on(async { probe::spawner() })?;
        let progress = Progress::new(self.kinds.len());
        progress.part("making the clips");
        let mut clips = Vec::new();
        for kind in &self.kinds {
            progress.doing(&format!("making the clip of {kind}"));
            clips.push(Arc::new(runtime.block_on(Clip::record(&spawner, *kind, self.work))?));
            progress.done();
        }
        drop(progress);
        let mut lines = self.lines(&clips);
        let sides = if self.has_ffmpeg { 2 } else { 1 };
        let searches: Vec<_> =
            clips.iter().flat_map(|clip| self.policies(clip).map(move |policy| (clip, policy))).collect();
        let steps = lines.len() * (1 + sides * self.repeats as usize) + searches.len() * SEARCH;
        let progress = Progress::new(steps);
        progress.part("measuring rates");
        self.rates(&runtime, &spawner, &mut lines, &progress);
        let rates: Vec<Rate> = lines.into_iter().map(Line::rate).collect();
        let mut cameras = Vec::new();
        if !searches.is_empty() {
            progress.part("adding cameras until they are late");
            let program = std::env::current_exe()
                .map_err(|error| Error::internal("cannot find this program's own file").with_source(error))?;
            let server = Server::start_with(&program, self.work, LIMITS)?;
            for (clip, policy) in searches {
                cameras.push(self.most(&Yard::new(&server, clip, policy), (clip.kind, policy), &rates, &progress)?);
            }
        }
        Ok((rates, cameras))
    }

    /// Every work on every clip in every way.
    fn lines(&self, clips: &[Arc<Clip>]) -> Vec<Line> {
        let works = clips.iter().flat_map(|clip| Work::ALL.map(|work| (clip.clone(), work)));
        let tasks = works.flat_map(|(clip, work)| {
            let ways = work.ways(&clip, &self.capabilities);
            ways.into_iter().map(move |way| Task { clip: clip.clone(), work, way })
        });
        tasks.map(Line::new).collect()
    }

    /// Under which cameras are tried: on GPUs alone, where they do all that a detector needs, and on the CPUs.
    fn policies(&self, clip: &Clip) -> impl Iterator<Item = Policy> + use<> {
        let ways = Work::Scale.ways(clip, &self.capabilities);
        let on_device = ways.into_iter().any(|way| super::work::stages(&way).all(|stage| stage.device().is_some()));
        let any = self.most_cameras > 0;
        let wanted = [(Policy::RequireHardware, on_device && any), (Policy::Software, any)];
        wanted.into_iter().filter(|(_, is_wanted)| *is_wanted).map(|(policy, _)| policy)
    }

    fn rates(&self, runtime: &Runtime, spawner: &Arc<Spawner>, lines: &mut [Line], progress: &Progress) {
        for round in 0..self.repeats {
            for line in &mut *lines {
                let Task { clip, work, .. } = &line.task;
                let about = format!("{} {}, {}", work.name(), clip.kind, Way::from(&line.task.way).short());
                progress.doing(&about);
                if line.failure.is_none() {
                    let run = runtime.block_on(rate::run(spawner, &line.task, self.length));
                    note(run, &mut line.failure, &mut line.runs);
                }
                progress.done();
                if round == 0 {
                    if line.failure.is_none() {
                        progress.doing(&format!("{about}: latency"));
                        let waits = runtime.block_on(rate::latency(spawner, &line.task, self.length));
                        line.latency = waits.unwrap_or_else(|error| {
                            line.failure = Some(error.chain());
                            vec![]
                        });
                    }
                    progress.done();
                }
                if self.has_ffmpeg {
                    if line.beside_failure.is_none() {
                        progress.doing(&format!("{about}: ffmpeg"));
                        let run = ffmpeg::run(&line.task, self.length, self.work);
                        if let Some(run) = run.transpose() {
                            note(run, &mut line.beside_failure, &mut line.beside);
                        }
                    }
                    progress.done();
                }
            }
        }
    }

    /// How many cameras of `kind` fit, decoded under `policy`.
    fn most(
        &self,
        yard: &Yard,
        (kind, policy): (Kind, Policy),
        rates: &[Rate],
        progress: &Progress,
    ) -> Result<Cameras> {
        let decoded_by = if policy == Policy::Software { "software" } else { "hardware" };
        let window = self.length.max(Duration::from_millis(1500)) * 2;
        let mut steps = Vec::new();
        let found = search(guess(kind, decoded_by, rates), self.most_cameras, |cameras| {
            progress.doing(&format!("{cameras} cameras of {kind}, {decoded_by}"));
            let step = yard.try_out(cameras, window)?;
            if steps.len() >= SEARCH {
                progress.one_more();
            }
            progress.done();
            let fits = step.trouble.is_none();
            steps.push(step);
            Ok(fits)
        });
        for _ in steps.len()..SEARCH {
            progress.done();
        }
        let (fit, failure) = match found {
            Ok(fit) => (fit, None),
            Err(error) => (Fit { cameras: 0, is_bounded: false }, Some(error.chain())),
        };
        let Fit { cameras, is_bounded } = fit;
        Ok(Cameras { kind, decoded_by: decoded_by.to_owned(), fit: cameras, is_bounded, steps, failure })
    }
}

/// As many as would fit if there were nothing but decoding, less a third.
fn guess(kind: Kind, decoded_by: &str, rates: &[Rate]) -> u32 {
    let is_same = |rate: &&Rate| {
        (rate.kind, rate.work) == (kind, Work::Decode) && (rate.way.decode == "software") == (decoded_by == "software")
    };
    let fps = rates.iter().find(is_same).and_then(|rate| rate.fps.as_ref()).map_or(0.0, |fps| fps.median);
    (fps / f64::from(FPS) * 0.67) as u32
}

fn note(run: Result<Run>, failure: &mut Option<String>, runs: &mut Vec<Run>) {
    match run {
        Ok(run) => runs.push(run),
        Err(error) => *failure = Some(error.chain()),
    }
}

impl Line {
    fn new(task: Task) -> Self {
        Self { task, runs: vec![], latency: vec![], beside: vec![], failure: None, beside_failure: None }
    }

    /// What failed once has no figures: those of its better moments would mislead.
    fn rate(self) -> Rate {
        let Self { task, runs, latency, beside, failure, beside_failure } = self;
        let runs = if failure.is_some() { vec![] } else { runs };
        let figures = |runs: &[Run], figure: fn(&Run) -> f64| Figures::of(&runs.iter().map(figure).collect::<Vec<_>>());
        let gpu: Option<Vec<f64>> = runs.iter().map(|run| run.gpu_ms).collect();
        let beside = (!beside.is_empty() || beside_failure.is_some()).then(|| Beside {
            fps: figures(&beside, |run| run.fps),
            cpu_ms: figures(&beside, |run| run.cpu_ms),
            failure: beside_failure,
        });
        Rate {
            kind: task.clip.kind,
            work: task.work,
            way: Way::from(&task.way),
            at_once: task.workers(),
            fps: figures(&runs, |run| run.fps),
            cpu_ms: figures(&runs, |run| run.cpu_ms),
            gpu_ms: gpu.and_then(|samples| Figures::of(&samples)),
            latency_ms: if failure.is_some() { None } else { Figures::of(&latency) },
            ffmpeg: beside,
            failure,
        }
    }
}
