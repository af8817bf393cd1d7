//! Asks and tries a device in a worker of its own: drivers abort, segfault and hang, and only the worker pays.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

use crate::link::{Capability, FromWorker, Program, Role, Spawner, ToWorker, Worker, WorkerEvent};
use crate::plan::{DeviceError, DeviceTable};

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

/// Tries what the node at `path` is said to be good for.
pub(super) async fn trials(spawner: &Arc<Spawner>, path: &str, capabilities: Vec<Capability>) -> Trials {
    let mut trials = Trials::default();
    let mut worker = match begin(spawner, path, Role::Trial { device: path.to_owned(), capabilities }).await {
        Ok(worker) => worker,
        Err(reason) => return Trials { cut_short: Some(reason), ..trials },
    };
    loop {
        match next(&mut worker, TRIAL_PATIENCE).await {
            Heard::Message(FromWorker::Ready) => {}
            Heard::Message(FromWorker::Tried { capability, failure }) => {
                trials.tried.push(Tried { capability, failure })
            }
            Heard::Message(FromWorker::TrialsDone) => return trials,
            Heard::Message(FromWorker::Failed { message, .. }) => {
                return Trials { cut_short: Some(message), ..trials };
            }
            Heard::Message(_) => return Trials { cut_short: Some("the worker said something else".into()), ..trials },
            Heard::End(how) => {
                let reason = format!("the trial's worker ended ({how})");
                return Trials { cut_short: Some(reason), ..trials };
            }
        }
    }
}

/// What a driver says goes to terminals and logs.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(LONGEST_NAME).collect()
}

async fn begin(spawner: &Arc<Spawner>, path: &str, role: Role) -> Result<Worker, String> {
    let worker = spawner.worker(Program::Engine, path).await.map_err(|error| error.chain())?;
    // A worker that is gone says so when it is read.
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
