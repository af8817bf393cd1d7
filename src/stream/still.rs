//! Stills that the live worker can't give: of a moment in the past, or while nobody decodes. A short-lived worker decodes
//! the one GOP that holds the moment.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::link::{FromWorker, PixelsTask, Program, Role, ToWorker, Worker, WorkerEvent};
use crate::media::{Frame, MediaTime, Packet, StillSpec, Track, VideoConfig};
use crate::plan::{Backend, Capabilities, Input, Job, Policy, Rate, Scale, plan};
use crate::ring::{Read, Ring, Start};

/// A GOP of the largest ring decodes well within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// The picture shown at `at`, or the newest, decoded from what `ring` holds.
///
/// # Errors
/// [`ErrorKind::NotFound`] if the ring does not reach back to `at`; [`ErrorKind::Unavailable`] if it holds no keyframe or
/// the worker fails.
pub async fn still(
    context: &Context,
    ring: &Arc<Ring>,
    stream: &str,
    policy: Policy,
    spec: StillSpec,
    at: Option<MediaTime>,
) -> Result<Frame> {
    let packets = gop(ring, at)?;
    let _permit =
        context.beside.acquire().await.map_err(|_| Error::new(ErrorKind::Cancelled, "camshaft is stopping"))?;
    let config = packets.first().and_then(|packet| packet.video_config()).cloned().ok_or_else(nothing_yet)?;
    let mut failure = None;
    for decode in ways(&config, &context.devices.capabilities(), policy)? {
        let worker = context.spawner.worker(Program::Engine, stream).await?;
        let task = PixelsTask { config: config.as_ref().clone(), decode };
        let made = tokio::time::timeout(PATIENCE, decode_one(task, worker, packets.clone(), spec, at)).await;
        match made.unwrap_or_else(|_| Err(Error::unavailable("the worker that makes the still took too long"))) {
            Ok(frame) => return Ok(frame),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(nothing_yet))
}

/// Where the picture may be decoded, best first.
fn ways(config: &VideoConfig, capabilities: &Capabilities, policy: Policy) -> Result<Vec<Backend>> {
    let job = Job { input: Input::from(config), scale: Scale::Unneeded, encode: None, rate: Rate::Bitrate };
    let plan = plan(&job, capabilities, policy);
    if plan.candidates.is_empty() {
        let message = format!("nothing here can decode this stream: {}", plan.rejected.join("; "));
        return Err(Error::new(ErrorKind::Impossible, message));
    }
    Ok(plan.candidates.into_iter().map(|candidate| candidate.decode).collect())
}

/// The packets from the keyframe at or before `at` until the picture of `at` is surely decoded.
fn gop(ring: &Arc<Ring>, at: Option<MediaTime>) -> Result<Vec<Arc<Packet>>> {
    let (oldest, newest) = ring.span().ok_or_else(nothing_yet)?;
    if let Some(at) = at.filter(|at| *at < oldest) {
        let ago = MediaTime(newest.since(at)).seconds();
        let reach = MediaTime(newest.since(oldest)).seconds();
        let message = format!("{ago:.1} s ago is out of reach: the ring goes back {reach:.1} s (limits.ring_duration)");
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    let start = at.map_or(Start::NewestKeyframe, Start::KeyframeBefore);
    let mut reader = ring.reader(start);
    let mut packets = Vec::new();
    let mut beyond = 0;
    while let Some(Read::Packet(packet)) = reader.try_next() {
        if packet.header.track != Track::Video {
            continue;
        }
        if at.is_some_and(|at| packet.header.pts > at) {
            // Pictures shown earlier may still follow in decode order.
            beyond += 1;
            let reorder = packet.video_config().map_or(0, |config| usize::from(config.reorder_depth));
            if beyond > reorder + 1 {
                break;
            }
        }
        packets.push(packet);
    }
    let first = packets.first().and_then(|packet| packet.video_config()).cloned().ok_or_else(nothing_yet)?;
    // What is coded differently belongs to another worker.
    packets.retain(|packet| packet.video_config().is_some_and(|config| config.generation == first.generation));
    Ok(packets)
}

async fn decode_one(
    task: PixelsTask,
    mut worker: Worker,
    packets: Vec<Arc<Packet>>,
    spec: StillSpec,
    at: Option<MediaTime>,
) -> Result<Frame> {
    let outbox = worker.outbox.clone();
    let begin = ToWorker::Begin(Role::Pixels(task));
    let feed = async move {
        let plain = |message| (message, Bytes::new());
        let mut messages = vec![plain(begin)];
        messages.extend(at.map(|at| plain(ToWorker::KeepStill { at })));
        messages.extend(packets.into_iter().map(|packet| (ToWorker::Packet(packet.header), packet.data.clone())));
        messages.extend([plain(ToWorker::Drain), plain(ToWorker::Still { id: 0, spec, at })]);
        for message in messages {
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
                WorkerEvent::Message(FromWorker::Still { header: Some(header), .. }, data) if !data.is_empty() => {
                    return Ok(Frame { header, data });
                }
                WorkerEvent::Message(FromWorker::Still { .. }, _) => {
                    return Err(Error::unavailable("no picture could be decoded from what the ring holds"));
                }
                WorkerEvent::Message(FromWorker::Failed { message, .. }, _) => return Err(Error::unavailable(message)),
                WorkerEvent::Message(..) => {}
                WorkerEvent::Exited(exit) => {
                    let message = format!("the worker that makes the still died ({})", exit.description);
                    return Err(Error::unavailable(message));
                }
            }
        }
    };
    tokio::select! {
        frame = read => frame,
        () = feed => Err(Error::internal("feeding a worker never ends")),
    }
}

fn nothing_yet() -> Error {
    Error::unavailable("no keyframe has come from the source yet").with_retry_after(Duration::from_secs(1))
}
