//! What supervisor and workers say to each other.

use serde::{Deserialize, Serialize};

use super::effort::Effort;
use super::task::{DemuxTask, InputAccess, JobTask, SoundTask};
use crate::media::{
    AudioConfig, ClockSource, Container, FrameHeader, Geometry, InputFormat, JobSource, JobStats, MediaTime,
    PacketHeader, PatternSource, RenditionSpec, StillSpec, TlsTrust, Transport, VideoCodec, VideoConfig,
};
use crate::plan::{Backend, Candidate, DeviceError, DeviceTable, EncodeMode};
use crate::sandbox::{Confined, Confinement, Reach};

/// Names a rendition within one pixels worker.
pub type RenditionId = u32;

/// What an ingest worker is to fetch. Sent over the link so that credentials never stand in arguments or environment.
#[derive(Clone, Serialize, Deserialize)]
pub struct IngestTask {
    /// `rtsp://host[:port]/path`, without credentials.
    pub url: String,
    /// The camera's user name.
    pub username: Option<String>,
    /// The camera's password.
    pub password: Option<String>,
    /// How RTP travels.
    pub transport: Transport,
    /// Milliseconds for connecting and the RTSP handshake.
    pub connect_ms: u32,
    /// Milliseconds from PLAY to the first media.
    pub first_media_ms: u32,
    /// Milliseconds without media after which the camera counts as gone.
    pub idle_ms: u32,
    /// Where the camera may be.
    pub reach: Reach,
}

/// Bytes that an ingest worker is to fetch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchTask {
    /// Where from.
    pub origin: Origin,
    /// What the bytes are; `None`: what the answer's `Content-Type` says.
    pub format: Option<InputFormat>,
    /// Milliseconds from one poll of a JPEG to the next.
    pub poll_ms: u32,
    /// Milliseconds for connecting, up to the answer's head.
    pub connect_ms: u32,
    /// Milliseconds from there to the first media.
    pub first_media_ms: u32,
    /// Milliseconds without media after which the source counts as gone.
    pub idle_ms: u32,
}

/// Where bytes are fetched from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Origin {
    /// `http://` and `https://`.
    Http(ServerOrigin),
    /// `rtsp://` and `rtsps://`, for somebody else to speak through: [`FromWorker::Tunnel`].
    Rtsp(ServerOrigin),
    /// A file, again and again.
    File {
        /// Its absolute path.
        path: String,
        /// The directories that it must lie in one of.
        directories: Vec<String>,
    },
    /// [`ToWorker::Bytes`].
    Link {
        /// The `Content-Type` that they came with.
        content_type: String,
    },
}

/// A server, or a camera.
#[derive(Clone, Serialize, Deserialize)]
pub struct ServerOrigin {
    /// `scheme://host[:port]/path`, without credentials.
    pub url: String,
    /// The user name.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// Where the server may be.
    pub reach: Reach,
    /// Whether its certificate counts.
    pub tls: TlsTrust,
    /// A file of certificates (PEM) that sign servers', in place of the system's.
    pub ca_file: Option<String>,
}

impl std::fmt::Debug for ServerOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerOrigin").field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for IngestTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IngestTask").field("url", &self.url).field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// A pixels worker: decodes one source, makes renditions and stills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelsTask {
    /// What the packets are to be read with.
    pub config: VideoConfig,
    /// Where decoding runs.
    pub decode: Backend,
    /// Which pictures are shown by [`FromWorker::Sample`]: the first one after each so many ticks; 0: each; `None`: none.
    pub sample_ticks: Option<i64>,
}

/// What a worker is to be; the first message on every link.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Role {
    /// `camshaft worker ingest`.
    Ingest(IngestTask),
    /// `camshaft-engine`, role pattern.
    Pattern(PatternSource),
    /// `camshaft-engine`, role pixels.
    Pixels(PixelsTask),
    /// `camshaft-engine`, role sound: answers each [`ToWorker::Packet`] of audio by the [`FromWorker::Packet`]s that have
    /// become whole by it, then [`FromWorker::Consumed`].
    Sound(SoundTask),
    /// `camshaft-engine`, role trial: tries what a device can do. Answered by [`FromWorker::Tried`] as each is known, and
    /// [`FromWorker::TrialsDone`].
    Trial {
        /// The render node, e.g. `/dev/dri/renderD128`.
        device: String,
        /// What is to be tried, in this order.
        capabilities: Vec<Capability>,
    },
    /// `camshaft-engine`, role job.
    Job(JobTask),
    /// `camshaft-engine`, role probe: asks a device's driver what it can do. Answered by [`FromWorker::Probed`].
    Probe {
        /// The render node, e.g. `/dev/dri/renderD128`.
        device: String,
    },
    /// `camshaft worker ingest`, for sources that are no RTSP sessions of its own. Answered by [`FromWorker::Container`] and
    /// [`FromWorker::Bytes`], by [`FromWorker::Tunnel`], or by pictures.
    Fetch(FetchTask),
    /// `camshaft-engine`, role demux: takes [`ToWorker::Bytes`] apart, or a camera's RTSP. Answered like an ingest worker's
    /// camera.
    Demux(DemuxTask),
}

/// A use that can be made of a device. It counts only once a trial has proved it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Capability {
    /// Decoding; proved by pictures equal to those of the software decoder.
    Decode {
        /// The codec.
        codec: VideoCodec,
        /// Bits a sample: 8 or 10.
        bit_depth: u8,
    },
    /// Cropping and scaling; proved by pictures that look like those of the software scaler.
    Scale,
    /// Encoding; proved by pictures that look like what went in once the software decoder has read them.
    Encode {
        /// The codec.
        codec: VideoCodec,
        /// How.
        mode: EncodeMode,
    },
    /// Encoding JPEGs; proved likewise.
    EncodeJpeg,
}

/// Supervisor to worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// The worker's role; the first message, once.
    Begin(Role),
    /// Pixels and sound: an access unit, in the payload. Answered by [`FromWorker::Consumed`] once it has been dealt with.
    Packet(PacketHeader),
    /// Pixels: start a rendition.
    AddRendition {
        /// Chosen by the supervisor, new for each.
        id: RenditionId,
        /// What to make.
        spec: RenditionSpec,
        /// Where scaling and encoding run.
        stages: Candidate,
        /// Pictures up to and including this time were delivered before and are not made again.
        after: Option<MediaTime>,
    },
    /// Pixels: stop a rendition.
    RemoveRendition {
        /// Which.
        id: RenditionId,
    },
    /// Pixels: the next picture of this encoded rendition becomes an IDR.
    ForceKeyframe {
        /// Which.
        id: RenditionId,
    },
    /// Pixels: the newest picture decoded so far as JPEG; answered by [`FromWorker::Still`].
    Still {
        /// Repeated in the answer.
        id: u32,
        /// Size and quality.
        spec: StillSpec,
        /// The newest picture not after this time; needs [`ToWorker::KeepStill`] before the packets. `None`: the newest.
        at: Option<MediaTime>,
    },
    /// Pixels: while packets come in, keep the newest picture not after this time for a later [`ToWorker::Still`].
    KeepStill {
        /// The time.
        at: MediaTime,
    },
    /// Pixels: no packet follows; give out what the decoder holds back, then answer [`FromWorker::Drained`].
    Drain,
    /// Any role: end in good order. Closing the link does the same.
    Stop,
    /// Pixels decoded on the CPU: how much work to put into the packets that follow.
    Effort(Effort),
    /// Before the role: what confines the worker once it has one. The last such message counts; without any, the worker
    /// takes [`Confinement::default`].
    Confine(Confinement),
    /// Pixels: from the next picture on, scale and encode a rendition elsewhere; an encoder begins with an IDR.
    Restage {
        /// Which; one that is not there has failed before.
        id: RenditionId,
        /// Where.
        stages: Candidate,
    },
    /// Job: the answer to [`FromWorker::Read`], in the payload; empty at the input's end.
    Input,
    /// Job: the answer to [`FromWorker::MeasureInput`].
    InputSize(u64),
    /// Job: the answer to [`FromWorker::JobSource`]: where the stages run.
    JobStages(Candidate),
    /// Demux, and fetch from the link: the next bytes of the source, in the payload.
    Bytes,
    /// Demux, and fetch from the link: the bytes have come to their end.
    EndOfBytes,
}

/// Why a worker gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Connecting failed or timed out.
    Connect,
    /// The camera refused the credentials.
    Auth,
    /// The camera has no such path (RTSP 404) or refuses to play it.
    Refused,
    /// Media stopped coming.
    Idle,
    /// The camera broke the protocol.
    Protocol,
    /// The camera ended the session.
    Ended,
    /// No track in a codec that camshaft carries.
    Unsupported,
    /// A job's input is not what it must be.
    Input,
    /// Past a limit: picture size, memory that the parameter sets ask for, access unit size.
    Limit,
    /// A codec or driver could not be set up or gave an error that cannot be skipped.
    Codec,
    /// The render node, its driver or the GPU behind it failed, and said so.
    Device,
    /// The device reported success and gave packets of 0 bytes.
    EmptyPackets,
    /// The device reported success and gave a packet for the second time.
    StalePackets,
    /// The device reported success and gave fewer pictures than went in.
    FramesMissing,
    /// The device reported success and gave pictures of another size.
    WrongSize,
    /// The source is where camshaft must not go (`sources:`).
    Denied,
}

impl FailureKind {
    /// The name used in status, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Auth => "auth",
            Self::Refused => "refused",
            Self::Idle => "idle",
            Self::Protocol => "protocol",
            Self::Ended => "ended",
            Self::Unsupported => "unsupported",
            Self::Input => "input",
            Self::Limit => "limit",
            Self::Codec => "codec",
            Self::Device => "device",
            Self::EmptyPackets => "empty_packets",
            Self::StalePackets => "stale_packets",
            Self::FramesMissing => "frames_missing",
            Self::WrongSize => "wrong_size",
            Self::Denied => "denied",
        }
    }

    /// Whether a device failed, rather than what it was given.
    pub fn is_device(self) -> bool {
        matches!(self, Self::Device | Self::EmptyPackets | Self::StalePackets | Self::FramesMissing | Self::WrongSize)
    }
}

/// Worker to supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromWorker {
    /// The role is understood and set up.
    Ready,
    /// Sources: the video track's configuration, before the first packet of each generation.
    VideoConfig(VideoConfig),
    /// Sources: the audio track's configuration, before its first packet.
    AudioConfig(AudioConfig),
    /// Sources and sound: an access unit, in the payload.
    Packet(PacketHeader),
    /// Sources: this many RTP packets were lost, or access units were unusable and left out.
    Lost {
        /// How many.
        packets: u32,
    },
    /// Cameras: what tells the packets' wall clock from now on; after each of the camera's sender reports.
    Clock {
        /// Whose clock.
        from: ClockSource,
        /// By how many microseconds receipt was behind the camera's clock, at the least.
        offset: i64,
    },
    /// Pixels and sound: another packet has been dealt with.
    Consumed {
        /// Pictures, or pieces of sound, that came out of the decoder so far.
        decoded: u64,
        /// Packets that the decoder refused so far.
        broken: u64,
    },
    /// Pixels: a picture of a raw or JPEG rendition, in the payload.
    Frame {
        /// Which rendition.
        id: RenditionId,
        /// Time and size.
        header: FrameHeader,
    },
    /// Pixels: an encoded rendition's configuration, before its first packet.
    EncodedConfig {
        /// Which rendition.
        id: RenditionId,
        /// What its packets are to be read with.
        config: VideoConfig,
    },
    /// Pixels: an access unit of an encoded rendition, in the payload; parameter sets stand before each IDR.
    Encoded {
        /// Which rendition.
        id: RenditionId,
        /// Times and key flag.
        header: PacketHeader,
    },
    /// Pixels: the JPEG asked for, in the payload; `None` while no picture has been decoded.
    Still {
        /// From the request.
        id: u32,
        /// Time and size of the picture.
        header: Option<FrameHeader>,
    },
    /// Pixels: a rendition could not be made; the others go on.
    RenditionFailed {
        /// Which rendition.
        id: RenditionId,
        /// [`FailureKind::Device`] if the device failed to encode it; the CPU may still.
        kind: FailureKind,
        /// What happened, for people.
        message: String,
    },
    /// Pixels: everything that was sent has been dealt with.
    Drained,
    /// The worker gives up and ends.
    Failed {
        /// For machines.
        kind: FailureKind,
        /// For people; no credentials.
        message: String,
    },
    /// Pixels on a device: what it has used so far; about once a second.
    Stats {
        /// Time that the GPU's engines worked for this process, in seconds; `None` where the kernel does not say.
        gpu_seconds: Option<f64>,
        /// Time that this process waited for the GPU, in seconds.
        gpu_wait_seconds: f64,
    },
    /// Trial: one capability has been tried.
    Tried {
        /// Which.
        capability: Capability,
        /// `None`: it is proved; else what happened, for people.
        failure: Option<String>,
    },
    /// Trial: every capability has been tried.
    TrialsDone,
    /// Probe: what the driver says, or why there is no saying.
    Probed(Result<DeviceTable, DeviceError>),
    /// Any role: what holds the worker from now on; before everything else that it says. Kept by
    /// [`super::Worker::confined`].
    Confined(Confined),
    /// Pixels: some points of a decoded picture's luma, as 8 bits in the payload: every nth of every nth row, where n is
    /// the same for all pictures of a size. No scaler has touched them: pictures of the same packets have the same points.
    Sample {
        /// The picture's presentation time.
        pts: MediaTime,
        /// The picture's size.
        size: Geometry,
        /// Whether the decoder says that it had to make up parts of it.
        flawed: bool,
    },
    /// Job: asks for at most `length` bytes of the input from `offset` on. Answered by [`ToWorker::Input`] as soon as
    /// there is at least one.
    Read {
        /// From the input's first byte.
        offset: u64,
        /// Bytes, at most [`MAX_READ`].
        length: u32,
    },
    /// Job: asks how long the input is. Answered by [`ToWorker::InputSize`] once all of it is there.
    MeasureInput,
    /// Job: how the input is read from now on.
    Access(InputAccess),
    /// Job: what the input is; answered by [`ToWorker::JobStages`].
    JobSource(JobSource),
    /// Job: the next bytes of what is made, in the payload.
    Output,
    /// Job: how far it is; a few times a second.
    Progress(JobStats),
    /// Job: all has been made and sent.
    Finished(JobStats),
    /// Fetch: what follows is bytes of this container, rather than pictures.
    Container(Container),
    /// Fetch: the camera is connected to; what is said to this port of 127.0.0.1, by the first one who connects, goes to
    /// it, and its answers come back.
    Tunnel {
        /// The port.
        port: u16,
    },
    /// Fetch: the next bytes of the source, in the payload; at most [`MAX_CHUNK`].
    Bytes,
    /// Fetch: the bytes have come to their end, and those of a file begin again.
    EndOfBytes,
}

/// The most bytes of a [`FromWorker::Bytes`].
pub const MAX_CHUNK: usize = 64 << 10;

/// The most points of a [`FromWorker::Sample`].
pub const MAX_SAMPLE_POINTS: usize = 160 * 90;

/// Every how manieth point of a picture of `size` a [`FromWorker::Sample`] has.
pub fn sample_step(size: Geometry) -> u32 {
    size.width.div_ceil(160).max(size.height.div_ceil(90)).max(1)
}
