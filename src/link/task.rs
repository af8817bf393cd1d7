//! What workers that make files and sound are given.

use serde::{Deserialize, Serialize};

use crate::media::{AudioConfig, JobSpec, SoundSpec};

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
