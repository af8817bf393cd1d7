//! Pictures to H.264 and H.265, by libx264 and libx265. The names of FFmpeg's and the encoders' options are spelled
//! in this file only.

use bytes::Bytes;
use camshaft::media::nal::{self, NalKind};
use camshaft::media::{FrameRate, Geometry, MediaTime, RateControl, VideoCodec, VideoConfig, parse_parameter_sets};
use ffmpeg_next::ffi::{AVPictureType, AVPixelFormat};

use super::codec::{Codec, Output};
use super::error::{Error, Result};
use super::frame::{ColorTags, Frame};
use super::packet::Packet;

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
    /// How samples stand for colours, for the VUI.
    pub color: ColorTags,
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
    /// NAL units, each behind its length in 4 bytes.
    pub data: Bytes,
    /// Presentation time, as given to [`Encoder::encode`].
    pub pts: MediaTime,
    /// Decode time; below 0 at the start where B frames make room for reordering.
    pub dts: MediaTime,
    /// Whether this is an IDR.
    pub keyframe: bool,
}

/// An encoder on the calling thread.
pub struct Encoder {
    codec: Codec,
    settings: EncoderSettings,
    input: Frame,
    packet: Packet,
    configured: bool,
}

impl Encoder {
    /// An encoder of limited-range I420 pictures.
    pub fn open(settings: EncoderSettings) -> Result<Self> {
        let (name, parameters) = match settings.codec {
            VideoCodec::H264 => ("libx264", ("x264-params", X264_PARAMETERS)),
            VideoCodec::Hevc => ("libx265", ("x265-params", X265_PARAMETERS)),
        };
        let mut codec = Codec::encoder(name)?;
        set_fields(&mut codec, &settings);
        let mut options = vec![(parameters.0, parameters.1.to_owned()), ("forced-idr", "1".to_owned())];
        options.push(("preset", preset(settings.tuning).to_owned()));
        if bframes(settings.tuning) == 0 {
            options.push(("tune", "zerolatency".to_owned()));
        }
        if let RateControl::Quality(quality) = settings.rate_control {
            options.push(("crf", rate_factor(quality).to_string()));
        }
        codec.open(&options)?;
        Ok(Self { codec, settings, input: Frame::empty()?, packet: Packet::empty()?, configured: false })
    }

    /// Feeds one picture; `pts` must rise. Access units are then taken by [`Encoder::receive`] until it has none.
    pub fn encode(&mut self, frame: &Frame, pts: MediaTime, kind: PictureKind) -> Result<()> {
        self.input.refer_to(frame)?;
        let input = self.input.get_mut();
        input.pts = pts.0;
        // A decoded picture still says what kind it was in its old stream.
        input.pict_type = match kind {
            PictureKind::Any => AVPictureType::AV_PICTURE_TYPE_NONE,
            PictureKind::Idr => AVPictureType::AV_PICTURE_TYPE_I,
        };
        let sent = self.codec.send_frame(Some(&self.input));
        self.input.clear();
        sent
    }

    /// Ends the stream, so that [`Encoder::receive`] gives out what is held back.
    pub fn finish(&mut self) -> Result<()> {
        self.codec.send_frame(None)
    }

    /// The next access unit, if one is ready.
    pub fn receive(&mut self) -> Result<Option<AccessUnit>> {
        match self.codec.receive_packet(&mut self.packet)? {
            Output::Nothing => Ok(None),
            Output::Ready => {
                let access_unit = self.access_unit()?;
                self.packet.clear();
                Ok(Some(access_unit))
            }
        }
    }

    fn access_unit(&mut self) -> Result<AccessUnit> {
        let codec = self.settings.codec;
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
            Tuning::Live => nal::length_prefixed(units),
            Tuning::Camera { .. } => nal::length_prefixed(units.into_iter().filter(|unit| !is_parameter_set(unit))),
        };
        Ok(AccessUnit { config, data, pts: self.packet.pts(), dts: self.packet.dts(), keyframe })
    }
}

/// A constant frame rate keeps the time base of the packets, 1/90 000 s, out of the VUI, where readers of a bare stream
/// would take it for the frame rate.
const X264_PARAMETERS: &str = "force-cfr=1:scenecut=0";
/// One thread, like x264 here: streams run side by side instead.
const X265_PARAMETERS: &str = "log-level=none:pools=none:frame-threads=1:scenecut=0:open-gop=0";

fn preset(tuning: Tuning) -> &'static str {
    match tuning {
        // 2.5 dB better than ultrafast at the same size; the next slower one is 0.2 dB better for 40 % more time.
        Tuning::Live => "superfast",
        Tuning::Camera { .. } => "ultrafast",
    }
}

fn bframes(tuning: Tuning) -> u8 {
    match tuning {
        Tuning::Live => 0,
        Tuning::Camera { bframes } => bframes,
    }
}

/// x264's and x265's constant rate factor for a quality of 1 to 100: 45 (blocky) to 15 (no loss is seen), linearly;
/// quality 75 is x264's default of 23.
fn rate_factor(quality: u8) -> f64 {
    45.0 - f64::from(quality.clamp(1, 100) - 1) * 30.0 / 99.0
}

fn set_fields(codec: &mut Codec, settings: &EncoderSettings) {
    codec.set_color(settings.color.as_limited());
    let context = codec.settings();
    (context.width, context.height) = (settings.size.width as i32, settings.size.height as i32);
    context.pix_fmt = AVPixelFormat::AV_PIX_FMT_YUV420P;
    (context.time_base.num, context.time_base.den) = (1, MediaTime::HZ as i32);
    let rate = settings.frame_rate;
    (context.framerate.num, context.framerate.den) = (clamped(rate.num), clamped(rate.den));
    context.thread_count = 1;
    context.gop_size = clamped(settings.gop.max(1));
    context.max_b_frames = bframes(settings.tuning).into();
    if let RateControl::Bitrate(bitrate) = settings.rate_control {
        // A buffer of one second, so that a viewer's link of that rate is never behind by more.
        context.bit_rate = bitrate.into();
        context.rc_max_rate = bitrate.into();
        context.rc_buffer_size = clamped(bitrate);
    }
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
    fn quality_runs_from_blocky_to_transparent() {
        assert_eq!(rate_factor(1), 45.0);
        assert_eq!(rate_factor(100), 15.0);
        assert!((rate_factor(75) - 23.0).abs() < 0.5);
        assert_eq!(rate_factor(0), rate_factor(1));
    }
}
