//! The worker's end of the link.

use bytes::Bytes;
use camshaft::link::{FailureKind, FromWorker, ToWorker, wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, BufReader, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Why a worker ends other than by being told to.
#[derive(Debug)]
pub enum End {
    /// The supervisor closed its end, or is gone.
    LinkClosed,
    /// The link gave an error, or something that is no message.
    LinkBroken(io::Error),
    /// The role cannot go on.
    Failed {
        /// For machines.
        kind: FailureKind,
        /// For people.
        message: String,
    },
}

impl End {
    /// The role cannot go on.
    pub fn failed(kind: FailureKind, message: impl Into<String>) -> Self {
        Self::Failed { kind, message: message.into() }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Self::LinkClosed,
            _ => Self::LinkBroken(error),
        }
    }
}

/// Messages from and to the supervisor, blocking.
#[derive(Debug)]
pub struct Link {
    stream: BufReader<UnixStream>,
}

impl Link {
    /// The socket that the process was started with as its standard input.
    ///
    /// # Errors
    /// If standard input is no socket.
    pub fn from_stdin() -> io::Result<Self> {
        let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
        let file = std::fs::File::from(socket);
        if !file.metadata()?.file_type().is_socket() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is no Unix stream socket"));
        }
        let stream = UnixStream::from(std::os::fd::OwnedFd::from(file));
        stream.set_nonblocking(false)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// A link, and the supervisor's end of it.
    ///
    /// # Errors
    /// If there is no descriptor left.
    #[cfg(test)]
    pub fn pair() -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self { stream: BufReader::new(ours) }, theirs))
    }

    /// The same link for somebody else, who alone may receive from now on.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn share(&self) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(self.stream.get_ref().try_clone()?) })
    }

    /// The next message and its payload.
    ///
    /// # Errors
    /// [`End::LinkClosed`] if none will come.
    pub fn receive(&mut self) -> Result<(ToWorker, Bytes), End> {
        wire::receive(&mut self.stream)?.ok_or(End::LinkClosed)
    }

    /// The next message, if one begins to arrive before `deadline`. One that is already there is taken in any case.
    ///
    /// # Errors
    /// As [`Link::receive`].
    pub fn receive_before(&mut self, deadline: Instant) -> Result<Option<(ToWorker, Bytes)>, End> {
        if self.stream.buffer().is_empty() && !self.readable_before(deadline)? {
            return Ok(None);
        }
        self.receive().map(Some)
    }

    fn readable_before(&self, deadline: Instant) -> Result<bool, End> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
            match poll(&mut [PollFd::new(self.stream.get_ref(), PollFlags::IN)], Some(&left)) {
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }

    /// Sends one message, waiting until it is handed over whole.
    ///
    /// # Errors
    /// [`End::LinkClosed`] if nobody is there to take it.
    pub fn send(&mut self, message: &FromWorker, payload: &[u8]) -> Result<(), End> {
        Ok(wire::send(&mut self.stream.get_ref(), message, payload)?)
    }
}
