//! JPEGs that came one by one, as packets of a stream: each a keyframe, at the time at which it arrived.

use bytes::Bytes;
use std::time::Instant;
use tokio::net::unix::OwnedWriteHalf;

use crate::ingest::failure::{End, Failure};
use crate::ingest::jpeg;
use crate::link::wire::send_async;
use crate::link::{FailureKind, FromWorker};
use crate::media::{Geometry, MAX_PIXELS, MediaTime, PacketHeader, Track, VideoCodec, VideoConfig, WallClock};

/// Sends JPEGs over the link.
pub(super) struct Pictures {
    began: Instant,
    last: Option<MediaTime>,
    config: Option<VideoConfig>,
    broken: u32,
}

/// Pictures in a row that are no JPEGs, after which the source is no camera.
const MAX_BROKEN: u32 = 25;

impl Pictures {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), last: None, config: None, broken: 0 }
    }

    /// Sends one picture; what is no JPEG is counted as lost.
    pub(super) async fn send(&mut self, picture: &Bytes, link: &mut OwnedWriteHalf) -> Result<(), End> {
        let Some(facts) = jpeg::facts(picture) else {
            self.broken += 1;
            if self.config.is_none() || self.broken > MAX_BROKEN {
                let message = "what the source sends is no JPEG: check its URL and input";
                return Err(Failure::new(FailureKind::Protocol, message).into());
            }
            return Ok(send_async(link, &FromWorker::Lost { packets: 1 }, &[]).await?);
        };
        self.broken = 0;
        if facts.size.pixels() > MAX_PIXELS || facts.size.pixels() == 0 {
            let message = format!("a picture of {} is past the limit of {MAX_PIXELS} pixels", facts.size);
            return Err(Failure::new(FailureKind::Limit, message).into());
        }
        self.announce(facts.size, facts.profile, link).await?;
        let pts = self.now();
        let wall = WallClock::now();
        let header = PacketHeader { track: Track::Video, pts, dts: pts, keyframe: true, wall };
        send_async(link, &FromWorker::Packet(header), &jpeg::with_jfif_numbers(picture)).await?;
        Ok(())
    }

    /// What it means that no more pictures follow.
    pub(super) fn ended(&self) -> Failure {
        match self.config {
            Some(_) => Failure::new(FailureKind::Ended, "the source ended the response"),
            None => Failure::new(
                FailureKind::Protocol,
                "the source ended the response before its first picture: is it no multipart/x-mixed-replace (input)?",
            ),
        }
    }

    async fn announce(&mut self, geometry: Geometry, profile: &str, link: &mut OwnedWriteHalf) -> Result<(), End> {
        let known = self.config.as_ref();
        if known.is_some_and(|known| known.geometry == geometry && known.profile == profile) {
            return Ok(());
        }
        let config = VideoConfig {
            generation: known.map_or(0, |known| known.generation.wrapping_add(1)),
            codec: VideoCodec::Mjpeg,
            parameter_sets: vec![],
            profile: profile.to_owned(),
            // As ISO/IEC 14496-1 registers JPEG.
            rfc6381: "mp4v.6C".to_owned(),
            geometry,
            frame_rate: None,
            bit_depth: 8,
            reorder_depth: 0,
        };
        send_async(link, &FromWorker::VideoConfig(config.clone()), &[]).await?;
        self.config = Some(config);
        Ok(())
    }

    /// The time, above the one before.
    fn now(&mut self) -> MediaTime {
        let now = MediaTime::from_micros(i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX));
        let now = self.last.map_or(now, |last| now.max(last.offset(1)));
        self.last = Some(now);
        now
    }
}
