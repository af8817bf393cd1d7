//! One worker that makes sound: fed from the source's ring, listened to, watched.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

use super::maker::Maker;
use crate::link::{FromWorker, Outgoing, Program, Role, SoundTask, ToWorker, Worker, WorkerEvent, usage};
use crate::media::{AudioConfig, MAX_ACCESS_UNIT, MediaTime, Packet, PacketHeader, Track, TrackConfig};
use crate::ring::{Read, Reader};
use crate::sandbox::Confined;
use crate::stream::status::SandboxStatus;
use crate::stream::used::ProcessUse;

/// How often memory and progress are looked at.
const TICK: Duration = Duration::from_millis(500);

/// Why a session ended.
#[derive(Debug)]
pub enum Ended {
    /// The next packet is to be read with another configuration.
    Changed,
    /// Nothing follows.
    NothingFollows,
    /// The worker is gone, or was ended; the reason is a short one, for metrics.
    Died(String),
}

/// The source's sound, packet by packet.
#[derive(Debug)]
pub struct Feed {
    reader: Reader,
    from: Option<MediaTime>,
    put_back: Option<Arc<Packet>>,
}

impl Feed {
    /// What `reader` has of sound, from the time `from` on.
    pub fn new(reader: Reader, from: Option<MediaTime>) -> Self {
        Self { reader, from, put_back: None }
    }

    /// The next packet; `None` when the source's stream has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<Packet>> {
        if let Some(packet) = self.put_back.take() {
            return Some(packet);
        }
        loop {
            // What was skipped shows as a gap in time.
            let Read::Packet(packet) = self.reader.next().await? else { continue };
            let is_due = self.from.is_none_or(|from| packet.header.pts >= from);
            if packet.header.track == Track::Audio && is_due {
                return Some(packet);
            }
        }
    }
}

/// A worker at work.
#[derive(Debug)]
pub struct Session<'a> {
    maker: &'a mut Maker,
    worker: Worker,
    sent: &'a AtomicU64,
    consumed: u64,
    heard: Instant,
    used: ProcessUse,
}

impl Session<'_> {
    /// Has a worker make sound of `first` and what follows in `feed`, as long as all is to be read alike.
    pub async fn run(maker: &mut Maker, first: Arc<Packet>, feed: &mut Feed) -> Ended {
        let Some(config) = audio_config(&first) else { return Ended::Changed };
        let spawner = maker.setup.context.spawner.clone();
        let worker = match spawner.worker(Program::Engine, maker.setup.metrics.id()).await {
            Ok(worker) => worker,
            Err(error) => {
                tracing::warn!(stream = maker.setup.metrics.id(), error = %error.chain(), "no worker for sound");
                return Ended::Died("spawn".to_owned());
            }
        };
        maker.note(|progress| progress.worker = Some(worker.pid));
        let (outbox, sent) = (worker.outbox.clone(), AtomicU64::new(0));
        let task = SoundTask { config: AudioConfig::clone(&config), spec: maker.spec };
        let mut session =
            Session { maker, worker, sent: &sent, consumed: 0, heard: Instant::now(), used: ProcessUse::default() };
        tokio::select! {
            biased;
            reason = session.listen() => Ended::Died(reason),
            ended = send(task, first, &config, feed, &outbox, &sent) => ended,
        }
    }

    async fn listen(&mut self) -> String {
        let mut tick = tokio::time::interval(TICK);
        loop {
            let event = tokio::select! {
                biased;
                event = self.worker.next() => event,
                _ = tick.tick() => match self.look() {
                    None => continue,
                    Some(reason) => return reason,
                },
            };
            match event {
                WorkerEvent::Exited(exit) => return exit.description,
                WorkerEvent::Message(message, payload) => {
                    if let Err(reason) = self.take(message, payload) {
                        return reason;
                    }
                }
            }
        }
    }

    fn take(&mut self, message: FromWorker, data: Bytes) -> Result<(), String> {
        match message {
            FromWorker::Ready => self.show_sandbox(),
            FromWorker::Packet(header) => self.take_packet(header, data)?,
            FromWorker::Consumed { .. } => (self.consumed, self.heard) = (self.consumed + 1, Instant::now()),
            FromWorker::Failed { kind, message } => {
                let id = self.maker.setup.metrics.id();
                tracing::warn!(stream = id, sound = %self.maker.spec, "sound cannot be made: {message}");
                return Err(kind.name().to_owned());
            }
            _ => return Err("breach".to_owned()),
        }
        Ok(())
    }

    fn take_packet(&mut self, header: PacketHeader, data: Bytes) -> Result<(), String> {
        if header.track != Track::Audio || data.is_empty() || data.len() > MAX_ACCESS_UNIT {
            return Err("breach".to_owned());
        }
        self.maker.take(header, data);
        Ok(())
    }

    fn show_sandbox(&self) {
        let (confined, metrics) = (self.worker.confined(), &self.maker.setup.metrics);
        let is_enforced = confined.is_some_and(Confined::is_enforced);
        metrics.all.worker_sandboxed.with_label_values(&[metrics.id(), "sound"]).set(is_enforced.into());
        let sandbox = confined.map(SandboxStatus::from);
        self.maker.note(|progress| progress.sandbox = sandbox);
    }

    /// Once a tick: why the worker is to end, if it is.
    fn look(&mut self) -> Option<String> {
        let limits = &self.maker.setup.context.limits;
        if self.sent.load(Ordering::Relaxed) <= self.consumed {
            self.heard = Instant::now();
        } else if self.heard.elapsed() >= limits.watchdog {
            return Some("hang".to_owned());
        }
        let usage = usage(self.worker.pid)?;
        self.used.show(&self.maker.setup.metrics, "sound", usage);
        (usage.rss_bytes > limits.pixels_memory).then(|| "memory limit".to_owned())
    }
}

/// Feeds a worker; resolves when there is nothing more for this one.
async fn send(
    task: SoundTask,
    first: Arc<Packet>,
    config: &Arc<AudioConfig>,
    feed: &mut Feed,
    outbox: &mpsc::Sender<Outgoing>,
    sent: &AtomicU64,
) -> Ended {
    let begin = (ToWorker::Begin(Role::Sound(task)), Bytes::new());
    let mut next = Some(first);
    let mut alive = outbox.send(begin).await.is_ok();
    while alive {
        let packet = match next.take() {
            Some(packet) => packet,
            None => match feed.next().await {
                Some(packet) => packet,
                None => return Ended::NothingFollows,
            },
        };
        if audio_config(&packet).is_none_or(|own| own != *config) {
            feed.put_back = Some(packet);
            return Ended::Changed;
        }
        sent.fetch_add(1, Ordering::Relaxed);
        alive = outbox.send((ToWorker::Packet(packet.header), packet.data.clone())).await.is_ok();
    }
    // The worker is gone; listening to it says why.
    std::future::pending().await
}

fn audio_config(packet: &Packet) -> Option<Arc<AudioConfig>> {
    match &packet.config {
        TrackConfig::Audio(config) => Some(config.clone()),
        TrackConfig::Video(_) => None,
    }
}
