//! What a stream's pixels cost, and the room that they have been given.

use std::sync::Arc;

use super::super::rendition::RenditionKey;
use super::{PixelsSetup, stages};
use crate::admission::{Admitted, Claimant, Grant, Turn};
use crate::error::Result;
use crate::media::{FrameRate, Geometry, VideoConfig};
use crate::plan::{Candidate, Capabilities, Cost, Scale, Work};

/// Taken for a source that does not say its rate, as most cameras have it.
const USUAL_RATE: FrameRate = FrameRate { num: 25, den: 1 };

/// A stream's share of what the machine can do.
#[derive(Debug)]
pub struct Budget {
    setup: Arc<PixelsSetup>,
    claimant: Claimant,
    room: Option<Room>,
}

#[derive(Debug)]
struct Room {
    grant: Grant,
    /// The way of working that it was given for.
    way: Candidate,
}

impl Budget {
    /// No room yet for the stream of `setup`.
    pub fn new(setup: Arc<PixelsSetup>) -> Self {
        let claimant = Claimant { stream: setup.metrics.id().to_owned(), priority: setup.priority.0 };
        Self { setup, claimant, room: None }
    }

    /// Takes room for a worker that makes `keys` of `source` in the first of `ways` that there is room for; room that
    /// was taken before is exchanged for it.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Overloaded`] if there is none; then nothing is held any more.
    pub fn admit(&mut self, keys: &[RenditionKey], source: &VideoConfig, ways: &[Candidate]) -> Result<Candidate> {
        let costs = self.costs(keys, source, ways);
        let admitted = match self.room.take().filter(|room| !room.grant.is_revoked()) {
            Some(Room { grant, .. }) => Admitted { option: grant.change(&costs)?, grant },
            None => self.setup.context.admission.admit(&self.claimant, &costs)?,
        };
        Ok(self.take(admitted, ways))
    }

    /// Exchanges the room for that of another `way` of working, which is about to take over.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Overloaded`] if it has none; what runs goes on.
    pub fn move_to(&mut self, keys: &[RenditionKey], source: &VideoConfig, way: &Candidate) -> Result<()> {
        let costs = self.costs(keys, source, std::slice::from_ref(way));
        match &mut self.room {
            Some(room) => {
                room.grant.change(&costs)?;
                room.way = way.clone();
                Ok(())
            }
            None => self.admit(keys, source, std::slice::from_ref(way)).map(drop),
        }
    }

    /// Makes room for one more rendition, so that `keys` are made; the first takes room in the first of `ways` that has
    /// some.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Overloaded`] if there is none; what runs goes on.
    pub fn extend(&mut self, keys: &[RenditionKey], source: &VideoConfig, ways: &[Candidate]) -> Result<()> {
        match &self.room {
            Some(room) => room.grant.change(&self.costs(keys, source, std::slice::from_ref(&room.way))).map(drop),
            None => self.admit(keys, source, ways).map(drop),
        }
    }

    /// Notes that `keys` are what is made from now on.
    pub fn reduce(&self, keys: &[RenditionKey], source: &VideoConfig) {
        if let Some(room) = &self.room {
            room.grant.set(cost(keys, source, &room.way, &self.setup.capabilities()));
        }
    }

    /// Gives back what is held.
    pub fn release(&mut self) {
        self.room = None;
    }

    /// Resolves when the room is taken back, with the reason; never while there is none. Cancel-safe.
    pub async fn revoked(&mut self) -> String {
        match &mut self.room {
            Some(room) => room.grant.revoked().await,
            None => std::future::pending().await,
        }
    }

    /// Queues for room.
    pub fn queue(&self, keys: &[RenditionKey], source: &VideoConfig, ways: &[Candidate]) -> Turn {
        self.setup.context.admission.queue(self.claimant.clone(), self.costs(keys, source, ways))
    }

    /// Takes the room that came of queueing for one of `ways`, and returns the way.
    #[allow(clippy::indexing_slicing, reason = "one of the ways that were queued for was granted")]
    pub fn take(&mut self, admitted: Admitted, ways: &[Candidate]) -> Candidate {
        let way = ways[admitted.option].clone();
        self.room = Some(Room { grant: admitted.grant, way: way.clone() });
        way
    }

    fn costs(&self, keys: &[RenditionKey], source: &VideoConfig, ways: &[Candidate]) -> Vec<Cost> {
        let capabilities = self.setup.capabilities();
        ways.iter().map(|way| cost(keys, source, way, &capabilities)).collect()
    }
}

/// What a worker costs that decodes `source` in this `way` and makes `keys` of it.
fn cost(keys: &[RenditionKey], source: &VideoConfig, way: &Candidate, capabilities: &Capabilities) -> Cost {
    let source_rate = source.frame_rate.unwrap_or(USUAL_RATE);
    let mut cost = Cost::default();
    cost.add(&way.decode, Work::Decode(source.codec), pixels_per_s(source.geometry, source_rate));
    for key in keys {
        // What cannot be made of this source costs nothing: it is refused elsewhere.
        let (Ok(spec), Ok(job)) = (key.request.resolve(source), stages::job(&key.request, source)) else { continue };
        let Ok(stages) = stages::stages(&job, capabilities, key.policy, &way.decode) else { continue };
        let made = pixels_per_s(spec.size, spec.cadence.nominal(source_rate));
        if job.scale == Scale::Needed {
            cost.add(&stages.scale, Work::Scale, made);
        }
        if let Some((encode, codec)) = stages.encode.zip(job.encode) {
            cost.add(&encode, Work::Encode(codec), made);
        }
    }
    cost
}

fn pixels_per_s(size: Geometry, rate: FrameRate) -> u64 {
    (size.pixels() as f64 * rate.as_f64()) as u64
}
