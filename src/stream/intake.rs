//! The workers of one connection to a source: the one that says packets, and, where a container is taken apart, what
//! fetches its bytes.
//!
//! ```text
//! rtsp, mjpeg, jpeg   ingest ───────────────────────────▶ packets
//! ts, flv, mp4        ingest ──bytes──▶ engine (demux) ──▶ packets
//! push                client ──bytes──▶ engine (demux) ──▶ packets
//! rtsp by libav       ingest (tunnel) ◀─▶ engine (demux) ──▶ packets
//! ```

use bytes::Bytes;
use secrecy::ExposeSecret;
use std::time::Duration;

use super::push::Pusher;
use super::source::SourceTask;
use crate::config::{CameraUrl, HttpSource, Limits, RtspSource, Source, StreamSettings};
use crate::error::Result;
use crate::link::{
    DemuxInput, DemuxTask, Exit, FailureKind, FetchTask, FromWorker, IngestTask, MAX_CHUNK, Origin, Outgoing, Program,
    Role, ServerOrigin, ToWorker, TunnelledCamera, Worker, WorkerEvent,
};
use crate::media::{InputFormat, Pace, RtspClient, TlsTrust};
use crate::sandbox::Confinement;

/// The workers of one connection.
pub(super) struct Intake {
    /// Says packets.
    main: Worker,
    /// As what.
    main_part: Part,
    /// What it is fed from.
    feed: Option<Feed>,
    /// On its way from the feed.
    pending: Option<Outgoing>,
    pace: Pace,
    /// To be taken apart, by a worker that has not been started yet.
    input: Option<DemuxInput>,
}

enum Feed {
    Worker(Worker),
    Push(Pusher),
}

/// Something that a connection's workers did.
pub(super) enum IntakeEvent {
    /// The one that says packets said this.
    Said(FromWorker, Bytes),
    /// One of them died.
    Exited(Exit),
    /// Another worker says packets from now on.
    Demuxing,
}

/// A worker of a connection, as status and metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What speaks to the source.
    Ingest,
    /// What takes a container apart.
    Demux,
}

impl Part {
    /// The name used in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Demux => "demux",
        }
    }
}

impl Intake {
    /// Starts what the source takes.
    ///
    /// # Errors
    /// If a process cannot be started.
    pub(super) async fn start(task: &SourceTask, pusher: Option<Pusher>) -> Result<Self> {
        let (settings, limits) = (&*task.settings, &task.context.limits);
        let pace = if matches!(settings.source, Source::File(_)) { Pace::Loop } else { Pace::Live };
        if let Some(pusher) = pusher {
            let (main, main_part) = match pusher.format {
                InputFormat::Container(container) => {
                    (demuxer(task, DemuxInput::Bytes(container), pace).await?, Part::Demux)
                }
                InputFormat::Mjpeg | InputFormat::Jpeg => {
                    let origin = Origin::Link { content_type: pusher.content_type.clone() };
                    let fetch = fetch(origin, Some(pusher.format), Duration::ZERO, limits);
                    (worker(task, Program::Ingest, Role::Fetch(fetch)).await?, Part::Ingest)
                }
            };
            return Ok(Self { main, main_part, feed: Some(Feed::Push(pusher)), pending: None, pace, input: None });
        }
        let (program, role) = begin(settings, limits);
        let main = worker(task, program, role).await?;
        Ok(Self { main, main_part: Part::Ingest, feed: None, pending: None, pace, input: None })
    }

    /// What happens next. Cancel-safe.
    pub(super) async fn next(&mut self, task: &SourceTask) -> IntakeEvent {
        loop {
            if let Some(input) = &self.input {
                let demuxer = demuxer(task, input.clone(), self.pace).await;
                self.input = None;
                return match demuxer {
                    Ok(demuxer) => {
                        self.feed = Some(Feed::Worker(std::mem::replace(&mut self.main, demuxer)));
                        self.main_part = Part::Demux;
                        IntakeEvent::Demuxing
                    }
                    Err(error) => failed(FailureKind::Connect, error.chain()),
                };
            }
            let outbox = &self.main.outbox.clone();
            tokio::select! {
                biased;
                event = self.main.next() => match event {
                    WorkerEvent::Message(FromWorker::Container(container), _) if self.main_part == Part::Ingest => {
                        self.input = Some(DemuxInput::Bytes(container));
                    }
                    WorkerEvent::Message(FromWorker::Tunnel { port }, _) if self.main_part == Part::Ingest => {
                        self.input = tunnelled(&task.settings, port);
                    }
                    WorkerEvent::Message(message, payload) => return IntakeEvent::Said(message, payload),
                    WorkerEvent::Exited(exit) => return IntakeEvent::Exited(exit),
                },
                // A worker that is gone says so when it is read.
                Ok(room) = outbox.reserve(), if self.pending.is_some() => {
                    if let Some(message) = self.pending.take() {
                        room.send(message);
                    }
                }
                fed = next_of(&mut self.feed), if self.pending.is_none() && self.feed.is_some() => match fed {
                    Fed::Message(message) => self.pending = Some(message),
                    Fed::Event(event) => return event,
                    Fed::End => {
                        self.feed = None;
                        self.pending = Some((ToWorker::EndOfBytes, Bytes::new()));
                    }
                    Fed::Nothing => {}
                },
            }
        }
    }

    /// The worker that speaks to the source and the one that takes it apart, as far as there are both.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Part, &Worker)> {
        let fetcher = match &self.feed {
            Some(Feed::Worker(fetcher)) => Some((Part::Ingest, fetcher)),
            Some(Feed::Push(_)) | None => None,
        };
        fetcher.into_iter().chain([(self.main_part, &self.main)])
    }

    /// SIGKILL for all.
    pub(super) fn kill(&self) {
        self.parts().for_each(|(_, worker)| worker.kill());
    }

    /// Asks all to end and gives them `grace` before they are killed; gives the pusher back.
    pub(super) async fn stop(self, grace: Duration) -> Option<Pusher> {
        match self.feed {
            Some(Feed::Worker(fetcher)) => {
                tokio::join!(fetcher.stop(grace), self.main.stop(grace));
                None
            }
            Some(Feed::Push(pusher)) => {
                self.main.stop(grace).await;
                Some(pusher)
            }
            None => {
                self.main.stop(grace).await;
                None
            }
        }
    }
}

/// What a feed did.
enum Fed {
    Message(Outgoing),
    Event(IntakeEvent),
    End,
    Nothing,
}

async fn next_of(feed: &mut Option<Feed>) -> Fed {
    match feed {
        None => std::future::pending().await,
        Some(Feed::Push(pusher)) => match pusher.next().await {
            Some(bytes) => Fed::Message((ToWorker::Bytes, bytes)),
            None => Fed::Message((ToWorker::EndOfBytes, Bytes::new())),
        },
        Some(Feed::Worker(fetcher)) => match fetcher.next().await {
            WorkerEvent::Message(FromWorker::Bytes, bytes) if bytes.len() <= MAX_CHUNK => {
                Fed::Message((ToWorker::Bytes, bytes))
            }
            WorkerEvent::Message(FromWorker::EndOfBytes, _) => Fed::Message((ToWorker::EndOfBytes, Bytes::new())),
            WorkerEvent::Message(FromWorker::Ready, _) => Fed::Nothing,
            WorkerEvent::Message(message, payload) => Fed::Event(IntakeEvent::Said(message, payload)),
            // It has said all there is; the demuxer has the last word.
            WorkerEvent::Exited(exit) if exit.is_success() => Fed::End,
            WorkerEvent::Exited(exit) => Fed::Event(IntakeEvent::Exited(exit)),
        },
    }
}

fn failed(kind: FailureKind, message: String) -> IntakeEvent {
    IntakeEvent::Said(FromWorker::Failed { kind, message }, Bytes::new())
}

async fn worker(task: &SourceTask, program: Program, role: Role) -> Result<Worker> {
    let spawner = &task.context.spawner;
    let worker = spawner.worker(program, task.metrics.id()).await?;
    if matches!(role, Role::Demux(_)) {
        // It holds no pictures, only what a camera sends.
        let memory = task.context.limits.ingest_memory;
        let confinement = Confinement { memory, ..spawner.confinement(program).clone() };
        let _ = worker.send(ToWorker::Confine(confinement), Bytes::new()).await;
    }
    // Should the worker be gone, reading it says so.
    let _ = worker.send(ToWorker::Begin(role), Bytes::new()).await;
    Ok(worker)
}

async fn demuxer(task: &SourceTask, input: DemuxInput, pace: Pace) -> Result<Worker> {
    let limits = &task.context.limits;
    let (first_media_ms, idle_ms) = (millis(limits.first_media_timeout), millis(limits.idle_timeout));
    let demux = DemuxTask { input, pace, first_media_ms, idle_ms };
    worker(task, Program::Engine, Role::Demux(demux)).await
}

/// The camera at a tunnel's end; `None` if the source is none.
fn tunnelled(settings: &StreamSettings, port: u16) -> Option<DemuxInput> {
    let Source::Rtsp(camera) = &settings.source else { return None };
    let credentials = settings.credentials.as_ref();
    Some(DemuxInput::Rtsp(TunnelledCamera {
        port,
        target: camera.url.target().to_owned(),
        username: credentials.map(|credentials| credentials.username.clone()),
        password: credentials.map(|credentials| credentials.password.expose_secret().to_owned()),
        transport: settings.transport,
    }))
}

/// The first worker of a source that is not pushed.
fn begin(settings: &StreamSettings, limits: &Limits) -> (Program, Role) {
    let credentials = settings.credentials.as_ref();
    let username = credentials.map(|credentials| credentials.username.clone());
    let password = credentials.map(|credentials| credentials.password.expose_secret().to_owned());
    match &settings.source {
        Source::Pattern(pattern) => (Program::Engine, Role::Pattern(*pattern)),
        Source::Rtsp(RtspSource { url, client: RtspClient::Libav, tls }) => {
            let origin = Origin::Rtsp(server(url, None, *tls, settings));
            (Program::Ingest, Role::Fetch(fetch(origin, None, Duration::ZERO, limits)))
        }
        Source::Rtsp(RtspSource { url, .. }) => {
            let task = IngestTask {
                url: url.request_url().to_owned(),
                username,
                password,
                transport: settings.transport,
                connect_ms: millis(limits.connect_timeout),
                first_media_ms: millis(limits.first_media_timeout),
                idle_ms: millis(limits.idle_timeout),
                reach: settings.sources.reach.clone(),
            };
            (Program::Ingest, Role::Ingest(task))
        }
        Source::Http(HttpSource { url, input, rate, tls }) => {
            let origin = Origin::Http(server(url, username.zip(password), *tls, settings));
            let interval = Duration::from_secs_f64(1.0 / rate.as_f64());
            (Program::Ingest, Role::Fetch(fetch(origin, *input, interval, limits)))
        }
        Source::File(file) => {
            let directories = settings.sources.files.iter().map(|path| path.to_string_lossy().into_owned()).collect();
            let origin = Origin::File { path: file.path.clone(), directories };
            let format = Some(InputFormat::Container(file.container));
            (Program::Ingest, Role::Fetch(fetch(origin, format, Duration::ZERO, limits)))
        }
        Source::Push => {
            let origin = Origin::Link { content_type: String::new() };
            (Program::Ingest, Role::Fetch(fetch(origin, None, Duration::ZERO, limits)))
        }
    }
}

/// A server, and the login that it is told.
fn server(url: &CameraUrl, login: Option<(String, String)>, tls: TlsTrust, settings: &StreamSettings) -> ServerOrigin {
    let (username, password) = login.unzip();
    ServerOrigin {
        url: url.request_url().to_owned(),
        username,
        password,
        reach: settings.sources.reach.clone(),
        tls,
        ca_file: settings.sources.ca_file.as_ref().map(|path| path.to_string_lossy().into_owned()),
    }
}

fn fetch(origin: Origin, format: Option<InputFormat>, interval: Duration, limits: &Limits) -> FetchTask {
    FetchTask {
        origin,
        format,
        poll_ms: millis(interval),
        connect_ms: millis(limits.connect_timeout),
        first_media_ms: millis(limits.first_media_timeout),
        idle_ms: millis(limits.idle_timeout),
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
