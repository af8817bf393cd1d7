//! Every metric of the process, declared in one table. Labels are bounded, and a stream's series go when it goes.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::collections::HashMap;
use std::sync::Arc;

/// The process's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// 1 for the state that the stream is in, 0 for the others.
    pub stream_state: IntGaugeVec,
    /// 1 while media comes from the source.
    pub stream_up: IntGaugeVec,
    /// Access units from the source.
    pub source_packets: IntCounterVec,
    /// Bytes of media from the source.
    pub source_bytes: IntCounterVec,
    /// Packets lost or unusable.
    pub source_packets_lost: IntCounterVec,
    /// Reconnects.
    pub source_reconnects: IntCounterVec,
    /// Failures of the source by reason.
    pub source_failures: IntCounterVec,
    /// Jumps of the source's clock.
    pub source_clock_jumps: IntCounterVec,
    /// How far the camera's clock is from receipt.
    pub source_clock_offset: GaugeVec,
    /// Measured frame rate.
    pub source_fps: GaugeVec,
    /// Age of the last packet, as of the last status tick.
    pub source_last_packet_age: GaugeVec,
    /// Pictures decoded.
    pub frames_decoded: IntCounterVec,
    /// Packets that the decoder refused.
    pub packets_broken: IntCounterVec,
    /// Pictures or access units made, by rendition.
    pub rendition_frames: IntCounterVec,
    /// What slow consumers lost, by kind.
    pub consumer_dropped: IntCounterVec,
    /// Consumers closed because they took nothing.
    pub consumers_stalled: IntCounterVec,
    /// Consumers now, by kind.
    pub consumers: IntGaugeVec,
    /// Readers of shared memory now.
    pub shm_readers: IntGaugeVec,
    /// Bytes of their memory.
    pub shm_bytes: IntGaugeVec,
    /// Pictures that they lost.
    pub shm_dropped: IntCounterVec,
    /// Readers of shared memory that ended, by reason.
    pub shm_closed: IntCounterVec,
    /// Bytes in the packet ring.
    pub ring_bytes: IntGaugeVec,
    /// Seconds in the packet ring.
    pub ring_seconds: GaugeVec,
    /// 1 while new readers can start from the ring.
    pub ring_joinable: IntGaugeVec,
    /// 1 for the backend in use.
    pub acceleration: IntGaugeVec,
    /// Moves to another candidate, by reason.
    pub fallbacks: IntCounterVec,
    /// Worker deaths by role and reason.
    pub worker_restarts: IntCounterVec,
    /// Resident memory of a worker.
    pub worker_rss_bytes: IntGaugeVec,
    /// Whether every required layer of a worker's sandbox holds, by stream and role.
    pub worker_sandboxed: IntGaugeVec,
    /// CPU time of a worker.
    pub worker_cpu_seconds: CounterVec,
    /// Time that the GPU's engines worked for a worker.
    pub gpu_seconds: CounterVec,
    /// Time that a worker waited for the GPU.
    pub gpu_wait_seconds: CounterVec,
    /// From a picture's packet being received to its rendition leaving the worker.
    pub stage_latency: HistogramVec,
    /// Stills served by how they were made.
    pub stills: IntCounterVec,
    /// HTTP requests.
    pub http_requests: IntCounterVec,
    /// Time to an HTTP response's head.
    pub http_seconds: HistogramVec,
    /// Streams configured.
    pub streams: Gauge,
    /// When the TLS servers' certificate ends, in seconds since 1970.
    pub tls_expires: GaugeVec,
    /// Configuration loads by outcome.
    pub config_loads: IntCounterVec,
    /// 1 for a render node that has proved something, 0 for one that cannot be used.
    pub device_usable: IntGaugeVec,
    /// A GPU's clock now.
    pub gpu_frequency: GaugeVec,
    /// Time that a GPU was idle (RC6).
    pub gpu_idle_seconds: CounterVec,
    /// What running pixels work costs, by resource.
    pub admission_used: IntGaugeVec,
    /// What it may cost, by resource.
    pub admission_budget: IntGaugeVec,
    /// Work that there was no room for.
    pub admission_refused: IntCounterVec,
    /// 1 while a stream's pixels wait for room.
    pub degraded: IntGaugeVec,
    /// The step of the overload ladder that a stream is on.
    pub overload_step: IntGaugeVec,
    /// 1 for `hardware.policy`, 0 for the other policies.
    pub hardware_policy: IntGaugeVec,
    /// 1 for the state that a device's breaker is in, 0 for the others.
    pub device_breaker: IntGaugeVec,
    /// How alike a picture from the device and from the CPU were.
    pub verify_psnr: GaugeVec,
    /// Comparisons of pictures from the device with those from the CPU, by outcome.
    pub verifications: IntCounterVec,
    /// Failures of hardware workers, by whose they were.
    pub blames: IntCounterVec,
    /// RTSP requests.
    pub rtsp_requests: IntCounterVec,
    /// RTSP sessions that play now, by transport.
    pub rtsp_sessions: IntGaugeVec,
    /// RTSP connections that were closed for what they did, by reason.
    pub rtsp_closed: IntCounterVec,
    /// Transcode jobs that run now.
    pub jobs_running: IntGaugeVec,
    /// Transcode jobs that were asked for, by result.
    pub jobs: IntCounterVec,
    /// Pictures that transcode jobs made.
    pub job_frames: IntCounterVec,
}

const STREAM: &[&str] = &["stream"];
const DEVICE: &[&str] = &["device"];
/// Seconds; live media moves in tens of milliseconds, a stall is worth seeing up to the watchdog's 5 s.
const LATENCY_BUCKETS: &[f64] = &[0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0];

impl Metrics {
    /// All metrics, registered.
    ///
    /// # Panics
    /// If two entries of the table share a name, which the first test run would show.
    pub fn new() -> Self {
        let registry = Registry::new();
        let table = Table { registry: &registry };
        let metrics = Self {
            stream_state: table.gauges("stream_state", "1 for the state the stream is in", &["stream", "state"]),
            stream_up: table.gauges("stream_up", "1 while media comes from the source", STREAM),
            source_packets: table.counters(
                "source_packets_total",
                "Access units from the source",
                &["stream", "track"],
            ),
            source_bytes: table.counters("source_bytes_total", "Bytes of media from the source", STREAM),
            source_packets_lost: table.counters(
                "source_packets_lost_total",
                "Packets lost on the way from the source, or unusable",
                STREAM,
            ),
            source_reconnects: table.counters("source_reconnects_total", "Times the source was reached again", STREAM),
            source_failures: table.counters("source_failures_total", "Failures of the source", &["stream", "reason"]),
            source_clock_jumps: table.counters(
                "source_clock_jumps_total",
                "Jumps of the source's clock that were smoothed out",
                STREAM,
            ),
            source_clock_offset: table.float_gauges(
                "source_clock_offset_seconds",
                "By how much receipt is behind the camera's clock, by its RTCP sender reports",
                STREAM,
            ),
            source_fps: table.float_gauges("source_fps", "Frames a second, measured", STREAM),
            source_last_packet_age: table.float_gauges(
                "source_last_packet_age_seconds",
                "Age of the last packet from the source",
                STREAM,
            ),
            frames_decoded: table.counters("frames_decoded_total", "Pictures decoded", STREAM),
            packets_broken: table.counters("packets_broken_total", "Packets that the decoder refused", STREAM),
            rendition_frames: table.counters(
                "rendition_frames_total",
                "Pictures or access units made for a rendition",
                &["stream", "rendition"],
            ),
            consumer_dropped: table.counters(
                "consumer_dropped_total",
                "Packets or pictures that slow consumers lost",
                &["stream", "kind"],
            ),
            consumers_stalled: table.counters(
                "consumers_stalled_total",
                "Consumers closed because they took nothing",
                STREAM,
            ),
            consumers: table.gauges("consumers", "Consumers now", &["stream", "kind"]),
            shm_readers: table.gauges("shm_readers", "Readers of shared memory now", STREAM),
            shm_bytes: table.gauges("shm_bytes", "Bytes of shared memory that readers have", STREAM),
            shm_dropped: table.counters(
                "shm_dropped_total",
                "Pictures that slow readers of shared memory lost; consumer_dropped_total has them as well",
                STREAM,
            ),
            shm_closed: table.counters(
                "shm_closed_total",
                "Readers of shared memory that ended: left, ended, shutdown, stalled, violation, limit, failed",
                &["stream", "reason"],
            ),
            ring_bytes: table.gauges("ring_bytes", "Bytes in the packet ring", STREAM),
            ring_seconds: table.float_gauges("ring_seconds", "Seconds in the packet ring", STREAM),
            ring_joinable: table.gauges("ring_joinable", "1 while new readers can start from the ring", STREAM),
            acceleration: table.gauges(
                "acceleration_info",
                "1 for where decoding runs",
                &["stream", "accel", "device"],
            ),
            fallbacks: table.counters(
                "fallbacks_total",
                "Moves to another candidate of the plan",
                &["stream", "reason"],
            ),
            worker_restarts: table.counters("worker_restarts_total", "Worker deaths", &["stream", "role", "reason"]),
            worker_rss_bytes: table.gauges("worker_rss_bytes", "Resident memory of a worker", &["stream", "role"]),
            worker_sandboxed: table.gauges(
                "worker_sandboxed",
                "1: every required layer of the worker's sandbox holds",
                &["stream", "role"],
            ),
            worker_cpu_seconds: table.float_counters(
                "worker_cpu_seconds_total",
                "CPU time of workers",
                &["stream", "role"],
            ),
            gpu_seconds: table.float_counters(
                "gpu_seconds_total",
                "Time that the GPU's engines worked for a stream; absent where the kernel does not say",
                STREAM,
            ),
            gpu_wait_seconds: table.float_counters(
                "gpu_wait_seconds_total",
                "Time that a stream's workers waited for the GPU",
                STREAM,
            ),
            stage_latency: table.histograms(
                "delivery_latency_seconds",
                "From a picture's packet being received to the picture being handed to consumers",
                STREAM,
            ),
            stills: table.counters("stills_total", "Stills served", &["stream", "made_by"]),
            http_requests: table.counters("http_requests_total", "HTTP requests", &["method", "route", "status"]),
            http_seconds: table.histograms("http_response_seconds", "Time to the response's head", &["route"]),
            streams: table.add(Gauge::with_opts(Table::opts("streams", "Streams configured"))),
            tls_expires: table.float_gauges("tls_certificate_expires_seconds", "Unix time at which it expires", &[]),
            config_loads: table.counters("config_loads_total", "Configuration loads", &["outcome"]),
            device_usable: table.gauges("device_usable", "1 for a render node that has proved something", DEVICE),
            gpu_frequency: table.float_gauges("gpu_frequency_hertz", "Clock of the GPU", DEVICE),
            gpu_idle_seconds: table.float_counters("gpu_idle_seconds_total", "Time the GPU was idle (RC6)", DEVICE),
            admission_used: table.gauges(
                "admission_used_pixels",
                "Pixels a second that running work costs",
                &["resource"],
            ),
            admission_budget: table.gauges(
                "admission_budget_pixels",
                "Pixels a second that work may cost",
                &["resource"],
            ),
            admission_refused: table.counters("admission_refused_total", "Work that there was no room for", STREAM),
            degraded: table.gauges("stream_degraded", "1 while a stream's pixels wait for room", STREAM),
            overload_step: table.gauges(
                "overload_step",
                "What a stream's decoder leaves out: 0 nothing to 4 all but keyframes",
                STREAM,
            ),
            hardware_policy: table.gauges(
                "hardware_policy_info",
                "1 for the policy of streams that name none",
                &["policy"],
            ),
            device_breaker: table.gauges(
                "device_breaker",
                "1 for the state that the device's breaker is in",
                &["device", "state"],
            ),
            verify_psnr: table.float_gauges(
                "verify_psnr_db",
                "How alike the last picture compared was on the device and on the CPU; 100 if they were the same",
                STREAM,
            ),
            verifications: table.counters(
                "verifications_total",
                "Pictures of the device compared with those of the CPU: same, different, unclear; encodes read by it: encode_whole, encode_damaged",
                &["stream", "outcome"],
            ),
            blames: table.counters(
                "hardware_failures_total",
                "Failures of workers on a device, by who was to blame: device, source, unclear",
                &["stream", "blame"],
            ),
            rtsp_requests: table.counters("rtsp_requests_total", "RTSP requests", &["method", "status"]),
            rtsp_sessions: table.gauges("rtsp_sessions", "RTSP sessions that play now", &["transport"]),
            jobs_running: table.gauges("jobs_running", "Transcode jobs that run now", &[]),
            jobs: table.counters(
                "jobs_total",
                "Transcode jobs asked for, by result: whole, broken, abandoned, impossible, refused, failed",
                &["result"],
            ),
            job_frames: table.counters("job_frames_total", "Pictures that transcode jobs made", &[]),
            rtsp_closed: table.counters(
                "rtsp_closed_total",
                "RTSP connections closed for what they did or failed to do",
                &["reason"],
            ),
            registry: registry.clone(),
        };
        let build = table.gauges("build_info", "1, with the version", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics
    }

    /// All series in Prometheus' text format (version 0.0.4).
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        // Writing into memory does not fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The series of one stream; they are removed when this is dropped.
    pub fn stream(self: &Arc<Self>, id: &str) -> StreamMetrics {
        StreamMetrics { all: self.clone(), id: id.to_owned() }
    }

    fn forget(&self, id: &str) {
        for vec in [&self.shm_readers, &self.shm_bytes] {
            remove_stream(vec, id, |labels| vec.remove(labels));
        }
        for vec in [&self.stream_state, &self.stream_up, &self.consumers, &self.ring_bytes, &self.ring_joinable] {
            remove_stream(vec, id, |labels| vec.remove(labels));
        }
        for vec in
            [&self.acceleration, &self.worker_rss_bytes, &self.worker_sandboxed, &self.degraded, &self.overload_step]
        {
            remove_stream(vec, id, |labels| vec.remove(labels));
        }
        for vec in [
            &self.source_fps,
            &self.source_clock_offset,
            &self.source_last_packet_age,
            &self.ring_seconds,
            &self.verify_psnr,
        ] {
            remove_stream(vec, id, |labels| vec.remove(labels));
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
            remove_stream(vec, id, |labels| vec.remove(labels));
        }
        for vec in [&self.worker_cpu_seconds, &self.gpu_seconds, &self.gpu_wait_seconds] {
            remove_stream(vec, id, |labels| vec.remove(labels));
        }
        remove_stream(&self.stage_latency, id, |labels| self.stage_latency.remove(labels));
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The metrics with one stream's name filled in.
#[derive(Debug)]
pub struct StreamMetrics {
    /// The process's metrics.
    pub all: Arc<Metrics>,
    id: String,
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

fn remove_stream<T>(vec: &impl Collector, id: &str, remove: impl Fn(&HashMap<&str, &str>) -> prometheus::Result<T>) {
    for family in vec.collect() {
        for metric in family.get_metric() {
            let pairs = metric.get_label();
            let labels: HashMap<&str, &str> = pairs.iter().map(|pair| (pair.name(), pair.value())).collect();
            if labels.get("stream") == Some(&id) {
                // Gone already is as good.
                let _ = remove(&labels);
            }
        }
    }
}

struct Table<'a> {
    registry: &'a Registry,
}

#[allow(clippy::expect_used, reason = "names are literals, and every start registers all of them")]
impl Table<'_> {
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("a legal name");
        self.registry.register(Box::new(collector.clone())).expect("a name used once");
        collector
    }

    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(format!("camshaft_{name}"), help)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Self::opts(name, help), labels))
    }

    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(Self::opts(name, help), labels))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Self::opts(name, help), labels))
    }

    fn float_counters(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.add(CounterVec::new(Self::opts(name, help), labels))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let opts = HistogramOpts::from(Self::opts(name, help)).buckets(LATENCY_BUCKETS.to_vec());
        self.add(HistogramVec::new(opts, labels))
    }
}

#[cfg(test)]
mod tests;
