//! What workers are given that take sources apart, or make files and sound.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::media::{AudioConfig, Container, JobSpec, Pace, SoundSpec, Transport};

/// The most bytes of one [`super::FromWorker::Read`].
pub const MAX_READ: u32 = 1 << 20;

/// A job: bytes in, bytes out. The worker asks for its input, so that nothing is sent that has no place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTask {
    /// What is to be made.
    pub spec: JobSpec,
    /// The render node that may be used; it is opened before the input is read.
    pub device: Option<String>,
    /// Threads of the decoder and of the encoder, where they are on the CPU. More of them hold back as many pictures.
    pub threads: u32,
}

/// How a job reads its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputAccess {
    /// From front to back: what was read may be dropped.
    Sequential,
    /// To and fro: all of it is kept.
    Random,
}

/// A sound worker: makes one sound of a source's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundTask {
    /// What the packets are to be read with.
    pub config: AudioConfig,
    /// What to make.
    pub spec: SoundSpec,
}

/// A source that an engine is to take apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DemuxTask {
    /// Which.
    pub input: DemuxInput,
    /// How its packets are let on.
    pub pace: Pace,
    /// Milliseconds to the first picture.
    pub first_media_ms: u32,
    /// Milliseconds without a picture after which the source counts as gone.
    pub idle_ms: u32,
}

/// What an engine takes apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DemuxInput {
    /// A container, whose bytes come over the link.
    Bytes(Container),
    /// A camera, with which it speaks itself.
    Rtsp(TunnelledCamera),
}

/// A camera that is reached through a [`super::FromWorker::Tunnel`], and by no other way.
#[derive(Clone, Serialize, Deserialize)]
pub struct TunnelledCamera {
    /// The tunnel's port on 127.0.0.1.
    pub port: u16,
    /// The URL's path and query.
    pub target: String,
    /// The camera's user name.
    pub username: Option<String>,
    /// The camera's password.
    pub password: Option<String>,
    /// How RTP travels; by UDP it comes from outside the tunnel.
    pub transport: Transport,
}

impl fmt::Debug for TunnelledCamera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelledCamera").field("transport", &self.transport).finish_non_exhaustive()
    }
}
