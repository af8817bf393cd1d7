//! Stills that the live worker can't give: of a moment in the past, or while nobody decodes. A short-lived worker decodes
//! the one GOP that holds the moment.

use std::sync::Arc;

use super::beside::{Piece, Question, ask, nothing_yet};
use super::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::link::{FromWorker, ToWorker};
use crate::media::{Frame, MediaTime, StillSpec, VideoConfig};
use crate::plan::{Backend, Capabilities, Input, Job, Policy, Rate, Scale, plan};
use crate::ring::Ring;

/// The picture shown at `at`, or the newest, decoded from what `ring` holds where `capabilities` and `policy` allow.
///
/// # Errors
/// [`ErrorKind::NotFound`] if the ring does not reach back to `at`; [`ErrorKind::Unavailable`] if it holds no keyframe or
/// the worker fails.
pub async fn still(
    context: &Context,
    ring: &Arc<Ring>,
    stream: &str,
    capabilities: &Capabilities,
    policy: Policy,
    spec: StillSpec,
    at: Option<MediaTime>,
) -> Result<Frame> {
    let piece = Piece::until(ring, at)?;
    let _permit =
        context.beside.acquire().await.map_err(|_| Error::new(ErrorKind::Cancelled, "camshaft is stopping"))?;
    let mut failure = None;
    for decode in ways(&piece.config, capabilities, policy)? {
        let question = Question {
            decode,
            sample_ticks: None,
            before: at.map(|at| ToWorker::KeepStill { at }).into_iter().collect(),
            after: vec![ToWorker::Drain, ToWorker::Still { id: 0, spec, at }],
        };
        let made = ask(context, stream, piece.clone(), question, |message, data| match message {
            FromWorker::Still { header: Some(header), .. } if !data.is_empty() => Some(Ok(Frame { header, data })),
            FromWorker::Still { .. } => {
                Some(Err(Error::unavailable("no picture could be decoded from what the ring holds")))
            }
            _ => None,
        });
        match made.await {
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
