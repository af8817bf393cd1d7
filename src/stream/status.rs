//! A stream's status as the API shows it.

use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use crate::sandbox::Confined;

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody needs it (on-demand streams only).
    Idle,
    /// The source is being reached for the first time.
    Connecting,
    /// Media is coming.
    Live,
    /// The source went away and is tried again.
    Reconnecting,
    /// The source cannot heal by itself (bad credentials); tried again rarely.
    Failed,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Idle, Self::Connecting, Self::Live, Self::Reconnecting, Self::Failed];

    /// The state's name, as in status, metrics and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Reconnecting => "reconnecting",
            Self::Failed => "failed",
        }
    }
}

/// A stream's status.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Status {
    /// The stream's name.
    pub id: String,
    /// Where it is in its life.
    pub state: State,
    /// Since when, RFC 3339.
    pub since: String,
    /// Why, where it is not live.
    pub reason: Option<String>,
    /// What the source sends.
    pub source: SourceStatus,
    /// Where decoding runs; null while nobody wants pixels.
    pub accel: Option<AccelStatus>,
    /// What is being made for consumers.
    pub renditions: Vec<RenditionStatus>,
    /// Consumers of any kind.
    pub consumers: u64,
    /// What the packet ring holds.
    pub ring: RingStatus,
    /// The stream's processes.
    pub workers: WorkersStatus,
    /// What is given up because the machine has no more to give.
    pub load: LoadStatus,
    /// The camera's substream (`detect_source`), from which small pictures are made; null for a stream without one.
    pub detect: Option<DetectStatus>,
}

/// The camera's substream.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DetectStatus {
    /// True while it is away, and small pictures are made from the main stream.
    pub fallback: bool,
    /// The same that a stream says of its main source.
    #[serde(flatten)]
    pub feed: FeedStatus,
}

/// One source, and what is made of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FeedStatus {
    /// Where it is in its life.
    pub state: State,
    /// Since when, RFC 3339.
    pub since: String,
    /// Why, where it is not live.
    pub reason: Option<String>,
    /// What it sends.
    pub source: SourceStatus,
    /// Where its pictures are decoded; null while nobody wants any of them.
    pub accel: Option<AccelStatus>,
    /// What its packet ring holds.
    pub ring: RingStatus,
    /// Its processes.
    pub workers: WorkersStatus,
    /// What is given up because the machine has no more to give.
    pub load: LoadStatus,
}

/// What the source sends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct SourceStatus {
    /// The source's address, without credentials.
    pub url: String,
    /// `h264` or `hevc`; null before the first connection.
    pub codec: Option<String>,
    /// Codec profile.
    pub profile: Option<String>,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// Frames a second: measured, over the last seconds.
    pub fps: Option<f64>,
    /// Bits a second: measured, over the last seconds.
    pub bitrate_bps: Option<u64>,
    /// Audio codec, if the source has audio.
    pub audio: Option<String>,
    /// For each container (`mp4`, which stands for HLS too, `ts`, `rtsp`), the codec of the sound that comes with pictures:
    /// the source's own where the container carries it, else `aac`, which is made on demand.
    pub audio_out: BTreeMap<String, String>,
    /// Seconds since the last packet.
    pub last_packet_age_s: Option<f64>,
    /// Times that the source was reached again after it was lost.
    pub reconnects: u64,
    /// Packets lost on the way, or unusable.
    pub packets_lost: u64,
    /// Jumps and wraps of the source's clock that were smoothed out.
    pub clock_jumps: u64,
    /// What tells the time of day of its pictures.
    pub clock: ClockStatus,
}

/// What tells the time of day of a source's pictures (`X-Wall-Clock`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ClockStatus {
    /// `sender_report`: the camera's clock, by RTCP. `receipt`: camshaft's, when the picture was received; the camera says
    /// nothing, or its clock is more than 5 s off.
    pub from: String,
    /// By how many milliseconds receipt is behind the camera's clock; null if the camera says nothing.
    pub offset_ms: Option<f64>,
}

/// Where decoding runs.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct AccelStatus {
    /// `hardware`, `software`, or `none`: pixels are wanted, and nothing that is allowed makes them.
    pub decode: String,
    /// Render node, for hardware.
    pub device: Option<String>,
    /// VA driver, for hardware.
    pub driver: Option<String>,
    /// Why not the hardware, or why nothing.
    pub reason: Option<String>,
    /// Since when, RFC 3339.
    pub since: String,
}

/// What a stream gives up because the machine has no more to give. Copies are never affected.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LoadStatus {
    /// `full`: nothing; `skip_non_reference`, `halve_detect`, `skip_loop_filter`, `keyframes_only`: the worker fell behind
    /// and leaves out so much; `degraded`: there is no room for the stream's pixels, which wait.
    pub state: String,
    /// Why it is not `full`.
    pub reason: Option<String>,
}

/// A rendition.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RenditionStatus {
    /// What it is, e.g. `i420 1280x720@5`.
    pub key: String,
    /// `main` or `detect`: the source that it is made from.
    pub from: String,
    /// `hardware` or `software`; null until a worker makes it.
    pub decode_scale: Option<String>,
    /// `hardware` or `software` for encoded renditions.
    pub encode: Option<String>,
    /// Frames a second asked for; null: every frame.
    pub fps: Option<f64>,
    /// Consumers.
    pub consumers: u64,
    /// Pictures made.
    pub frames: u64,
    /// Pictures or packets that slow consumers lost.
    pub dropped: u64,
    /// From the receipt of the newest picture's packet to the picture, in milliseconds; null until there is one.
    pub latency_ms: Option<f64>,
}

/// What the packet ring holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct RingStatus {
    /// Seconds from the oldest packet to the newest.
    pub seconds: f64,
    /// Bytes.
    pub bytes: u64,
    /// Whether new viewers and recovery can start from it at once; false while a GOP is longer than the ring.
    pub joinable: bool,
}

/// The stream's processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct WorkersStatus {
    /// The process that reads the source.
    pub ingest: Option<WorkerStatus>,
    /// The process that takes the source's container apart, if it has one.
    pub demux: Option<WorkerStatus>,
    /// The process that decodes; null while nobody wants pixels.
    pub pixels: Option<WorkerStatus>,
    /// What makes sound, each form of it once; empty while nobody wants sound that has to be made.
    pub sound: Vec<SoundStatus>,
}

/// Sound that is made of the source's.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SoundStatus {
    /// What it is: codec, samples a second, channels, e.g. `aac 16000x1`.
    pub key: String,
    /// The process that makes it; null while there is none.
    pub worker: Option<WorkerStatus>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WorkerStatus {
    /// Process id.
    pub pid: u32,
    /// Times that it died and was replaced.
    pub restarts: u64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// User and system time in seconds.
    pub cpu_seconds: f64,
    /// GPU engine time in seconds, where the kernel says.
    pub gpu_seconds: Option<f64>,
    /// What holds it; null until it has a role.
    pub sandbox: Option<SandboxStatus>,
}

/// What holds a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SandboxStatus {
    /// `enforced`, `degraded` where the kernel lacks a required layer, or `off` by the setting.
    pub state: String,
    /// The layers that the kernel lacks, wholly or in part, of `files`, `network` and `system_calls`. `network` is not
    /// required.
    pub missing: Vec<String>,
}

impl From<&Confined> for SandboxStatus {
    fn from(confined: &Confined) -> Self {
        let missing = confined.missing.iter().map(|layer| layer.name().to_owned()).collect();
        Self { state: confined.state().to_owned(), missing }
    }
}
