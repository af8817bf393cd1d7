//! What a worker says it has used of its GPU.

use prometheus::CounterVec;

use crate::metrics::StreamMetrics;

/// What has been counted of one worker.
#[derive(Debug, Default)]
pub struct GpuUse {
    seconds: f64,
    waited: f64,
}

impl GpuUse {
    /// Counts what is new since the last time, for which the worker's word is taken only if it makes sense. Returns the
    /// engines' time, where there is one.
    pub fn count(&mut self, metrics: &StreamMetrics, seconds: Option<f64>, waited: f64) -> Option<f64> {
        add(metrics, &metrics.all.gpu_wait_seconds, &mut self.waited, waited);
        let seconds = seconds.filter(|seconds| seconds.is_finite())?;
        add(metrics, &metrics.all.gpu_seconds, &mut self.seconds, seconds);
        Some(self.seconds)
    }
}

/// A counter takes no steps back, and nothing that is no number.
fn add(metrics: &StreamMetrics, counter: &CounterVec, before: &mut f64, now: f64) {
    let step = now - *before;
    if step.is_finite() && step >= 0.0 {
        counter.with_label_values(&[metrics.id()]).inc_by(step);
        *before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use std::sync::Arc;

    #[test]
    fn counts_rise_and_nonsense_is_left_out() {
        let metrics = Arc::new(Metrics::new());
        let door = metrics.stream("door");
        let mut used = GpuUse::default();
        assert_eq!(used.count(&door, None, 0.5), None);
        assert!(!metrics.text().contains("camshaft_gpu_seconds_total{"), "unavailable is not 0");
        assert_eq!(used.count(&door, Some(2.0), 1.5), Some(2.0));
        assert_eq!(used.count(&door, Some(f64::NAN), f64::INFINITY), None);
        assert_eq!(used.count(&door, Some(-9.0), -9.0), Some(2.0));
        let text = metrics.text();
        assert!(text.contains("camshaft_gpu_seconds_total{stream=\"door\"} 2\n"), "{text}");
        assert!(text.contains("camshaft_gpu_wait_seconds_total{stream=\"door\"} 1.5\n"), "{text}");
    }
}
