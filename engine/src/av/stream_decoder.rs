//! A container's packets to pictures, on the CPU or a device.

use camshaft::media::{Geometry, MAX_PIXELS, VideoCodec};
use ffmpeg_next::ffi;
use std::rc::Rc;

use super::codec::{Codec, Output};
use super::decoder::Refusal;
use super::device::Device;
use super::error::{Error, Result};
use super::frame::Frame;
use super::hwaccel::{Hwaccel, Sent};
use super::packet::Packet;
use super::parameters::Parameters;
use super::time_base::TimeBase;

/// A decoder.
pub struct StreamDecoder {
    codec: Codec,
    hwaccel: Option<Hwaccel>,
    spare: Frame,
}

impl StreamDecoder {
    /// A decoder of packets that are to be read with `parameters`, with times in `base`; on `device`, which is told the
    /// pictures' size, or on the CPU, in so many `threads`, each of which holds a picture back.
    pub fn open(
        parameters: &Parameters,
        base: TimeBase,
        device: Option<(&Rc<Device>, Geometry)>,
        threads: u32,
    ) -> Result<Self> {
        let id = parameters.codec_id().ok_or_else(|| Error::NoCodec(parameters.codec_name()))?;
        let mut codec = match (parameters.video_codec(), device) {
            // The decoder that FFmpeg finds first for AV1 knows no devices.
            (Some(VideoCodec::Av1), Some(_)) => Codec::decoder_named("av1")?,
            _ => Codec::decoder(id, &parameters.codec_name())?,
        };
        codec.set_parameters(parameters)?;
        let settings = codec.settings();
        settings.thread_count = if device.is_some() { 1 } else { threads.clamp(1, 64) as i32 };
        settings.max_pixels = MAX_PIXELS as i64;
        settings.pkt_timebase = base.raw();
        settings.flags |= ffi::AV_CODEC_FLAG_UNALIGNED as i32;
        if parameters.video_codec() == Some(VideoCodec::H264) {
            settings.hwaccel_flags |= ffi::AV_HWACCEL_FLAG_ALLOW_PROFILE_MISMATCH;
        }
        let install = |(device, size): (&Rc<Device>, Geometry)| Hwaccel::install(&mut codec, device, size);
        let hwaccel = device.map(install).transpose()?;
        codec.open(&[])?;
        Ok(Self { codec, hwaccel, spare: Frame::empty()? })
    }

    /// Feeds one packet, or ends the stream. Pictures are then taken by [`Self::receive`] until it has none.
    ///
    /// # Errors
    /// What cannot be skipped; damage is a [`Refusal`].
    pub fn send(&mut self, packet: Option<&Packet>) -> Result<Result<(), Refusal>> {
        let sent = self.codec.send_packet(packet).map_err(|error| self.judge(error));
        match (sent, &mut self.hwaccel, packet) {
            (Ok(()), Some(hwaccel), Some(packet)) => {
                hwaccel.sent(if packet.is_keyframe() { Sent::Keyframe } else { Sent::Other })?;
                Ok(Ok(()))
            }
            (Ok(()), ..) => Ok(Ok(())),
            (Err(error), ..) if error.is_out_of_memory() || error.is_device() => Err(error),
            (Err(_), ..) => Ok(Err(Refusal::Damaged)),
        }
    }

    /// The next picture, if one is ready.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn receive(&mut self) -> Result<Result<Option<Frame>, Refusal>> {
        let received = self.codec.receive_frame(&mut self.spare).map_err(|error| self.judge(error));
        match received {
            Ok(Output::Ready) => {
                if let Some(hwaccel) = &mut self.hwaccel {
                    hwaccel.received(&self.spare)?;
                }
                Ok(Ok(Some(std::mem::replace(&mut self.spare, Frame::empty()?))))
            }
            Ok(Output::Nothing) => Ok(Ok(None)),
            Err(error) if error.is_out_of_memory() || error.is_device() => Err(error),
            Err(_) => Ok(Err(Refusal::Damaged)),
        }
    }

    fn judge(&mut self, error: Error) -> Error {
        match &mut self.hwaccel {
            Some(hwaccel) => hwaccel.judge(error),
            None => error,
        }
    }
}
