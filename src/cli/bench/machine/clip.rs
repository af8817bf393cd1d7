//! What is decoded: two seconds of a synthetic camera with a noisy sensor, as packets in memory and as a file. The engine
//! makes it, so that nothing else need be installed, and all who measure decode the same.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::link::{FromWorker, Program, Role, Spawner, ToWorker, Worker, WorkerEvent};
use crate::media::{
    FrameRate, Geometry, MediaTime, Packet, PacketHeader, PatternSource, Track, TrackConfig, VideoCodec, VideoConfig,
    WallClock,
};
use crate::output::{MpegTs, PacketMuxer};

/// Pictures a second.
pub const FPS: u32 = 25;
/// Ticks of 1/90 000 s from one picture to the next.
pub const TICKS: i64 = MediaTime::HZ / FPS as i64;
/// From one IDR to the next, and all there is.
const GOP: u32 = 2 * FPS;
/// Steps of luma. With it five blocks in six are skipped, as of a fixed camera.
const NOISE: u8 = 3;
/// How often the file has the clip, so that it is not opened anew all the time.
const TIMES_IN_FILE: i64 = 10;
const GRACE: Duration = Duration::from_secs(2);

/// A kind of camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kind {
    /// Its codec.
    pub codec: VideoCodec,
    /// Its pictures' size in pixels.
    pub size: Geometry,
}

impl Kind {
    /// About what cameras send: 4 Mbit/s at 1080p, less for HEVC.
    pub fn bitrate(self) -> u32 {
        let h264 = self.size.pixels() as f64 * f64::from(FPS) * 0.08;
        let share = if self.codec == VideoCodec::Hevc { 0.6 } else { 1.0 };
        (h264 * share) as u32
    }

    fn source(self) -> PatternSource {
        PatternSource {
            size: self.size,
            fps: FrameRate { num: FPS, den: 1 },
            codec: self.codec,
            gop: GOP,
            bframes: 0,
            bitrate: self.bitrate(),
            noise: NOISE,
            audio: None,
        }
    }
}

impl fmt::Display for Kind {
    /// E.g. `h264 1920x1080`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.codec.name(), self.size)
    }
}

/// A clip of one kind of camera.
#[derive(Debug)]
pub struct Clip {
    /// Of which.
    pub kind: Kind,
    /// What its packets are to be read with.
    pub config: VideoConfig,
    /// MPEG-TS with the clip several times over.
    pub file: PathBuf,
    access_units: Vec<(bool, Bytes)>,
}

impl Clip {
    /// Makes one, in a little more than real time, with its file in `work`.
    ///
    /// # Errors
    /// If the engine cannot be started or fails, or the file cannot be written.
    pub async fn record(spawner: &Arc<Spawner>, kind: Kind, work: &Path) -> Result<Self> {
        let mut worker = spawner.worker(Program::Engine, "bench").await?;
        // A worker that is gone says so through its events.
        let _ = worker.send(ToWorker::Begin(Role::Pattern(kind.source())), Bytes::new()).await;
        let recorded = read(&mut worker).await;
        worker.stop(GRACE).await;
        let (config, access_units) = recorded?;
        let file = work.join(format!("machine-{}-{}.ts", kind.codec.name(), kind.size));
        let clip = Self { kind, config, file, access_units };
        let written = fs::write(&clip.file, clip.transport_stream()?);
        let cannot = |error| Error::unavailable(format!("cannot write {}", clip.file.display())).with_source(error);
        written.map_err(cannot)?;
        Ok(clip)
    }

    /// The clip over and over, its times going on.
    pub fn packets(&self) -> impl Iterator<Item = (PacketHeader, Bytes)> {
        (0..).zip(self.access_units.iter().cycle()).map(|(number, (keyframe, data))| {
            let pts = MediaTime(number * TICKS);
            let wall = WallClock::default();
            (PacketHeader { track: Track::Video, pts, dts: pts, keyframe: *keyframe, wall }, data.clone())
        })
    }

    fn transport_stream(&self) -> Result<BytesMut> {
        let config = Arc::new(self.config.clone());
        let mut muxer = MpegTs::new(&config, None);
        let mut bytes = BytesMut::from(&muxer.header()[..]);
        for (header, data) in self.packets().take(self.access_units.len() * TIMES_IN_FILE as usize) {
            let config = TrackConfig::Video(config.clone());
            muxer.packet(&Packet { header, config, data }, &mut bytes)?;
        }
        Ok(bytes)
    }
}

async fn read(worker: &mut Worker) -> Result<(VideoConfig, Vec<(bool, Bytes)>)> {
    let mut config = None;
    let mut access_units = Vec::new();
    while access_units.len() < GOP as usize {
        match worker.next().await {
            WorkerEvent::Message(FromWorker::VideoConfig(video), _) => config = Some(video),
            WorkerEvent::Message(FromWorker::Packet(header), data) => access_units.push((header.keyframe, data)),
            WorkerEvent::Message(FromWorker::Failed { message, .. }, _) => return Err(Error::unavailable(message)),
            WorkerEvent::Message(..) => {}
            WorkerEvent::Exited(exit) => {
                let message = format!("the synthetic camera ended ({})", exit.description);
                return Err(Error::unavailable(message));
            }
        }
    }
    let config = config.ok_or_else(|| Error::internal("the synthetic camera sent pictures without a configuration"))?;
    Ok((config, access_units))
}
