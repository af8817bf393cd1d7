//! A connection whose peer moves: it takes what it is sent, or it sends. One that does neither is cut off.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::listener::Connection;

/// Said by a handler whose client may send its whole body before it takes anything of the answer. The kernel, which sees
/// only that nothing is taken, then has no say any more in how long that may last.
#[derive(Clone, Debug, Default)]
pub(super) struct Upload(Arc<AtomicBool>);

impl Upload {
    /// From now on the peer's sending counts as much as its taking.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// See the module's description.
pub(super) struct Watched<C> {
    stream: C,
    upload: Upload,
    tolerated: bool,
    patience: Duration,
    /// When bytes last went either way, or were first to go.
    moved: Instant,
    /// Runs while the peer takes nothing of what is to be written.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<C: Connection> Watched<C> {
    /// Cuts `stream` off once it has been waiting for `patience` for a peer that does nothing.
    pub fn new(stream: C, upload: Upload, patience: Duration) -> Self {
        Self { stream, upload, tolerated: false, patience, moved: Instant::now(), waiting: None }
    }

    /// The connection by itself, for a protocol that watches its peer in its own way.
    pub fn into_inner(self) -> C {
        self.stream
    }

    fn heed_upload(&mut self) {
        if !self.tolerated && self.upload.0.load(Ordering::Relaxed) {
            self.tolerated = true;
            if let Err(error) = self.stream.tolerate() {
                tracing::debug!(%error, "the peer left while it sent");
            }
        }
    }

    fn judge<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        let moved = &mut self.moved;
        let waiting = self.waiting.get_or_insert_with(|| {
            *moved = Instant::now();
            Box::pin(sleep_until(*moved + patience))
        });
        loop {
            ready!(waiting.as_mut().poll(context));
            let due = *moved + patience;
            if Instant::now() >= due {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            waiting.as_mut().reset(due);
        }
    }
}

impl<C: Connection> AsyncRead for Watched<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.moved = Instant::now();
        }
        read
    }
}

impl<C: Connection> AsyncWrite for Watched<C> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heed_upload();
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.heed_upload();
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Caller;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    impl Connection for DuplexStream {
        fn configure(&self, _stalled_peer: Duration) -> io::Result<()> {
            Ok(())
        }

        fn tolerate(&self) -> io::Result<()> {
            Ok(())
        }

        fn caller(&self) -> Caller {
            Caller::Network
        }
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_nothing_is_cut_off() {
        let (ours, _theirs) = duplex(8);
        let begun = Instant::now();
        let error = Watched::new(ours, Upload::default(), PATIENCE).write_all(&[0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_sends_may_take_nothing_until_it_is_done() {
        let (ours, theirs) = duplex(8);
        let (mut reader, mut writer) = tokio::io::split(Watched::new(ours, Upload::default(), PATIENCE));
        let (mut from_us, mut to_us) = tokio::io::split(theirs);
        let written = tokio::spawn(async move { writer.write_all(&[0; 9]).await });
        let reading = tokio::spawn(async move { while reader.read_u8().await.is_ok() {} });
        for _ in 0..6 {
            to_us.write_u8(1).await.unwrap();
            tokio::time::sleep(PATIENCE / 2).await;
        }
        assert!(!written.is_finished());
        from_us.read_exact(&mut [0; 9]).await.unwrap();
        written.await.unwrap().unwrap();
        reading.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_counts_from_its_own_beginning() {
        let (ours, mut theirs) = duplex(8);
        let mut ours = Watched::new(ours, Upload::default(), PATIENCE);
        for _ in 0..3 {
            tokio::time::sleep(PATIENCE * 2).await;
            let taking = async {
                tokio::time::sleep(PATIENCE / 2).await;
                theirs.read_exact(&mut [0; 16]).await.unwrap();
            };
            let (written, ()) = tokio::join!(ours.write_all(&[0; 16]), taking);
            written.unwrap();
        }
    }
}
