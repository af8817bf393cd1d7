//! Pictures to H.264 and H.265, on the CPU or a device; on the CPU also to what trials decode.

mod software;
mod vaapi;

use bytes::Bytes;
use camshaft::media::nal::{self, NalKind};
use camshaft::media::{FrameRate, Geometry, MediaTime, RateControl, VideoCodec, VideoConfig, parse_parameter_sets};
use camshaft::plan::EncodeMode;
use ffmpeg_next::ffi::{AV_CODEC_FLAG_GLOBAL_HEADER, AVPictureType};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::codec::{Codec, Output};
use super::device::WaitClock;
use super::error::{Error, Result, Silence};
use super::frame::{ColorTags, Frame, PoolId};
use super::packet::Packet;
use super::parameters::Parameters;

/// What the encoded stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// Somebody watches: each picture comes out at once, and every IDR is preceded by its parameter sets.
    Live,
    /// A synthetic camera: as fast as can be, with parameter sets in the configuration only, as many cameras have it.
    Camera {
        /// Consecutive B frames; 0 for none.
        bframes: u8,
    },
    /// The same as cameras encode: with CABAC and the loop filter, which cost a decoder what a camera's stream does.
    Footage {
        /// Consecutive B frames; 0 for none.
        bframes: u8,
    },
    /// A container, with parameter sets beside the packets.
    File,
    /// A container with parameter sets in the packets, before every IDR.
    Transport,
}

impl Tuning {
    fn bframes(self) -> u8 {
        match self {
            Self::Live | Self::File | Self::Transport => 0,
            Self::Camera { bframes } | Self::Footage { bframes } => bframes,
        }
    }
}

/// All that an encoder must know beforehand.
#[derive(Clone, Copy, Debug)]
pub struct EncoderSettings {
    /// The codec.
    pub codec: VideoCodec,
    /// Size of the pictures in pixels, both sides even.
    pub size: Geometry,
    /// Nominal frame rate, for rate control and the VUI. Time stamps are free.
    pub frame_rate: FrameRate,
    /// How bits are spent.
    pub rate_control: RateControl,
    /// Frames from one IDR to the next.
    pub gop: u32,
    /// What the stream is for.
    pub tuning: Tuning,
    /// Bits a sample: 8 or 10.
    pub bit_depth: u8,
    /// How samples stand for colours, for the VUI.
    pub color: ColorTags,
    /// Threads that share each picture, where it is encoded on the CPU.
    pub threads: u32,
}

/// What a picture is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    /// Whatever the encoder finds best.
    Any,
    /// An IDR.
    Idr,
}

/// An encoded picture.
#[derive(Debug)]
pub struct AccessUnit {
    /// What to read this and the following access units with; stands in the first one only.
    pub config: Option<VideoConfig>,
    /// Laid out as in a [`camshaft::media::Packet`].
    pub data: Bytes,
    /// Presentation time, as given to [`Encoder::encode`].
    pub pts: MediaTime,
    /// Decode time; below 0 at the start where B frames make room for reordering.
    pub dts: MediaTime,
    /// Whether this is an IDR.
    pub keyframe: bool,
}

/// An encoder.
pub struct Encoder {
    codec: Codec,
    on_device: Option<OnDevice>,
    settings: EncoderSettings,
    input: Frame,
    packet: Packet,
    configured: bool,
}

impl Encoder {
    /// An encoder on the CPU, of limited-range I420 pictures in memory.
    pub fn open(settings: EncoderSettings) -> Result<Self> {
        Self::new(software::open(&settings)?, None, settings)
    }

    /// An encoder on the device of `example`, of NV12 surfaces from the same pool; they keep their range.
    ///
    /// # Errors
    /// [`Error::Device`] if the driver does not do it in this `mode`.
    pub fn open_for(example: &Frame, wait: &WaitClock, mode: EncodeMode, settings: EncoderSettings) -> Result<Self> {
        let codec = vaapi::open(&settings, example, mode).map_err(Error::of_device)?;
        let on_device = OnDevice { pool: example.pool(), wait: wait.clone(), pending: 0, last: None };
        Self::new(codec, Some(on_device), settings)
    }

    fn new(codec: Codec, on_device: Option<OnDevice>, settings: EncoderSettings) -> Result<Self> {
        let (input, packet) = (Frame::empty()?, Packet::empty()?);
        Ok(Self { codec, on_device, settings, input, packet, configured: false })
    }

    /// Whether this encoder takes pictures like `frame`: a device's takes those of one pool only.
    pub fn takes(&self, frame: &Frame) -> bool {
        frame.pool() == self.on_device.as_ref().and_then(|device| device.pool)
    }

    /// Feeds one picture; `pts` must rise. Access units are then taken by [`Encoder::receive`] until it has none.
    pub fn encode(&mut self, frame: &Frame, pts: MediaTime, kind: PictureKind) -> Result<()> {
        self.input.refer_to(frame)?;
        let input = self.input.get_mut();
        input.pts = pts.0 / ticks(&self.settings);
        // A decoded picture still says what kind it was in its old stream.
        input.pict_type = match kind {
            PictureKind::Any => AVPictureType::AV_PICTURE_TYPE_NONE,
            PictureKind::Idr => AVPictureType::AV_PICTURE_TYPE_I,
        };
        let sent = self.codec.send_frame(Some(&self.input));
        self.input.clear();
        match &mut self.on_device {
            Some(device) => sent.map_err(Error::of_device).and_then(|()| device.sent()),
            None => sent,
        }
    }

    /// Ends the stream, so that [`Encoder::receive`] gives out what is held back.
    pub fn finish(&mut self) -> Result<()> {
        self.codec.send_frame(None)
    }

    /// The next access unit, if one is ready.
    pub fn receive(&mut self) -> Result<Option<AccessUnit>> {
        match self.receive_packet()? {
            Output::Nothing => Ok(None),
            Output::Ready => {
                let access_unit = self.access_unit()?;
                self.packet.clear();
                Ok(Some(access_unit))
            }
        }
    }

    /// The next packet as the encoder lays it out, for a muxer, if one is ready; its times are [`MediaTime`].
    pub fn packet(&mut self) -> Result<Option<&mut Packet>> {
        let output = self.receive_packet()?;
        if output == Output::Nothing {
            return Ok(None);
        }
        if self.packet.duration() == 0 {
            let rate = self.settings.frame_rate;
            self.packet.set_duration(MediaTime::HZ * i64::from(rate.den) / i64::from(rate.num.max(1)));
        }
        Ok(Some(&mut self.packet))
    }

    /// What its packets are to be read with.
    pub fn parameters(&self) -> Result<Parameters> {
        self.codec.parameters()
    }

    fn receive_packet(&mut self) -> Result<Output> {
        let Self { codec, packet, on_device: Some(device), .. } = self else {
            return self.codec.receive_packet(&mut self.packet);
        };
        let output = device.wait.time(|| codec.receive_packet(packet)).map_err(Error::of_device)?;
        if output == Output::Ready {
            device.received(packet)?;
        }
        Ok(output)
    }

    fn access_unit(&mut self) -> Result<AccessUnit> {
        let codec = self.settings.codec;
        if !codec.has_nal_units() {
            return Ok(self.whole_packet());
        }
        let is_parameter_set = |unit: &&[u8]| nal::kind(codec, unit) == NalKind::ParameterSet;
        let units = nal::annexb_units(self.packet.data());
        let keyframe = self.packet.is_keyframe();
        let config = if keyframe && !self.configured {
            let sets = units.iter().copied().filter(is_parameter_set).map(Bytes::copy_from_slice).collect();
            Some(video_config(&self.settings, sets)?)
        } else {
            None
        };
        self.configured |= config.is_some();
        let data = match self.settings.tuning {
            Tuning::Live | Tuning::Transport => nal::length_prefixed(units),
            Tuning::Camera { .. } | Tuning::Footage { .. } | Tuning::File => {
                nal::length_prefixed(units.into_iter().filter(|unit| !is_parameter_set(unit)))
            }
        };
        let (pts, dts) = self.times();
        Ok(AccessUnit { config, data, pts, dts, keyframe })
    }

    /// When the packet is shown and decoded.
    fn times(&self) -> (MediaTime, MediaTime) {
        let ticks = ticks(&self.settings);
        (MediaTime(self.packet.pts().0 * ticks), MediaTime(self.packet.dts().0 * ticks))
    }

    /// An access unit of a codec that has no parameter sets.
    fn whole_packet(&mut self) -> AccessUnit {
        let settings = &self.settings;
        let config = (!self.configured).then(|| VideoConfig {
            generation: 0,
            codec: settings.codec,
            parameter_sets: vec![],
            profile: String::new(),
            rfc6381: String::new(),
            geometry: settings.size,
            frame_rate: Some(settings.frame_rate),
            bit_depth: settings.bit_depth,
            reorder_depth: settings.tuning.bframes(),
        });
        self.configured = true;
        let (packet, (pts, dts)) = (&self.packet, self.times());
        let data = Bytes::copy_from_slice(packet.data());
        AccessUnit { config, data, pts, dts, keyframe: packet.is_keyframe() }
    }
}

/// What is watched of an encoder on a device.
struct OnDevice {
    pool: Option<PoolId>,
    wait: WaitClock,
    /// Pictures that went in and have not come out.
    pending: u32,
    /// A digest of what came out last.
    last: Option<u64>,
}

impl OnDevice {
    /// Without B frames each picture comes out at once; some drivers keep one back.
    const MOST_PENDING: u32 = 3;

    fn sent(&mut self) -> Result<()> {
        self.pending += 1;
        if self.pending <= Self::MOST_PENDING {
            return Ok(());
        }
        Err(Error::Silent(Silence::Missing, format!("the device's encoder holds back {} pictures", self.pending)))
    }

    /// Drivers report success for pictures that the GPU never made.
    fn received(&mut self, packet: &Packet) -> Result<()> {
        self.pending = self.pending.saturating_sub(1);
        if packet.data().is_empty() {
            return Err(Error::Silent(Silence::Empty, "the device's encoder gave a picture of 0 bytes".into()));
        }
        // Each picture counts in its slice headers: no two are the same, however still the scene.
        let mut hasher = DefaultHasher::new();
        packet.data().hash(&mut hasher);
        if self.last.replace(hasher.finish()) == Some(hasher.finish()) {
            return Err(Error::Silent(Silence::Stale, "the device's encoder gave the picture before once more".into()));
        }
        Ok(())
    }
}

/// What an encoder counts time in, in ticks of [`MediaTime`]: those, but for MPEG-2, which counts pictures.
fn ticks(settings: &EncoderSettings) -> i64 {
    match settings.codec {
        VideoCodec::Mpeg2 => {
            MediaTime::HZ * i64::from(settings.frame_rate.den) / i64::from(settings.frame_rate.num.max(1))
        }
        _ => 1,
    }
}

/// The fields that all encoders share.
fn set_fields(codec: &mut Codec, settings: &EncoderSettings) {
    let context = codec.settings();
    (context.width, context.height) = (settings.size.width as i32, settings.size.height as i32);
    let rate = settings.frame_rate;
    (context.time_base.num, context.time_base.den) = (ticks(settings) as i32, MediaTime::HZ as i32);
    (context.framerate.num, context.framerate.den) = (clamped(rate.num), clamped(rate.den));
    context.thread_count = match settings.codec {
        VideoCodec::H264 | VideoCodec::Hevc | VideoCodec::Av1 => settings.threads.clamp(1, 64) as i32,
        // Their threads would hold pictures back.
        _ => 1,
    };
    if settings.tuning == Tuning::File {
        context.flags |= AV_CODEC_FLAG_GLOBAL_HEADER as i32;
    }
    context.gop_size = clamped(settings.gop.max(1));
    context.max_b_frames = settings.tuning.bframes().into();
    if let RateControl::Bitrate(bitrate) = settings.rate_control {
        // A buffer of one second, so that a viewer's link of that rate is never behind by more.
        context.bit_rate = bitrate.into();
        context.rc_max_rate = bitrate.into();
        context.rc_buffer_size = clamped(bitrate);
    }
}

/// The quantiser, or the rate factor that means the same, for a quality of 1 to 100: 45 (blocky) to 15 (no loss is
/// seen), linearly; quality 75 is x264's default of 23.
fn quantiser(quality: u8) -> f64 {
    45.0 - f64::from(quality.clamp(1, 100) - 1) * 30.0 / 99.0
}

fn clamped(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn video_config(settings: &EncoderSettings, parameter_sets: Vec<Bytes>) -> Result<VideoConfig> {
    let parsed = parse_parameter_sets(settings.codec, &parameter_sets)
        .map_err(|error| Error::Unsupported(format!("the encoder's parameter sets: {}", error.chain())))?;
    Ok(VideoConfig {
        generation: 0,
        codec: settings.codec,
        parameter_sets,
        profile: parsed.profile,
        rfc6381: parsed.rfc6381,
        geometry: settings.size,
        frame_rate: Some(settings.frame_rate),
        bit_depth: parsed.bit_depth,
        reorder_depth: parsed.reorder_depth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_keeps_pictures_back_is_noticed() {
        let mut device = OnDevice { pool: None, wait: WaitClock::default(), pending: 0, last: None };
        let found = (0..10).find_map(|_| device.sent().err());
        assert!(matches!(found, Some(Error::Silent(Silence::Missing, _))));
        assert_eq!(device.pending, OnDevice::MOST_PENDING + 1);
    }

    #[test]
    fn quality_runs_from_blocky_to_transparent() {
        assert_eq!(quantiser(1), 45.0);
        assert_eq!(quantiser(100), 15.0);
        assert!((quantiser(75) - 23.0).abs() < 0.5);
        assert_eq!(quantiser(0), quantiser(1));
    }
}
