//! Sources that are pushed: one client at a time gives the stream its bytes.

use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::error::{Error, ErrorKind, Result};
use crate::link::{FailureKind, MAX_CHUNK};
use crate::media::InputFormat;

/// Chunks that wait for the worker; more wait in the client.
const QUEUE: usize = 4;

/// Where clients of a stream push.
#[derive(Debug)]
pub(super) struct PushPort {
    place: Arc<Semaphore>,
    pushers: mpsc::Sender<Pusher>,
}

/// A client's bytes, as the source reads them.
#[derive(Debug)]
pub(super) struct Pusher {
    /// What they are.
    pub(super) format: InputFormat,
    /// As what they came.
    pub(super) content_type: String,
    bytes: mpsc::Receiver<Bytes>,
    is_ended: bool,
    done: oneshot::Sender<Result<()>>,
    place: OwnedSemaphorePermit,
}

/// A client's way to push. Dropping it is the end of its bytes.
#[derive(Debug)]
pub struct Push {
    bytes: mpsc::Sender<Bytes>,
    done: oneshot::Receiver<Result<()>>,
}

impl PushPort {
    /// A port, and where its pushers come out.
    pub(super) fn new() -> (Self, mpsc::Receiver<Pusher>) {
        let (pushers, received) = mpsc::channel(1);
        (Self { place: Arc::new(Semaphore::new(1)), pushers }, received)
    }

    /// Takes the place of the one who pushes.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if somebody has it.
    pub(super) fn begin(&self, format: InputFormat, content_type: &str) -> Result<Push> {
        let taken = || Error::new(ErrorKind::Conflict, "somebody else is pushing to this stream: one at a time");
        let place = self.place.clone().try_acquire_owned().map_err(|_| taken())?;
        let (bytes, received) = mpsc::channel(QUEUE);
        let (done, is_done) = oneshot::channel();
        let content_type = content_type.to_owned();
        let pusher = Pusher { format, content_type, bytes: received, is_ended: false, done, place };
        self.pushers.try_send(pusher).map_err(|_| taken())?;
        Ok(Push { bytes, done: is_done })
    }
}

impl Pusher {
    /// The next bytes; `None`, once, at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if self.is_ended {
            return std::future::pending().await;
        }
        let bytes = self.bytes.recv().await;
        self.is_ended = bytes.is_none();
        bytes
    }

    /// Tells the client how it went, and makes room for the next.
    pub(super) fn finish(self, kind: FailureKind, message: &str) {
        let result = match kind {
            FailureKind::Ended => Ok(()),
            FailureKind::Protocol | FailureKind::Unsupported | FailureKind::Codec => {
                Err(Error::new(ErrorKind::UnsupportedMedia, message))
            }
            FailureKind::Limit => Err(Error::new(ErrorKind::Impossible, message)),
            _ => Err(Error::unavailable(message)),
        };
        drop(self.place);
        // A client that is gone needs no answer.
        let _ = self.done.send(result);
    }
}

impl Push {
    /// Passes bytes on, as fast as they are taken. False if nobody takes them any more: [`Self::end`] says why.
    pub async fn send(&self, mut bytes: Bytes) -> bool {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(MAX_CHUNK));
            if self.bytes.send(chunk).await.is_err() {
                return false;
            }
        }
        true
    }

    /// No bytes follow: waits until all have been dealt with.
    ///
    /// # Errors
    /// What the stream made of them.
    pub async fn end(self) -> Result<()> {
        drop(self.bytes);
        self.done.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Cancelled, "the stream was stopped")))
    }
}
