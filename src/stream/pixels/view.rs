//! What is known of a stream's pixels, for status, metrics and events.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::super::rendition::Rendition;
use super::super::status::SandboxStatus;
use super::load::Load;
use crate::events::{Change, Events, Topic};
use crate::metrics::StreamMetrics;
use crate::plan::Candidate;

/// The state of events while nobody makes pixels.
const NONE: &str = "none";

/// The facts, as they change.
#[derive(Debug)]
pub struct View {
    metrics: Arc<StreamMetrics>,
    events: Arc<Events>,
    facts: Mutex<PixelsFacts>,
}

/// The facts at one moment.
#[derive(Clone, Debug, Default)]
pub struct PixelsFacts {
    /// The worker's process.
    pub worker: Option<u32>,
    /// Workers that died and were replaced.
    pub restarts: u64,
    /// Time that the GPU's engines worked for the worker, in seconds, where the kernel says.
    pub gpu_seconds: Option<f64>,
    /// What runs where; stays while a worker is replaced.
    pub candidate: Option<Candidate>,
    /// Since when.
    pub since: Option<SystemTime>,
    /// Why not the hardware, or why nothing.
    pub reason: Option<String>,
    /// What is being made.
    pub renditions: Vec<Arc<Rendition>>,
    /// What is given up for want of room or time, and why.
    pub load: (Load, Option<String>),
    /// What holds the worker.
    pub sandbox: Option<SandboxStatus>,
}

impl View {
    /// Nobody makes pixels yet.
    pub fn new(metrics: Arc<StreamMetrics>, events: Arc<Events>) -> Self {
        Self { metrics, events, facts: Mutex::default() }
    }

    /// The facts now.
    pub fn facts(&self) -> PixelsFacts {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes facts in place.
    pub fn update(&self, change: impl FnOnce(&mut PixelsFacts)) {
        change(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes the load, and returns the one before.
    pub fn exchange_load(&self, load: Load, reason: Option<String>) -> Load {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut facts.load, (load, reason)).0
    }

    /// Process `pid` makes the pixels now; `reason` says why not on the hardware.
    pub fn made_by(&self, pid: u32, candidate: &Candidate, reason: Option<String>) {
        self.update(|facts| (facts.worker, facts.gpu_seconds) = (Some(pid), None));
        self.enter(Some(candidate), reason);
        tracing::info!(stream = self.metrics.id(), pid, accel = candidate.decode.accel(), "pixels worker started");
    }

    /// Nobody makes pixels; `reason` says why, if anybody wants them.
    pub fn made_by_nobody(&self, reason: Option<String>) {
        self.update(|facts| (facts.worker, facts.gpu_seconds) = (None, None));
        self.enter(None, reason);
    }

    fn enter(&self, candidate: Option<&Candidate>, reason: Option<String>) {
        let before = self.facts().candidate.map(|before| before.decode);
        let decode = candidate.map(|candidate| &candidate.decode);
        if before.as_ref() == decode {
            return self.update(|facts| {
                facts.since.get_or_insert_with(SystemTime::now);
                facts.reason = reason;
            });
        }
        let gauge = &self.metrics.all.acceleration;
        let labels = |accel, device| [self.metrics.id(), accel, device];
        if let Some(before) = &before {
            // Gone already is as good.
            let _ = gauge.remove_label_values(&labels(before.accel(), before.device().unwrap_or_default()));
        }
        if let Some(decode) = decode {
            gauge.with_label_values(&labels(decode.accel(), decode.device().unwrap_or_default())).set(1);
        }
        self.events.tell(Change {
            topic: Topic::Acceleration,
            subject: self.metrics.id(),
            from: before.as_ref().map_or(NONE, |before| before.accel()),
            to: decode.map_or(NONE, |decode| decode.accel()),
            reason: reason.as_deref(),
        });
        self.update(|facts| {
            facts.candidate = candidate.cloned();
            facts.since = Some(SystemTime::now());
            facts.reason = reason;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::plan::Backend;

    #[test]
    fn changes_are_told_once_and_leave_one_series() {
        let (metrics, events) = (Arc::new(Metrics::new()), Arc::new(Events::default()));
        let view = View::new(Arc::new(metrics.stream("door")), events.clone());
        let candidate = |decode: Backend| Candidate { scale: decode.clone(), decode, encode: None, mode: None };
        let hardware = candidate(Backend::Vaapi { device: "/dev/dri/renderD128".into() });
        view.made_by(1, &hardware, None);
        let since = view.facts().since;
        view.made_by(2, &hardware, None);
        assert_eq!((view.facts().worker, view.facts().since), (Some(2), since), "a new process is no news");
        view.made_by(3, &candidate(Backend::Software), Some("hang".into()));
        let series = |text: &str| text.lines().filter(|line| line.starts_with("camshaft_acceleration_info{")).count();
        assert_eq!(series(&metrics.text()), 1);
        assert!(
            metrics.text().contains("camshaft_acceleration_info{accel=\"software\",device=\"\",stream=\"door\"} 1")
        );
        view.made_by_nobody(None);
        assert_eq!(series(&metrics.text()), 0);
        let told: Vec<_> =
            events.listen(Some(0)).missed.iter().map(|event| format!("{} {}", event.from, event.to)).collect();
        assert_eq!(told, ["none hardware", "hardware software", "software none"]);
    }
}
