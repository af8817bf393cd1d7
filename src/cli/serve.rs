//! `camshaft serve`: configuration in, streams and servers up, and down again in order.

mod files;
mod identity;
mod memory;
mod servers;
mod tokens;
mod users;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::check::{Level, Machine};
use super::logs;
use crate::auth::Doors;
use crate::config::{self, Config, Recovery, SandboxMode, StreamDefaults, Workers};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::hw::{BreakerSettings, Devices, Roots};
use crate::job::Jobs;
use crate::link::{Programs, Spawner};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::plan::Policy;
use crate::sandbox::{self, ConfineError};
use crate::stream::{Context, Streams};
pub(super) use files::Files;
pub(super) use identity::read as read_identity;

/// How long the start waits for the devices' trials; they take some seconds.
const DEVICES_PATIENCE: Duration = Duration::from_secs(15);

/// Run the service.
///
/// Ends with 0 once a signal has ended it in good order, 1 if it cannot start or work was left when it ended, 2 if it was
/// called wrongly. SIGHUP reads the configuration again; SIGTERM ends it, a second one at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  camshaft serve --config camshaft.yaml
  CAMSHAFT_SERVER_HTTP=0.0.0.0:8080 CAMSHAFT_SERVER_OPEN_TO_NETWORK=true camshaft serve --config camshaft.yaml --log-format json")]
pub struct Args {
    /// The configuration; `conf.d/*.yaml` beside it is read as well. Both are watched for changes.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How log lines are written.
    #[arg(long, value_enum, default_value = "text")]
    log_format: logs::Format,
}

/// Runs until a signal ends it.
///
/// # Errors
/// If the configuration is wrong (every mistake is named), an address is taken, or the engine is missing.
pub fn run(args: Args) -> Result<ExitCode> {
    logs::start(args.log_format, logs::SERVICE);
    forbid_cores();
    raise_descriptors();
    let files = Files::new(args.config);
    let config = files.load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("camshaft")
        .build()
        .map_err(|error| Error::internal("cannot start the runtime").with_source(error))?;
    let code = runtime.block_on(Service::start(files, config))?;
    // Whatever still blocks a thread must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(code)
}

/// Every password of the configuration is in this process's memory, which must not be left in a file.
fn forbid_cores() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core files cannot be forbidden: they would hold passwords");
    }
}

/// The running service.
struct Service {
    files: Files,
    config: Config,
    streams: Arc<Streams>,
    jobs: Arc<Jobs>,
    spawner: Arc<Spawner>,
    devices: Arc<Devices>,
    metrics: Arc<Metrics>,
    events: Arc<Events>,
    /// What streams made by request are given; follows the configuration.
    defaults: watch::Sender<StreamDefaults>,
    ready: watch::Sender<bool>,
    /// Whom the servers let in.
    doors: Doors,
    /// Ends servers and housekeeping.
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Service {
    async fn start(files: Files, config: Config) -> Result<ExitCode> {
        let signals = Signals::listen()?;
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        let network = tokens::access(config.server.token_file.as_deref(), &cancel, &tasks)?;
        let doors = Doors { network, socket: users::users(config.server.unix_users.as_deref())? };
        warn_of_the_machine(&config);
        check_sandbox(&config.workers)?;
        let confinements = config.workers.confinements(&config.limits);
        let spawner = Spawner::start(Programs::find()?, worker_environment(), confinements)?;
        let (metrics, events) = (Arc::new(Metrics::new()), Arc::new(Events::default()));
        let (breaker, choice) = (breaker_settings(&config.hardware.recovery), config.hardware.device.clone());
        let devices = Devices::new(spawner.clone(), Roots::default(), choice, breaker, events.clone());
        let (limits, recovery) = (config.limits.clone(), config.hardware.recovery.clone());
        let memory = Memory::new(memory::thresholds(&limits), metrics.clone());
        let (spawning, known) = (spawner.clone(), devices.clone());
        let context = Context::new(spawning, known, events.clone(), metrics.clone(), memory, limits, recovery);
        let context = Arc::new(context);
        let (admission, limits) = (context.admission.clone(), context.limits.clone());
        tasks.spawn(memory::watch(limits.clone(), spawner.clone(), admission.clone(), cancel.clone()));
        let jobs = Jobs::new(spawner.clone(), devices.clone(), admission, metrics.clone(), limits);
        let streams = Streams::new(context);
        let (ready, is_ready) = watch::channel(false);
        let service = Self {
            defaults: watch::Sender::new(config.defaults.clone()),
            files,
            config,
            streams,
            jobs,
            spawner,
            devices,
            metrics,
            events,
            ready,
            doors,
            cancel,
            tasks,
        };
        service.show_policy();
        let bound = service.open_servers(is_ready).await?;
        service.spawner.prepare_spare().await;
        service.look_for_devices().await;
        service.streams.apply(service.config.streams.clone()).await?;
        service.tasks.spawn(service.streams.clone().watch_leases(service.cancel.clone()));
        // From before it is ready: a change made the moment after must not be missed.
        let (_watcher, changed) = service.watch_files();
        service.ready.send_replace(true);
        bound.say_ready();
        Ok(service.run(signals, changed).await)
    }

    /// Streams start where they will stay: on the hardware, if it proves itself within this time.
    async fn look_for_devices(&self) {
        let (devices, cancel) = (self.devices.clone(), self.cancel.clone());
        let looking = self.tasks.spawn(async move { cancel.run_until_cancelled(devices.look()).await.is_some() });
        if tokio::time::timeout(DEVICES_PATIENCE, looking).await.is_err() {
            tracing::warn!("the devices are still being tried; streams start in software");
        }
        self.tasks.spawn(self.devices.clone().watch(self.cancel.clone()));
    }

    async fn run(mut self, mut signals: Signals, mut changed: Option<mpsc::Receiver<()>>) -> ExitCode {
        loop {
            let change = async {
                match &mut changed {
                    Some(changed) => changed.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Stop => break,
                    Asked::Reload => self.reload().await,
                },
                Some(()) = change => self.reload().await,
            }
        }
        self.stop(signals).await
    }

    fn show_policy(&self) {
        for (name, policy) in Policy::ALL {
            let value = i64::from(policy == self.config.hardware.policy);
            self.metrics.hardware_policy.with_label_values(&[name]).set(value);
        }
    }

    fn watch_files(&self) -> (Option<config::Watcher>, Option<mpsc::Receiver<()>>) {
        match config::watch(&self.files.watched()) {
            Ok((watcher, changed)) => (Some(watcher), Some(changed)),
            Err(error) => {
                tracing::warn!(%error, "the configuration is not watched; send SIGHUP after changing it");
                (None, None)
            }
        }
    }

    /// Reads the configuration again; an invalid one changes nothing.
    async fn reload(&mut self) {
        let config = match self.files.load() {
            Ok(config) => config,
            Err(error) => {
                self.metrics.config_loads.with_label_values(&["refused"]).inc();
                tracing::error!("the configuration is left as it was: {}", error.chain());
                return;
            }
        };
        if config == self.config {
            return;
        }
        if config.server != self.config.server
            || config.limits != self.config.limits
            || config.workers != self.config.workers
            || config.hardware.recovery != self.config.hardware.recovery
        {
            tracing::warn!(
                "changes to 'server', 'limits', 'workers' and to 'hardware' other than its policy and device take effect \
                 at the next start"
            );
        }
        if config.hardware.device != self.config.hardware.device {
            let (devices, cancel) = (self.devices.clone(), self.cancel.clone());
            devices.choose(config.hardware.device.clone());
            self.tasks.spawn(async move { cancel.run_until_cancelled(devices.look()).await.is_some() });
        }
        self.metrics.config_loads.with_label_values(&["applied"]).inc();
        match self.streams.apply(config.streams.clone()).await {
            Ok(()) => tracing::info!("the configuration was reloaded"),
            Err(error) => {
                tracing::error!(error = error.chain(), "not every stream of the configuration could be started")
            }
        }
        self.defaults.send_replace(config.defaults.clone());
        self.config = config;
        self.show_policy();
    }

    /// Ends in order: not ready, no new requests, streams and their workers, servers.
    async fn stop(self, mut signals: Signals) -> ExitCode {
        tracing::info!("stopping");
        self.ready.send_replace(false);
        self.cancel.cancel();
        self.tasks.close();
        let (streams, spawner, tasks) = (self.streams.clone(), self.spawner.clone(), self.tasks.clone());
        let orderly = async move {
            streams.stop().await;
            spawner.dismiss_spare().await;
            tasks.wait().await;
        };
        tokio::select! {
            () = orderly => {
                tracing::info!("stopped");
                ExitCode::SUCCESS
            }
            () = tokio::time::sleep(self.config.limits.drain) => {
                tracing::error!("not everything ended within {:?}; leaving all the same", self.config.limits.drain);
                ExitCode::FAILURE
            }
            () = signals.stop() => {
                tracing::warn!("second signal: leaving at once");
                ExitCode::FAILURE
            }
        }
    }
}

/// As many descriptors as it may have: the usual 1024 are fewer than the connections and workers that limits allow.
/// Workers lower their own.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, current = limit.current, "the limit on open descriptors cannot be raised");
    }
}

/// Says at once what `camshaft check` says of this machine; devices speak for themselves once they were tried.
fn warn_of_the_machine(config: &Config) {
    let findings = Machine::read().findings(&config.limits, config.streams.len());
    for finding in findings.iter().filter(|finding| finding.level != Level::Ok) {
        tracing::warn!(subject = finding.subject, "{}", finding.message);
    }
}

/// Refuses to start where every worker would refuse to work, rather than fail camera by camera.
fn check_sandbox(workers: &Workers) -> Result<()> {
    match workers.sandbox {
        SandboxMode::Enforce if !sandbox::is_landlock_there() => {
            Err(Error::unavailable(ConfineError::NoLandlock.to_string()))
        }
        SandboxMode::Degrade if !sandbox::is_landlock_there() => {
            tracing::warn!("this kernel has no Landlock: workers run without that layer, as workers.sandbox allows");
            Ok(())
        }
        SandboxMode::Enforce | SandboxMode::Degrade => Ok(()),
        SandboxMode::Off => {
            tracing::warn!("workers run without a sandbox, as workers.sandbox says");
            Ok(())
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen =
            |kind| signal(kind).map_err(|error| Error::internal("cannot listen for signals").with_source(error));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next signal.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// The next signal to stop.
    async fn stop(&mut self) {
        while self.next().await == Asked::Reload {}
    }
}

fn breaker_settings(recovery: &Recovery) -> BreakerSettings {
    BreakerSettings {
        streams: recovery.breaker_streams as usize,
        window: recovery.breaker_window,
        canary_every: recovery.canary_every,
    }
}

/// What workers see of the environment: what chooses the VA driver, nothing else.
pub(super) fn worker_environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LIBVA_")).collect()
}
