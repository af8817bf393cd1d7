//! Looks at what encoders on devices make: now and then the CPU decodes the last second of each. A driver that reports
//! success for a packet that it wrote badly is found by nobody else, but by those who watch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

use super::super::beside::Piece;
use super::super::rendition::{Rendition, Sink};
use super::PixelsSetup;
use super::failure::{Failure, Reason};
use super::renditions::Renditions;
use super::second;
use crate::link::RenditionId;
use crate::media::MediaTime;
use crate::ring::Start;

/// A new encoder is looked at after so long, if not sooner.
const FIRST: Duration = Duration::from_secs(5);
/// So much of what it made is decoded, and what else belongs to it back to a keyframe.
const SPAN: i64 = MediaTime::HZ;

/// The inspection of one worker's encodes.
#[derive(Debug)]
pub struct Encodes {
    setup: Arc<PixelsSetup>,
    due: HashMap<RenditionId, Due>,
    reading: JoinSet<Option<(RenditionId, Failure)>>,
}

/// When an encoder is looked at next.
#[derive(Debug)]
struct Due {
    device: String,
    at: Instant,
}

impl Encodes {
    /// Nothing was seen yet.
    pub fn new(setup: Arc<PixelsSetup>) -> Self {
        Self { setup, due: HashMap::new(), reading: JoinSet::new() }
    }

    /// Has an encode decoded whose time has come; one at a time. Once a tick.
    pub fn look(&mut self, renditions: &Renditions) {
        let (now, every) = (Instant::now(), self.setup.context.recovery.verify_every);
        let encoders: Vec<_> =
            renditions.all().filter_map(|rendition| Some((rendition, encoder_device(rendition)?))).collect();
        let is_there = |id: RenditionId, device: &str| {
            encoders.iter().any(|(rendition, other)| rendition.id == id && other == device)
        };
        self.due.retain(|id, due| is_there(*id, &due.device));
        for (rendition, device) in encoders {
            let first = || Due { device, at: now + FIRST.min(every) };
            let due = self.due.entry(rendition.id).or_insert_with(first);
            if due.at > now || !self.reading.is_empty() {
                continue;
            }
            due.at = now + every;
            if let Some(piece) = newest(rendition) {
                let (setup, id) = (self.setup.clone(), rendition.id);
                self.reading.spawn(async move { read(&setup, piece).await.map(|failure| (id, failure)) });
            }
        }
    }

    /// Resolves when an encode has turned out to be damaged: which, and how. Cancel-safe.
    pub async fn failure(&mut self) -> (RenditionId, Failure) {
        loop {
            match self.reading.join_next().await {
                Some(Ok(Some(found))) => return found,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

fn encoder_device(rendition: &Rendition) -> Option<String> {
    rendition.stages()?.encode?.device().map(str::to_owned)
}

fn newest(rendition: &Rendition) -> Option<Piece> {
    let Sink::Packets(ring) = &rendition.sink else { return None };
    let (_, newest) = ring.span()?;
    Piece::since(ring, Start::KeyframeBefore(newest.offset(-SPAN))).ok()
}

async fn read(setup: &PixelsSetup, piece: Piece) -> Option<Failure> {
    let (size, count) = (piece.config.geometry, piece.packets.len());
    let flaw = second::read(setup, piece).await.ok()?.flaw(size);
    let outcome = if flaw.is_some() { "encode_damaged" } else { "encode_whole" };
    setup.metrics.count_by(&setup.metrics.all.verifications, outcome, 1);
    let message = format!("of {count} packets that the device encoded, {}, as the CPU reads them", flaw?);
    Some(Failure::new(Reason::Damaged, message))
}
