//! What is measured: the work, and every way to do it on this machine.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::clip::{Clip, FPS, Kind};
use crate::error::Result;
use crate::link::{PixelsTask, Program, Role, Spawner, ToWorker, Worker};
use crate::media::{Cadence, EncodeSpec, Geometry, OutputSpec, PixelFormat, RateControl, RenditionSpec, VideoCodec};
use crate::plan::{Backend, Candidate, Capabilities, Codec, Input, Job, Policy, Rate, Scale, plan};

/// Workers that share a GPU while it is measured: one alone leaves it waiting.
const ON_DEVICE: usize = 4;

/// What is done with every picture. Each decodes, for pictures come in no other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Nothing else.
    Decode,
    /// Raw pictures of half the width and height.
    Scale,
    /// H.264 of the same size.
    Encode,
    /// H.264 of half the width and height.
    Transcode,
}

impl Work {
    /// In the order of the table.
    pub const ALL: [Self; 4] = [Self::Decode, Self::Scale, Self::Encode, Self::Transcode];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Scale => "scale",
            Self::Encode => "encode",
            Self::Transcode => "transcode",
        }
    }

    /// The size that comes out, in pixels.
    pub fn made(self, from: Geometry) -> Geometry {
        match self {
            Self::Decode | Self::Encode => from,
            Self::Scale | Self::Transcode => from.scaled_to(Some(from.width / 2), None),
        }
    }

    /// Bits a second of what is encoded; `None` if nothing is.
    pub fn bitrate(self, from: Geometry) -> Option<u32> {
        let encodes = matches!(self, Self::Encode | Self::Transcode);
        encodes.then(|| Kind { codec: VideoCodec::H264, size: self.made(from) }.bitrate())
    }

    fn spec(self, from: Geometry) -> Option<RenditionSpec> {
        let encode =
            |bits| EncodeSpec { codec: VideoCodec::H264, rate_control: RateControl::Bitrate(bits), gop: 2 * FPS };
        let output = match self {
            Self::Decode => return None,
            Self::Scale | Self::Encode | Self::Transcode => {
                self.bitrate(from).map_or(OutputSpec::Raw(PixelFormat::I420), |bits| OutputSpec::Encode(encode(bits)))
            }
        };
        Some(RenditionSpec { crop: None, size: self.made(from), cadence: Cadence::Every, output })
    }

    /// Every way to do it that the devices have proved, best first, the CPU's last.
    pub fn ways(self, clip: &Clip, capabilities: &Capabilities) -> Vec<Candidate> {
        let from = clip.kind.size;
        let scale = if self.made(from) == from { Scale::Unneeded } else { Scale::Needed };
        let encode = self.bitrate(from).map(|_| Codec::H264);
        let job = Job { input: Input::from(&clip.config), scale, encode, rate: Rate::Bitrate };
        plan(&job, capabilities, Policy::PreferHardware).candidates
    }
}

/// One way to do some work on a clip.
#[derive(Clone, Debug)]
pub struct Task {
    /// What comes in.
    pub clip: Arc<Clip>,
    /// What is done.
    pub work: Work,
    /// Where.
    pub way: Candidate,
}

impl Task {
    /// Whether no stage is left to the CPU.
    pub fn is_on_device(&self) -> bool {
        stages(&self.way).all(|stage| *stage != Backend::Software)
    }

    /// How many workers do it at once, so that nothing stands idle.
    pub fn workers(&self) -> usize {
        if self.is_on_device() { ON_DEVICE } else { std::thread::available_parallelism().map_or(1, usize::from) }
    }

    /// A worker that has its role, and waits for packets.
    ///
    /// # Errors
    /// If none can be started.
    pub async fn start(&self, spawner: &Arc<Spawner>) -> Result<Worker> {
        let worker = spawner.worker(Program::Engine, "bench").await?;
        let decode = self.way.decode.clone();
        let task = PixelsTask { config: self.clip.config.clone(), decode, sample_ticks: None };
        let rendition = self.work.spec(self.clip.kind.size);
        let stages = self.way.clone();
        let rendition = rendition.map(|spec| ToWorker::AddRendition { id: 0, spec, stages, after: None });
        for message in [Some(ToWorker::Begin(Role::Pixels(task))), rendition].into_iter().flatten() {
            // A worker that is gone says so through its events.
            let _ = worker.send(message, Bytes::new()).await;
        }
        Ok(worker)
    }
}

/// Decoding, scaling and, where there is any, encoding.
pub fn stages(way: &Candidate) -> impl Iterator<Item = &Backend> {
    [Some(&way.decode), Some(&way.scale), way.encode.as_ref()].into_iter().flatten()
}
