//! What a worker's process takes of the machine, as metrics.

use crate::link::Usage;
use crate::metrics::StreamMetrics;

/// What has been counted of one process.
#[derive(Debug, Default)]
pub struct ProcessUse {
    cpu_seconds: f64,
}

impl ProcessUse {
    /// Shows `usage` of the worker in `role` (`ingest`, `pixels`), and counts the CPU time that is new since the last call.
    pub fn show(&mut self, metrics: &StreamMetrics, role: &str, usage: Usage) {
        let labels = [metrics.id(), role];
        metrics.all.worker_rss_bytes.with_label_values(&labels).set(usage.rss_bytes as i64);
        let step = (usage.cpu_seconds - self.cpu_seconds).max(0.0);
        metrics.all.worker_cpu_seconds.with_label_values(&labels).inc_by(step);
        self.cpu_seconds = usage.cpu_seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use std::sync::Arc;

    #[test]
    fn cpu_time_adds_up_over_workers() {
        let metrics = Arc::new(Metrics::new());
        let door = metrics.stream("door");
        let usage = |cpu_seconds| Usage { rss_bytes: 4096, cpu_seconds };
        let mut first = ProcessUse::default();
        first.show(&door, "pixels", usage(1.0));
        first.show(&door, "pixels", usage(1.5));
        ProcessUse::default().show(&door, "pixels", usage(0.5));
        let text = metrics.text();
        assert!(text.contains("camshaft_worker_cpu_seconds_total{role=\"pixels\",stream=\"door\"} 2\n"), "{text}");
        assert!(text.contains("camshaft_worker_rss_bytes{role=\"pixels\",stream=\"door\"} 4096\n"), "{text}");
    }
}
