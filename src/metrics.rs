//! Every metric of the process, declared in one table. Labels are bounded, and a stream's series go when it goes.

mod stream;
mod table;

use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec, Registry, TextEncoder,
};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

pub use stream::StreamMetrics;
use table::Table;

/// The process's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Streams that went, whose series are still there: finding these looks at every series there is, so that it is done
    /// for many streams at once, before anybody sees them.
    gone: Mutex<HashSet<String>>,
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
    /// Connections that are open now, by server.
    pub connections: IntGaugeVec,
    /// Times that a limit was reached, by its setting.
    pub limits_reached: IntCounterVec,
    /// Bytes of memory that count against the limit.
    pub memory_used: IntGaugeVec,
    /// The limit.
    pub memory_limit: IntGaugeVec,
    /// The step of the memory's overload ladder.
    pub memory_pressure: IntGaugeVec,
    /// What was refused or given up for want of memory.
    pub memory_given_up: IntCounterVec,
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
            streams: table.gauge("streams", "Streams configured"),
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
            connections: table.gauges("connections", "Connections now: http, admin, unix, rtsp", &["server"]),
            limits_reached: table.counters(
                "limits_reached_total",
                "Times that a limit turned something away or ended it, by its setting",
                &["limit"],
            ),
            memory_used: table.gauges("memory_used_bytes", "Memory in use that counts against the limit", &[]),
            memory_limit: table.gauges("memory_limit_bytes", "Memory that the service may use", &[]),
            memory_pressure: table.gauges(
                "memory_pressure",
                "0 none, 1 new work is refused, 2 raw readers and rings are cut, 3 the largest worker is ended",
                &[],
            ),
            memory_given_up: table.counters(
                "memory_given_up_total",
                "Refused or given up for want of memory: stream, job, pixels, reader, ring, worker",
                &["what"],
            ),
            rtsp_closed: table.counters(
                "rtsp_closed_total",
                "RTSP connections closed for what they did or failed to do",
                &["reason"],
            ),
            registry: registry.clone(),
            gone: Mutex::default(),
        };
        let build = table.gauges("build_info", "1, with the version", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics
    }

    /// All series in Prometheus' text format (version 0.0.4).
    pub fn text(&self) -> String {
        self.sweep();
        let mut out = Vec::new();
        // Writing into memory does not fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The series of one stream; they are removed when this is dropped.
    pub fn stream(self: &Arc<Self>, id: &str) -> StreamMetrics {
        let is_back = self.gone().contains(id);
        if is_back {
            self.sweep();
        }
        StreamMetrics { all: self.clone(), id: id.to_owned() }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
