//! Short-lived workers beside the live one: each decodes a piece of what the ring holds, answers, and is gone.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::link::{FromWorker, PixelsTask, Program, Role, ToWorker, Worker, WorkerEvent};
use crate::media::{MediaTime, Packet, Track, VideoConfig};
use crate::plan::Backend;
use crate::ring::{Read, Ring, Start};

/// A GOP of the largest ring decodes well within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Packets of one configuration, the first of them a keyframe.
#[derive(Clone, Debug)]
pub struct Piece {
    /// What they are to be read with.
    pub config: Arc<VideoConfig>,
    /// In decoding order.
    pub packets: Vec<Arc<Packet>>,
}

impl Piece {
    /// Everything that `ring` holds from `start` on.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if it holds no keyframe.
    pub fn since(ring: &Arc<Ring>, start: Start) -> Result<Self> {
        Self::take_while(ring, start, |_| true)
    }

    /// The packets from the keyframe at or before `at` until the picture of `at` is surely decoded; of the newest GOP if
    /// `at` is `None`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the ring does not reach back to `at`; [`ErrorKind::Unavailable`] if it holds no
    /// keyframe.
    pub fn until(ring: &Arc<Ring>, at: Option<MediaTime>) -> Result<Self> {
        let Some(at) = at else { return Self::since(ring, Start::NewestKeyframe) };
        let (oldest, newest) = ring.span().ok_or_else(nothing_yet)?;
        if at < oldest {
            let ago = MediaTime(newest.since(at)).seconds();
            let reach = MediaTime(newest.since(oldest)).seconds();
            let message =
                format!("{ago:.1} s ago is out of reach: the ring goes back {reach:.1} s (limits.ring_duration)");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let mut beyond = 0;
        Self::take_while(ring, Start::KeyframeBefore(at), |packet| {
            // Pictures shown earlier may still follow in decode order.
            beyond += usize::from(packet.header.pts > at);
            let reorder = packet.video_config().map_or(0, |config| usize::from(config.reorder_depth));
            beyond <= reorder + 1
        })
    }

    fn take_while(ring: &Arc<Ring>, start: Start, mut goes_on: impl FnMut(&Packet) -> bool) -> Result<Self> {
        let mut reader = ring.reader(start);
        let mut packets = Vec::new();
        while let Some(Read::Packet(packet)) = reader.try_next() {
            if packet.header.track != Track::Video {
                continue;
            }
            if !goes_on(&packet) {
                break;
            }
            packets.push(packet);
        }
        let config = packets.first().and_then(|packet| packet.video_config()).cloned().ok_or_else(nothing_yet)?;
        // What is coded differently belongs to another worker.
        packets.retain(|packet| packet.video_config().is_some_and(|own| own.generation == config.generation));
        Ok(Self { config, packets })
    }
}

/// What a worker beside is asked.
#[derive(Debug)]
pub struct Question {
    /// Where it decodes.
    pub decode: Backend,
    /// See [`PixelsTask::sample_ticks`].
    pub sample_ticks: Option<i64>,
    /// Said before the packets.
    pub before: Vec<ToWorker>,
    /// Said after them.
    pub after: Vec<ToWorker>,
}

/// Has a worker decode `piece`. What it says goes to `hear` until that has the answer.
///
/// # Errors
/// [`ErrorKind::Unavailable`] if the worker fails or takes too long, and what `hear` makes of its words.
pub async fn ask<T>(
    context: &Context,
    stream: &str,
    piece: Piece,
    question: Question,
    hear: impl FnMut(FromWorker, Bytes) -> Option<Result<T>>,
) -> Result<T> {
    let worker = context.spawner.worker(Program::Engine, stream).await?;
    let answer = tokio::time::timeout(PATIENCE, talk(worker, piece, question, hear)).await;
    answer.unwrap_or_else(|_| Err(Error::unavailable("the worker beside the live one took too long")))
}

async fn talk<T>(
    mut worker: Worker,
    piece: Piece,
    question: Question,
    mut hear: impl FnMut(FromWorker, Bytes) -> Option<Result<T>>,
) -> Result<T> {
    let outbox = worker.outbox.clone();
    let Question { decode, sample_ticks, before, after } = question;
    let task = PixelsTask { config: piece.config.as_ref().clone(), decode, sample_ticks };
    let feed = async move {
        let plain = |message| (message, Bytes::new());
        let begin = std::iter::once(ToWorker::Begin(Role::Pixels(task))).chain(before).map(plain);
        let packets = piece.packets.into_iter().map(|packet| (ToWorker::Packet(packet.header), packet.data.clone()));
        for message in begin.chain(packets).chain(after.into_iter().map(plain)) {
            if outbox.send(message).await.is_err() {
                // The worker is gone; reading it says why.
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let read = async {
        loop {
            match worker.next().await {
                WorkerEvent::Message(FromWorker::Failed { message, .. }, _) => return Err(Error::unavailable(message)),
                WorkerEvent::Message(message, data) => {
                    if let Some(answer) = hear(message, data) {
                        return answer;
                    }
                }
                WorkerEvent::Exited(exit) => {
                    let message = format!("the worker beside the live one died ({})", exit.description);
                    return Err(Error::unavailable(message));
                }
            }
        }
    };
    tokio::select! {
        answer = read => answer,
        () = feed => Err(Error::internal("feeding a worker never ends")),
    }
}

/// There is nothing to decode.
pub fn nothing_yet() -> Error {
    Error::unavailable("no keyframe has come from the source yet").with_retry_after(Duration::from_secs(1))
}
