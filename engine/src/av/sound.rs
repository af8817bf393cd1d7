//! Sound of any kind to AAC.

use camshaft::media::MediaTime;
use ffmpeg_next::ffi::{self, AV_CODEC_FLAG_GLOBAL_HEADER, AVSampleFormat};
use std::ffi::CStr;

use super::codec::{Codec, Output};
use super::demux::{TimeBase, option};
use super::error::{Error, Result};
use super::frame::Frame;
use super::graph::Graph;
use super::packet::Packet;
use super::parameters::Parameters;

/// Bits a second of each channel.
const BITRATE: i64 = 64_000;
/// Samples of each channel in a frame of AAC.
const SAMPLES: u32 = 1024;
/// Rates that AAC and every player know; others become the second.
const RATES: [u32; 6] = [44_100, 48_000, 32_000, 24_000, 16_000, 8_000];

/// Packets to sound.
pub struct SoundDecoder {
    codec: Codec,
    base: TimeBase,
    frame: Frame,
}

impl SoundDecoder {
    /// A decoder of packets with times in `base`.
    pub fn open(parameters: &Parameters, base: TimeBase) -> Result<Self> {
        let id = parameters.codec_id().ok_or_else(|| Error::NoCodec(parameters.codec_name()))?;
        let mut codec = Codec::decoder(id, &parameters.codec_name())?;
        codec.set_parameters(parameters)?;
        let settings = codec.settings();
        settings.thread_count = 1;
        settings.pkt_timebase = base.raw();
        codec.open(&[])?;
        Ok(Self { codec, base, frame: Frame::empty()? })
    }

    /// The sound in `packet`, the first of a stream, by itself.
    pub fn example(parameters: &Parameters, base: TimeBase, packet: &[u8]) -> Result<Frame> {
        let mut decoder = Self::open(parameters, base)?;
        let mut own = Packet::empty()?;
        own.renew(packet.len())?.copy_from_slice(packet);
        decoder.send(Some(&own))?;
        decoder.send(None)?;
        match decoder.receive()? {
            Some(_) => Ok(decoder.frame),
            None => Err(Error::Unsupported(format!("no {} is in its first packet", parameters.codec_name()))),
        }
    }

    /// Samples a second and channels of the sound in `packet`.
    pub fn measure(parameters: &Parameters, base: TimeBase, packet: &[u8]) -> Result<(u32, u8)> {
        let frame = Self::example(parameters, base, packet)?;
        let (rate, channels) = (frame.get().sample_rate, frame.get().ch_layout.nb_channels);
        let whole = u32::try_from(rate).ok().zip(u8::try_from(channels).ok());
        whole.ok_or_else(|| Error::Unsupported(format!("sound of {channels} channels at {rate} Hz")))
    }

    /// Feeds one packet, or ends the stream; damaged ones are left out.
    pub fn send(&mut self, packet: Option<&Packet>) -> Result<()> {
        match self.codec.send_packet(packet) {
            Err(error) if error.is_out_of_memory() => Err(error),
            _ => Ok(()),
        }
    }

    /// The next piece of sound and its time, if one is ready.
    pub fn receive(&mut self) -> Result<Option<(&mut Frame, Option<MediaTime>)>> {
        match self.codec.receive_frame(&mut self.frame) {
            Ok(Output::Ready) => {
                let time = self.frame.best_time().map(|time| self.base.media_time(time));
                Ok(Some((&mut self.frame, time)))
            }
            Ok(Output::Nothing) => Ok(None),
            Err(error) if error.is_out_of_memory() => Err(error),
            Err(_) => Ok(None),
        }
    }
}

/// Sound to AAC.
pub struct SoundEncoder {
    graph: Graph,
    codec: Codec,
    rate: u32,
    /// Samples that have gone in, in the encoder's rate; `None` before the first.
    next: Option<i64>,
    chunk: Frame,
    packet: Packet,
}

impl SoundEncoder {
    /// An encoder for sound like `example`.
    pub fn open(example: &Frame, global_headers: bool) -> Result<Self> {
        let raw = example.get();
        let own_rate = u32::try_from(raw.sample_rate).unwrap_or(0);
        let rate = if RATES.contains(&own_rate) { own_rate } else { RATES[1] };
        let channels = raw.ch_layout.nb_channels.clamp(1, 2);
        let format = sample_format(example.format())?;
        let description = option(format!(
            "time_base=1/{own_rate}:sample_rate={own_rate}:sample_fmt={}:channel_layout={}",
            format.to_string_lossy(),
            format_args!("{}c", raw.ch_layout.nb_channels),
        ));
        let layout = if channels == 1 { "mono" } else { "stereo" };
        let steps = [
            (c"aresample", Some(option(rate.to_string()))),
            (c"aformat", Some(option(format!("sample_fmts=fltp:sample_rates={rate}:channel_layouts={layout}")))),
            (c"asetnsamples", Some(option(format!("n={SAMPLES}:p=0")))),
        ];
        let graph = Graph::of_sound(&description, &steps)?;
        let mut codec = Codec::encoder("aac")?;
        let settings = codec.settings();
        settings.sample_rate = rate as i32;
        settings.sample_fmt = AVSampleFormat::AV_SAMPLE_FMT_FLTP;
        settings.bit_rate = BITRATE * i64::from(channels);
        (settings.time_base.num, settings.time_base.den) = (1, rate as i32);
        settings.thread_count = 1;
        if global_headers {
            settings.flags |= AV_CODEC_FLAG_GLOBAL_HEADER as i32;
        }
        // SAFETY: the layout is a valid one, which the call replaces.
        unsafe { ffi::av_channel_layout_default(&mut settings.ch_layout, channels) };
        codec.open(&[])?;
        Ok(Self { graph, codec, rate, next: None, chunk: Frame::empty()?, packet: Packet::empty()? })
    }

    /// What its packets are to be read with.
    pub fn parameters(&self) -> Result<Parameters> {
        self.codec.parameters()
    }

    /// What the times of its packets are counted in.
    pub fn time_base(&self) -> TimeBase {
        TimeBase { num: 1, den: self.rate as i32 }
    }

    /// Feeds sound of time `pts`, or ends the stream; each packet that comes of it goes to `take`.
    pub fn encode(
        &mut self,
        sound: Option<(&mut Frame, MediaTime)>,
        mut take: impl FnMut(&mut Packet) -> Result<()>,
    ) -> Result<()> {
        let ends = sound.is_none();
        if let Some((_, pts)) = &sound {
            self.next.get_or_insert(self.time_base().of_media(*pts));
        }
        self.graph.send(sound.map(|(frame, _)| frame))?;
        while self.graph.receive(&mut self.chunk)? == Output::Ready {
            let next = self.next.get_or_insert(0);
            self.chunk.get_mut().pts = *next;
            *next += i64::from(self.chunk.get().nb_samples);
            self.codec.send_frame(Some(&self.chunk))?;
            drain(&mut self.codec, &mut self.packet, &mut take)?;
        }
        if ends {
            self.codec.send_frame(None)?;
            drain(&mut self.codec, &mut self.packet, &mut take)?;
        }
        Ok(())
    }
}

fn drain(codec: &mut Codec, packet: &mut Packet, take: &mut impl FnMut(&mut Packet) -> Result<()>) -> Result<()> {
    while codec.receive_packet(packet)? == Output::Ready {
        take(packet)?;
        packet.clear();
    }
    Ok(())
}

fn sample_format(raw: i32) -> Result<&'static CStr> {
    use AVSampleFormat::{
        AV_SAMPLE_FMT_DBL, AV_SAMPLE_FMT_FLT, AV_SAMPLE_FMT_FLTP, AV_SAMPLE_FMT_S16, AV_SAMPLE_FMT_S16P,
        AV_SAMPLE_FMT_S32, AV_SAMPLE_FMT_S32P, AV_SAMPLE_FMT_U8, AV_SAMPLE_FMT_U8P,
    };
    let names = [
        (AV_SAMPLE_FMT_U8, c"u8"),
        (AV_SAMPLE_FMT_U8P, c"u8p"),
        (AV_SAMPLE_FMT_S16, c"s16"),
        (AV_SAMPLE_FMT_S16P, c"s16p"),
        (AV_SAMPLE_FMT_S32, c"s32"),
        (AV_SAMPLE_FMT_S32P, c"s32p"),
        (AV_SAMPLE_FMT_FLT, c"flt"),
        (AV_SAMPLE_FMT_FLTP, c"fltp"),
        (AV_SAMPLE_FMT_DBL, c"dbl"),
    ];
    let found = names.into_iter().find(|(format, _)| *format as i32 == raw);
    found.map(|(_, name)| name).ok_or_else(|| Error::Unsupported(format!("sound in FFmpeg's sample format {raw}")))
}
