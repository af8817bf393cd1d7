//! The link as a job sees it: a file to read from, and one to write to.

use bytes::Bytes;
use camshaft::link::{FromWorker, MAX_READ, ToWorker};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::{End, Link, protocol};

/// Shared by all who talk; each question is answered before the next message is sent.
#[derive(Clone)]
pub struct Wire(Arc<Mutex<State>>);

struct State {
    link: Link,
    /// What ended the link, which FFmpeg would make an I/O error of.
    end: Option<End>,
}

impl Wire {
    /// Talks over `link`.
    pub fn new(link: Link) -> Self {
        Self(Arc::new(Mutex::new(State { link, end: None })))
    }

    /// Says something.
    pub fn tell(&self, message: &FromWorker, payload: &[u8]) -> Result<(), End> {
        self.state().link.send(message, payload)
    }

    /// Says something and waits for the answer.
    pub fn ask(&self, message: &FromWorker) -> Result<(ToWorker, Bytes), End> {
        let mut state = self.state();
        state.link.send(message, &[])?;
        match state.link.receive()? {
            (ToWorker::Stop, _) => Err(End::LinkClosed),
            answer => Ok(answer),
        }
    }

    /// What ended the link within a call of FFmpeg's, if that is why it failed.
    pub fn take_end(&self) -> Option<End> {
        self.state().end.take()
    }

    fn note<T>(&self, result: Result<T, End>) -> io::Result<T> {
        result.map_err(|end| {
            self.state().end = Some(end);
            io::Error::from(ErrorKind::BrokenPipe)
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Messages are sent whole or the link is over.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The job's input.
pub struct Input {
    wire: Wire,
    position: u64,
    size: Option<u64>,
}

impl Input {
    /// From its first byte on.
    pub fn new(wire: Wire) -> Self {
        Self { wire, position: 0, size: None }
    }

    /// The bytes from `offset` on, fewer than `length` only at the end.
    pub fn look(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut found = 0;
        self.position = offset;
        while found < length {
            match self.read(bytes.get_mut(found..).unwrap_or_default())? {
                0 => break,
                more => found += more,
            }
        }
        bytes.truncate(found);
        self.position = 0;
        Ok(bytes)
    }

    fn fetch(&self, length: usize) -> Result<Bytes, End> {
        let length = u32::try_from(length).unwrap_or(MAX_READ).min(MAX_READ);
        match self.wire.ask(&FromWorker::Read { offset: self.position, length })? {
            (ToWorker::Input, bytes) if bytes.len() <= length as usize => Ok(bytes),
            _ => Err(protocol("input was asked for, and something else came")),
        }
    }

    fn size(&mut self) -> io::Result<u64> {
        if let Some(size) = self.size {
            return Ok(size);
        }
        let asked = self.wire.ask(&FromWorker::MeasureInput).and_then(|answer| match answer {
            (ToWorker::InputSize(size), _) => Ok(size),
            _ => Err(protocol("the input's size was asked for, and something else came")),
        });
        Ok(*self.size.insert(self.wire.note(asked)?))
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.wire.note(self.fetch(buffer.len()))?;
        let (into, _) = buffer.split_at_mut_checked(bytes.len()).ok_or(io::ErrorKind::InvalidData)?;
        into.copy_from_slice(&bytes);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let moved = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.size()?.checked_add_signed(by),
        };
        self.position = moved.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// The job's output.
pub struct Output(pub Wire);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.tell(&FromWorker::Output, bytes);
        self.0.note(sent).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
