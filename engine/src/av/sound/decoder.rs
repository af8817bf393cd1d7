//! Packets of sound to samples.

use camshaft::media::{AudioConfig, MAX_ACCESS_UNIT, MediaTime};

use super::super::codec::{Codec, Output};
use super::super::error::{Error, Result};
use super::super::frame::Frame;
use super::super::packet::Packet;
use super::super::parameters::Parameters;
use super::super::time_base::TimeBase;
use super::{id, set_channels, to_int};

/// A packet gave nothing, because it is none of this codec or not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// A decoder of sound on the calling thread.
pub struct SoundDecoder {
    codec: Codec,
    packet: Packet,
    frame: Frame,
}

impl SoundDecoder {
    /// A decoder of the packets that `config` describes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for rates and channels that no sound has; what FFmpeg says of the configuration.
    pub fn open(config: &AudioConfig) -> Result<Self> {
        if !config.is_possible() {
            let message =
                format!("{} samples a second in {} channels are no sound", config.sample_rate, config.channels);
            return Err(Error::Unsupported(message));
        }
        let mut codec = Codec::decoder(id(config.codec), config.codec.name())?;
        let settings = codec.settings();
        settings.sample_rate = to_int(config.sample_rate, "samples a second")?;
        set_channels(&mut settings.ch_layout, config.channels);
        if !config.specific.is_empty() {
            codec.set_extradata(&config.specific)?;
        }
        Self::ready(codec)
    }

    /// A decoder of a file's packets, in any codec that jobs read.
    ///
    /// # Errors
    /// [`Error::NoCodec`]; what FFmpeg says of the parameters.
    pub fn of_file(parameters: &Parameters) -> Result<Self> {
        let id = parameters.codec_id().ok_or_else(|| Error::NoCodec(parameters.codec_name()))?;
        let mut codec = Codec::decoder(id, &parameters.codec_name())?;
        codec.set_parameters(parameters)?;
        Self::ready(codec)
    }

    fn ready(mut codec: Codec) -> Result<Self> {
        let settings = codec.settings();
        settings.thread_count = 1;
        settings.pkt_timebase = TimeBase::MEDIA.raw();
        codec.open(&[])?;
        Ok(Self { codec, packet: Packet::empty()?, frame: Frame::empty()? })
    }

    /// Samples a second and channels of the sound in `packet`, the first of a file, which does not say them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if there is no sound in it.
    pub fn measure(parameters: &Parameters, packet: &[u8]) -> Result<(u32, u16)> {
        let mut decoder = Self::of_file(parameters)?;
        let _ = decoder.send(packet, MediaTime(0))?;
        let _ = decoder.end()?;
        let shape = decoder.receive()?.ok().flatten().map(|frame| {
            let (rate, channels) = (frame.get().sample_rate, frame.get().ch_layout.nb_channels);
            u32::try_from(rate).ok().zip(u16::try_from(channels).ok())
        });
        shape
            .flatten()
            .ok_or_else(|| Error::Unsupported(format!("no {} is in its first packet", parameters.codec_name())))
    }

    /// Feeds one packet. Samples are then taken by [`SoundDecoder::receive`] until it has none.
    ///
    /// # Errors
    /// Only what cannot be skipped, such as memory running out.
    pub fn send(&mut self, data: &[u8], pts: MediaTime) -> Result<Result<(), Damaged>> {
        if data.is_empty() || data.len() > MAX_ACCESS_UNIT {
            return Ok(Err(Damaged));
        }
        self.packet.renew(data.len())?.copy_from_slice(data);
        self.packet.set_pts(pts);
        let sent = self.codec.send_packet(Some(&self.packet));
        self.packet.clear();
        skip_damage(sent)
    }

    /// The same with all that a container says of the packet, whose times are in ticks of [`MediaTime`].
    ///
    /// # Errors
    /// As [`SoundDecoder::send`].
    pub fn send_packet(&mut self, packet: &Packet) -> Result<Result<(), Damaged>> {
        skip_damage(self.codec.send_packet(Some(packet)))
    }

    /// Nothing follows: what is held back can be received.
    ///
    /// # Errors
    /// As [`SoundDecoder::send`].
    pub fn end(&mut self) -> Result<Result<(), Damaged>> {
        skip_damage(self.codec.send_packet(None))
    }

    /// The next samples, if there are some.
    ///
    /// # Errors
    /// As [`SoundDecoder::send`].
    pub fn receive(&mut self) -> Result<Result<Option<&Frame>, Damaged>> {
        let output = skip_damage(self.codec.receive_frame(&mut self.frame))?;
        Ok(output.map(|output| (output == Output::Ready).then_some(&self.frame)))
    }
}

fn skip_damage<T>(result: Result<T>) -> Result<Result<T, Damaged>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.is_out_of_memory() => Err(error),
        Err(_) => Ok(Err(Damaged)),
    }
}
