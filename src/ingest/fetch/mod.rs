//! Sources that are no RTSP sessions: bytes over HTTP, from a file, or by the link from a client that pushes.
//!
//! A camera that an engine speaks RTSP with is reached through a tunnel. Containers go on as bytes: an engine takes them apart. JPEGs are told from each other here, and go on as pictures.

mod file;
mod http;
mod multipart;
mod pictures;
mod tls;
mod tunnel;

use bytes::Bytes;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::failure::{End, Failure};
use super::sandbox;
use crate::link::wire::{receive_async, send, send_async};
use crate::link::{FailureKind, FetchTask, FromWorker, MAX_CHUNK, Origin, ServerOrigin, ToWorker};
use crate::media::{Container, InputFormat};
use crate::sandbox::{Confined, Confinement, Needs};
use http::{Body, Client};
use multipart::Multipart;
use pictures::Pictures;
use tunnel::Tunnel;

/// What was opened before the sandbox closed.
enum Opened {
    Http { origin: ServerOrigin, addresses: Vec<SocketAddr>, roots: tls::Roots },
    Camera(Tunnel),
    File(std::fs::File, Container),
    Link(Option<InputFormat>),
}

/// The whole life of a worker that fetches.
///
/// # Errors
/// Those of the link.
pub(super) fn run(
    mut link: StdUnixStream,
    confinement: &Confinement,
    task: FetchTask,
    runtime: &Runtime,
) -> io::Result<()> {
    let password = password(&task.origin);
    let opened = match open(confinement, &task) {
        Ok((confined, opened)) => {
            send(&mut link, &FromWorker::Confined(confined), &[])?;
            opened
        }
        Err(failure) => return send(&mut link, &failure.into_message(password.as_deref()), &[]),
    };
    // Not by std's ioctl, which the sandbox of a worker without a network refuses.
    fcntl_setfl(&link, fcntl_getfl(&link)? | OFlags::NONBLOCK)?;
    runtime.block_on(async {
        let (commands, mut to_supervisor) = UnixStream::from_std(link)?.into_split();
        send_async(&mut to_supervisor, &FromWorker::Ready, &[]).await?;
        match serve(opened, &task, commands, &mut to_supervisor).await {
            Ok(()) | Err(End::Link(_)) => Ok(()),
            Err(End::Failed(failure)) => {
                send_async(&mut to_supervisor, &failure.into_message(password.as_deref()), &[]).await
            }
        }
    })
}

fn password(origin: &Origin) -> Option<String> {
    match origin {
        Origin::Http(origin) | Origin::Rtsp(origin) => origin.password.clone(),
        Origin::File { .. } | Origin::Link { .. } => None,
    }
}

/// Opens what takes the file system or name servers, then closes the sandbox.
fn open(confinement: &Confinement, task: &FetchTask) -> Result<(Confined, Opened), Failure> {
    match &task.origin {
        Origin::Http(origin) => {
            let roots = tls::Roots::read(origin)?;
            let (confined, addresses) =
                sandbox::enter(confinement, &origin.url, &origin.reach, |port| Needs::Camera { port })?;
            Ok((confined, Opened::Http { origin: origin.clone(), addresses, roots }))
        }
        Origin::Rtsp(origin) => {
            let roots = tls::Roots::read(origin)?;
            let entrance = tunnel::Entrance::open()?;
            let (confined, addresses) =
                sandbox::enter(confinement, &origin.url, &origin.reach, |port| Needs::Tunnel { port })?;
            Ok((confined, Opened::Camera(Tunnel::new(origin, addresses, roots, entrance)?)))
        }
        Origin::File { path, directories } => {
            let Some(InputFormat::Container(container)) = task.format else {
                return Err(Failure::new(FailureKind::Unsupported, "a file is read as a container only"));
            };
            let file = file::open(path, directories)?;
            Ok((sandbox::enter_alone(confinement)?, Opened::File(file, container)))
        }
        Origin::Link { content_type } => {
            let format = task.format.or_else(|| InputFormat::of_content_type(content_type));
            Ok((sandbox::enter_alone(confinement)?, Opened::Link(format)))
        }
    }
}

/// Runs until something ends the source, or the supervisor the worker.
async fn serve(
    opened: Opened,
    task: &FetchTask,
    mut commands: OwnedReadHalf,
    link: &mut OwnedWriteHalf,
) -> Result<(), End> {
    match opened {
        Opened::Link(format) => {
            let Origin::Link { content_type } = &task.origin else { return Ok(()) };
            let mut relay = Relay::new(task, link);
            relay.run(format, content_type, &mut Bodies::Link(commands)).await
        }
        Opened::File(file, container) => tokio::select! {
            _ = receive_async::<ToWorker>(&mut commands) => Ok(()),
            end = file::read(file, container, link) => Err(end),
        },
        Opened::Camera(tunnel) => {
            let deadline = Instant::now() + Duration::from_millis(task.connect_ms.into());
            tokio::select! {
                _ = receive_async::<ToWorker>(&mut commands) => Ok(()),
                ended = tunnel.run(deadline, link) => ended,
            }
        }
        Opened::Http { origin, addresses, roots } => {
            let client = Client::new(&origin, addresses, roots)?;
            tokio::select! {
                // Stop, the link's end and a broken link all mean the same.
                _ = receive_async::<ToWorker>(&mut commands) => Ok(()),
                ended = fetch(client, task, link) => ended,
            }
        }
    }
}

async fn fetch(mut client: Client, task: &FetchTask, link: &mut OwnedWriteHalf) -> Result<(), End> {
    let deadline = Instant::now() + Duration::from_millis(task.connect_ms.into());
    let answer = client.get(deadline).await?;
    let (content_type, body) = (answer.content_type, answer.body);
    let format = task.format.or_else(|| InputFormat::of_content_type(&content_type));
    if format == Some(InputFormat::Jpeg) {
        return poll(client, body, task, link).await;
    }
    Relay::new(task, link).run(format, &content_type, &mut Bodies::Http(body)).await
}

/// Asks for a JPEG again and again.
async fn poll(mut client: Client, first: Body, task: &FetchTask, link: &mut OwnedWriteHalf) -> Result<(), End> {
    let interval = Duration::from_millis(task.poll_ms.max(1).into());
    let mut pictures = Pictures::new();
    let mut body = first;
    let mut due = Instant::now();
    loop {
        let deadline = Instant::now() + Duration::from_millis(task.idle_ms.into());
        pictures.send(&body.whole(deadline).await?, link).await?;
        // What was missed is not made up for.
        due = (due + interval).max(Instant::now());
        sleep_until(due).await;
        let deadline = Instant::now() + Duration::from_millis(task.connect_ms.into());
        body = client.get(deadline).await?.body;
    }
}

/// Where a relay's bytes come from.
enum Bodies {
    Http(Body),
    Link(OwnedReadHalf),
}

impl Bodies {
    /// The next bytes; `None` at the end.
    async fn next(&mut self, deadline: Instant, patience: Duration) -> Result<Option<Bytes>, End> {
        match self {
            Self::Http(body) => Ok(body.next(deadline, patience).await?),
            Self::Link(commands) => {
                let received = timeout_at(deadline, receive_async::<ToWorker>(commands)).await;
                let Ok(received) = received else {
                    let message = format!("no bytes were pushed for {patience:?}");
                    return Err(Failure::new(FailureKind::Idle, message).into());
                };
                match received? {
                    Some((ToWorker::Bytes, bytes)) => Ok(Some(bytes)),
                    Some((ToWorker::EndOfBytes, _)) => Ok(None),
                    _ => Err(End::Link(io::ErrorKind::BrokenPipe.into())),
                }
            }
        }
    }
}

/// Passes a body on: as bytes, or picture by picture.
struct Relay<'a> {
    task: &'a FetchTask,
    link: &'a mut OwnedWriteHalf,
}

impl<'a> Relay<'a> {
    fn new(task: &'a FetchTask, link: &'a mut OwnedWriteHalf) -> Self {
        Self { task, link }
    }

    async fn run(&mut self, format: Option<InputFormat>, content_type: &str, bodies: &mut Bodies) -> Result<(), End> {
        match format {
            Some(InputFormat::Container(container)) => self.pass(container, bodies).await,
            Some(InputFormat::Mjpeg | InputFormat::Jpeg) => self.cut(content_type, bodies).await,
            None => {
                let message = format!(
                    "the source calls itself '{}', which says nothing about its format: set input to ts, flv, mp4, \
                     mjpeg or jpeg",
                    super::failure::quote_text(content_type)
                );
                Err(Failure::new(FailureKind::Unsupported, message).into())
            }
        }
    }

    async fn pass(&mut self, container: Container, bodies: &mut Bodies) -> Result<(), End> {
        send_async(self.link, &FromWorker::Container(container), &[]).await?;
        let mut patience = Duration::from_millis(self.task.first_media_ms.into());
        while let Some(bytes) = bodies.next(Instant::now() + patience, patience).await? {
            for chunk in bytes.chunks(MAX_CHUNK) {
                send_async(self.link, &FromWorker::Bytes, chunk).await?;
            }
            patience = Duration::from_millis(self.task.idle_ms.into());
        }
        Ok(send_async(self.link, &FromWorker::EndOfBytes, &[]).await?)
    }

    async fn cut(&mut self, content_type: &str, bodies: &mut Bodies) -> Result<(), End> {
        let mut multipart = Multipart::new(content_type);
        let mut pictures = Pictures::new();
        let mut patience = Duration::from_millis(self.task.first_media_ms.into());
        let mut deadline = Instant::now() + patience;
        // Only pictures keep a source alive.
        while let Some(bytes) = bodies.next(deadline, patience).await? {
            multipart.push(&bytes);
            while let Some(part) = multipart.next()? {
                pictures.send(&part, self.link).await?;
                patience = Duration::from_millis(self.task.idle_ms.into());
                deadline = Instant::now() + patience;
            }
            if Instant::now() >= deadline {
                return Err(Failure::new(FailureKind::Idle, format!("no picture for {patience:?}")).into());
            }
        }
        Err(pictures.ended().into())
    }
}
