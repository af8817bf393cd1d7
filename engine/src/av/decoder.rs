//! Packets to pictures, on the CPU or a device.

use bytes::{Bytes, BytesMut};
use camshaft::error::ErrorKind;
use camshaft::media::nal::{self, NalKind, START_CODE};
use camshaft::media::{MAX_ACCESS_UNIT, MAX_PIXELS, MediaTime, VideoCodec, VideoConfig, parse_parameter_sets};
use ffmpeg_next::ffi::{self, AVCodecID};
use std::rc::Rc;

use super::codec::{Codec, Output};
use super::device::Device;
use super::error::{Error, Result};
use super::frame::Frame;
use super::hwaccel::{Hwaccel, Sent};
use super::packet::Packet;

/// Why an access unit gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is damaged: no whole NAL units, parameter sets past the limits, or slices that the decoder can't use.
    Damaged,
    /// It holds no slices, only parameter sets and the like, which the decoder has taken.
    NoPicture,
}

/// What a decoder on the CPU may leave out to save time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omission {
    /// Nothing.
    Nothing,
    /// Pictures that no other refers to.
    NonReference,
    /// Those, and H.264's loop filter.
    NonReferenceAndLoopFilter,
}

/// A decoder on the calling thread.
///
/// Access units of H.264 and H.265 go in as Annex B, so that parameter sets that a camera repeats or changes in band are followed like
/// any player does; the configuration's own go in before everything else and again with each keyframe that has none,
/// which heals a stream whose in-band sets were damaged.
pub struct Decoder {
    codec: Codec,
    hwaccel: Option<Hwaccel>,
    video: VideoCodec,
    parameter_sets: BytesMut,
    packet: Packet,
    spare: Frame,
}

impl Decoder {
    /// A decoder of the pictures that `config` describes, on `device` or, without one, on the CPU.
    pub fn open(config: &VideoConfig, device: Option<&Rc<Device>>) -> Result<Self> {
        let mut parameter_sets = BytesMut::new();
        nal::write_annexb(&mut parameter_sets, config.parameter_sets.iter().map(|set| &set[..]));
        let mut codec = match (config.codec, device) {
            // The decoder that FFmpeg finds first for AV1 knows no devices.
            (VideoCodec::Av1, Some(_)) => Codec::decoder_named("av1")?,
            (codec, _) => Codec::decoder(id(codec), codec.name())?,
        };
        let settings = codec.settings();
        // Frame threads delay pictures and slice threads gain nothing on cameras: streams run side by side instead.
        settings.thread_count = 1;
        settings.max_pixels = MAX_PIXELS as i64;
        settings.pkt_timebase.num = 1;
        settings.pkt_timebase.den = MediaTime::HZ as i32;
        // Cameras crop at any column, not only where vectors start.
        settings.flags |= ffi::AV_CODEC_FLAG_UNALIGNED as i32;
        if config.codec == VideoCodec::H264 {
            // Cameras say Baseline where they mean Constrained Baseline, which is what drivers offer.
            settings.hwaccel_flags |= ffi::AV_HWACCEL_FLAG_ALLOW_PROFILE_MISMATCH;
        }
        let hwaccel = device.map(|device| Hwaccel::install(&mut codec, device, config.geometry)).transpose()?;
        codec.set_extradata(&parameter_sets)?;
        codec.open(&[])?;
        let (packet, spare) = (Packet::empty()?, Frame::empty()?);
        Ok(Self { codec, hwaccel, video: config.codec, parameter_sets, packet, spare })
    }

    /// Feeds one access unit, laid out as in a [`camshaft::media::Packet`]. Pictures are then taken by [`Decoder::receive`] until it
    /// has none.
    ///
    /// # Errors
    /// Only what cannot be skipped, such as memory running out; damage is a [`Refusal`].
    pub fn send(&mut self, access_unit: &[u8], pts: MediaTime) -> Result<Result<(), Refusal>> {
        let is_whole = !self.video.has_nal_units() || nal::is_well_formed(access_unit);
        if access_unit.len() > MAX_ACCESS_UNIT || access_unit.is_empty() || !is_whole {
            return Ok(Err(Refusal::Damaged));
        }
        let contents = Contents::of(self.video, access_unit);
        if contents.parameter_sets && is_past_limits(self.video, access_unit) {
            return Ok(Err(Refusal::Damaged));
        }
        if self.video.has_nal_units() {
            let prefix = if contents.needs_parameter_sets() { &self.parameter_sets[..] } else { &[] };
            write_annexb(self.packet.renew(prefix.len() + access_unit.len())?, prefix, access_unit);
        } else {
            self.packet.renew(access_unit.len())?.copy_from_slice(access_unit);
        }
        self.packet.set_pts(pts);
        let sent = self.send_packet();
        self.packet.clear();
        match sent {
            Ok(()) => {
                if let Some(hwaccel) = self.hwaccel.as_mut().filter(|_| contents.slices) {
                    hwaccel.sent(if contents.key { Sent::Keyframe } else { Sent::Other })?;
                }
                Ok(Ok(()))
            }
            Err(error) if !is_damage(&error) => Err(error),
            Err(_) if contents.slices => Ok(Err(Refusal::Damaged)),
            Err(_) => Ok(Err(Refusal::NoPicture)),
        }
    }

    /// What the decoder leaves out of the access units that follow.
    pub fn leave_out(&mut self, omission: Omission) {
        let video = self.video;
        let settings = self.codec.settings();
        settings.skip_frame = match omission {
            Omission::Nothing => ffi::AVDiscard::AVDISCARD_DEFAULT,
            Omission::NonReference | Omission::NonReferenceAndLoopFilter => ffi::AVDiscard::AVDISCARD_NONREF,
        };
        // Without HEVC's filter little time is saved, and its pictures fall apart.
        settings.skip_loop_filter = match omission {
            Omission::NonReferenceAndLoopFilter if video == VideoCodec::H264 => ffi::AVDiscard::AVDISCARD_ALL,
            _ => ffi::AVDiscard::AVDISCARD_DEFAULT,
        };
    }

    /// The next picture, if one is ready.
    ///
    /// # Errors
    /// As [`Decoder::send`].
    pub fn receive(&mut self) -> Result<Result<Option<Frame>, Refusal>> {
        match self.receive_frame() {
            Ok(Output::Ready) => Ok(Ok(Some(std::mem::replace(&mut self.spare, Frame::empty()?)))),
            Ok(Output::Nothing) => Ok(Ok(None)),
            Err(error) if is_damage(&error) => Ok(Err(Refusal::Damaged)),
            Err(error) => Err(error),
        }
    }

    fn send_packet(&mut self) -> Result<()> {
        let Self { codec, hwaccel: Some(hwaccel), packet, .. } = self else {
            return self.codec.send_packet(Some(&self.packet));
        };
        codec.send_packet(Some(packet)).map_err(|error| hwaccel.judge(error))
    }

    fn receive_frame(&mut self) -> Result<Output> {
        let Self { codec, hwaccel: Some(hwaccel), spare, .. } = self else {
            return self.codec.receive_frame(&mut self.spare);
        };
        let output = codec.receive_frame(spare).map_err(|error| hwaccel.judge(error))?;
        if output == Output::Ready {
            hwaccel.received(spare)?;
        }
        Ok(output)
    }

    /// Ends the stream, so that [`Decoder::receive`] gives out what is held back.
    pub fn finish(&mut self) -> Result<()> {
        self.codec.send_packet(None)
    }

    /// Makes the decoder ready for another stream of the same configuration.
    pub fn restart(&mut self) {
        self.codec.flush();
    }
}

fn id(codec: VideoCodec) -> AVCodecID {
    match codec {
        VideoCodec::H264 => AVCodecID::AV_CODEC_ID_H264,
        VideoCodec::Hevc => AVCodecID::AV_CODEC_ID_HEVC,
        VideoCodec::Mjpeg => AVCodecID::AV_CODEC_ID_MJPEG,
        VideoCodec::Mpeg4 => AVCodecID::AV_CODEC_ID_MPEG4,
        VideoCodec::Mpeg2 => AVCodecID::AV_CODEC_ID_MPEG2VIDEO,
        VideoCodec::Vp8 => AVCodecID::AV_CODEC_ID_VP8,
        VideoCodec::Vp9 => AVCodecID::AV_CODEC_ID_VP9,
        VideoCodec::Av1 => AVCodecID::AV_CODEC_ID_AV1,
    }
}

/// FFmpeg's decoders use many codes for damage (`EINVAL` for sizes out of range, `ENOSYS` for features that they lack);
/// only want of memory says something about this process, and some things about the device.
fn is_damage(error: &Error) -> bool {
    !error.is_out_of_memory() && !error.is_device()
}

/// Whether parameter sets in band ask for more than those of the configuration were allowed to.
fn is_past_limits(codec: VideoCodec, access_unit: &[u8]) -> bool {
    let sets = nal::units(access_unit).filter(|unit| nal::kind(codec, unit) == NalKind::ParameterSet);
    let sets: Vec<_> = sets.map(Bytes::copy_from_slice).collect();
    parse_parameter_sets(codec, &sets).is_err_and(|error| error.kind() == ErrorKind::Impossible)
}

struct Contents {
    slices: bool,
    key: bool,
    parameter_sets: bool,
}

impl Contents {
    fn of(codec: VideoCodec, access_unit: &[u8]) -> Self {
        // Packets of the codecs without NAL units hold pictures and nothing else.
        let mut contents = Self { slices: !codec.has_nal_units(), key: false, parameter_sets: false };
        if !codec.has_nal_units() {
            return contents;
        }
        for unit in nal::units(access_unit) {
            match nal::kind(codec, unit) {
                NalKind::KeySlice => (contents.slices, contents.key) = (true, true),
                NalKind::Slice => contents.slices = true,
                NalKind::ParameterSet => contents.parameter_sets = true,
                NalKind::Other => {}
            }
        }
        contents
    }

    fn needs_parameter_sets(&self) -> bool {
        self.key && !self.parameter_sets
    }
}

/// Writes `prefix`, then `access_unit` with start codes in place of its lengths; both take 4 bytes, so nothing moves.
fn write_annexb(out: &mut [u8], prefix: &[u8], access_unit: &[u8]) {
    let (head, mut body) = out.split_at_mut(prefix.len());
    head.copy_from_slice(prefix);
    body.copy_from_slice(access_unit);
    for unit in nal::units(access_unit) {
        let Some((length, tail)) = body.split_first_chunk_mut() else { return };
        *length = START_CODE;
        body = tail.get_mut(unit.len()..).unwrap_or_default();
    }
}
