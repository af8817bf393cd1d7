//! The task that makes one sound: keeps a worker at it, replaces it when it dies, and lets consumers see one continuous
//! timeline all the while. Nothing here is waited for by pictures.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::session::{Ended, Feed, Session};
use super::{Progress, SoundSetup};
use crate::media::{AudioConfig, MediaTime, Packet, PacketHeader, SoundSpec, TrackConfig};
use crate::ring::{Ring, Start};
use crate::stream::HISTORY;

/// Sound before the point of resumption that a decoder needs to be in step: two frames of any codec.
const WARM_UP: i64 = MediaTime::HZ * 3 / 10;
/// The wait before a second respawn in a row; doubles up to [`MAX_WAIT`]. The first is immediate.
const WAIT: Duration = Duration::from_millis(250);
const MAX_WAIT: Duration = Duration::from_secs(10);
/// After this many deaths without any sound between them, what is there is skipped.
const DEATHS_BEFORE_SKIPPING: u32 = 2;

/// Makes one sound.
#[derive(Debug)]
pub struct Maker {
    pub(super) setup: Arc<SoundSetup>,
    pub(super) spec: SoundSpec,
    config: Arc<AudioConfig>,
    sink: Arc<Ring>,
    progress: watch::Sender<Progress>,
    /// Deaths since the last sound.
    deaths: u32,
}

impl Maker {
    /// A maker of `spec` whose packets go to `sink`.
    pub fn new(setup: Arc<SoundSetup>, spec: SoundSpec, sink: Arc<Ring>, progress: watch::Sender<Progress>) -> Self {
        Self { setup, spec, config: Arc::new(spec.config()), sink, progress, deaths: 0 }
    }

    /// Works until cancelled or until the source's stream has ended.
    pub async fn run(mut self, cancel: CancellationToken) {
        // Dropping what runs kills its worker.
        let _ = cancel.run_until_cancelled(self.make()).await;
        self.sink.close();
    }

    async fn make(&mut self) {
        let mut feed = self.resume();
        loop {
            let Some(first) = feed.next().await else { return };
            let begun = Instant::now();
            let ended = Session::run(self, first, &mut feed).await;
            self.note(|progress| (progress.worker, progress.sandbox) = (None, None));
            match ended {
                Ended::Changed => {}
                Ended::NothingFollows => return,
                Ended::Died(reason) => {
                    self.count_death(&reason);
                    tokio::time::sleep_until(begun + self.wait()).await;
                    feed = self.resume();
                }
            }
        }
    }

    /// From a little before where the sound has come to; at first, from as far back as consumers start.
    fn resume(&self) -> Feed {
        let source = &self.setup.source;
        if self.deaths >= DEATHS_BEFORE_SKIPPING {
            return Feed::new(source.reader(Start::NextKeyframe), None);
        }
        match (self.made(), source.span()) {
            (Some(made), _) => {
                let from = made.offset(-WARM_UP);
                Feed::new(source.reader(Start::KeyframeBefore(from)), Some(from))
            }
            (None, Some((_, newest))) => Feed::new(source.reader(Start::KeyframeBefore(newest.offset(-HISTORY))), None),
            (None, None) => Feed::new(source.reader(Start::NewestKeyframe), None),
        }
    }

    fn wait(&self) -> Duration {
        match self.deaths {
            0 | 1 => Duration::ZERO,
            deaths => (WAIT * 2u32.saturating_pow(deaths - 2)).min(MAX_WAIT),
        }
    }

    fn made(&self) -> Option<MediaTime> {
        self.progress.borrow().made
    }

    /// Takes a packet that a worker made; what a worker before it made already is left out.
    pub(super) fn take(&mut self, header: PacketHeader, data: Bytes) {
        let time = header.pts;
        if self.made().is_some_and(|made| time <= made) {
            return;
        }
        self.deaths = 0;
        self.sink.push(Packet { header, config: TrackConfig::Audio(self.config.clone()), data });
        self.note(|progress| progress.made = Some(time));
    }

    /// Changes what is told of the making.
    pub(super) fn note(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }

    fn count_death(&mut self, reason: &str) {
        let metrics = &self.setup.metrics;
        tracing::warn!(stream = metrics.id(), sound = %self.spec, "the worker that makes sound ended: {reason}");
        metrics.all.worker_restarts.with_label_values(&[metrics.id(), "sound", reason]).inc();
        self.deaths += 1;
        self.note(|progress| progress.restarts += 1);
    }
}
