//! Packets into a container, which begins with the first picture.

use camshaft::media::MediaTime;

use super::sound::Sound;
use super::wire::Output;
use crate::av::{Error, MuxFormat, Muxer, Packet, Parameters, TimeBase};

/// The longest fragment of MP4: what a reader waits for.
const FRAGMENT: i64 = MediaTime::HZ;

/// Writes video, and sound if there is any.
pub struct Writer {
    muxer: Muxer,
    format: MuxFormat,
    sound: Option<SoundStream>,
    video: Option<usize>,
    /// When the fragment began that is being written.
    fragment: Option<MediaTime>,
}

struct SoundStream {
    parameters: Parameters,
    base: TimeBase,
    index: Option<usize>,
    /// What came before the first picture.
    waiting: Vec<Packet>,
}

impl Writer {
    /// Nothing is written yet.
    pub fn new(output: Output, format: MuxFormat, sound: &Option<Sound>) -> Result<Self, Error> {
        let stream = |sound: &Sound| -> Result<SoundStream, Error> {
            let (parameters, base) = sound.made()?;
            Ok(SoundStream { parameters, base, index: None, waiting: Vec::new() })
        };
        let sound = sound.as_ref().map(stream).transpose()?;
        Ok(Self { muxer: Muxer::new(output, format)?, format, sound, video: None, fragment: None })
    }

    /// Whether parameter sets stand beside the packets.
    pub fn wants_global_headers(&self) -> bool {
        self.format.wants_global_headers()
    }

    /// Whether the container has begun.
    pub fn has_started(&self) -> bool {
        self.video.is_some()
    }

    /// Begins, with video that is to be read with `parameters` and shown by `matrix`.
    pub fn start(&mut self, parameters: &Parameters, matrix: Option<&[i32; 9]>) -> Result<(), Error> {
        if !self.format.takes(parameters) {
            let codec = parameters.codec_name();
            let message = format!("{codec} has no place in this container: ask for another format, or for codec=h264");
            return Err(Error::Unsupported(message));
        }
        self.video = Some(self.muxer.add(parameters, matrix)?);
        if let Some(sound) = &mut self.sound {
            sound.index = Some(self.muxer.add(&sound.parameters, None)?);
        }
        self.muxer.start()?;
        if let Some(SoundStream { index: Some(index), base, waiting, .. }) = &mut self.sound {
            for packet in &mut std::mem::take(waiting) {
                self.muxer.write(packet, *index, *base)?;
            }
        }
        Ok(())
    }

    /// Writes a packet of video, whose times are in `base`. The first picture goes out at once.
    pub fn video(&mut self, packet: &mut Packet, base: TimeBase) -> Result<(), Error> {
        let Some(index) = self.video else { return Ok(()) };
        let (pts, dts) = packet.times();
        let time = base.media_time(dts.or(pts).unwrap_or_default());
        let is_first = self.fragment.is_none();
        let is_due = self.fragment.is_some_and(|began| packet.is_keyframe() || time.since(began) >= FRAGMENT);
        if is_due {
            self.muxer.flush()?;
        }
        if is_due || is_first {
            self.fragment = Some(time);
        }
        self.muxer.write(packet, index, base)?;
        if is_first {
            self.muxer.flush()?;
        }
        Ok(())
    }

    /// Writes a packet of sound.
    pub fn sound(&mut self, packet: &mut Packet) -> Result<(), Error> {
        let Some(sound) = &mut self.sound else { return Ok(()) };
        match sound.index {
            Some(index) => self.muxer.write(packet, index, sound.base),
            None => {
                sound.waiting.push(packet.take()?);
                Ok(())
            }
        }
    }

    /// Writes what is left.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.muxer.finish()
    }
}
