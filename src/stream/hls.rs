//! HLS sessions: one segmenter for all viewers of the same media. Viewers come and go by single requests, so a session
//! is a consumer that lives as long as somebody asks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

use super::{PacketStream, Packets, Read, SoundRequest, Stream};
use crate::error::{Error, ErrorKind, Result};
use crate::media::{Packet, RenditionRequest};
use crate::output::hls::{Segmenter, Window};
use crate::plan::Policy;

/// A session ends this long after its last request. Players ask at least once a target duration.
const LEASE: Duration = Duration::from_secs(10);

/// What a session shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HlsSource {
    /// The source's packets, with this sound.
    Copy(Option<SoundRequest>),
    /// An encoded rendition, how much the hardware is wanted for it, and its sound.
    Rendition(RenditionRequest, Policy, Option<SoundRequest>),
}

/// A stream's sessions by what they show.
#[derive(Debug, Default)]
pub struct HlsSessions {
    entries: Mutex<HashMap<HlsSource, Arc<HlsSession>>>,
    started: AtomicU64,
}

/// One segmenter and those who wait for it.
#[derive(Debug)]
pub struct HlsSession {
    number: u64,
    requests: Mutex<Requests>,
    progress: watch::Receiver<Progress>,
}

/// Who asks for a session's media.
#[derive(Debug)]
struct Requests {
    waiting: usize,
    last: Instant,
}

/// One request while it waits.
struct Waiting<'a>(&'a HlsSession);

/// How far a session is.
#[derive(Debug)]
enum Progress {
    /// No packet has come yet.
    Opening,
    /// Media comes.
    Running(Box<Segmenter>),
    /// It is over, with the reason if it could not be made.
    Ended(Option<Error>),
}

impl HlsSessions {
    /// The session that shows `source`, started if need be.
    pub fn join(&self, stream: &Arc<Stream>, source: HlsSource) -> Arc<HlsSession> {
        let mut entries = self.entries();
        if let Some(session) = entries.get(&source).filter(|session| !session.has_ended()) {
            return session.clone();
        }
        let (sender, progress) = watch::channel(Progress::Opening);
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let requests = Mutex::new(Requests { waiting: 0, last: Instant::now() });
        let session = Arc::new(HlsSession { number, requests, progress });
        entries.insert(source, session.clone());
        tokio::spawn(run(stream.clone(), source, session.clone(), sender));
        session
    }

    /// The session of this number.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it has ended.
    pub fn get(&self, number: u64) -> Result<Arc<HlsSession>> {
        let session = self.entries().values().find(|session| session.number == number).cloned();
        session.ok_or_else(ended)
    }

    fn remove(&self, source: HlsSource, number: u64) {
        let mut entries = self.entries();
        if entries.get(&source).is_some_and(|session| session.number == number) {
            entries.remove(&source);
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<HlsSource, Arc<HlsSession>>> {
        // Only whole entries are put in or taken out.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HlsSession {
    /// Its number among the stream's sessions.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What `read` makes of the window, once it is something.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if that takes longer than `patience`; why the session could not be made.
    pub async fn wait<T>(&self, patience: Duration, read: impl Fn(&Window) -> Option<T>) -> Result<T> {
        let _waiting = Waiting::new(self);
        let mut found = None;
        let mut progress = self.progress.clone();
        let settled = progress.wait_for(|progress| match progress {
            Progress::Opening => false,
            Progress::Running(segmenter) => {
                found = read(segmenter.window());
                found.is_some()
            }
            Progress::Ended(_) => true,
        });
        let settled = tokio::time::timeout(patience, settled).await;
        let failure = match settled {
            Ok(Ok(progress)) => match &*progress {
                Progress::Ended(Some(error)) => Some(copy_of(error)),
                _ => None,
            },
            Ok(Err(_)) => None,
            Err(_) => {
                let message = format!("no segment came within {:.0} s", patience.as_secs_f64());
                Some(Error::unavailable(message).with_retry_after(Duration::from_secs(1)))
            }
        };
        found.ok_or_else(|| failure.unwrap_or_else(ended))
    }

    /// Resolves when nobody has asked for the whole lease.
    async fn unwanted(&self) {
        loop {
            let left = self.requests().lease_left();
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    fn has_ended(&self) -> bool {
        matches!(*self.progress.borrow(), Progress::Ended(_))
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    fn lease_left(&self) -> Duration {
        if self.waiting > 0 { LEASE } else { LEASE.saturating_sub(self.last.elapsed()) }
    }
}

impl<'a> Waiting<'a> {
    fn new(session: &'a HlsSession) -> Self {
        session.requests().waiting += 1;
        Self(session)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut requests = self.0.requests();
        requests.waiting -= 1;
        requests.last = Instant::now();
    }
}

async fn run(stream: Arc<Stream>, source: HlsSource, session: Arc<HlsSession>, progress: watch::Sender<Progress>) {
    let result = tokio::select! {
        result = feed(&stream, source, &progress) => result,
        () = session.unwanted() => Ok(()),
    };
    stream.hls.remove(source, session.number);
    progress.send_replace(Progress::Ended(result.err()));
}

/// Cuts what comes until nothing comes any more.
async fn feed(stream: &Stream, source: HlsSource, progress: &watch::Sender<Progress>) -> Result<()> {
    let mut media = open(stream, source).await?;
    let limit = usize::try_from(stream.context.limits.ring_bytes).unwrap_or(usize::MAX);
    while let Some(read) = media.next().await {
        // What was skipped shows as a gap in time, and a keyframe follows.
        let Read::Packet(packet) = read else { continue };
        let mut outcome = Ok(());
        progress.send_if_modified(|progress| {
            let taken = progress.take(&packet, &media, limit);
            taken.unwrap_or_else(|error| {
                outcome = Err(error);
                false
            })
        });
        outcome?;
    }
    Ok(())
}

async fn open(stream: &Stream, source: HlsSource) -> Result<PacketStream> {
    Ok(match source {
        HlsSource::Copy(sound) => stream.copy_with_history(sound).await?,
        HlsSource::Rendition(request, policy, sound) => stream.encoded(request, policy, sound).await?,
    })
}

impl Progress {
    /// Takes one packet; true if there is more to fetch now.
    fn take(&mut self, packet: &Packet, media: &PacketStream, limit: usize) -> Result<bool> {
        if let Self::Opening = self {
            let (video, audio) = (media.video.clone(), media.audio.clone());
            *self = Self::Running(Box::new(Segmenter::new(video, audio, &packet.header, limit)?));
        }
        match self {
            Self::Running(segmenter) => segmenter.packet(packet),
            Self::Opening | Self::Ended(_) => Ok(false),
        }
    }
}

fn ended() -> Error {
    let message = "these segments are gone, as nobody asked for a while or the stream ended: ask for live.m3u8 again";
    Error::new(ErrorKind::NotFound, message)
}

fn copy_of(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.chain());
    match error.retry_after() {
        Some(after) => copy.with_retry_after(after),
        None => copy,
    }
}
