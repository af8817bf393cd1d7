//! Looks at the pictures of a worker on a device: whether they show anything and move, and now and then whether they are
//! those that the CPU makes of the same packets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

use super::PixelsSetup;
use super::failure::{Failure, Reason};
use super::samples::{Sample, Watch};
use super::second::{Comparison, compare};

/// Samples that a comparison looks at, as far as they lie in one GOP.
const COMPARED: usize = 8;

/// The inspection of one worker's pictures.
#[derive(Debug)]
pub struct Inspection {
    setup: Arc<PixelsSetup>,
    watch: Watch,
    recent: VecDeque<Sample>,
    /// Packets lost on the way from the source, as of the last sample.
    lost: u64,
    /// Whether nothing was lost since the last keyframe: decoders differ in what they make of the rest.
    is_whole: bool,
    compared: Instant,
    comparing: JoinSet<(Option<Reason>, Comparison)>,
}

impl Inspection {
    /// Nothing was seen yet.
    pub fn new(setup: Arc<PixelsSetup>) -> Self {
        let lost = setup.facts.get().lost;
        Self {
            setup,
            watch: Watch::default(),
            recent: VecDeque::new(),
            lost,
            is_whole: false,
            compared: Instant::now(),
            comparing: JoinSet::new(),
        }
    }

    /// A keyframe was fed: what was lost before it is of no matter any more.
    pub fn keyframe(&mut self) {
        self.is_whole = true;
    }

    /// Looks at a picture; has it compared if it looks wrong, or if it is time to.
    pub fn see(&mut self, sample: Sample) {
        let lost = self.setup.facts.get().lost;
        if std::mem::replace(&mut self.lost, lost) != lost {
            self.is_whole = false;
        }
        if !self.is_whole {
            return self.recent.clear();
        }
        if self.recent.len() == COMPARED {
            self.recent.pop_front();
        }
        self.recent.push_back(sample.clone());
        if !self.comparing.is_empty() {
            return;
        }
        let suspicion = self.watch.suspect(sample);
        let is_due = self.compared.elapsed() >= self.setup.context.recovery.verify_every;
        if suspicion.is_some() || is_due {
            self.compared = Instant::now();
            let (setup, samples) = (self.setup.clone(), self.recent.iter().cloned().collect());
            self.comparing.spawn(async move { (suspicion, compare(setup, samples).await) });
        }
    }

    /// Resolves when a comparison has shown that the pictures are wrong. Cancel-safe.
    pub async fn failure(&mut self) -> Failure {
        loop {
            match self.comparing.join_next().await {
                Some(Ok((suspicion, Comparison::Different { psnr }))) => {
                    let reason = suspicion.unwrap_or(Reason::Mismatch);
                    let what = match reason {
                        Reason::Frozen => "the pictures stand still",
                        Reason::Flat => "the pictures show nothing",
                        _ => "the pictures are wrong",
                    };
                    return Failure::new(
                        reason,
                        format!("{what}: {psnr:.1} dB from what the CPU makes of the packets"),
                    );
                }
                // The next sample that looks like it is looked into again.
                Some(Ok((_, Comparison::Unclear))) => self.watch.forget(),
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}
