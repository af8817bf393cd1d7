//! `limits:`: what bounds cameras, consumers and workers.

use std::time::Duration;

use super::mistake::Report;
use super::quantities::{mib, millis, quantities, secs};
use super::section::Section;
use super::values::Quantity;
use crate::media::query::parse_scaled;

quantities! {
    /// What bounds cameras, consumers and workers. `Default` holds the documented defaults.
    Limits besides [];

    /// For connecting to a camera, the RTSP handshake included.
    connect_timeout: Duration = secs(5), from millis(100), to secs(60);
    /// From PLAY to the first media.
    first_media_timeout: Duration = secs(10), from millis(100), to secs(300);
    /// Without media, after which the camera counts as gone.
    idle_timeout: Duration = secs(10), from millis(500), to secs(600);
    /// Before the first reconnect; doubled with every failure.
    backoff_min: Duration = millis(250), from millis(10), to secs(60);
    /// The longest pause between reconnects.
    backoff_max: Duration = secs(30), from millis(100), to secs(3600);
    /// The cameras of a start are connected within this time, so that their keyframes do not come all at once.
    connect_spread: Duration = secs(1), from millis(0), to secs(60);
    /// Between attempts after the camera refused the credentials; cameras lock out who tries faster.
    auth_backoff: Duration = secs(30), from secs(30), to secs(86_400);
    /// What the packet ring of a stream holds.
    ring_duration: Duration = secs(10), from secs(1), to secs(600);
    /// Bytes of the packet ring, as long as it reaches back to a keyframe.
    ring_bytes: u64 = mib(16), from mib(1), to mib(4096);
    /// Bytes of the packet ring, keyframe or not.
    ring_hard_bytes: u64 = mib(64), from mib(1), to mib(4096);
    /// Consumers of one stream.
    consumers_per_stream: u32 = 256, from 1, to 10_000;
    /// Consumers of all streams.
    consumers_total: u32 = 1024, from 1, to 100_000;
    /// How far a consumer of packets may fall behind before it skips to a keyframe.
    consumer_lag: Duration = secs(2), from millis(100), to secs(60);
    /// The same in bytes.
    consumer_lag_bytes: u64 = mib(4), from mib(1) / 16, to mib(1024);
    /// Without taking anything, after which a consumer is closed.
    stalled_consumer: Duration = secs(10), from secs(1), to secs(600);
    /// Readers of shared memory at a time; 0: none.
    shm_readers: u32 = 64, from 0, to 1000;
    /// Bytes of their memory.
    shm_bytes: u64 = mib(256), from mib(1), to mib(65_536);
    /// How long HTTP consumers are held while the camera is away.
    hold: Duration = secs(10), from millis(0), to secs(600);
    /// How long a pixels worker outlives its last consumer.
    pixels_linger: Duration = secs(10), from millis(0), to secs(3600);
    /// Without progress while input is due, after which a worker is killed.
    watchdog: Duration = secs(5), from secs(1), to secs(300);
    /// Memory of a pixels worker in bytes.
    pixels_memory: u64 = mib(1024), from mib(128), to mib(16_384);
    /// Memory of an ingest worker in bytes.
    ingest_memory: u64 = mib(128), from mib(32), to mib(4096);
    /// Short-lived workers (stills, trials) at once, beside the live ones.
    workers_beside: u32 = 2, from 1, to 32;
    /// Bytes that the whole service may use.
    memory: MemorySize = MemorySize(None), from MemorySize(Some(mib(128))), to MemorySize(Some(mib(1 << 20)));
    /// Percent of that from which on nothing new begins.
    memory_refuse: u32 = 80, from 1, to 100;
    /// Percent from which on raw readers are ended and rings cut to their newest GOP.
    memory_shed: u32 = 90, from 1, to 100;
    /// Percent from which on the largest worker is ended.
    memory_end: u32 = 95, from 1, to 100;
    /// For finishing what can be finished after SIGTERM.
    drain: Duration = secs(20), from secs(1), to secs(20);
    /// HTTP connections at a time, of each of the ports and of the Unix socket.
    http_connections: u32 = 1024, from 1, to 100_000;
    /// For the head of an HTTP request, and between two requests.
    http_head: Duration = secs(10), from millis(100), to secs(300);
    /// Requests of the control API that are answered at a time.
    control_calls: u32 = 256, from 1, to 10_000;
    /// For answering one.
    control_timeout: Duration = secs(10), from millis(100), to secs(300);
    /// Bytes of a request body of the control API.
    control_body: u64 = mib(1) / 16, from 1024, to mib(1);
    /// Streams in all, from files and from the API.
    streams_max: u32 = 256, from 1, to 16_384;
    /// What all work on pixels may cost the CPUs.
    software_pixels: PixelRate = PixelRate(None), from mega(1), to mega(1_000_000);
    /// What it may cost each GPU.
    device_pixels: PixelRate = PixelRate(None), from mega(1), to mega(1_000_000);
    /// How long an overloaded worker must keep up before it leaves out less again.
    overload_calm: Duration = secs(10), from secs(1), to secs(3600);
    /// Open descriptors of a worker.
    worker_files: u32 = 64, from 16, to 4096;
    /// The largest file of an engine in bytes, memory files included.
    worker_file_size: u64 = 0, from 0, to mib(4096);
    /// Transcode jobs at once.
    jobs: u32 = 8, from 1, to 1000;
    /// Threads of a job's decoder and of its encoder, where they are on the CPU.
    job_threads: u32 = 1, from 1, to 64;
    /// Bytes that a job keeps of its input, and as many of its output.
    job_spool: u64 = mib(512), from mib(1), to mib(65_536);
    /// Connections of RTSP clients.
    rtsp_connections: u32 = 1024, from 1, to 100_000;
    /// Bytes of an RTSP message.
    rtsp_message: u64 = mib(1) / 8, from 4096, to mib(1);
    /// For an RTSP message from its first byte to its last, and for a connection's first one.
    rtsp_head: Duration = secs(10), from millis(100), to secs(300);
    /// Without a sign of life from an RTSP client, after which its session ends.
    rtsp_session: Duration = secs(60), from secs(1), to secs(3600);
}

/// Pixels per second, or `auto` (none): what this machine should be able to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PixelRate(pub Option<u64>);

impl Quantity for PixelRate {
    fn parse(text: &str, min: Self, max: Self) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        let rate = parse_scaled(text, 1000).map(|rate| Self(Some(rate)));
        rate.filter(|rate| (min..=max).contains(rate)).ok_or_else(|| {
            format!("must be pixels per second from {} to {}, such as 600M or 1.2G, or auto", min.show(), max.show())
        })
    }

    fn show(self) -> String {
        match self.0 {
            None => "auto".to_owned(),
            Some(rate) if rate % 1_000_000_000 == 0 => format!("{}G", rate / 1_000_000_000),
            Some(rate) => format!("{}M", rate / 1_000_000),
        }
    }
}

/// Bytes, or `auto` (none): what the memory cgroup allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize(pub Option<u64>);

impl Quantity for MemorySize {
    fn parse(text: &str, min: Self, max: Self) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        let size = parse_scaled(text, 1024).map(|size| Self(Some(size)));
        size.filter(|size| (min..=max).contains(size)).ok_or_else(|| {
            format!("must be a size in bytes from {} to {}, such as 512M or 2G, or auto", min.show(), max.show())
        })
    }

    fn show(self) -> String {
        self.0.map_or_else(|| "auto".to_owned(), Quantity::show)
    }
}

/// Reads `limits:` and checks the limits against each other.
pub(super) fn read(section: Option<&Section>, report: &mut Report) -> Limits {
    let Some(section) = section else { return Limits::default() };
    let limits = read_each(section, report);
    let mut ordered = |low: &str, high: &str, holds: bool, bound: String| {
        let given = section.any_of(&[low, high]).filter(|_| !holds);
        if let Some(given) = given {
            let message = format!("{low} must be at most {high}, which is {bound}; change one of the two");
            report.add(&given.node.place, &section.path_of(&given.key), message);
        }
    };
    ordered("backoff_min", "backoff_max", limits.backoff_min <= limits.backoff_max, limits.backoff_max.show());
    ordered(
        "ring_bytes",
        "ring_hard_bytes",
        limits.ring_bytes <= limits.ring_hard_bytes,
        limits.ring_hard_bytes.show(),
    );
    let consumers_fit = limits.consumers_per_stream <= limits.consumers_total;
    ordered("consumers_per_stream", "consumers_total", consumers_fit, limits.consumers_total.show());
    let (refuse, shed, end) = (limits.memory_refuse, limits.memory_shed, limits.memory_end);
    ordered("memory_refuse", "memory_shed", refuse <= shed, shed.show());
    ordered("memory_shed", "memory_end", shed <= end, end.show());
    limits
}

const fn mega(n: u64) -> PixelRate {
    PixelRate(Some(n * 1_000_000))
}
