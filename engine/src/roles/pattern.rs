//! A synthetic camera: draws the test pattern and encodes it in real time, with the sound of its clapper.

mod clapper;

use camshaft::link::{FailureKind, FromWorker, ToWorker};
use camshaft::media::pattern::{Painter, SensorNoise};
use camshaft::media::{
    FrameRate, Geometry, MAX_PIXELS, MediaTime, PacketHeader, PatternSource, RateControl, Track, WallClock,
};
use std::time::{Duration, Instant};

use super::pixels::Walls;
use super::{End, Link};
use crate::av::{ColorTags, Encoder, EncoderSettings, Frame, PictureKind, Tuning};
use clapper::{Microphone, is_flash, whiten};

/// Sends the pattern from number 0 on until told to stop.
///
/// # Errors
/// Why the camera ends other than by being told to.
pub fn run(source: &PatternSource, link: &mut Link) -> Result<(), End> {
    let mut camera = Camera::open(source)?;
    link.send(&FromWorker::Ready, &[])?;
    if let Some(microphone) = &mut camera.microphone {
        microphone.announce(link)?;
    }
    // Every frame has its place on one schedule, so that delays do not add up.
    let start = Instant::now();
    for number in 0u64.. {
        if is_stopped_before(link, start + since_start(number, source.fps))? {
            break;
        }
        camera.shoot(number, link)?;
    }
    Ok(())
}

/// Waits for `deadline`; true if told to stop by then.
fn is_stopped_before(link: &mut Link, deadline: Instant) -> Result<bool, End> {
    match link.receive_before(deadline)? {
        None => Ok(false),
        Some((ToWorker::Stop, _)) => Ok(true),
        Some(_) => Err(super::protocol("a synthetic camera takes no message but Stop")),
    }
}

fn since_start(number: u64, rate: FrameRate) -> Duration {
    let nanos = u128::from(number) * u128::from(rate.den) * 1_000_000_000 / u128::from(rate.num);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

struct Camera {
    painter: Painter,
    drawing: Vec<u8>,
    noise: SensorNoise,
    frame: Frame,
    encoder: Encoder,
    rate: FrameRate,
    walls: Walls,
    size: Geometry,
    microphone: Option<Microphone>,
}

impl Camera {
    fn open(source: &PatternSource) -> Result<Self, End> {
        let PatternSource { size, fps, codec, gop, bframes, bitrate, noise, audio } = *source;
        let even = size.width.is_multiple_of(2) && size.height.is_multiple_of(2);
        if size.pixels() == 0 || size.pixels() > MAX_PIXELS || !even {
            let message = format!(
                "a synthetic camera of {size} is not possible: sides are even, and at most {MAX_PIXELS} pixels"
            );
            return Err(End::failed(FailureKind::Limit, message));
        }
        let rate = FrameRate::new(fps.num, fps.den).ok_or_else(|| {
            let message = format!("{}/{} is no frame rate: above 0 and at most {}", fps.num, fps.den, FrameRate::MAX);
            End::failed(FailureKind::Limit, message)
        })?;
        let encoder = Encoder::open(EncoderSettings {
            codec,
            size,
            frame_rate: rate,
            rate_control: RateControl::Bitrate(bitrate),
            gop,
            tuning: if noise == 0 { Tuning::Camera { bframes } } else { Tuning::Footage { bframes } },
            bit_depth: 8,
            color: ColorTags::UNSPECIFIED,
            threads: 1,
        })?;
        let (painter, noise, frame) = (Painter::new(size), SensorNoise::new(noise), Frame::i420(size)?);
        let microphone = audio.map(|codec| Microphone::open(codec, rate)).transpose()?;
        let (drawing, walls) = (Vec::new(), Walls::default());
        Ok(Self { painter, drawing, noise, frame, encoder, rate, walls, size, microphone })
    }

    fn shoot(&mut self, number: u64, link: &mut Link) -> Result<(), End> {
        let pts = time(number, self.rate);
        self.walls.remember(pts, WallClock::now());
        self.painter.draw(number as u32, &mut self.drawing);
        let luma = self.drawing.get_mut(..self.size.pixels() as usize).unwrap_or_default();
        self.noise.add(number as u32, luma);
        if self.microphone.is_some() && is_flash(number, self.rate) {
            whiten(&mut self.drawing, self.size);
        }
        self.frame.draw_i420(&self.drawing)?;
        self.encoder.encode(&self.frame, pts, PictureKind::Any)?;
        while let Some(unit) = self.encoder.receive()? {
            if let Some(config) = unit.config {
                link.send(&FromWorker::VideoConfig(config), &[])?;
            }
            let (pts, dts, keyframe) = (unit.pts, unit.dts, unit.keyframe);
            let header = PacketHeader { track: Track::Video, pts, dts, keyframe, wall: self.walls.of(pts) };
            link.send(&FromWorker::Packet(header), &unit.data)?;
        }
        self.microphone.as_mut().map_or(Ok(()), |microphone| microphone.record(pts, link))
    }
}

/// The time of a frame that counts from 0.
fn time(number: u64, rate: FrameRate) -> MediaTime {
    let ticks = i128::from(number) * i128::from(MediaTime::HZ) * i128::from(rate.den) / i128::from(rate.num);
    MediaTime(ticks as i64)
}
