//! From what retina hands over to packets on the link.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use retina::codec::{AudioFrame, CodecItem, ParametersRef, VideoFrame, VideoParameters, VideoParametersCodec};
use retina::rtcp::ReceivedCompoundPacket;
use retina::{PacketContext, Timestamp};
use tokio::net::unix::OwnedWriteHalf;
use tokio::time::{Instant, timeout_at};

use super::camera::{Camera, VideoTrack};
use super::clock::{CameraClock, Reading};
use super::failure::{End, Failure, is_packet_error, quote};
use super::jpeg;
use super::timeline::Timeline;
use crate::link::wire::send_async;
use crate::link::{FailureKind, FromWorker, IngestTask};
use crate::media::nal::{self, NalKind};
use crate::media::{
    DecodeTimes, Geometry, MAX_ACCESS_UNIT, MediaTime, PacketHeader, StreamParameters, Track, VideoCodec, VideoConfig,
    WallClock, parse_parameter_sets,
};

/// Sends a playing camera's packets over the link, each as the camera made it.
pub(super) struct Relay<'a> {
    camera: Camera,
    link: &'a mut OwnedWriteHalf,
    timeline: Timeline,
    video_clock: CameraClock,
    audio_clock: CameraClock,
    decode_times: DecodeTimes,
    /// What the video packets are to be read with, once known.
    config: Option<VideoConfig>,
    audio_announced: bool,
    /// Not yet reported.
    lost: u32,
    /// The last error about a single packet since the last good access unit.
    broken: Option<String>,
}

impl<'a> Relay<'a> {
    pub(super) fn new(camera: Camera, link: &'a mut OwnedWriteHalf) -> Self {
        Self {
            camera,
            link,
            timeline: Timeline::default(),
            video_clock: CameraClock::default(),
            audio_clock: CameraClock::default(),
            decode_times: DecodeTimes::default(),
            config: None,
            audio_announced: false,
            lost: 0,
            broken: None,
        }
    }

    /// Runs until the camera or the link gives up.
    pub(super) async fn run(mut self, task: &IngestTask) -> End {
        let Err(end) = self.relay(task).await;
        match self.report_losses().await {
            Ok(()) => end,
            Err(error) => End::Link(error),
        }
    }

    /// Only video keeps a session alive: a camera whose picture stands still is gone, whatever else it sends.
    async fn relay(&mut self, task: &IngestTask) -> Result<Infallible, End> {
        let mut patience = Duration::from_millis(task.first_media_ms.into());
        let mut deadline = Instant::now() + patience;
        loop {
            // A flood of useless packets is always ready, so that the timeout alone would never strike.
            if Instant::now() >= deadline {
                return Err(self.idle(patience).into());
            }
            match timeout_at(deadline, self.camera.media.next()).await {
                Err(_) => return Err(self.idle(patience).into()),
                Ok(None) => return Err(self.ended().into()),
                Ok(Some(Err(error))) => self.note_error(&error)?,
                Ok(Some(Ok(CodecItem::VideoFrame(frame)))) => {
                    if self.relay_video(frame).await? {
                        patience = Duration::from_millis(task.idle_ms.into());
                        deadline = Instant::now() + patience;
                    }
                }
                Ok(Some(Ok(CodecItem::AudioFrame(frame)))) => self.relay_audio(&frame).await?,
                Ok(Some(Ok(CodecItem::Rtcp(packet)))) => self.hear_report(&packet),
                Ok(Some(Ok(_))) => {}
            }
        }
    }

    fn hear_report(&mut self, packet: &ReceivedCompoundPacket) {
        let is_of = |index: usize| packet.stream_id() == index;
        let received = wall_clock(packet.ctx());
        if is_of(self.camera.video.index) {
            self.video_clock.hear(packet, received);
        } else if self.camera.audio.as_ref().is_some_and(|track| is_of(track.index)) {
            self.audio_clock.hear(packet, received);
        }
    }

    fn idle(&self, patience: Duration) -> Failure {
        let message = match (&self.config, &self.broken) {
            (_, Some(broken)) => format!("no usable picture for {patience:?}; last error: {broken}"),
            (Some(_), None) => format!("no picture for {patience:?}"),
            (None, None) => format!("no picture with its parameter sets within {patience:?} of PLAY"),
        };
        Failure::new(FailureKind::Idle, message)
    }

    fn ended(&self) -> Failure {
        match &self.broken {
            // retina gives up behind some errors of single packets.
            Some(broken) => Failure::new(FailureKind::Protocol, broken.clone()),
            None => Failure::new(FailureKind::Ended, "the camera closed the connection"),
        }
    }

    fn note_error(&mut self, error: &retina::Error) -> Result<(), End> {
        if !is_packet_error(error) {
            return Err(Failure::in_stream(error).into());
        }
        self.lost = self.lost.saturating_add(1);
        self.broken = Some(quote(error));
        Ok(())
    }

    /// Whether the access unit was fit to be sent.
    async fn relay_video(&mut self, frame: VideoFrame) -> Result<bool, End> {
        self.lost = self.lost.saturating_add(frame.loss().into());
        if frame.data().len() > MAX_ACCESS_UNIT {
            let message = format!("an access unit is past the limit of {} MiB", MAX_ACCESS_UNIT >> 20);
            return Err(Failure::new(FailureKind::Limit, message).into());
        }
        if self.config.is_none() || frame.has_new_parameters() {
            self.announce_audio().await?;
            self.update_config().await?;
        }
        let Some(codec) = self.config.as_ref().map(|config| config.codec) else { return Ok(false) };
        if codec.has_nal_units() && !nal::is_well_formed(frame.data()) {
            self.lost = self.lost.saturating_add(1);
            return Ok(false);
        }
        let pts = self.timeline.place(Track::Video, media_time(frame.timestamp()), frame.start_ctx().received());
        let (wall, reading) = self.video_clock.place(frame.timestamp(), wall_clock(frame.start_ctx()));
        let header = PacketHeader {
            track: Track::Video,
            pts,
            dts: self.decode_times.stamp(pts),
            keyframe: !codec.has_nal_units()
                || nal::units(frame.data()).any(|unit| nal::kind(codec, unit) == NalKind::KeySlice),
            wall,
        };
        self.broken = None;
        if let Some(Reading { from, offset }) = reading {
            send_async(self.link, &FromWorker::Clock { from, offset }, &[]).await?;
        }
        self.report_losses().await?;
        let data = match codec {
            VideoCodec::Mjpeg => jpeg::with_jfif_numbers(frame.data()),
            _ => frame.data().into(),
        };
        send_async(self.link, &FromWorker::Packet(header), &data).await?;
        Ok(true)
    }

    async fn relay_audio(&mut self, frame: &AudioFrame) -> Result<(), End> {
        if self.camera.audio.is_none() {
            return Ok(());
        }
        self.lost = self.lost.saturating_add(frame.loss().into());
        self.announce_audio().await?;
        let pts = self.timeline.place(Track::Audio, media_time(frame.timestamp()), frame.ctx().received());
        let (wall, _) = self.audio_clock.place(frame.timestamp(), wall_clock(frame.ctx()));
        let header = PacketHeader { track: Track::Audio, pts, dts: pts, keyframe: true, wall };
        self.report_losses().await?;
        Ok(send_async(self.link, &FromWorker::Packet(header), frame.data()).await?)
    }

    /// Announces the audio track: with the video at the latest, so that who joins at the first picture has its sound.
    async fn announce_audio(&mut self) -> Result<(), End> {
        if let Some(track) = self.camera.audio.as_ref().filter(|_| !self.audio_announced) {
            send_async(self.link, &FromWorker::AudioConfig(track.config.clone()), &[]).await?;
            self.audio_announced = true;
        }
        Ok(())
    }

    /// Announces what retina knows of the pictures by now, if it is new. Sets that come only in band are not
    /// known before the first keyframe.
    async fn update_config(&mut self) -> Result<(), End> {
        let track = &self.camera.video;
        let streams = self.camera.media.streams();
        let Some(ParametersRef::Video(parameters)) = streams.get(track.index).and_then(|stream| stream.parameters())
        else {
            return Ok(());
        };
        let known = self.config.as_ref();
        let generation = known.map_or(0, |known| known.generation);
        let said = VideoConfig { generation, ..describe(track, parameters)? };
        if known == Some(&said) {
            return Ok(());
        }
        let config = VideoConfig { generation: known.map_or(0, |known| known.generation.wrapping_add(1)), ..said };
        send_async(self.link, &FromWorker::VideoConfig(config.clone()), &[]).await?;
        self.decode_times.follow(config.reorder_depth, config.frame_rate);
        self.config = Some(config);
        Ok(())
    }

    async fn report_losses(&mut self) -> std::io::Result<()> {
        match std::mem::take(&mut self.lost) {
            0 => Ok(()),
            packets => send_async(self.link, &FromWorker::Lost { packets }, &[]).await,
        }
    }
}

/// What `parameters` say of the track's pictures, held to the limits.
fn describe(track: &VideoTrack, parameters: &VideoParameters) -> Result<VideoConfig, Failure> {
    let parameter_sets = match parameters.codec_params() {
        VideoParametersCodec::H264 { sps, pps } => vec![sps.clone(), pps.clone()],
        VideoParametersCodec::H265 { vps, sps, pps } => vec![vps.clone(), sps.clone(), pps.clone()],
        _ => vec![],
    };
    let said = if track.codec.has_nal_units() {
        parse_parameter_sets(track.codec, &parameter_sets)?
    } else {
        of_jpegs(parameters)
    };
    Ok(VideoConfig {
        generation: 0,
        codec: track.codec,
        parameter_sets,
        profile: said.profile,
        rfc6381: said.rfc6381,
        geometry: said.geometry,
        frame_rate: said.frame_rate.or(track.frame_rate),
        bit_depth: said.bit_depth,
        reorder_depth: said.reorder_depth,
    })
}

/// RFC 2435 carries baseline JPEGs of 8 bits only, of at most 2040x2040.
fn of_jpegs(parameters: &VideoParameters) -> StreamParameters {
    let (width, height) = parameters.pixel_dimensions();
    StreamParameters {
        geometry: Geometry::new(width, height),
        profile: "baseline".to_owned(),
        rfc6381: parameters.rfc6381_codec().to_owned(),
        frame_rate: None,
        bit_depth: 8,
        reorder_depth: 0,
    }
}

fn media_time(timestamp: Timestamp) -> MediaTime {
    MediaTime::from_clock(timestamp.elapsed(), timestamp.clock_rate().get())
}

fn wall_clock(context: &PacketContext) -> WallClock {
    let since = SystemTime::from(context.received_wall()).duration_since(UNIX_EPOCH);
    WallClock(since.map_or(0, |since| since.as_micros() as i64))
}
