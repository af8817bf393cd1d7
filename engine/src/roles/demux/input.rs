//! The bytes of a container, as they come over the link.

use bytes::{Buf, Bytes};
use camshaft::link::{FailureKind, FromWorker, ToWorker};
use std::io::{self, Read};
use std::time::{Duration, Instant};

use crate::av::Watch;
use crate::roles::{End, Link};

/// Reads what the link brings; why that ended is told by [`Input::end`].
pub(super) struct Input<'l> {
    link: &'l mut Link,
    chunk: Bytes,
    patience: Patience,
    end: Option<End>,
    state: State,
}

/// Where in a container the bytes are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Within,
    /// At its end, however often it is asked for more: what follows belongs to the next.
    AtEnd,
}

/// How long no picture may come, however many bytes do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    idle: Duration,
    current: Duration,
    deadline: Instant,
}

impl Patience {
    pub(super) fn new(first: Duration, idle: Duration) -> Self {
        Self { idle, current: first, deadline: Instant::now() + first }
    }

    /// Another picture has come.
    pub(super) fn picture_came(&mut self) {
        self.current = self.idle;
        self.deadline = Instant::now() + self.idle;
    }
}

impl<'l> Input<'l> {
    pub(super) fn new(link: &'l mut Link, patience: Patience) -> Self {
        Self { link, chunk: Bytes::new(), patience, end: None, state: State::Within }
    }

    /// How long no picture may come.
    pub(super) fn patience(&mut self) -> &mut Patience {
        &mut self.patience
    }

    /// What follows is another container.
    pub(super) fn begin_again(&mut self) {
        self.state = State::Within;
    }

    /// Why reading failed, if it did.
    pub(super) fn end(&mut self) -> Option<End> {
        self.end.take()
    }

    /// Sends to the supervisor.
    pub(super) fn send(&mut self, message: &FromWorker, payload: &[u8]) -> Result<(), End> {
        self.link.send(message, payload)
    }

    /// The next bytes; nothing at the end of a container.
    fn receive(&mut self) -> Result<Bytes, End> {
        // Bytes without a picture are always ready, so that waiting alone would never strike.
        if Instant::now() >= self.patience.deadline {
            return Err(self.idle());
        }
        match self.link.receive_before(self.patience.deadline)? {
            Some((ToWorker::Bytes, bytes)) if !bytes.is_empty() => Ok(bytes),
            Some((ToWorker::EndOfBytes, _)) => Ok(Bytes::new()),
            Some((ToWorker::Stop, _)) => Err(End::LinkClosed),
            Some(_) => Err(crate::roles::protocol("a demuxer takes bytes and their end")),
            None => Err(self.idle()),
        }
    }

    fn idle(&self) -> End {
        let patience = self.patience.current;
        let message = format!(
            "no picture came of the source's bytes for {patience:?}: there must be a track in H.264 or H.265, and a keyframe \
             with its parameter sets"
        );
        End::failed(FailureKind::Idle, message)
    }
}

/// A camera that is spoken with: the link says only when that is over.
impl Watch for Input<'_> {
    fn is_over(&mut self) -> bool {
        if self.end.is_none() {
            self.end = self.heard_end();
        }
        self.end.is_some()
    }

    fn redirected(&mut self) {
        self.end.get_or_insert(super::redirected());
    }
}

impl Input<'_> {
    fn heard_end(&mut self) -> Option<End> {
        let now = Instant::now();
        if now >= self.patience.deadline {
            return Some(self.idle());
        }
        match self.link.receive_before(now) {
            Ok(None) => None,
            Ok(Some((ToWorker::EndOfBytes, _))) => {
                Some(End::failed(FailureKind::Ended, "the camera closed the connection"))
            }
            Ok(Some((ToWorker::Stop, _))) => Some(End::LinkClosed),
            Ok(Some(_)) => Some(crate::roles::protocol("who speaks with a camera takes the end only")),
            Err(end) => Some(end),
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.state == State::AtEnd {
            return Ok(0);
        }
        if self.chunk.is_empty() {
            self.chunk = match self.receive() {
                Ok(bytes) => bytes,
                Err(end) => {
                    self.end = Some(end);
                    return Err(io::ErrorKind::Other.into());
                }
            };
        }
        if self.chunk.is_empty() {
            self.state = State::AtEnd;
        }
        let length = self.chunk.len().min(into.len());
        self.chunk.copy_to_slice(into.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}
