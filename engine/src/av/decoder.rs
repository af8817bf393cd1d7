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

/// An H.264 or H.265 decoder on the calling thread.
///
/// Access units go in as Annex B, so that parameter sets that a camera repeats or changes in band are followed like
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
        let id = match config.codec {
            VideoCodec::H264 => AVCodecID::AV_CODEC_ID_H264,
            VideoCodec::Hevc => AVCodecID::AV_CODEC_ID_HEVC,
        };
        let mut parameter_sets = BytesMut::new();
        nal::write_annexb(&mut parameter_sets, config.parameter_sets.iter().map(|set| &set[..]));
        let mut codec = Codec::decoder(id, config.codec.name())?;
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

    /// Feeds one access unit of length-prefixed NAL units. Pictures are then taken by [`Decoder::receive`] until it
    /// has none.
    ///
    /// # Errors
    /// Only what cannot be skipped, such as memory running out; damage is a [`Refusal`].
    pub fn send(&mut self, access_unit: &[u8], pts: MediaTime) -> Result<Result<(), Refusal>> {
        if access_unit.len() > MAX_ACCESS_UNIT || !nal::is_well_formed(access_unit) {
            return Ok(Err(Refusal::Damaged));
        }
        let contents = Contents::of(self.video, access_unit);
        if contents.parameter_sets && is_past_limits(self.video, access_unit) {
            return Ok(Err(Refusal::Damaged));
        }
        let prefix = if contents.needs_parameter_sets() { &self.parameter_sets[..] } else { &[] };
        let data = self.packet.renew(prefix.len() + access_unit.len())?;
        write_annexb(data, prefix, access_unit);
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
        let mut contents = Self { slices: false, key: false, parameter_sets: false };
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
    let (head, body) = out.split_at_mut(prefix.len());
    head.copy_from_slice(prefix);
    body.copy_from_slice(access_unit);
    let mut at = 0;
    for unit in nal::units(access_unit) {
        body[at..at + START_CODE.len()].copy_from_slice(&START_CODE);
        at += START_CODE.len() + unit.len();
    }
}
