//! Encoding by FFmpeg's VA-API encoders. Their options are spelled in this file only.

use camshaft::media::{RateControl, VideoCodec};
use camshaft::plan::EncodeMode;
use camshaft::plan::va::Entrypoint;
use ffmpeg_next::ffi::AVPixelFormat;

use super::super::codec::Codec;
use super::super::error::{Error, Result};
use super::super::frame::Frame;
use super::{EncoderSettings, quantiser, set_fields};

/// An encoder of surfaces from the pool of `example`, used as `mode` says.
///
/// Parameter sets come in band before each IDR, as no global header is asked for.
pub(super) fn open(settings: &EncoderSettings, example: &Frame, mode: EncodeMode) -> Result<Codec> {
    let name = match settings.codec {
        VideoCodec::H264 => "h264_vaapi",
        VideoCodec::Hevc => "hevc_vaapi",
        codec => return Err(Error::Unsupported(format!("{codec} is not encoded on a device"))),
    };
    let mut codec = Codec::encoder(name)?;
    set_fields(&mut codec, settings);
    codec.set_color(settings.color);
    codec.set_pool(example)?;
    let context = codec.settings();
    context.pix_fmt = AVPixelFormat::AV_PIX_FMT_VAAPI;
    if let RateControl::Quality(quality) = settings.rate_control {
        context.global_quality = quantiser(quality).round() as i32;
    }
    let low_power = if mode.entrypoint == Entrypoint::EncSliceLp { "1" } else { "0" };
    codec.open(&[
        // Depth 1: each picture comes out before the next one goes in.
        ("async_depth", "1".to_owned()),
        ("low_power", low_power.to_owned()),
        ("rc_mode", mode.rate_control.short_name().to_owned()),
    ])?;
    Ok(codec)
}
