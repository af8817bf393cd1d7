//! Encoding by libx264 and libx265, and by the encoders that make the clips of trials. Their options are spelled in this
//! file only.

use camshaft::media::{RateControl, VideoCodec};
use ffmpeg_next::ffi::{AV_CODEC_FLAG_QSCALE, AVColorRange, AVPixelFormat, FF_QP2LAMBDA};

use super::super::codec::Codec;
use super::super::error::Result;
use super::super::jpeg;
use super::{EncoderSettings, Tuning, quantiser, set_fields};

/// A constant frame rate keeps the time base of the packets, 1/90 000 s, out of the VUI, where readers of a bare stream
/// would take it for the frame rate.
const X264_PARAMETERS: &str = "force-cfr=1:scenecut=0";
/// Threads share a picture, like x264's here, and hold none back.
fn x265_parameters(threads: u32) -> String {
    let pool = if threads > 1 { threads.to_string() } else { "none".to_owned() };
    format!("log-level=none:pools={pool}:frame-threads=1:scenecut=0:open-gop=0")
}

/// An encoder of limited-range I420 pictures.
pub(super) fn open(settings: &EncoderSettings) -> Result<Codec> {
    let name = match settings.codec {
        VideoCodec::H264 => "libx264",
        VideoCodec::Hevc => "libx265",
        VideoCodec::Mjpeg => "mjpeg",
        VideoCodec::Mpeg4 => "mpeg4",
        VideoCodec::Mpeg2 => "mpeg2video",
        VideoCodec::Vp8 => "libvpx",
        VideoCodec::Vp9 => "libvpx-vp9",
        VideoCodec::Av1 => "libaom-av1",
    };
    let mut codec = Codec::encoder(name)?;
    set_fields(&mut codec, settings);
    codec.set_color(settings.color.as_limited());
    codec.settings().pix_fmt = match settings.bit_depth {
        10 => AVPixelFormat::AV_PIX_FMT_YUV420P10LE,
        _ => AVPixelFormat::AV_PIX_FMT_YUV420P,
    };
    let mut options = options(settings);
    match (settings.codec, settings.rate_control) {
        (VideoCodec::H264 | VideoCodec::Hevc, RateControl::Quality(quality)) => {
            options.push(("crf", quantiser(quality).to_string()));
        }
        // JPEG has no other range.
        (VideoCodec::Mjpeg, rate) => {
            let context = codec.settings();
            context.color_range = AVColorRange::AVCOL_RANGE_JPEG;
            if let RateControl::Quality(quality) = rate {
                context.flags |= AV_CODEC_FLAG_QSCALE as i32;
                context.global_quality = jpeg::quantiser(quality) * FF_QP2LAMBDA;
            }
        }
        (VideoCodec::Av1, RateControl::Quality(quality)) => {
            // libaom's scale goes to 63, x264's to 51.
            options.push(("crf", (quantiser(quality) * 63.0 / 51.0).round().to_string()));
        }
        _ => {}
    }
    codec.open(&options)?;
    Ok(codec)
}

fn options(settings: &EncoderSettings) -> Vec<(&'static str, String)> {
    let x26x = |name: &'static str, parameters: String| {
        let mut options = vec![(name, parameters), ("forced-idr", "1".to_owned())];
        options.push(("preset", preset(settings.tuning).to_owned()));
        if settings.tuning.bframes() == 0 {
            options.push(("tune", "zerolatency".to_owned()));
        }
        options
    };
    let fastest = |mode| vec![mode, ("cpu-used", "8".to_owned()), ("lag-in-frames", "0".to_owned())];
    match settings.codec {
        VideoCodec::H264 => x26x("x264-params", X264_PARAMETERS.to_owned()),
        VideoCodec::Hevc => x26x("x265-params", x265_parameters(settings.threads)),
        VideoCodec::Vp8 | VideoCodec::Vp9 => fastest(("deadline", "realtime".to_owned())),
        VideoCodec::Av1 => fastest(("usage", "realtime".to_owned())),
        VideoCodec::Mjpeg | VideoCodec::Mpeg4 | VideoCodec::Mpeg2 => vec![],
    }
}

fn preset(tuning: Tuning) -> &'static str {
    match tuning {
        // 2.5 dB better than ultrafast at the same size; the next slower one is 0.2 dB better for 40 % more time.
        Tuning::Live | Tuning::Footage { .. } | Tuning::File | Tuning::Transport => "superfast",
        Tuning::Camera { .. } => "ultrafast",
    }
}
