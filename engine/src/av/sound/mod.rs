//! Sound: packets to samples, samples to other samples, samples to packets.

mod decoder;
mod encoder;
mod resampler;

pub use decoder::SoundDecoder;
pub use encoder::SoundEncoder;
pub use resampler::Resampler;

use camshaft::media::AudioCodec;
use ffmpeg_next::ffi::{self, AVCodecID};
use std::ffi::c_int;

use super::error::{Error, Result};

fn id(codec: AudioCodec) -> AVCodecID {
    match codec {
        AudioCodec::Aac => AVCodecID::AV_CODEC_ID_AAC,
        AudioCodec::PcmMulaw => AVCodecID::AV_CODEC_ID_PCM_MULAW,
        AudioCodec::PcmAlaw => AVCodecID::AV_CODEC_ID_PCM_ALAW,
        AudioCodec::Opus => AVCodecID::AV_CODEC_ID_OPUS,
        AudioCodec::PcmS16le => AVCodecID::AV_CODEC_ID_PCM_S16LE,
    }
}

/// Writes the usual layout of as many channels.
fn set_channels(layout: &mut ffi::AVChannelLayout, channels: u16) {
    // SAFETY: the layout is a valid one or all zeroes, and is overwritten; the usual layouts own no memory.
    unsafe { ffi::av_channel_layout_default(layout, c_int::from(channels)) };
}

fn to_int(number: u32, what: &str) -> Result<c_int> {
    c_int::try_from(number).map_err(|_| Error::Unsupported(format!("{number} {what}")))
}
