//! Samples to packets of sound.

use bytes::Bytes;
use camshaft::media::{AudioCodec, AudioConfig, MediaTime};
use ffmpeg_next::ffi::{self, AVSampleFormat};

use super::super::codec::{Codec, Output};
use super::super::error::{Error, Result, check};
use super::super::frame::Frame;
use super::super::packet::Packet;
use super::super::parameters::Parameters;
use super::super::time_base::TimeBase;
use super::{set_channels, to_int};

/// An encoder of interleaved samples of 16 bits, on the calling thread.
pub struct SoundEncoder {
    codec: Codec,
    coding: AudioCodec,
    sample_rate: u32,
    channels: u16,
    packet: Packet,
}

impl SoundEncoder {
    /// An encoder at FFmpeg's own settings but for the bit rate.
    ///
    /// # Errors
    /// What FFmpeg says of rate and channels.
    pub fn open(coding: AudioCodec, sample_rate: u32, channels: u16) -> Result<Self> {
        let mut codec = Codec::encoder(match coding {
            AudioCodec::Aac => "aac",
            AudioCodec::PcmMulaw => "pcm_mulaw",
            AudioCodec::PcmAlaw => "pcm_alaw",
            AudioCodec::Opus => "libopus",
            AudioCodec::PcmS16le => "pcm_s16le",
        })?;
        let settings = codec.settings();
        settings.sample_rate = to_int(sample_rate, "samples a second")?;
        settings.sample_fmt = match coding {
            AudioCodec::Aac => AVSampleFormat::AV_SAMPLE_FMT_FLTP,
            _ => AVSampleFormat::AV_SAMPLE_FMT_S16,
        };
        set_channels(&mut settings.ch_layout, channels);
        // Two bits a sample: twice of what a listener needs at these rates, and less than a fiftieth of the picture's.
        settings.bit_rate = 2 * i64::from(sample_rate.min(32_000)) * i64::from(channels);
        // Coarser times look to the encoder as if sound overlapped.
        settings.time_base.num = 1;
        settings.time_base.den = settings.sample_rate;
        codec.open(&[])?;
        Ok(Self { codec, coding, sample_rate, channels, packet: Packet::empty()? })
    }

    /// What its packets are to be read with.
    pub fn config(&mut self) -> AudioConfig {
        let specific = match self.coding {
            AudioCodec::Aac | AudioCodec::Opus => Bytes::copy_from_slice(self.codec.extradata()),
            _ => Bytes::new(),
        };
        let rfc6381 = match self.coding {
            AudioCodec::Aac => "mp4a.40.2",
            AudioCodec::Opus => "opus",
            _ => "",
        };
        AudioConfig {
            codec: self.coding,
            sample_rate: self.sample_rate,
            channels: self.channels,
            specific,
            rfc6381: rfc6381.to_owned(),
        }
    }

    /// The same in FFmpeg's terms, for a container that it writes.
    ///
    /// # Errors
    /// What FFmpeg says.
    pub fn parameters(&self) -> Result<Parameters> {
        self.codec.parameters()
    }

    /// What its own times are counted in: samples.
    fn time_base(&self) -> TimeBase {
        TimeBase { num: 1, den: i32::try_from(self.sample_rate).unwrap_or(i32::MAX) }
    }

    /// How many samples of each channel go in at once; `None`: any number.
    pub fn block(&mut self) -> Option<usize> {
        usize::try_from(self.codec.settings().frame_size).ok().filter(|size| *size > 0)
    }

    /// Feeds one block that begins at `pts`. Packets are then taken by [`SoundEncoder::receive`] until it has none.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if `samples` are none.
    pub fn encode(&mut self, samples: &[i16], pts: MediaTime) -> Result<()> {
        let mut frame = Frame::empty()?;
        let count = samples.len() / usize::from(self.channels.max(1));
        let raw = frame.get_mut();
        raw.nb_samples = to_int(u32::try_from(count).unwrap_or(u32::MAX), "samples in a block")?;
        raw.format = self.codec.settings().sample_fmt as i32;
        raw.sample_rate = to_int(self.sample_rate, "samples a second")?;
        set_channels(&mut raw.ch_layout, self.channels);
        // SAFETY: count, format and channels are set and the frame has no samples yet.
        check("allocate samples", unsafe { ffi::av_frame_get_buffer(frame.as_mut_ptr(), 0) })?;
        frame.get_mut().pts = self.time_base().of_media(pts);
        match self.coding {
            AudioCodec::Aac => fill_planes(&mut frame, samples, usize::from(self.channels), count)?,
            _ => plane(&mut frame, 0, samples.len())?.copy_from_slice(samples),
        }
        self.codec.send_frame(Some(&frame))
    }

    /// Nothing follows: what is held back can be received.
    ///
    /// # Errors
    /// What FFmpeg says.
    pub fn end(&mut self) -> Result<()> {
        self.codec.send_frame(None)
    }

    /// The next packet and when it begins to sound, if one is ready.
    ///
    /// # Errors
    /// What FFmpeg says.
    pub fn receive(&mut self) -> Result<Option<(Bytes, MediaTime)>> {
        match self.codec.receive_packet(&mut self.packet)? {
            Output::Nothing => Ok(None),
            Output::Ready => {
                let pts = self.time_base().media_time(self.packet.pts().0);
                let made = (Bytes::copy_from_slice(self.packet.data()), pts);
                self.packet.clear();
                Ok(Some(made))
            }
        }
    }
}

fn fill_planes(frame: &mut Frame, samples: &[i16], channels: usize, count: usize) -> Result<()> {
    for channel in 0..channels {
        let plane: &mut [f32] = plane(frame, channel, count)?;
        for (to, from) in plane.iter_mut().zip(samples.iter().skip(channel).step_by(channels)) {
            *to = f32::from(*from) / 32_768.0;
        }
    }
    Ok(())
}

/// A number that a plane of samples consists of.
trait Sample {}
impl Sample for i16 {}
impl Sample for f32 {}

/// The first `count` numbers of a plane of a frame that is nobody else's, of the type that its format has.
fn plane<T: Sample>(frame: &mut Frame, index: usize, count: usize) -> Result<&mut [T]> {
    let raw = frame.get_mut();
    let start = raw.data.get(index).copied().unwrap_or(std::ptr::null_mut()).cast::<T>();
    let room = usize::try_from(raw.linesize[0]).unwrap_or(0);
    if start.is_null() || count * size_of::<T>() > room {
        return Err(Error::Unsupported(format!("{count} samples where there is room for {room} bytes")));
    }
    // SAFETY: the plane is `room` bytes long, aligned for vectors, belongs to the frame, and nobody else refers to it.
    Ok(unsafe { std::slice::from_raw_parts_mut(start, count) })
}
