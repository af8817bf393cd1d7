//! One stream's series, and how they go when it goes.

use prometheus::IntCounterVec;
use prometheus::core::Collector;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};

use super::Metrics;

/// Streams that go until their series do, if nobody looks at the metrics.
const SWEPT_AT_ONCE: usize = 1024;

impl Metrics {
    fn forget(&self, id: &str) {
        let mut gone = self.gone();
        gone.insert(id.to_owned());
        let are_many = gone.len() >= SWEPT_AT_ONCE;
        drop(gone);
        if are_many {
            self.sweep();
        }
    }

    pub(super) fn gone(&self) -> MutexGuard<'_, HashSet<String>> {
        // Names are put in and taken out whole.
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the series of the streams that went.
    pub(super) fn sweep(&self) {
        let gone = &std::mem::take(&mut *self.gone());
        if gone.is_empty() {
            return;
        }
        for vec in [&self.shm_readers, &self.shm_bytes] {
            remove_streams(vec, gone, |labels| vec.remove(labels));
        }
        for vec in [&self.stream_state, &self.stream_up, &self.consumers, &self.ring_bytes, &self.ring_joinable] {
            remove_streams(vec, gone, |labels| vec.remove(labels));
        }
        for vec in
            [&self.acceleration, &self.worker_rss_bytes, &self.worker_sandboxed, &self.degraded, &self.overload_step]
        {
            remove_streams(vec, gone, |labels| vec.remove(labels));
        }
        for vec in [
            &self.source_fps,
            &self.source_clock_offset,
            &self.source_last_packet_age,
            &self.ring_seconds,
            &self.verify_psnr,
        ] {
            remove_streams(vec, gone, |labels| vec.remove(labels));
        }
        for vec in [
            &self.source_packets,
            &self.source_bytes,
            &self.source_packets_lost,
            &self.source_reconnects,
            &self.source_failures,
            &self.source_clock_jumps,
            &self.frames_decoded,
            &self.packets_broken,
            &self.rendition_frames,
            &self.consumer_dropped,
            &self.consumers_stalled,
            &self.shm_dropped,
            &self.shm_closed,
            &self.fallbacks,
            &self.worker_restarts,
            &self.stills,
            &self.admission_refused,
            &self.verifications,
            &self.blames,
        ] {
            remove_streams(vec, gone, |labels| vec.remove(labels));
        }
        for vec in [&self.worker_cpu_seconds, &self.gpu_seconds, &self.gpu_wait_seconds] {
            remove_streams(vec, gone, |labels| vec.remove(labels));
        }
        remove_streams(&self.stage_latency, gone, |labels| self.stage_latency.remove(labels));
    }
}

/// The metrics with one stream's name filled in.
#[derive(Debug)]
pub struct StreamMetrics {
    /// The process's metrics.
    pub all: Arc<Metrics>,
    pub(super) id: String,
}

impl StreamMetrics {
    /// The stream's name without its source's, for what both of its sources are counted in.
    pub fn stream(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }

    /// The stream's name, for use as a label; that of a substream ends in `/detect`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Adds to a counter that has the stream as its only label.
    pub fn count(&self, counter: &IntCounterVec, by: u64) {
        counter.with_label_values(&[&self.id]).inc_by(by);
    }

    /// Adds to a counter with one label behind the stream.
    pub fn count_by(&self, counter: &IntCounterVec, label: &str, by: u64) {
        counter.with_label_values(&[self.id.as_str(), label]).inc_by(by);
    }
}

impl Drop for StreamMetrics {
    fn drop(&mut self) {
        self.all.forget(&self.id);
    }
}

fn remove_streams<T>(
    vec: &impl Collector,
    gone: &HashSet<String>,
    remove: impl Fn(&HashMap<&str, &str>) -> prometheus::Result<T>,
) {
    for family in vec.collect() {
        for metric in family.get_metric() {
            let pairs = metric.get_label();
            let labels: HashMap<&str, &str> = pairs.iter().map(|pair| (pair.name(), pair.value())).collect();
            if labels.get("stream").is_some_and(|stream| gone.contains(*stream)) {
                // Gone already is as good.
                let _ = remove(&labels);
            }
        }
    }
}
