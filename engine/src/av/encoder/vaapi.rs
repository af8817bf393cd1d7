//! Encoding by FFmpeg's VA-API encoders. Their options are spelled in this file only.

use camshaft::media::{RateControl, VideoCodec};
use ffmpeg_next::ffi::AVPixelFormat;

use super::super::codec::Codec;
use super::super::error::{Error, Result};
use super::super::frame::Frame;
use super::{EncoderSettings, quantiser, set_fields};

/// An encoder of surfaces from the pool of `example`.
///
/// FFmpeg takes the full entrypoint where the driver has it, else the low-power one; for a bit rate CBR, else VBR; for a
/// quality ICQ, else CQP. Parameter sets come in band before each IDR, as no global header is asked for.
pub(super) fn open(settings: &EncoderSettings, example: &Frame) -> Result<Codec> {
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
    // Depth 1: each picture comes out before the next one goes in.
    codec.open(&[("async_depth", "1".to_owned())])?;
    Ok(codec)
}
