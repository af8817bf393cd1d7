//! What a stream gives up because the machine has no more to give: shown in status, metrics, events and the log.

use super::{PixelsSetup, View};
use crate::events::{Change, Topic};
use crate::link::Effort;

/// How a stream's pixels are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// They are made, with this effort.
    Worked(Effort),
    /// They are not made: there is no room.
    Degraded,
}

impl Default for Load {
    fn default() -> Self {
        Self::Worked(Effort::Full)
    }
}

impl Load {
    /// The state's name, as in status and events.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Worked(effort) => effort.name(),
            Self::Degraded => "degraded",
        }
    }
}

/// Shows that `load` is how it is from now on; `reason` says why it is not full.
pub fn show(setup: &PixelsSetup, view: &View, load: Load, reason: Option<&str>) {
    let metrics = &setup.metrics;
    let (effort, degraded) = match load {
        Load::Worked(effort) => (effort, false),
        Load::Degraded => (Effort::Full, true),
    };
    metrics.all.overload_step.with_label_values(&[metrics.id()]).set(effort as i64);
    metrics.all.degraded.with_label_values(&[metrics.id()]).set(degraded.into());
    let to = load.name();
    let before = view.exchange_load(load, reason.map(str::to_owned));
    if before.name() != to {
        let change = Change { topic: Topic::Load, subject: metrics.id(), from: before.name(), to, reason };
        setup.context.events.tell(change);
    }
}
