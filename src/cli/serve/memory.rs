//! Memory against its limit: looked at four times a second, and what is done about it.

use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::config::Limits;
use crate::link::Spawner;
use crate::memory::{Groups, Memory, Pressure, Reading, Thresholds, private_bytes};

const LOOK: Duration = Duration::from_millis(250);
/// How long after a worker was ended its memory is given to come back.
const SETTLE: Duration = Duration::from_secs(2);

/// What the limit is, and how use is counted.
#[derive(Debug)]
enum Gauge {
    /// The kernel's, of this process's cgroups.
    Groups(Groups),
    /// The configuration's, on what the service and its workers hold.
    Own { limit: u64, spawner: Arc<Spawner> },
}

impl Gauge {
    fn read(&self) -> Option<Reading> {
        match self {
            Self::Groups(groups) => groups.tightest(),
            Self::Own { limit, spawner } => {
                let pids = spawner.pids().into_iter().chain([std::process::id()]);
                Some(Reading { used: pids.filter_map(private_bytes).sum(), limit: *limit })
            }
        }
    }
}

/// The steps that `limits` name.
pub fn thresholds(limits: &Limits) -> Thresholds {
    Thresholds { refuse: limits.memory_refuse, shed: limits.memory_shed, end: limits.memory_end }
}

/// Looks at memory until `cancel`, tells `admission`'s, and ends workers where nothing else has helped.
pub async fn watch(limits: Limits, spawner: Arc<Spawner>, admission: Arc<Admission>, cancel: CancellationToken) {
    let gauge = match limits.memory.0 {
        Some(limit) => Gauge::Own { limit, spawner: spawner.clone() },
        None => Gauge::Groups(Groups::own()),
    };
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ended = None;
    while cancel.run_until_cancelled(tick.tick()).await.is_some() {
        let Some(reading) = gauge.read() else { continue };
        let memory = admission.memory();
        let before = memory.pressure();
        match memory.note(reading) {
            Pressure::None if before > Pressure::None => admission.serve_queue(),
            Pressure::End if ended.is_none_or(|at: Instant| at.elapsed() >= SETTLE) => {
                end_largest(&spawner, memory);
                ended = Some(Instant::now());
            }
            _ => {}
        }
    }
}

fn end_largest(spawner: &Spawner, memory: &Memory) {
    if let Some((worker, bytes)) = spawner.end_largest(private_bytes) {
        memory.note_given_up("worker");
        tracing::error!(%worker, bytes, "the largest worker is ended: memory ran short (limits.memory_end)");
    }
}
