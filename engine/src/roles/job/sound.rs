//! What becomes of the sound.

use camshaft::link::FailureKind;
use camshaft::media::{AudioCodec, AudioRequest, JobFormat, JobSpec, MediaTime, SoundSpec};

use super::super::End;
use super::super::adts;
use super::super::sound::grid::Grid;
use super::source::Track;
use super::writer::Writer;
use crate::av::{Error, MuxFormat, Packet, Parameters, Resampler, SoundDecoder, SoundEncoder, TimeBase};

/// Samples of each channel in a frame of AAC.
const AAC_SAMPLES: usize = 1024;

/// The sound of one output.
pub struct Sound {
    index: usize,
    way: Way,
}

enum Way {
    Copy(Copying),
    Aac(Box<Anew>),
}

/// Which part of the input's sound goes out.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// What is 0 in the output.
    pub zero: MediaTime,
    /// How much; `None`: all.
    pub most: Option<MediaTime>,
}

impl Span {
    /// Whether sound at `time` of the output is in it.
    fn has(&self, time: MediaTime) -> bool {
        time >= MediaTime(0) && self.most.is_none_or(|most| time < most)
    }
}

impl Sound {
    /// What `spec` asks for of `track`; nothing if there is none.
    pub fn choose(spec: &JobSpec, track: Option<Track>) -> Result<Option<Self>, End> {
        let format = match spec.format {
            JobFormat::Mp4 => MuxFormat::Mp4,
            JobFormat::Ts => MuxFormat::Ts,
            JobFormat::Mkv => MuxFormat::Mkv,
            JobFormat::Mjpeg | JobFormat::Y4m | JobFormat::Raw(_) | JobFormat::Jpg => return Ok(None),
        };
        let Some(track) = track.filter(|_| spec.audio != AudioRequest::None) else { return Ok(None) };
        let index = track.index;
        if spec.audio == AudioRequest::Copy && format.takes(&track.parameters) {
            return Ok(Some(Self { index, way: Way::Copy(Copying { track, next: None }) }));
        }
        let anew = Anew::open(&track).map_err(|error| {
            let message = format!("the sound cannot be decoded, so leave it out with audio=none: {error}");
            End::failed(FailureKind::Input, message)
        })?;
        Ok(Some(Self { index, way: Way::Aac(Box::new(anew)) }))
    }

    /// What its packets are to be read with, and what their times are counted in.
    pub fn made(&self) -> Result<(Parameters, TimeBase), Error> {
        match &self.way {
            Way::Copy(copying) => Ok((copying.track.parameters.duplicate()?, copying.track.base)),
            Way::Aac(anew) => Ok((anew.encoder.parameters()?, TimeBase::MEDIA)),
        }
    }

    /// Writes what becomes of `packet`, if it is one of the sound, as far as it is within `span`.
    pub fn feed(&mut self, packet: &mut Packet, span: Span, writer: &mut Writer) -> Result<(), Error> {
        match &mut self.way {
            _ if packet.stream() != self.index => Ok(()),
            Way::Copy(copying) => copying.feed(packet, span, writer),
            Way::Aac(anew) => anew.feed(packet, span, writer),
        }
    }

    /// Writes what is held back.
    pub fn finish(&mut self, span: Span, writer: &mut Writer) -> Result<(), Error> {
        match &mut self.way {
            Way::Copy(_) => Ok(()),
            Way::Aac(anew) => anew.finish(span, writer),
        }
    }
}

/// Packets as they are.
struct Copying {
    track: Track,
    /// The time that follows the last packet: only some packets of a transport stream have one.
    next: Option<i64>,
}

impl Copying {
    fn feed(&mut self, packet: &mut Packet, span: Span, writer: &mut Writer) -> Result<(), Error> {
        let base = self.track.base;
        let (pts, dts) = packet.times();
        let Some(time) = pts.or(dts).map(|time| time - base.of_media(span.zero)).or(self.next) else { return Ok(()) };
        self.next = Some(time + packet.duration());
        if !span.has(base.media_time(time)) {
            return Ok(());
        }
        if self.track.parameters.is_aac() && adts::split(packet.data()).is_some() {
            return self.take_apart(packet.data(), time, writer);
        }
        packet.set_times(Some(time), Some(time));
        writer.sound(packet)
    }

    /// A transport stream packs several frames together, each behind a header that says what stands beside the track
    /// already.
    fn take_apart(&mut self, mut rest: &[u8], mut time: i64, writer: &mut Writer) -> Result<(), Error> {
        let rate = self.track.parameters.sample_rate();
        let length = self.track.base.of_media(MediaTime::from_clock(AAC_SAMPLES as i64, rate.max(1)));
        while let Some((frame, tail)) = adts::split(rest) {
            let mut single = Packet::empty()?;
            single.renew(frame.len())?.copy_from_slice(frame);
            single.set_times(Some(time), Some(time));
            single.set_duration(length);
            writer.sound(&mut single)?;
            (rest, time) = (tail, time + length);
        }
        self.next = Some(time);
        Ok(())
    }
}

/// Decoded, and encoded as AAC.
struct Anew {
    base: TimeBase,
    decoder: SoundDecoder,
    resampler: Resampler,
    samples: Vec<i16>,
    grid: Grid,
    encoder: SoundEncoder,
    /// How long a packet lasts, in ticks.
    length: i64,
    sample_rate: u32,
    channels: u16,
    /// The time that follows the last samples: only the first of several frames in a packet have one.
    next: MediaTime,
}

impl Anew {
    fn open(track: &Track) -> Result<Self, Error> {
        let SoundSpec { sample_rate, channels, .. } =
            SoundSpec::aac_of(track.parameters.sample_rate(), track.parameters.channels());
        let mut encoder = SoundEncoder::open(AudioCodec::Aac, sample_rate, channels)?;
        let block = encoder.block().unwrap_or(AAC_SAMPLES);
        Ok(Self {
            base: track.base,
            decoder: SoundDecoder::of_file(&track.parameters)?,
            resampler: Resampler::new(sample_rate, channels),
            samples: Vec::new(),
            grid: Grid::new(sample_rate, channels, block),
            encoder,
            length: MediaTime::from_clock(block as i64, sample_rate).0,
            sample_rate,
            channels,
            next: MediaTime(0),
        })
    }

    /// Damaged packets are left out.
    fn feed(&mut self, packet: &mut Packet, span: Span, writer: &mut Writer) -> Result<(), Error> {
        packet.rescale(self.base, TimeBase::MEDIA);
        let _ = self.decoder.send_packet(packet)?;
        self.decode(span)?;
        self.encode(writer)
    }

    fn finish(&mut self, span: Span, writer: &mut Writer) -> Result<(), Error> {
        let _ = self.decoder.end()?;
        self.decode(span)?;
        self.encode(writer)?;
        if let Some((time, block)) = self.grid.finish() {
            self.encoder.encode(&block, time)?;
        }
        self.encoder.end()?;
        self.write(writer)
    }

    fn decode(&mut self, span: Span) -> Result<(), Error> {
        while let Ok(Some(frame)) = self.decoder.receive()? {
            let start = self.resampler.convert(frame, &mut self.samples)?;
            let start = start.unwrap_or(self.next);
            let count = self.samples.len() / usize::from(self.channels);
            self.next = start.offset(MediaTime::from_clock(count as i64, self.sample_rate).0);
            let time = start.offset(-span.zero.0);
            if span.has(time) {
                self.grid.push(time, &self.samples);
            }
        }
        Ok(())
    }

    fn encode(&mut self, writer: &mut Writer) -> Result<(), Error> {
        while let Some((time, block)) = self.grid.pop() {
            self.encoder.encode(&block, time)?;
            self.write(writer)?;
        }
        Ok(())
    }

    fn write(&mut self, writer: &mut Writer) -> Result<(), Error> {
        while let Some((data, pts)) = self.encoder.receive()? {
            // What the encoder makes of the silence before the beginning.
            if pts < MediaTime(0) {
                continue;
            }
            let mut packet = Packet::empty()?;
            packet.renew(data.len())?.copy_from_slice(&data);
            packet.set_times(Some(pts.0), Some(pts.0));
            packet.set_duration(self.length);
            writer.sound(&mut packet)?;
        }
        Ok(())
    }
}
