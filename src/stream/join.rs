//! How consumers join a stream: where they start, and what comes along.

use std::sync::Arc;
use std::time::Duration;

use super::choice::{Wanted, sized};
use super::consumer::RenditionUse;
use super::feed::Feed;
use super::packets::{PacketStream, Pictures, SoundReader, SoundStream};
use super::pixels::Command;
use super::rendition::{RenditionKey, Sink};
use super::sound::{Making, SoundRequest};
use super::{HISTORY, PictureStream, Stream};
use crate::error::{Error, ErrorKind, Result};
use crate::media::{FrameRate, MediaTime, RenditionRequest, SoundSpec};
use crate::output::Sound;
use crate::plan::Policy;
use crate::ring::{Read, Ring, Start};

/// How far behind the newest picture made sound may be when a consumer starts (0.3 s), and how long it waits for that:
/// readers of a burst of pictures without sound take them for silent.
const SOUND_LAG: i64 = MediaTime::HZ * 3 / 10;
const SOUND_PATIENCE: Duration = Duration::from_secs(2);

impl Stream {
    /// The source's packets, from the newest keyframe on, with the sound that is asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the source stays away for `limits.hold`; [`ErrorKind::Overloaded`] if all places for
    /// consumers are taken.
    pub async fn copy(&self, sound: Option<SoundRequest>) -> Result<PacketStream> {
        self.copy_from(sound, |_| Start::NewestKeyframe).await
    }

    /// The same from some seconds ago on, for readers that start slowly and catch up, or that choose where they start.
    ///
    /// # Errors
    /// As [`Self::copy`].
    pub async fn copy_with_history(&self, sound: Option<SoundRequest>) -> Result<PacketStream> {
        let start = |ring: &Ring| ring.span().map(|(_, newest)| Start::KeyframeBefore(newest.offset(-HISTORY)));
        self.copy_from(sound, |ring| start(ring).unwrap_or(Start::NewestKeyframe)).await
    }

    async fn copy_from(&self, sound: Option<SoundRequest>, start: impl FnOnce(&Ring) -> Start) -> Result<PacketStream> {
        let ticket = self.ticket("packets")?;
        let feed = &self.main;
        feed.wait_live().await?;
        let sound = prepare(feed, sound).await;
        let mut reader = feed.ring.reader(start(&feed.ring));
        let (first, video) = feed.first_packet(&mut reader).await?;
        let with_sound = matches!(sound, Some((Sound::Own(_), _)));
        let audio = sound.as_ref().map(|(sound, _)| sound.config());
        let sound = sound.and_then(|(_, making)| making).map(|making| made_sound(making, &first));
        let pictures = Pictures { next: Some(first), reader, with_sound };
        Ok(PacketStream { video, audio, pictures, sound, absence: feed.absence(), ticket, rendition: None })
    }

    /// Sound alone, as bare samples, from now on.
    ///
    /// # Errors
    /// As [`Self::copy`]; [`ErrorKind::Impossible`] if the source has no sound, or none like this can be made.
    pub async fn sound(&self, spec: SoundSpec) -> Result<SoundStream> {
        if !spec.is_possible() {
            return Err(Error::new(ErrorKind::Impossible, format!("a sound of {spec} is not possible")));
        }
        let ticket = self.ticket("sound")?;
        let feed = &self.main;
        feed.wait_live().await?;
        if feed.audio().is_none() {
            let message = format!(
                "stream '{}' has no sound: its source offers none in AAC, G.711 or Opus. Switch the camera's microphone \
                 on, or set its codec to one of these",
                self.id
            );
            return Err(Error::new(ErrorKind::Impossible, message));
        }
        let making = feed.sounds.join(spec);
        let reader = making.reader(Start::NewestKeyframe);
        Ok(SoundStream { spec, reader, absence: feed.absence(), ticket, _making: making })
    }

    /// An encoded rendition's packets, with the sound that is asked for.
    ///
    /// # Errors
    /// As [`Self::copy`]; [`ErrorKind::Impossible`] if the source or the policy rules it out.
    pub async fn encoded(
        &self,
        request: RenditionRequest,
        policy: Policy,
        sound: Option<SoundRequest>,
    ) -> Result<PacketStream> {
        let ticket = self.ticket("packets")?;
        let chosen = self.choose_with(Wanted::from(&request), sound).await?;
        let (feed, request) = (chosen.feed, sized(request, chosen.size));
        let sound = prepare(feed, sound).await;
        let used = feed.subscribe(RenditionKey { request, policy }, chosen.demand).await?;
        let Sink::Packets(ring) = &used.rendition().sink else {
            return Err(Error::internal("a rendition of pictures was asked for packets"));
        };
        // An IDR made now shows the present; the ring's last one may be a whole GOP old.
        let start = if used.rendition().may_force_keyframe() {
            feed.pixels.send(Command::ForceKeyframe(used.id()))?;
            Start::NextKeyframe
        } else {
            Start::NewestKeyframe
        };
        let mut reader = ring.reader(start);
        let (first, video) = tokio::select! {
            biased;
            () = used.rendition().ended() => return Err(failure_of(&used)),
            first = feed.first_packet(&mut reader) => first?,
        };
        let audio = sound.as_ref().map(|(sound, _)| sound.config());
        let sound = sound.map(|(_, making)| match making {
            Some(making) => made_sound(making, &first),
            None => {
                let from = start_of(&first);
                SoundReader::new(feed.ring.reader(Start::KeyframeBefore(from)), from, None)
            }
        });
        let pictures = Pictures { next: Some(first), reader, with_sound: false };
        Ok(PacketStream { video, audio, pictures, sound, absence: feed.absence(), ticket, rendition: Some(used) })
    }

    /// A raw or JPEG rendition's pictures.
    ///
    /// # Errors
    /// As [`Self::encoded`].
    pub async fn pictures(&self, request: RenditionRequest, policy: Policy) -> Result<PictureStream> {
        let ticket = self.ticket("pictures")?;
        let chosen = self.choose(Wanted::from(&request)).await?;
        let (feed, request) = (chosen.feed, sized(request, chosen.size));
        let used = feed.subscribe(RenditionKey { request, policy }, chosen.demand).await?;
        let Sink::Pictures(fanout) = &used.rendition().sink else {
            return Err(Error::internal("a rendition of packets was asked for pictures"));
        };
        let mut pictures = fanout.subscribe();
        let first = tokio::select! {
            biased;
            () = used.rendition().ended() => return Err(failure_of(&used)),
            first = tokio::time::timeout(self.context.limits.hold, pictures.next()) => first,
        };
        let first = first.ok().flatten().ok_or_else(|| feed.nothing_came())?;
        let source = feed.ring.video_config().ok_or_else(|| feed.nothing_came())?;
        let spec = request.resolve(&source)?;
        let fps = request.cadence.nominal(source.frame_rate.unwrap_or(FrameRate { num: 25, den: 1 }));
        let (absence, first) = (feed.absence(), Some(first));
        let memory = self.context.memory.clone();
        Ok(PictureStream { spec, fps, first, pictures, absence, ticket, rendition: used, memory })
    }
}

/// What goes along as sound with pictures of `feed`, and its making, which has caught up with the source where that is
/// quick.
async fn prepare(feed: &Feed, sound: Option<SoundRequest>) -> Option<(Sound, Option<Arc<Making>>)> {
    let SoundRequest { audio, carrier } = sound?;
    let sound = carrier.sound(audio, &feed.audio()?)?;
    let Sound::Made(spec) = sound else { return Some((sound, None)) };
    let making = feed.sounds.join(spec);
    if let Some((_, newest)) = feed.ring.span() {
        making.reached(newest.offset(-SOUND_LAG), SOUND_PATIENCE).await;
    }
    Some((sound, Some(making)))
}

fn made_sound(making: Arc<Making>, first: &Read) -> SoundReader {
    let from = start_of(first);
    SoundReader::new(making.reader(Start::KeyframeBefore(from)), from, Some(making))
}

fn failure_of(used: &RenditionUse) -> Error {
    used.rendition().failure().unwrap_or_else(|| Error::new(ErrorKind::Cancelled, "the stream is ending"))
}

/// When the first packet of a reader is decoded.
fn start_of(first: &Read) -> MediaTime {
    match first {
        Read::Packet(packet) => packet.header.dts,
        Read::Skipped(_) => MediaTime::default(),
    }
}
