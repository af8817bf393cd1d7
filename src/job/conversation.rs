//! What a job's worker and the supervisor say to each other, from the first byte of input to the last of output.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::plan::{self, Decision};
use super::spool::{Spool, SpoolLimits};
use super::{JobResult, Jobs, Place};
use crate::error::{Error, ErrorKind, Result};
use crate::link::{
    FailureKind, FromWorker, InputAccess, JobTask, MAX_READ, Program, Role, ToWorker, Worker, WorkerEvent,
};
use crate::media::{JobFormat, JobSource, JobSpec, JobStats};
use crate::plan::{Backend, Candidate, Policy};

/// For a worker that is just being started, on top of the watchdog's time.
const START_GRACE: Duration = Duration::from_secs(10);

/// A job whose first byte is there. Dropping it ends the job.
#[derive(Debug)]
pub struct Running {
    /// What is made.
    pub output: Arc<Spool>,
    /// Its form.
    pub format: JobFormat,
    /// What comes in.
    pub source: JobSource,
    /// Where the stages run.
    pub stages: Candidate,
    /// Why not all of them on hardware, where that is so.
    pub reason: Option<String>,
    /// How far it is.
    pub stats: watch::Receiver<JobStats>,
    /// Has the job's end, once it has ended.
    ended: watch::Receiver<Option<Ended>>,
    _task: AbortOnDropHandle<()>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As a whole.
    Whole,
    /// With a piece of what was asked for; why, for people.
    Broken(String),
}

impl Running {
    /// How the job ended; waits for it.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        let found = ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        found.unwrap_or_else(|| Ended::Broken("the job was given up".into()))
    }
}

/// Why an attempt failed.
#[derive(Debug)]
enum Trouble {
    /// A device did; the CPU may do better.
    Device(String),
    /// Nothing would do better.
    Final(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// What came of one message.
enum Step {
    Usual,
    Output(Bytes),
    Finished(JobStats),
}

struct Talk {
    worker: Worker,
    input: Arc<Spool>,
    spec: JobSpec,
    policy: Policy,
    device: Option<String>,
    patience: Duration,
    decided: Option<(JobSource, Decision)>,
    stats: watch::Sender<JobStats>,
}

/// See [`Jobs::start`].
pub(super) async fn start(
    jobs: &Jobs,
    spec: JobSpec,
    policy: Policy,
    input: Arc<Spool>,
    mut place: Place,
) -> Result<Running> {
    let running = attempt(jobs, spec, policy, input).await;
    let (talk, first, failed) = running.inspect_err(|error| place.conclude(JobResult::of(error)))?;
    talk.go_on(jobs, first, place, failed).await
}

/// A worker that has made its first byte, and why the device was given up, if it was.
async fn attempt(
    jobs: &Jobs,
    spec: JobSpec,
    policy: Policy,
    input: Arc<Spool>,
) -> Result<(Talk, Bytes, Option<String>)> {
    let device = plan::device(&spec, policy, &jobs.devices.capabilities());
    let mut failed = None;
    for device in [device.clone(), None].into_iter().skip(usize::from(device.is_none())) {
        let mut talk = Talk::begin(jobs, spec, policy, input.clone(), device).await?;
        match talk.first_output(jobs).await {
            Ok(first) => return Ok((talk, first, failed)),
            Err(Trouble::Device(why)) if policy != Policy::RequireHardware && input.is_whole() => {
                tracing::warn!(why, "a job's hardware failed; it starts again on the CPU");
                failed = Some(why);
            }
            Err(Trouble::Device(why)) => return Err(Error::unavailable(format!("the hardware failed: {why}"))),
            Err(Trouble::Final(error)) => return Err(error),
        }
    }
    Err(Error::unavailable(failed.unwrap_or_default()))
}

impl Talk {
    async fn begin(
        jobs: &Jobs,
        spec: JobSpec,
        policy: Policy,
        input: Arc<Spool>,
        device: Option<String>,
    ) -> Result<Self> {
        let worker = jobs.spawner.worker(Program::Engine, "job").await?;
        let task = JobTask { spec, device: device.clone(), threads: jobs.limits.job_threads };
        // A worker that is gone says so when it is read.
        let _ = worker.send(ToWorker::Begin(Role::Job(task)), Bytes::new()).await;
        let patience = jobs.limits.watchdog + START_GRACE;
        let stats = watch::Sender::new(JobStats::default());
        Ok(Self { worker, input, spec, policy, device, patience, decided: None, stats })
    }

    async fn first_output(&mut self, jobs: &Jobs) -> Result<Bytes, Trouble> {
        loop {
            match self.step(jobs).await? {
                Step::Output(bytes) => return Ok(bytes),
                Step::Finished(_) => return Err(Error::internal("a job's worker finished without a byte").into()),
                Step::Usual => {}
            }
        }
    }

    /// Has the rest made in a task of its own.
    async fn go_on(mut self, jobs: &Jobs, first: Bytes, mut place: Place, failed: Option<String>) -> Result<Running> {
        let Some((source, decision)) = self.decided.take() else {
            return Err(Error::internal("a job's worker made output before it knew where"));
        };
        let Decision { stages, reason, mut grant } = decision;
        self.patience = jobs.limits.watchdog + START_GRACE / 2;
        self.input.forget_what_is_read(false);
        let output = Spool::new(SpoolLimits::filled(jobs.limits.job_spool));
        output.forget_what_is_read(false);
        output.write(first).await?;
        let (ended, ending) = watch::channel(None);
        let stats = self.stats.subscribe();
        let (format, sink) = (self.spec.format, output.clone());
        let jobs = place.jobs.clone();
        let task = async move {
            let revoked = async {
                match &mut grant {
                    Some(grant) => grant.revoked().await,
                    None => std::future::pending().await,
                }
            };
            let end = tokio::select! {
                end = self.rest(&jobs, &sink) => end,
                why = revoked => Err(Trouble::Final(Error::unavailable(why))),
            };
            let end = match end {
                Ok(()) => Ended::Whole,
                Err(Trouble::Device(why)) => Ended::Broken(format!("the hardware failed: {why}")),
                Err(Trouble::Final(error)) => Ended::Broken(error.chain()),
            };
            place.conclude(if end == Ended::Whole { JobResult::Whole } else { JobResult::Broken });
            self.input.abandon();
            if let Ended::Broken(why) = &end {
                tracing::warn!(why, "a job ended before its time");
            }
            sink.end(match &end {
                Ended::Whole => Ok(()),
                Ended::Broken(why) => Err(why.clone()),
            });
            ended.send_replace(Some(end));
        };
        let task = AbortOnDropHandle::new(tokio::spawn(task.in_current_span()));
        let reason = failed.or(reason);
        Ok(Running { output, format, source, stages, reason, stats, ended: ending, _task: task })
    }

    async fn rest(&mut self, jobs: &Jobs, output: &Spool) -> Result<(), Trouble> {
        loop {
            match self.step(jobs).await? {
                // Waiting here is what holds the worker up.
                Step::Output(bytes) => output.write(bytes).await?,
                Step::Finished(stats) => {
                    self.progress(stats, jobs);
                    return Ok(());
                }
                Step::Usual => {}
            }
        }
    }

    /// Hears one message and answers it; every field is hostile until checked.
    async fn step(&mut self, jobs: &Jobs) -> Result<Step, Trouble> {
        let Ok(event) = tokio::time::timeout(self.patience, self.worker.next()).await else {
            self.worker.kill();
            return Err(self.blame(format!("nothing has come of it for {:?} (limits.watchdog)", self.patience)));
        };
        let (message, payload) = match event {
            WorkerEvent::Message(message, payload) => (message, payload),
            WorkerEvent::Exited(exit) => return Err(self.blame(format!("the worker died ({})", exit.description))),
        };
        match message {
            FromWorker::Read { offset, length } => {
                let bytes = self.input.read(offset, length.min(MAX_READ) as usize).await?;
                self.say(ToWorker::Input, bytes).await;
            }
            FromWorker::MeasureInput => {
                let size = self.input.size().await?;
                self.say(ToWorker::InputSize(size), Bytes::new()).await;
            }
            FromWorker::Access(InputAccess::Sequential) => self.input.forget_what_is_read(true),
            FromWorker::Access(InputAccess::Random) => {}
            FromWorker::JobSource(source) if self.decided.is_none() => {
                let capabilities = jobs.devices.capabilities();
                let device = self.device.as_deref();
                let decision = plan::decide(&self.spec, &source, self.policy, &capabilities, device, &jobs.admission)?;
                self.say(ToWorker::JobStages(decision.stages.clone()), Bytes::new()).await;
                self.decided = Some((source, decision));
            }
            FromWorker::Output if !payload.is_empty() => return Ok(Step::Output(payload)),
            FromWorker::Output => {}
            FromWorker::Progress(stats) => self.progress(stats, jobs),
            FromWorker::Finished(stats) => return Ok(Step::Finished(stats)),
            FromWorker::Failed { kind, message } => return Err(trouble(kind, message)),
            _ => {
                self.worker.kill();
                return Err(Error::internal("a job's worker said what only a worker of another role says").into());
            }
        }
        Ok(Step::Usual)
    }

    fn progress(&self, stats: JobStats, jobs: &Jobs) {
        let before = self.stats.send_replace(stats);
        let more = stats.frames_out.saturating_sub(before.frames_out);
        jobs.metrics.job_frames.with_label_values::<&str>(&[]).inc_by(more);
    }

    async fn say(&self, message: ToWorker, payload: Bytes) {
        // A worker that is gone says so when it is read.
        let _ = self.worker.send(message, payload).await;
    }

    /// Whether the device may be at fault: a worker on the CPU that dies dies of its input.
    fn blame(&self, what: String) -> Trouble {
        let on_device = match &self.decided {
            Some((_, decision)) => uses_device(&decision.stages),
            None => self.device.is_some(),
        };
        if on_device { Trouble::Device(what) } else { Trouble::Final(Error::unavailable(what)) }
    }
}

fn uses_device(stages: &Candidate) -> bool {
    stages.decode != Backend::Software || stages.encode.as_ref().is_some_and(|encode| *encode != Backend::Software)
}

fn trouble(kind: FailureKind, message: String) -> Trouble {
    match kind {
        kind if kind.is_device() => Trouble::Device(message),
        FailureKind::Input | FailureKind::Codec | FailureKind::Limit => {
            Trouble::Final(Error::new(ErrorKind::Impossible, message))
        }
        _ => Trouble::Final(Error::unavailable(message)),
    }
}
