//! What becomes of the sound.

use camshaft::link::FailureKind;
use camshaft::media::{JobAudio, JobFormat, JobSpec, MediaTime};

use super::super::End;
use super::source::Track;
use super::writer::Writer;
use crate::av::{Error, MuxFormat, Packet, Parameters, SoundDecoder, SoundEncoder, TimeBase};

/// The sound of one output.
pub struct Sound {
    index: usize,
    way: Way,
}

enum Way {
    Copy { track: Track },
    Aac { decoder: SoundDecoder, encoder: Box<SoundEncoder> },
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
        let Some(track) = track.filter(|_| spec.audio != JobAudio::None) else { return Ok(None) };
        let index = track.index;
        if spec.audio == JobAudio::Copy && format.takes(&track.parameters) {
            return Ok(Some(Self { index, way: Way::Copy { track } }));
        }
        let refuse = |error: Error| {
            let message = format!("the sound cannot be decoded, so leave it out with audio=none: {error}");
            End::failed(FailureKind::Input, message)
        };
        let example = SoundDecoder::example(&track.parameters, track.base, &track.first).map_err(refuse)?;
        let encoder = SoundEncoder::open(&example, format.wants_global_headers()).map_err(refuse)?;
        let decoder = SoundDecoder::open(&track.parameters, track.base).map_err(refuse)?;
        Ok(Some(Self { index, way: Way::Aac { decoder, encoder: Box::new(encoder) } }))
    }

    /// What its packets are to be read with, and what their times are counted in.
    pub fn made(&self) -> Result<(Parameters, TimeBase), Error> {
        match &self.way {
            Way::Copy { track } => Ok((track.parameters.duplicate()?, track.base)),
            Way::Aac { encoder, .. } => Ok((encoder.parameters()?, encoder.time_base())),
        }
    }

    /// Writes what becomes of `packet`, if it is one of the sound, or of the end: what comes before `zero` or lasts beyond
    /// `most` is left out.
    pub fn feed(
        &mut self,
        packet: Option<&mut Packet>,
        zero: MediaTime,
        most: Option<MediaTime>,
        writer: &mut Writer,
    ) -> Result<(), Error> {
        if packet.as_ref().is_some_and(|packet| packet.stream() != self.index) {
            return Ok(());
        }
        let is_asked = |time: MediaTime| time >= MediaTime(0) && most.is_none_or(|most| time < most);
        match (&mut self.way, packet) {
            (Way::Copy { track }, Some(packet)) => {
                let zero = track.base.of_media(zero);
                let (pts, dts) = packet.times();
                let Some(time) = pts.or(dts).map(|time| time - zero) else { return Ok(()) };
                if !is_asked(track.base.media_time(time)) {
                    return Ok(());
                }
                packet.set_times(Some(time), Some(time));
                // What a header says before each packet of a transport stream stands beside the track already.
                packet.skip(if track.parameters.is_aac() { adts_header(packet.data()) } else { 0 });
                writer.sound(packet)
            }
            (Way::Copy { .. }, None) => Ok(()),
            (Way::Aac { decoder, encoder }, packet) => {
                let ends = packet.is_none();
                decoder.send(packet.as_deref())?;
                while let Some((frame, time)) = decoder.receive()? {
                    let time = time.map_or(MediaTime(0), |time| time.offset(-zero.0));
                    if is_asked(time) {
                        encoder.encode(Some((frame, time)), |packet| writer.sound(packet))?;
                    }
                }
                if ends { encoder.encode(None, |packet| writer.sound(packet)) } else { Ok(()) }
            }
        }
    }
}

/// Bytes of the header before a frame of AAC (ISO/IEC 13818-7 §6.2), if there is one: 7, or 9 with a checksum.
fn adts_header(packet: &[u8]) -> usize {
    match packet {
        [0xff, second, ..] if second & 0xf6 == 0xf0 => 7 + usize::from(second & 1 == 0) * 2,
        _ => 0,
    }
}
