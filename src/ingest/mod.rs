//! What runs in `camshaft worker ingest`: one camera's RTSP session, turned into packets on the link; or another source's
//! bytes, which an engine takes apart.
//!
//! ```text
//! supervisor ──Begin(task)──▶ serve ─▶ camera::open (RTSP handshake) ─▶ Relay (packets, times, losses) ──▶ supervisor
//!                         └─▶ fetch::run ─▶ HTTP, a file or the link ─▶ bytes, or pictures ───────────────▶ supervisor
//!                                      └─▶ tunnel (TCP or TLS to a camera) ◀─▶ an engine that speaks RTSP itself
//! ```
//!
//! Everything that the camera sends is parsed here and nowhere else. What the parser may cost is bounded from outside:
//! by the process's memory limit, which ends it, and by deadlines, after which the worker reports
//! [`FromWorker::Failed`] and ends.

mod camera;
mod clock;
mod failure;
mod fetch;
mod jpeg;
mod relay;
mod sandbox;
mod timeline;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use retina::client::SessionGroup;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::time::timeout;

use crate::link::wire::{receive, receive_async, send, send_async};
use crate::link::{FetchTask, FromWorker, IngestTask, Role, ToWorker};
use crate::sandbox::{Confinement, Needs};
use failure::End;
use relay::Relay;

/// How long the camera may take to answer the TEARDOWN of a worker that is about to end.
const TEARDOWN: Duration = Duration::from_secs(1);

/// The whole life of an ingest worker, with the supervisor's link as standard input. Prints nothing: what there is to
/// say goes over the link, and without a link there is nobody to tell.
pub fn run() -> ExitCode {
    match serve_standard_input() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What the worker is to be.
enum Task {
    /// A camera's RTSP session.
    Camera(IngestTask),
    /// Bytes from elsewhere.
    Fetch(FetchTask),
}

fn serve_standard_input() -> io::Result<()> {
    sandbox::die_with_parent()?;
    let mut link = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (confinement, task) = receive_task(&mut link)?;
    // Makes sockets of its own, which the sandbox forbids, but no thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    match task {
        Task::Fetch(task) => fetch::run(link, &confinement, task, &runtime),
        Task::Camera(task) => {
            let addresses = match sandbox::enter(&confinement, &task.url, &task.reach, |port| Needs::Camera { port }) {
                Ok((confined, addresses)) => {
                    send(&mut link, &FromWorker::Confined(confined), &[])?;
                    addresses
                }
                Err(failure) => return send(&mut link, &failure.into_message(task.password.as_deref()), &[]),
            };
            link.set_nonblocking(true)?;
            runtime.block_on(async { serve(UnixStream::from_std(link)?, task, &addresses).await })
        }
    }
}

/// The task, and what is to confine the process before it begins.
fn receive_task(link: &mut StdUnixStream) -> io::Result<(Confinement, Task)> {
    let mut confinement = Confinement::default();
    loop {
        match receive(link)? {
            Some((ToWorker::Confine(wanted), _)) => confinement = wanted,
            Some((ToWorker::Begin(Role::Ingest(task)), _)) => return Ok((confinement, Task::Camera(task))),
            Some((ToWorker::Begin(Role::Fetch(task)), _)) => return Ok((confinement, Task::Fetch(task))),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "an ingest worker begins with its task")),
        }
    }
}

/// Fetches the camera at one of `addresses`, until [`ToWorker::Stop`], the link's end or the camera's failure.
///
/// # Errors
/// Those of the link.
async fn serve(link: UnixStream, task: IngestTask, addresses: &[SocketAddr]) -> io::Result<()> {
    let (mut from_supervisor, mut to_supervisor) = link.into_split();
    send_async(&mut to_supervisor, &FromWorker::Ready, &[]).await?;
    let sessions = Arc::new(SessionGroup::default());
    let ended = tokio::select! {
        // Stop, the link's end and a broken link all mean the same.
        _ = receive_async::<ToWorker>(&mut from_supervisor) => Ok(()),
        end = ingest(&task, addresses, &sessions, &mut to_supervisor) => match end {
            End::Failed(failure) => {
                send_async(&mut to_supervisor, &failure.into_message(task.password.as_deref()), &[]).await
            }
            End::Link(error) => Err(error),
        },
    };
    // The camera was dropped by now, which starts its TEARDOWN; a camera that does not answer is left alone.
    let _ = timeout(TEARDOWN, sessions.await_teardown()).await;
    ended
}

/// Fetches `task`'s camera until something ends it.
async fn ingest(
    task: &IngestTask,
    addresses: &[SocketAddr],
    sessions: &Arc<SessionGroup>,
    link: &mut OwnedWriteHalf,
) -> End {
    match camera::open(task, addresses, sessions).await {
        Ok(camera) => Relay::new(camera, link).run(task).await,
        Err(failure) => End::Failed(failure),
    }
}

#[cfg(test)]
mod tests;
