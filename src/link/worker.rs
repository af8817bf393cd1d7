//! A running worker, seen from the supervisor: a mailbox each way, and how it ended.

use bytes::Bytes;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::stderr::{Label, Refused, Words};
use super::{FromWorker, ToWorker, wire};
use crate::sandbox::{Confined, SystemCall};

/// Messages queued towards a worker; what does not fit waits at its source, where it can be dropped sensibly.
const OUTBOX: usize = 8;
/// Messages queued from a worker; its owner takes them as they come.
const INBOX: usize = 16;
/// How long a worker's standard error is read after its end.
const LAST_WORDS: Duration = Duration::from_secs(1);
const SIGSYS: i32 = rustix::process::Signal::SYS.as_raw();

/// How an end in good order is described.
const SUCCESS: &str = "exit code 0";

/// A worker process. Dropping it kills the process.
#[derive(Debug)]
pub struct Worker {
    /// The process id.
    pub pid: u32,
    /// Messages to the worker.
    pub outbox: mpsc::Sender<Outgoing>,
    inbox: mpsc::Receiver<Incoming>,
    exit: oneshot::Receiver<Exit>,
    kill: CancellationToken,
    label: Label,
    confined: Arc<OnceLock<Confined>>,
    refused: Refused,
    for_memory: Arc<AtomicBool>,
    _kill_on_drop: DropGuard,
}

/// A message to a worker with its payload.
pub type Outgoing = (ToWorker, Bytes);

type Incoming = (FromWorker, Bytes);

/// Something that a worker did.
#[derive(Debug)]
pub enum WorkerEvent {
    /// It said something; media bytes are in the payload.
    Message(FromWorker, Bytes),
    /// It ended; nothing follows.
    Exited(Exit),
}

/// How a worker ended, for people: `exit code 1`, `killed by signal 9 (KILL)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What happened.
    pub description: String,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// It was ended to get its memory back.
    pub for_memory: bool,
}

/// Ends a worker that belongs to somebody else.
#[derive(Clone, Debug)]
pub(super) struct Reins {
    pub pid: u32,
    pub label: Label,
    kill: CancellationToken,
    for_memory: Arc<AtomicBool>,
}

impl Reins {
    /// Whether the process may still be running.
    pub fn is_alive(&self) -> bool {
        !self.kill.is_cancelled()
    }

    /// SIGKILL, for want of memory.
    pub fn end_for_memory(&self) {
        self.for_memory.store(true, Ordering::Relaxed);
        self.kill.cancel();
    }
}

impl Exit {
    /// Whether it ended in good order.
    pub fn is_success(&self) -> bool {
        self.description == SUCCESS
    }
}

impl Worker {
    pub(super) fn new(child: Child, socket: UnixStream, label: Label, words: Words) -> Self {
        let pid = child.id().unwrap_or_default();
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        let (incoming, inbox) = mpsc::channel(INBOX);
        let (exited, exit) = oneshot::channel();
        let kill = CancellationToken::new();
        let (reader, writer) = socket.into_split();
        tokio::spawn(write(writer, outgoing));
        let (confined, refused) = (Arc::<OnceLock<Confined>>::default(), words.refused.clone());
        tokio::spawn(read(reader, Inbox { incoming, confined: confined.clone() }, kill.clone()));
        let for_memory = Arc::<AtomicBool>::default();
        tokio::spawn(reap(child, kill.clone(), for_memory.clone(), words, exited));
        let guard = kill.clone().drop_guard();
        Self { pid, outbox, inbox, exit, kill, label, confined, refused, for_memory, _kill_on_drop: guard }
    }

    /// What the worker says next, or how it ended. Cancel-safe.
    pub async fn next(&mut self) -> WorkerEvent {
        match self.inbox.recv().await {
            Some((message, payload)) => WorkerEvent::Message(message, payload),
            None => {
                // The link is closed: nothing more can come of the process, should it still run.
                self.kill.cancel();
                let unknown = || Exit { description: "ended".into(), signal: None, for_memory: false };
                let exit = if self.exit.is_terminated() {
                    unknown()
                } else {
                    (&mut self.exit).await.unwrap_or_else(|_| unknown())
                };
                WorkerEvent::Exited(exit)
            }
        }
    }

    /// Queues a message, waiting for room; an error means that the worker is gone, which [`Self::next`] tells in full.
    pub async fn send(&self, message: ToWorker, payload: Bytes) -> Result<(), WorkerGone> {
        self.outbox.send((message, payload)).await.map_err(|_| WorkerGone)
    }

    /// Whether the process may still be running.
    pub fn is_alive(&self) -> bool {
        !self.outbox.is_closed() && !self.kill.is_cancelled()
    }

    /// A way to end it for those who do not own it.
    pub(super) fn reins(&self) -> Reins {
        let (label, kill, for_memory) = (self.label.clone(), self.kill.clone(), self.for_memory.clone());
        Reins { pid: self.pid, label, kill, for_memory }
    }

    /// What holds the worker, once it has said so.
    pub fn confined(&self) -> Option<&Confined> {
        self.confined.get()
    }

    /// What the worker says that its sandbox refused: a system call's name, and the path of an open. Whole once it has
    /// ended.
    pub fn refused(&self) -> Vec<String> {
        self.refused.get()
    }

    /// Says in the log whose lines the worker's standard error are.
    pub fn set_label(&self, label: impl Into<Arc<str>>) {
        self.label.set(label.into());
    }

    /// SIGKILL: a driver that hangs ignores everything else.
    pub fn kill(&self) {
        self.kill.cancel();
    }

    /// Asks the worker to end and gives it `grace` before it is killed. Returns once it is gone.
    pub async fn stop(mut self, grace: Duration) {
        let polite = async {
            let _ = self.send(ToWorker::Stop, Bytes::new()).await;
            while !matches!(self.next().await, WorkerEvent::Exited(_)) {}
        };
        if tokio::time::timeout(grace, polite).await.is_err() {
            self.kill();
            while !matches!(self.next().await, WorkerEvent::Exited(_)) {}
        }
    }
}

/// The worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerGone;

async fn write(mut socket: tokio::net::unix::OwnedWriteHalf, mut outgoing: mpsc::Receiver<Outgoing>) {
    while let Some((message, payload)) = outgoing.recv().await {
        if wire::send_async(&mut socket, &message, &payload).await.is_err() {
            return;
        }
    }
}

/// Where messages go.
struct Inbox {
    incoming: mpsc::Sender<Incoming>,
    confined: Arc<OnceLock<Confined>>,
}

async fn read(mut socket: tokio::net::unix::OwnedReadHalf, inbox: Inbox, kill: CancellationToken) {
    loop {
        match wire::receive_async(&mut socket).await {
            // Whoever says it twice is not believed.
            Ok(Some((FromWorker::Confined(confined), _))) => _ = inbox.confined.set(confined),
            Ok(Some(message)) => {
                if inbox.incoming.send(message).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            // It died with messages of ours unread.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => {
                tracing::warn!(%error, "a worker broke the link's protocol and is ended");
                kill.cancel();
                return;
            }
        }
    }
}

async fn reap(
    mut child: Child,
    kill: CancellationToken,
    for_memory: Arc<AtomicBool>,
    words: Words,
    exited: oneshot::Sender<Exit>,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        () = kill.cancelled() => {
            // Fails only if the process is gone already.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    if let Some(lines) = words.lines {
        // Its last words say why. The pipe ends with the process, but for one that has handed it on.
        let _ = tokio::time::timeout(LAST_WORDS, lines).await;
    }
    // Its process id may be somebody else's from now on.
    kill.cancel();
    let for_memory = for_memory.load(Ordering::Relaxed);
    let exit = match status {
        Ok(status) if for_memory => Exit {
            description: "ended because the service ran short of memory".into(),
            signal: status.signal(),
            for_memory,
        },
        Ok(status) => Exit { description: describe(status, &words.refused.get()), signal: status.signal(), for_memory },
        Err(error) => Exit { description: format!("cannot be waited for: {error}"), signal: None, for_memory },
    };
    let _ = exited.send(exit);
}

fn describe(status: ExitStatus, refused: &[String]) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => {
            let known = rustix::process::Signal::from_named_raw(signal).map(|signal| format!("{signal:?}"));
            // rustix prints `"Signal::KILL"`, quotes included.
            let name = known.as_deref().and_then(|text| text.trim_matches('"').rsplit("::").next());
            // Metrics have this as a label: only names that exist.
            let call = refused.last().and_then(|words| words.split(' ').next()?.parse::<SystemCall>().ok());
            let why = match (signal == SIGSYS, call) {
                (false, _) => String::new(),
                (true, Some(call)) => format!(": its sandbox does not allow {call}"),
                (true, None) => ": a system call that its sandbox does not allow".into(),
            };
            format!("killed by signal {signal}{}{why}", name.map(|name| format!(" ({name})")).unwrap_or_default())
        }
        (None, None) => "ended".into(),
    }
}
