//! Bytes between who has them and who wants them: in memory while they are few, else in a file that has no name.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result};

/// Bytes kept in memory.
const MEMORY: u64 = 4 << 20;
/// How far what is dropped after reading may be written ahead of its reader.
const AHEAD: u64 = 4 << 20;

/// How much a spool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    bytes: u64,
    ahead: u64,
}

impl SpoolLimits {
    /// At most `bytes`, and far fewer where what is read goes.
    pub fn new(bytes: u64) -> Self {
        Self { bytes, ahead: AHEAD.min(bytes) }
    }

    /// At most `bytes`, read or not.
    pub fn filled(bytes: u64) -> Self {
        Self { bytes, ahead: bytes }
    }
}

/// One writer, one reader.
#[derive(Debug)]
pub struct Spool {
    limits: SpoolLimits,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    memory: VecDeque<Bytes>,
    file: Option<File>,
    /// The first byte that is still there.
    start: u64,
    /// The byte that comes next.
    end: u64,
    keeps: Keeps,
    ended: Option<std::result::Result<(), String>>,
    /// Nobody reads any more.
    abandoned: bool,
}

/// What becomes of bytes that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Keeps {
    /// They stay, as they may be read again; without room for more, writing fails.
    #[default]
    All,
    /// They stay while there is room.
    WhileItFits,
    /// They go.
    Nothing,
}

impl Spool {
    /// Empty.
    pub fn new(limits: SpoolLimits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default(), changed: Notify::new() })
    }

    /// Adds bytes, waiting for room where what is read goes.
    ///
    /// # Errors
    /// [`ErrorKind::Impossible`] if there is no room and there will be none; [`ErrorKind::Cancelled`] if nobody reads any
    /// more.
    pub async fn write(&self, bytes: Bytes) -> Result<()> {
        for piece in Pieces(bytes) {
            self.write_piece(piece).await?;
        }
        Ok(())
    }

    async fn write_piece(&self, piece: Bytes) -> Result<()> {
        let length = piece.len() as u64;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state();
                if state.abandoned {
                    return Err(Error::new(ErrorKind::Cancelled, "nobody reads what is written"));
                }
                let held = state.end - state.start;
                let room = if state.keeps == Keeps::Nothing { self.limits.ahead } else { self.limits.bytes };
                if held + length <= room || held == 0 {
                    state.append(piece, self.limits.bytes).map_err(no_file)?;
                    drop(state);
                    self.changed.notify_waiters();
                    return Ok(());
                }
                if state.keeps == Keeps::All {
                    let message = format!(
                        "the input must be kept whole, as its index stands at its end, and is longer than the {} bytes \
                         of limits.job_spool: send a file whose index comes first (ffmpeg: -movflags +faststart), or \
                         raise the limit",
                        self.limits.bytes
                    );
                    return Err(Error::new(ErrorKind::Impossible, message));
                }
                if state.keeps == Keeps::WhileItFits {
                    // From now on it cannot be read once more.
                    state.keeps = Keeps::Nothing;
                    drop(state);
                    self.changed.notify_waiters();
                    continue;
                }
            }
            changed.await;
        }
    }

    /// Nothing follows: `Err` if that is too early.
    pub fn end(&self, how: std::result::Result<(), String>) {
        self.state().ended.get_or_insert(how);
        self.changed.notify_waiters();
    }

    /// Nobody will read any more.
    pub fn abandon(&self) {
        self.state().abandoned = true;
        self.changed.notify_waiters();
    }

    /// What is read may be dropped, at once or, for a second reader from the start, once there is no room.
    pub fn forget_what_is_read(&self, may_start_again: bool) {
        let mut state = self.state();
        state.keeps = if may_start_again { Keeps::WhileItFits } else { Keeps::Nothing };
        drop(state);
        self.changed.notify_waiters();
    }

    /// Whether all that was ever written is still there.
    pub fn is_whole(&self) -> bool {
        self.state().start == 0
    }

    /// At most `length` bytes from `offset` on, as soon as there is one; none at the end.
    ///
    /// # Errors
    /// If the writer failed, or the bytes are not there any more.
    pub async fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state();
                if offset < state.start {
                    return Err(Error::internal("a worker reads what it has said that it does not need any more"));
                }
                if offset < state.end {
                    let bytes = state.get(offset, length, self.limits.bytes).map_err(no_file)?;
                    if state.keeps == Keeps::Nothing {
                        state.drop_until(offset);
                        drop(state);
                        self.changed.notify_waiters();
                    }
                    return Ok(bytes);
                }
                match &state.ended {
                    Some(Ok(())) => return Ok(Bytes::new()),
                    Some(Err(why)) => return Err(Error::new(ErrorKind::Impossible, why.clone())),
                    None if state.keeps == Keeps::Nothing && offset > state.start => {
                        // Everything before was taken.
                        state.drop_until(offset);
                        drop(state);
                        self.changed.notify_waiters();
                    }
                    None => {}
                }
            }
            changed.await;
        }
    }

    /// How long all of it is, once that is known.
    ///
    /// # Errors
    /// If the writer failed.
    pub async fn size(&self) -> Result<u64> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.state();
                match &state.ended {
                    Some(Ok(())) => return Ok(state.end),
                    Some(Err(why)) => return Err(Error::new(ErrorKind::Impossible, why.clone())),
                    None => {}
                }
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Bytes are put in and taken out whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, bytes: Bytes, capacity: u64) -> io::Result<()> {
        let length = bytes.len() as u64;
        if self.start == self.end {
            // Empty: a file that was needed once is not needed now.
            self.file = None;
        }
        if self.file.is_none() && self.end - self.start + length > MEMORY {
            let file = tempfile::tempfile()?;
            let mut at = self.start;
            for piece in std::mem::take(&mut self.memory) {
                write_around(&file, &piece, at, capacity)?;
                at += piece.len() as u64;
            }
            self.file = Some(file);
        }
        match &self.file {
            Some(file) => write_around(file, &bytes, self.end, capacity)?,
            None => self.memory.push_back(bytes),
        }
        self.end += length;
        Ok(())
    }

    fn get(&self, offset: u64, length: usize, capacity: u64) -> io::Result<Bytes> {
        if let Some(file) = &self.file {
            let place = offset % capacity;
            let most = (self.end - offset).min(capacity - place).min(length as u64);
            let mut bytes = BytesMut::zeroed(most as usize);
            file.read_exact_at(&mut bytes, place)?;
            return Ok(bytes.freeze());
        }
        let mut at = self.start;
        for piece in &self.memory {
            let next = at + piece.len() as u64;
            if offset < next {
                let from = (offset - at) as usize;
                return Ok(piece.slice(from..piece.len().min(from + length)));
            }
            at = next;
        }
        Ok(Bytes::new())
    }

    fn drop_until(&mut self, offset: u64) {
        if self.file.is_some() {
            self.start = self.start.max(offset);
            return;
        }
        while let Some(first) = self.memory.front_mut() {
            let next = self.start + first.len() as u64;
            if next > offset {
                let cut = offset.saturating_sub(self.start);
                let _ = first.split_to(cut as usize);
                self.start += cut;
                return;
            }
            self.start = next;
            self.memory.pop_front();
        }
    }
}

/// Writes to a file that is used in a circle.
fn write_around(file: &File, bytes: &[u8], offset: u64, capacity: u64) -> io::Result<()> {
    let place = offset % capacity;
    let (first, second) = bytes.split_at(bytes.len().min((capacity - place) as usize));
    file.write_all_at(first, place)?;
    file.write_all_at(second, 0)
}

fn no_file(error: io::Error) -> Error {
    let message = "a job's data found no room in the directory for temporary files: give the container a /tmp that can be \
                   written, with room for limits.job_spool";
    Error::unavailable(message).with_source(error)
}

/// Pieces that surely fit.
struct Pieces(Bytes);

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        const MOST: usize = 256 << 10;
        let length = self.0.len().min(MOST);
        (length > 0).then(|| self.0.split_to(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(from: u64, length: usize) -> Vec<u8> {
        (from..from + length as u64).map(|at| (at * 31 % 251) as u8).collect()
    }

    async fn read_all(spool: &Spool, mut offset: u64) -> u64 {
        loop {
            let piece = spool.read(offset, 100_000).await.unwrap();
            if piece.is_empty() {
                return offset;
            }
            assert_eq!(piece, bytes(offset, piece.len()));
            offset += piece.len() as u64;
        }
    }

    #[tokio::test]
    async fn what_is_kept_is_read_anywhere_from_memory_and_file() {
        for length in [1_000_000usize, 9_000_000] {
            let spool = Spool::new(SpoolLimits::new(16 << 20));
            spool.write(bytes(0, length).into()).await.unwrap();
            spool.end(Ok(()));
            assert_eq!(read_all(&spool, 0).await, length as u64);
            assert_eq!(read_all(&spool, 777_777).await, length as u64);
            assert_eq!(spool.size().await.unwrap(), length as u64);
        }
    }

    #[tokio::test]
    async fn an_endless_input_goes_through_a_bounded_spool() {
        let spool = Spool::new(SpoolLimits::new(5_000_000));
        spool.forget_what_is_read(true);
        let writer = spool.clone();
        let task = tokio::spawn(async move {
            for part in 0..50u64 {
                writer.write(bytes(part * 400_000, 400_000).into()).await.unwrap();
            }
            writer.end(Ok(()));
        });
        assert_eq!(read_all(&spool, 0).await, 20_000_000);
        assert!(!spool.is_whole());
        task.await.unwrap();
    }

    #[tokio::test]
    async fn what_must_be_kept_and_does_not_fit_is_refused() {
        let spool = Spool::new(SpoolLimits::new(1_000_000));
        let error = spool.write(bytes(0, 1_500_000).into()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Impossible);
        spool.end(Err("the client left".into()));
        assert!(spool.size().await.is_err());
        spool.abandon();
        assert_eq!(spool.write(bytes(0, 1).into()).await.unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
