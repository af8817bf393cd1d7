//! Consumers of packets: pictures with the sound that was asked for, or sound alone.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::consumer::{Absence, RenditionUse, Ticket};
use super::sound::Making;
use crate::media::{AudioConfig, MediaTime, Packet, SoundSpec, Track, VideoConfig};
use crate::ring::{Read, Reader};

/// Packets that go on until the stream ends.
pub trait Packets: Send + 'static {
    /// The next packet or a gap; `None` when the stream has ended or the camera stayed away too long. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<Read>> + Send;

    /// Counts this consumer as closed because it took nothing.
    fn note_stalled(&self);
}

/// A consumer of pictures, with sound where it was asked for; counted while it lives.
#[derive(Debug)]
pub struct PacketStream {
    /// What the first video packet is to be read with.
    pub video: Arc<VideoConfig>,
    /// What the sound that comes along is to be read with.
    pub audio: Option<Arc<AudioConfig>>,
    pub(super) pictures: Pictures,
    pub(super) sound: Option<SoundReader>,
    pub(super) absence: Absence,
    pub(super) ticket: Ticket,
    pub(super) rendition: Option<RenditionUse>,
}

/// The ring that has the pictures.
#[derive(Debug)]
pub struct Pictures {
    /// Read already.
    pub next: Option<Read>,
    /// What follows.
    pub reader: Reader,
    /// Whether the sound beside the pictures is wanted too.
    pub with_sound: bool,
}

/// Sound from another ring than the pictures.
#[derive(Debug)]
pub struct SoundReader {
    next: Option<Read>,
    reader: Reader,
    from: MediaTime,
    /// Keeps it being made.
    _making: Option<Arc<Making>>,
}

/// A consumer of sound alone.
#[derive(Debug)]
pub struct SoundStream {
    /// What it is.
    pub spec: SoundSpec,
    pub(super) reader: Reader,
    pub(super) absence: Absence,
    pub(super) ticket: Ticket,
    pub(super) _making: Arc<Making>,
}

impl Pictures {
    fn fill(&mut self) {
        while self.next.is_none()
            && let Some(read) = self.reader.try_next()
        {
            self.put(read);
        }
    }

    fn put(&mut self, read: Read) {
        let is_wanted =
            self.with_sound || !matches!(&read, Read::Packet(packet) if packet.header.track == Track::Audio);
        self.next = is_wanted.then_some(read);
    }
}

impl SoundReader {
    /// What `reader` has of sound, from the time `from` on.
    pub fn new(reader: Reader, from: MediaTime, making: Option<Arc<Making>>) -> Self {
        Self { next: None, reader, from, _making: making }
    }

    fn fill(&mut self) {
        while self.next.is_none()
            && let Some(read) = self.reader.try_next()
        {
            self.put(read);
        }
    }

    fn put(&mut self, read: Read) {
        let is_due = |packet: &Packet| packet.header.track == Track::Audio && packet.header.pts >= self.from;
        self.next = match read {
            Read::Packet(packet) if !is_due(&packet) => None,
            read => Some(read),
        };
    }
}

/// What the next read is to be taken from.
enum Turn {
    Pictures,
    Sound,
    Nobody,
}

impl PacketStream {
    /// Goes on however long the source stays away; ends only with the stream.
    pub fn patient(self) -> Self {
        Self { absence: self.absence.patient(), ..self }
    }

    /// Both by their times where both are there; neither waits for the other.
    fn turn(&mut self) -> Turn {
        self.pictures.fill();
        let sound = self.sound.as_mut().and_then(|sound| {
            sound.fill();
            sound.next.as_ref()
        });
        match (&self.pictures.next, sound) {
            (Some(Read::Packet(picture)), Some(Read::Packet(sound))) if sound.header.dts < picture.header.dts => {
                Turn::Sound
            }
            (Some(_), _) => Turn::Pictures,
            (None, Some(_)) => Turn::Sound,
            (None, None) => Turn::Nobody,
        }
    }

    /// Waits for either; `None` when the pictures have ended.
    async fn wait(&mut self) -> Option<()> {
        let Self { pictures, sound, absence, .. } = self;
        let more_sound = async {
            match sound {
                Some(sound) => sound.reader.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            read = pictures.reader.next() => pictures.put(read?),
            read = more_sound => match (read, sound.as_mut()) {
                (Some(read), Some(sound)) => sound.put(read),
                // Pictures go on without.
                _ => *sound = None,
            },
            () = absence.too_long() => return None,
        }
        Some(())
    }

    fn count_skipped(&self, count: u64) {
        self.ticket.count_dropped(count);
        if let Some(used) = &self.rendition {
            used.rendition().dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Packets for PacketStream {
    async fn next(&mut self) -> Option<Read> {
        loop {
            let next = match self.turn() {
                Turn::Pictures => self.pictures.next.take(),
                Turn::Sound => self.sound.as_mut().and_then(|sound| sound.next.take()),
                Turn::Nobody => {
                    self.wait().await?;
                    continue;
                }
            };
            if let Some(Read::Skipped(count)) = next {
                self.count_skipped(count);
            }
            return next;
        }
    }

    fn note_stalled(&self) {
        self.ticket.note_stalled();
    }
}

impl Packets for SoundStream {
    async fn next(&mut self) -> Option<Read> {
        let read = tokio::select! {
            biased;
            read = self.reader.next() => read?,
            () = self.absence.too_long() => return None,
        };
        if let Read::Skipped(count) = read {
            self.ticket.count_dropped(count);
        }
        Some(read)
    }

    fn note_stalled(&self) {
        self.ticket.note_stalled();
    }
}
