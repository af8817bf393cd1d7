//! Starting workers. A process's parent-death signal fires when the *thread* that spawned it ends, so one thread that
//! lives as long as the supervisor does all the spawning.

use bytes::Bytes;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::ToWorker;
use super::stderr::{self, Label, Refused, Words};
use super::worker::{Reins, Worker};
use crate::error::{Error, Result};
use crate::sandbox::{Confinement, Confinements};

/// Which program a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `camshaft worker ingest`: network, no FFmpeg.
    Ingest,
    /// `camshaft-engine`: FFmpeg, no network.
    Engine,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// This program.
    pub camshaft: PathBuf,
    /// The engine.
    pub engine: PathBuf,
}

impl Programs {
    /// This program, and the engine beside it.
    ///
    /// # Errors
    /// If either is not there; the message says where it was looked for.
    pub fn find() -> Result<Self> {
        let camshaft = std::env::current_exe().map_err(|error| {
            Error::internal("cannot tell this program's own path (is /proc mounted?)").with_source(error)
        })?;
        let engine = camshaft.with_file_name("camshaft-engine");
        if !engine.is_file() {
            let message = format!("the engine is missing: expected it beside this program at {}", engine.display());
            return Err(Error::unavailable(message));
        }
        Ok(Self { camshaft, engine })
    }

    fn command(&self, program: Program) -> (&Path, &[&str]) {
        match program {
            Program::Ingest => (&self.camshaft, &["worker", "ingest"]),
            Program::Engine => (&self.engine, &[]),
        }
    }
}

/// How long after a worker was taken the next spare is started.
const SPARE_DELAY: Duration = Duration::from_secs(1);
/// The first descriptor after standard error.
const FIRST_DESCRIPTOR: i32 = 3;

struct Order {
    program: Program,
    label: Arc<str>,
    done: oneshot::Sender<std::io::Result<Worker>>,
}

/// Starts workers; keeps one spare engine ready, because linking FFmpeg takes a tenth of a second of CPU.
#[derive(Debug)]
pub struct Spawner {
    orders: mpsc::UnboundedSender<Order>,
    confinements: Confinements,
    spare: Mutex<Option<Worker>>,
    /// Every worker that may still be running.
    live: std::sync::Mutex<Vec<Reins>>,
}

impl Spawner {
    /// Starts the spawning thread. Workers see only `environment`, and are confined. Call within a tokio runtime.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        programs: Programs,
        environment: Vec<(OsString, OsString)>,
        confinements: Confinements,
    ) -> Result<Arc<Self>> {
        // What this program was started with is none of the workers' business; its own descriptors are marked as made.
        close_fds::set_fds_cloexec(FIRST_DESCRIPTOR, &[]);
        let (orders, mut queue) = mpsc::unbounded_channel::<Order>();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                let _inside = runtime.enter();
                while let Some(order) = queue.blocking_recv() {
                    let result = spawn(&programs, &environment, order.program, order.label);
                    // An asker that went away drops the worker, which ends it.
                    let _ = order.done.send(result);
                }
            })
            .map_err(|error| Error::internal("cannot start the spawning thread").with_source(error))?;
        Ok(Arc::new(Self { orders, confinements, spare: Mutex::default(), live: std::sync::Mutex::default() }))
    }

    /// A new worker whose log lines carry `label`; for an engine the spare one, if it is ready.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub async fn worker(self: &Arc<Self>, program: Program, label: &str) -> Result<Worker> {
        if program == Program::Ingest {
            return self.order(program, label).await;
        }
        let spare = self.spare.lock().await.take().filter(Worker::is_alive);
        let spawner = Arc::downgrade(self);
        tokio::spawn(async move {
            // The machine is busy with the worker's first pictures now.
            tokio::time::sleep(SPARE_DELAY).await;
            if let Some(spawner) = spawner.upgrade() {
                spawner.prepare_spare().await;
            }
        });
        match spare {
            Some(spare) => {
                spare.set_label(label);
                Ok(spare)
            }
            None => self.order(program, label).await,
        }
    }

    /// Starts a spare engine unless one waits already.
    pub async fn prepare_spare(&self) {
        let mut spare = self.spare.lock().await;
        if spare.as_ref().is_some_and(Worker::is_alive) {
            return;
        }
        match self.order(Program::Engine, "spare").await {
            Ok(worker) => *spare = Some(worker),
            Err(error) => tracing::warn!(error = error.chain(), "no spare engine could be started"),
        }
    }

    /// Ends the spare engine.
    pub async fn dismiss_spare(&self) {
        self.spare.lock().await.take();
    }

    /// The process ids of the workers that may still be running.
    pub fn pids(&self) -> Vec<u32> {
        self.live().iter().map(|reins| reins.pid).collect()
    }

    /// Ends the worker for which `size` says the most, to get its memory back; whose owner will see it as dead. Gives its
    /// label and size.
    pub fn end_largest(&self, size: impl Fn(u32) -> Option<u64>) -> Option<(Arc<str>, u64)> {
        let live = self.live();
        let (bytes, largest) =
            live.iter().filter_map(|reins| Some((size(reins.pid)?, reins))).max_by_key(|(bytes, _)| *bytes)?;
        largest.end_for_memory();
        Some((largest.label.get(), bytes))
    }

    fn live(&self) -> std::sync::MutexGuard<'_, Vec<Reins>> {
        // Entries are put in and taken out whole.
        let mut live = self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        live.retain(Reins::is_alive);
        live
    }

    /// What confines workers of `program`.
    pub fn confinement(&self, program: Program) -> &Confinement {
        match program {
            Program::Ingest => &self.confinements.ingest,
            Program::Engine => &self.confinements.engine,
        }
    }

    async fn order(&self, program: Program, label: &str) -> Result<Worker> {
        let (done, result) = oneshot::channel();
        let gone = || Error::internal("the spawning thread has ended");
        self.orders.send(Order { program, label: label.into(), done }).map_err(|_| gone())?;
        let worker = result
            .await
            .map_err(|_| gone())?
            .map_err(|error| Error::unavailable(format!("cannot start a worker ({program:?})")).with_source(error))?;
        self.live().push(worker.reins());
        // A worker that is gone says so when it is read.
        let _ = worker.send(ToWorker::Confine(self.confinement(program).clone()), Bytes::new()).await;
        Ok(worker)
    }
}

fn spawn(
    programs: &Programs,
    environment: &[(OsString, OsString)],
    program: Program,
    label: Arc<str>,
) -> std::io::Result<Worker> {
    let (own, theirs) = std::os::unix::net::UnixStream::pair()?;
    own.set_nonblocking(true)?;
    let (path, arguments) = programs.command(program);
    let mut child = tokio::process::Command::new(path)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let label = Label::new(label);
    let refused = Refused::default();
    let pipe = child.stderr.take();
    let lines = pipe.map(|pipe| {
        tokio::spawn(stderr::log_lines(pipe, child.id().unwrap_or_default(), label.clone(), refused.clone()))
    });
    Ok(Worker::new(child, tokio::net::UnixStream::from_std(own)?, label, Words { lines, refused }))
}
