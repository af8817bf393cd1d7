//! Asks and tries a device in a worker of its own: drivers abort, segfault and hang, and only the worker pays.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

use crate::link::{Capability, FromWorker, Program, Role, Spawner, ToWorker, Worker, WorkerEvent};
use crate::plan::{DeviceError, DeviceTable};
use crate::sandbox::Confinement;

/// A driver that says nothing for this long hangs.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);
/// The same for one trial: some frames decoded, scaled or encoded.
const TRIAL_PATIENCE: Duration = Duration::from_secs(20);

/// The most of what a driver calls itself that is kept, in characters.
const LONGEST_NAME: usize = 200;

/// What came of asking.
pub(super) enum Answer {
    /// The driver's table.
    Table(DeviceTable),
    /// The device's fault.
    Trouble(DeviceError),
    /// Not the device's fault: the worker could not be started, or not be confined.
    NotAsked(String),
}

/// One capability that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    pub capability: Capability,
    /// `None`: it is proved.
    pub failure: Option<String>,
}

/// What came of all trials of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trials {
    pub tried: Vec<Tried>,
    /// Why the trials did not come to their end; stands for every capability that is not in `tried`.
    pub cut_short: Option<String>,
}

impl Trials {
    /// Whether this capability is proved.
    pub fn proves(&self, capability: Capability) -> bool {
        self.tried.iter().any(|tried| tried.capability == capability && tried.failure.is_none())
    }
}

/// Asks the driver of the node at `path` what it can do.
pub(super) async fn probe(spawner: &Arc<Spawner>, path: &str) -> Answer {
    let mut worker = match begin(spawner, path, Role::Probe { device: path.to_owned() }).await {
        Ok(worker) => worker,
        Err(reason) => return Answer::NotAsked(reason),
    };
    match next(&mut worker, PROBE_PATIENCE).await {
        Heard::Message(FromWorker::Probed(Ok(table))) => {
            Answer::Table(DeviceTable { vendor_string: printable(&table.vendor_string), ..table })
        }
        Heard::Message(FromWorker::Probed(Err(error))) => Answer::Trouble(error),
        Heard::Message(FromWorker::Failed { message, .. }) => Answer::NotAsked(message),
        Heard::Message(_) => Answer::NotAsked("the worker answered something else".into()),
        Heard::End(how) => Answer::Trouble(DeviceError::WorkerDied { how }),
    }
}

/// Trials, and what the worker's sandbox refused meanwhile, where it was told to say so.
pub(super) struct Attempt {
    pub trials: Trials,
    pub refused: Vec<String>,
}

/// Tries what the node at `path` is said to be good for, in a worker of this sandbox.
pub(super) async fn attempt(
    spawner: &Arc<Spawner>,
    path: &str,
    capabilities: Vec<Capability>,
    confinement: &Confinement,
) -> Attempt {
    let role = Role::Trial { device: path.to_owned(), capabilities };
    let mut worker = match begin_confined(spawner, path, role, confinement).await {
        Ok(worker) => worker,
        Err(reason) => {
            return Attempt { trials: Trials { cut_short: Some(reason), ..Trials::default() }, refused: vec![] };
        }
    };
    let trials = hear_trials(&mut worker).await;
    Attempt { trials, refused: worker.refused() }
}

async fn hear_trials(worker: &mut Worker) -> Trials {
    let mut tried = Vec::new();
    let mut is_done = false;
    let cut_short = loop {
        match next(worker, TRIAL_PATIENCE).await {
            Heard::Message(FromWorker::Ready) => {}
            Heard::Message(FromWorker::Tried { capability, failure }) => tried.push(Tried { capability, failure }),
            // Its last words are still to come.
            Heard::Message(FromWorker::TrialsDone) => is_done = true,
            Heard::End(_) if is_done => break None,
            Heard::Message(FromWorker::Failed { message, .. }) => break Some(message),
            Heard::Message(_) => break Some("the worker said something else".into()),
            Heard::End(how) => break Some(format!("the trial's worker ended ({how})")),
        }
    };
    Trials { tried, cut_short }
}

/// What a driver says goes to terminals and logs.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(LONGEST_NAME).collect()
}

async fn begin(spawner: &Arc<Spawner>, path: &str, role: Role) -> Result<Worker, String> {
    begin_confined(spawner, path, role, spawner.confinement(Program::Engine)).await
}

async fn begin_confined(
    spawner: &Arc<Spawner>,
    path: &str,
    role: Role,
    confinement: &Confinement,
) -> Result<Worker, String> {
    let worker = spawner.worker(Program::Engine, path).await.map_err(|error| error.chain())?;
    // A worker that is gone says so when it is read.
    let _ = worker.send(ToWorker::Confine(confinement.clone()), Bytes::new()).await;
    let _ = worker.send(ToWorker::Begin(role), Bytes::new()).await;
    Ok(worker)
}

enum Heard {
    Message(FromWorker),
    End(String),
}

async fn next(worker: &mut Worker, patience: Duration) -> Heard {
    match tokio::time::timeout(patience, worker.next()).await {
        Ok(WorkerEvent::Message(message, _)) => Heard::Message(message),
        Ok(WorkerEvent::Exited(exit)) => Heard::End(exit.description),
        Err(_) => Heard::End(format!("no answer for {} s", patience.as_secs())),
    }
}
