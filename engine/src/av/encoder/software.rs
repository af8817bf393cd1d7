//! Encoding by libx264 and libx265. Their options are spelled in this file only.

use camshaft::media::{RateControl, VideoCodec};
use ffmpeg_next::ffi::AVPixelFormat;

use super::super::codec::Codec;
use super::super::error::Result;
use super::{EncoderSettings, Tuning, quantiser, set_fields};

/// A constant frame rate keeps the time base of the packets, 1/90 000 s, out of the VUI, where readers of a bare stream
/// would take it for the frame rate.
const X264_PARAMETERS: &str = "force-cfr=1:scenecut=0";
/// One thread, like x264 here: streams run side by side instead.
const X265_PARAMETERS: &str = "log-level=none:pools=none:frame-threads=1:scenecut=0:open-gop=0";

/// An encoder of limited-range I420 pictures.
pub(super) fn open(settings: &EncoderSettings) -> Result<Codec> {
    let (name, parameters) = match settings.codec {
        VideoCodec::H264 => ("libx264", ("x264-params", X264_PARAMETERS)),
        VideoCodec::Hevc => ("libx265", ("x265-params", X265_PARAMETERS)),
    };
    let mut codec = Codec::encoder(name)?;
    set_fields(&mut codec, settings);
    codec.set_color(settings.color.as_limited());
    codec.settings().pix_fmt = match settings.bit_depth {
        10 => AVPixelFormat::AV_PIX_FMT_YUV420P10LE,
        _ => AVPixelFormat::AV_PIX_FMT_YUV420P,
    };
    let mut options = vec![(parameters.0, parameters.1.to_owned()), ("forced-idr", "1".to_owned())];
    options.push(("preset", preset(settings.tuning).to_owned()));
    if settings.tuning.bframes() == 0 {
        options.push(("tune", "zerolatency".to_owned()));
    }
    if let RateControl::Quality(quality) = settings.rate_control {
        options.push(("crf", quantiser(quality).to_string()));
    }
    codec.open(&options)?;
    Ok(codec)
}

fn preset(tuning: Tuning) -> &'static str {
    match tuning {
        // 2.5 dB better than ultrafast at the same size; the next slower one is 0.2 dB better for 40 % more time.
        Tuning::Live => "superfast",
        Tuning::Camera { .. } => "ultrafast",
    }
}
