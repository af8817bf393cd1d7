//! Response bodies that go on until the media or the client ends. Each is written by a task of its own, so that a client
//! that takes nothing is noticed while nothing can be sent.

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, Stream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::error::{Error, Result};
use crate::media::Packet;
use crate::output::{Flow, FrameWriter, PacketMuxer};
use crate::shm::Pool;
use crate::stream::{Packets, PictureStream, Read};

/// Packets that are there already are sent together up to this many bytes: what is on its way is each viewer's own.
const CHUNK: usize = 64 << 10;

/// What bounds a media response.
#[derive(Clone, Debug)]
pub struct DeliveryOptions {
    /// A client that takes nothing for this long is given up.
    pub stalled_consumer: Duration,
    /// Ends every media response when cancelled.
    pub shutdown: CancellationToken,
    /// The memory that readers over the Unix socket may have.
    pub shared_memory: Arc<Pool>,
}

/// Why a response ended before its media did.
#[derive(Debug)]
enum Interruption {
    /// The client is gone.
    Gone,
    /// The client took nothing for too long.
    Stalled,
    /// The media could not be written.
    Failed(Error),
}

/// How the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// As a whole.
    Complete,
    /// Visibly cut off.
    Cut,
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A response with the packets of `media` as `muxer` writes them. Waits for the first packet, so that the status is true.
///
/// # Errors
/// [`crate::error::ErrorKind::Unavailable`] if the stream ends or changes before it.
pub(super) async fn packets(
    mut media: impl Packets,
    mut muxer: Box<dyn PacketMuxer>,
    options: &DeliveryOptions,
) -> Result<Response> {
    let first = first_packet(&mut media).await.ok_or_else(ended)?;
    let mut out = BytesMut::from(&muxer.header()[..]);
    if muxer.packet(&first, &mut out)? == Flow::End {
        return Err(Error::unavailable("the source changed while it was joined"));
    }
    let content_type = muxer.content_type();
    let (outlet, chunks) = outlet(options);
    let shutdown = options.shutdown.clone();
    let task = async move {
        let end = tokio::select! {
            end = write_packets(&mut media, muxer.as_mut(), out, &outlet) => end,
            () = shutdown.cancelled() => Ok(()),
        };
        conclude(end, || media.note_stalled())
    };
    Ok(response(content_type, chunks, task))
}

/// A response with the pictures of `media` as `writer` writes them. Waits for the first picture.
///
/// # Errors
/// [`crate::error::ErrorKind::Unavailable`] if the stream ends before it.
pub(super) async fn pictures(
    mut media: PictureStream,
    mut writer: Box<dyn FrameWriter>,
    options: &DeliveryOptions,
) -> Result<Response> {
    let first = media.next().await.ok_or_else(ended)?;
    let mut pieces = vec![writer.header()];
    writer.frame(&first.item, first.dropped, &mut pieces)?;
    let content_type = writer.content_type();
    let (outlet, chunks) = outlet(options);
    let (shutdown, shed) = (options.shutdown.clone(), media.shed());
    let task = async move {
        let end = tokio::select! {
            end = write_pictures(&mut media, writer.as_mut(), pieces, &outlet) => end,
            () = shed => Ok(()),
            () = shutdown.cancelled() => Ok(()),
        };
        conclude(end, || media.note_stalled())
    };
    Ok(response(content_type, chunks, task))
}

async fn first_packet(media: &mut impl Packets) -> Option<Arc<Packet>> {
    loop {
        if let Read::Packet(packet) = media.next().await? {
            return Some(packet);
        }
    }
}

fn ended() -> Error {
    Error::unavailable("the stream ended before its first media")
}

async fn write_packets(
    media: &mut impl Packets,
    muxer: &mut dyn PacketMuxer,
    mut out: BytesMut,
    outlet: &Outlet,
) -> Result<(), Interruption> {
    loop {
        let mut flow = Flow::Continue;
        while flow == Flow::Continue
            && out.len() < CHUNK
            && let Some(ready) = media.next().now_or_never()
        {
            flow = write(ready, muxer, &mut out)?;
        }
        if !out.is_empty() {
            // Splitting would keep the rest of a large buffer alive until small packets have used it up.
            outlet.send(vec![std::mem::take(&mut out).freeze()]).await?;
        }
        if flow == Flow::End || write(media.next().await, muxer, &mut out)? == Flow::End {
            return Ok(());
        }
    }
}

fn write(read: Option<Read>, muxer: &mut dyn PacketMuxer, out: &mut BytesMut) -> Result<Flow> {
    match read {
        Some(Read::Packet(packet)) => muxer.packet(&packet, out),
        // A keyframe follows, with which every container goes on.
        Some(Read::Skipped(_)) => Ok(Flow::Continue),
        None => Ok(Flow::End),
    }
}

async fn write_pictures(
    media: &mut PictureStream,
    writer: &mut dyn FrameWriter,
    mut pieces: Vec<Bytes>,
    outlet: &Outlet,
) -> Result<(), Interruption> {
    loop {
        outlet.send(std::mem::take(&mut pieces)).await?;
        let Some(next) = media.next().await else { return Ok(()) };
        writer.frame(&next.item, next.dropped, &mut pieces)?;
    }
}

fn conclude(end: Result<(), Interruption>, note_stalled: impl FnOnce()) -> Ending {
    match end {
        Ok(()) => Ending::Complete,
        Err(Interruption::Gone) => Ending::Cut,
        Err(Interruption::Stalled) => {
            note_stalled();
            Ending::Cut
        }
        Err(Interruption::Failed(error)) => {
            tracing::warn!(error = %error.chain(), "a live response was cut off");
            Ending::Cut
        }
    }
}

/// The writing end of a body.
struct Outlet {
    chunks: mpsc::Sender<Vec<Bytes>>,
    stalled_consumer: Duration,
}

impl Outlet {
    async fn send(&self, pieces: Vec<Bytes>) -> Result<(), Interruption> {
        match tokio::time::timeout(self.stalled_consumer, self.chunks.send(pieces)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Interruption::Gone),
            Err(_) => Err(Interruption::Stalled),
        }
    }
}

/// One chunk waits while another is sent: what is late stays in the ring, where it can be skipped.
fn outlet(options: &DeliveryOptions) -> (Outlet, mpsc::Receiver<Vec<Bytes>>) {
    let (chunks, receiver) = mpsc::channel(1);
    (Outlet { chunks, stalled_consumer: options.stalled_consumer }, receiver)
}

fn response(
    content_type: String,
    chunks: mpsc::Receiver<Vec<Bytes>>,
    task: impl Future<Output = Ending> + Send + 'static,
) -> Response {
    let task = AbortOnDropHandle::new(tokio::spawn(task.in_current_span()));
    let body = LiveBody { pieces: Vec::new().into_iter(), chunks, task };
    let mut response = Response::new(Body::from_stream(body));
    super::media_headers(response.headers_mut(), &content_type);
    response
}

/// The reading end of a body. Dropping it, as the server does when the client goes, ends the task that writes it.
struct LiveBody {
    pieces: std::vec::IntoIter<Bytes>,
    chunks: mpsc::Receiver<Vec<Bytes>>,
    task: AbortOnDropHandle<Ending>,
}

impl Stream for LiveBody {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(piece) = self.pieces.find(|piece| !piece.is_empty()) {
                return Poll::Ready(Some(Ok(piece)));
            }
            match ready!(self.chunks.poll_recv(cx)) {
                Some(pieces) => self.pieces = pieces.into_iter(),
                None => break,
            }
        }
        match ready!(self.task.poll_unpin(cx)) {
            Ok(Ending::Complete) => Poll::Ready(None),
            // Closes the connection without the mark of a whole response; a panic of the writer does, too.
            Ok(Ending::Cut) | Err(_) => Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionAborted.into()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use tokio::sync::oneshot;

    fn options() -> DeliveryOptions {
        let (stalled_consumer, shutdown) = (Duration::from_secs(10), CancellationToken::new());
        DeliveryOptions { stalled_consumer, shutdown, shared_memory: Pool::new(0, 0) }
    }

    async fn body_of(ending: Ending) -> Result<Bytes, axum::Error> {
        let (outlet, chunks) = outlet(&options());
        let task = async move {
            outlet.send(vec![Bytes::new(), "a".into(), "b".into()]).await.unwrap();
            outlet.send(vec!["c".into()]).await.unwrap();
            ending
        };
        to_bytes(response("video/mp4".into(), chunks, task).into_body(), usize::MAX).await
    }

    #[tokio::test]
    async fn a_body_ends_as_its_writer_says() {
        assert_eq!(body_of(Ending::Complete).await.unwrap(), "abc");
        assert!(body_of(Ending::Cut).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (outlet, chunks) = outlet(&options());
        outlet.send(vec!["waits".into()]).await.unwrap();
        let started = tokio::time::Instant::now();
        assert!(matches!(outlet.send(vec!["late".into()]).await, Err(Interruption::Stalled)));
        assert_eq!(started.elapsed(), Duration::from_secs(10));
        drop(chunks);
        assert!(matches!(outlet.send(vec!["later".into()]).await, Err(Interruption::Gone)));
    }

    #[tokio::test]
    async fn the_writer_ends_with_its_client_even_while_no_media_comes() {
        let (_outlet, chunks) = outlet(&options());
        let (held, released) = oneshot::channel::<()>();
        let task = async move {
            let _held = held;
            std::future::pending().await
        };
        drop(response("video/mp4".into(), chunks, task));
        assert!(released.await.is_err());
    }
}
