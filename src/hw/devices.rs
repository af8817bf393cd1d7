//! Every device of this machine: found, asked, tried, and remembered.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::ask::{Answer, Trials, probe};
use super::breaker::{Breaker, BreakerSettings};
use super::clocks::Clocks;
use super::device::{Device, gpu_report, worth_trying};
use super::nodes::{Gpu, Node, OwnIds, Roots};
use super::remedy::{Trouble, explain, not_probed};
use super::report::{DeviceReport, DevicesReport};
use super::trials::trials;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Events;
use crate::link::Spawner;
use crate::metrics::Metrics;
use crate::plan::{self, Capabilities, DeviceChoice, DeviceError, DeviceTable};

/// How long trials count. Firmware and kernels do not change under a running process, but GPUs break.
const EXPIRY: Duration = Duration::from_secs(24 * 3600);
/// How often devices are looked for: some files are read in sysfs.
const LOOK: Duration = Duration::from_secs(5);
/// How often a device in trouble is asked again.
const RETRY: Duration = Duration::from_secs(300);

/// The devices, shared by all who plan.
#[derive(Debug)]
pub struct Devices {
    pub(super) spawner: Arc<Spawner>,
    roots: Roots,
    state: Mutex<State>,
    /// Devices are asked one at a time.
    pub(super) asking: tokio::sync::Mutex<()>,
    pub(super) breaker_settings: BreakerSettings,
    pub(super) events: Arc<Events>,
    /// Wakes whoever plans when something has changed that plans are made from.
    pub(super) changed: watch::Sender<()>,
    /// Devices are to be looked for at once.
    pub(super) nudge: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    choice: DeviceChoice,
    pub(super) devices: Vec<Device>,
    /// Of devices that are gone; they may come back.
    breakers: HashMap<String, Breaker>,
    without_node: Vec<Gpu>,
    trials: HashMap<TrialKey, (Instant, Trials)>,
}

/// What trials count for: a device and the very driver that they were made with. The kernel cannot change while this
/// process lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TrialKey {
    /// PCI address, or the path where there is none.
    device: String,
    va_driver: Option<String>,
    vendor_string: String,
}

/// How a device is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Trials that still count are taken over.
    Remembered,
    /// Everything is tried again.
    Anew,
}

/// A stream's work on a device; the device is the less loaded once this is dropped.
#[derive(Debug)]
pub struct Lease(Arc<AtomicUsize>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Devices {
    /// None known yet: [`Devices::look`] finds them.
    pub fn new(
        spawner: Arc<Spawner>,
        roots: Roots,
        choice: DeviceChoice,
        breaker_settings: BreakerSettings,
        events: Arc<Events>,
    ) -> Arc<Self> {
        let state = Mutex::new(State { choice, ..State::default() });
        let (asking, changed, nudge) = (tokio::sync::Mutex::default(), watch::Sender::new(()), Notify::new());
        Arc::new(Self { spawner, roots, state, asking, breaker_settings, events, changed, nudge })
    }

    /// Wakes when something has changed that plans are made from.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Follows `hardware.device` of the configuration.
    pub fn choose(&self, choice: DeviceChoice) {
        self.state().choice = choice;
        self.changed.send_replace(());
    }

    /// What plans are made from, as of now.
    pub fn capabilities(&self) -> Capabilities {
        let state = self.state();
        let devices = state.devices.iter().map(Device::capabilities).collect();
        Capabilities { devices, choice: state.choice.clone() }
    }

    /// Everything, as the API shows it.
    pub fn report(&self) -> DevicesReport {
        let state = self.state();
        let nodes = state.devices.iter().map(Device::report);
        DevicesReport { devices: nodes.chain(state.without_node.iter().map(gpu_report)).collect() }
    }

    /// The render nodes that were found.
    pub fn nodes(&self) -> Vec<Node> {
        self.state().devices.iter().filter_map(|device| device.node.clone()).collect()
    }

    /// Sets the series of every device: whether it is usable, and its GPU's clocks.
    pub fn show(&self, metrics: &Metrics) {
        // A device that is gone leaves no gauge behind.
        metrics.device_usable.reset();
        metrics.device_breaker.reset();
        metrics.gpu_frequency.reset();
        for device in &self.state().devices {
            let usable = device.capabilities().is_usable();
            metrics.device_usable.with_label_values(&[&device.path]).set(usable.into());
            for name in plan::Breaker::NAMES {
                let value = i64::from(device.breaker.state().name() == name);
                metrics.device_breaker.with_label_values(&[device.path.as_str(), name]).set(value);
            }
            if let Some(node) = &device.node {
                Clocks::read(&node.sysfs).show(&device.path, metrics);
            }
        }
    }

    /// The VA driver that libva loaded for the device at `path`.
    pub fn va_driver(&self, path: &str) -> Option<String> {
        let state = self.state();
        let device = state.devices.iter().find(|device| device.path == path)?;
        device.table.as_ref().ok()?.va_driver.clone()
    }

    /// Counts a stream on the device at `path` until the lease is dropped.
    pub fn lease(&self, path: &str) -> Option<Lease> {
        let load = self.state().devices.iter().find(|device| device.path == path)?.load.clone();
        load.fetch_add(1, Ordering::Relaxed);
        Some(Lease(load))
    }

    /// Looks for devices again and again, and asks those that are new, changed, in trouble, or were tried long ago.
    pub async fn watch(self: Arc<Self>, cancel: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK.min(self.breaker_settings.canary_every));
        ticks.tick().await;
        let forever = async {
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = self.nudge.notified() => {}
                }
                self.look().await;
                self.try_canaries().await;
            }
        };
        cancel.run_until_cancelled(forever).await;
    }

    /// Looks for devices once.
    pub async fn look(&self) {
        let _one_at_a_time = self.asking.lock().await;
        let chosen = match &self.state().choice {
            DeviceChoice::Path(path) => Some(PathBuf::from(path)),
            DeviceChoice::Auto | DeviceChoice::Pci(_) => None,
        };
        let found = self.roots.discover(chosen.as_deref());
        let missing = chosen.filter(|path| !found.nodes.iter().any(|node| node.path == *path));
        let nodes: Vec<_> = found
            .nodes
            .into_iter()
            .map(|node| (node.path.to_string_lossy().into_owned(), Some(node)))
            .chain(missing.map(|path| (path.to_string_lossy().into_owned(), None)))
            .collect();
        {
            let mut state = self.state();
            let State { devices, breakers, .. } = &mut *state;
            let is_here = |device: &Device| nodes.iter().any(|(path, _)| *path == device.path);
            for gone in devices.extract_if(.., |device| !is_here(device)) {
                tracing::warn!(device = gone.path, "the device is gone");
                breakers.insert(gone.path, gone.breaker);
                self.changed.send_replace(());
            }
            state.without_node = found.without_node;
        }
        for (path, node) in nodes {
            if !self.is_known(&path, node.as_ref()) {
                self.ask(path, node, Ask::Remembered).await;
            }
        }
    }

    /// Asks the device called `name` (`renderD128`, or its PCI address) and tries everything again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; the message lists those there are.
    pub async fn try_again(&self, name: &str) -> Result<DeviceReport> {
        let _one_at_a_time = self.asking.lock().await;
        let (path, node) = self.find(name)?;
        self.ask(path.clone(), node, Ask::Anew).await;
        self.report_of(&path, name)
    }

    /// The path and node of the device called `name`.
    pub(super) fn find(&self, name: &str) -> Result<(String, Option<Node>)> {
        let found = self.state().devices.iter().find_map(|device| {
            let pci = device.node.as_ref().and_then(|node| node.gpu.pci.as_ref());
            let is_it = device.node_name() == name || pci.is_some_and(|pci| pci.to_string() == name);
            is_it.then(|| (device.path.clone(), device.node.clone()))
        });
        found.ok_or_else(|| self.no_such_device(name))
    }

    pub(super) fn report_of(&self, path: &str, name: &str) -> Result<DeviceReport> {
        let report = self.state().devices.iter().find(|device| device.path == path).map(Device::report);
        report.ok_or_else(|| self.no_such_device(name))
    }

    fn no_such_device(&self, name: &str) -> Error {
        let state = self.state();
        let names: Vec<&str> = state.devices.iter().map(Device::node_name).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Error::new(ErrorKind::NotFound, format!("there is no device '{name}' here; there are: {known}"))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what is known of a device still holds.
    fn is_known(&self, path: &str, node: Option<&Node>) -> bool {
        let state = self.state();
        let Some(device) = state.devices.iter().find(|device| device.path == path) else { return false };
        let holds = if device.table.is_ok() { EXPIRY } else { RETRY };
        device.node.as_ref() == node && device.asked.elapsed() < holds
    }

    async fn ask(&self, path: String, node: Option<Node>, how: Ask) {
        let table = self.table(&path, node.as_ref()).await;
        let mut device = Device::new(path, node, table);
        if let Ok(table) = &device.table {
            let trials = self.trials(&device, table, how).await;
            device.apply(&trials);
        }
        log(&device);
        let mut state = self.state();
        match state.devices.iter_mut().find(|known| known.path == device.path) {
            Some(known) => {
                device.load = known.load.clone();
                device.breaker = known.breaker.clone();
                *known = device;
            }
            None => {
                device.breaker = state.breakers.remove(&device.path).unwrap_or_default();
                state.devices.push(device);
            }
        }
        state.devices.sort_by(|a, b| a.path.cmp(&b.path));
        drop(state);
        self.changed.send_replace(());
    }

    async fn table(&self, path: &str, node: Option<&Node>) -> Result<DeviceTable, Trouble> {
        let error = if node.is_some() {
            match probe(&self.spawner, path).await {
                Answer::Table(table) => return Ok(table),
                Answer::Trouble(error) => error,
                Answer::NotAsked(reason) => return Err(not_probed(&reason)),
            }
        } else {
            match rustix::fs::stat(Path::new(path)) {
                Ok(_) => DeviceError::NotDrm,
                Err(errno) => DeviceError::Open { errno: errno.raw_os_error() },
            }
        };
        Err(explain(&error, path, node, &OwnIds::now()))
    }

    async fn trials(&self, device: &Device, table: &DeviceTable, how: Ask) -> Trials {
        let pci = device.node.as_ref().and_then(|node| node.gpu.pci.as_ref());
        let key = TrialKey {
            device: pci.map_or_else(|| device.path.clone(), ToString::to_string),
            va_driver: table.va_driver.clone(),
            vendor_string: table.vendor_string.clone(),
        };
        if let Some((at, trials)) = self.state().trials.get(&key).filter(|_| how == Ask::Remembered)
            && at.elapsed() < EXPIRY
        {
            return trials.clone();
        }
        let trials = trials(&self.spawner, &device.path, worth_trying(table)).await;
        self.state().trials.insert(key, (Instant::now(), trials.clone()));
        trials
    }
}

fn log(device: &Device) {
    match &device.table {
        Ok(table) => tracing::info!(
            device = device.path,
            vendor = table.vendor_string,
            usable = device.capabilities().is_usable(),
            "{}",
            device.name()
        ),
        Err(trouble) => tracing::warn!(device = device.path, "{}", trouble.message),
    }
}
