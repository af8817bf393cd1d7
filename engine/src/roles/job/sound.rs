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
    /// With the time that follows the last packet: only some packets of a transport stream have one.
    Copy {
        track: Track,
        next: Option<i64>,
    },
    Aac {
        decoder: SoundDecoder,
        encoder: Box<SoundEncoder>,
    },
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
            return Ok(Some(Self { index, way: Way::Copy { track, next: None } }));
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
            Way::Copy { track, .. } => Ok((track.parameters.duplicate()?, track.base)),
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
            (Way::Copy { track, next }, Some(packet)) => {
                let zero = track.base.of_media(zero);
                let (pts, dts) = packet.times();
                let Some(time) = pts.or(dts).map(|time| time - zero).or(*next) else { return Ok(()) };
                *next = Some(time + packet.duration());
                if !is_asked(track.base.media_time(time)) {
                    return Ok(());
                }
                packet.set_times(Some(time), Some(time));
                if !track.parameters.is_aac() || adts_frame(packet.data()).is_none() {
                    return writer.sound(packet);
                }
                // A transport stream packs several frames together, each behind a header that says what stands beside
                // the track already.
                let ticks = track.base.of_media(MediaTime(
                    AAC_SAMPLES * MediaTime::HZ / i64::from(track.parameters.sample_rate().max(1)),
                ));
                let mut rest = packet.data();
                let mut time = time;
                while let Some((frame, tail)) = adts_frame(rest) {
                    let mut single = Packet::empty()?;
                    single.renew(frame.len())?.copy_from_slice(frame);
                    single.set_times(Some(time), Some(time));
                    single.set_duration(ticks);
                    writer.sound(&mut single)?;
                    (rest, time) = (tail, time + ticks);
                }
                *next = Some(time);
                Ok(())
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

/// Samples of each channel in a frame of AAC.
const AAC_SAMPLES: i64 = 1024;

/// The first frame of AAC without its header (ISO/IEC 13818-7 §6.2), and what follows it.
fn adts_frame(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0xff, second, _, fourth, fifth, sixth, ..] = *packet else { return None };
    if second & 0xf6 != 0xf0 {
        return None;
    }
    let length = usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth) >> 5;
    let header = if second & 1 == 0 { 9 } else { 7 };
    let (frame, tail) = packet.split_at_checked(length)?;
    Some((frame.get(header..)?, tail))
}
