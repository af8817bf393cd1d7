//! The bare video stream: Annex B of ITU-T H.264 and H.265.

use bytes::{Bytes, BytesMut};

use super::{Flow, PacketMuxer, access_unit};
use crate::error::Result;
use crate::media::{AudioConfig, Packet, VideoCodec, VideoConfig, nal};

/// NAL units behind start codes, parameter sets before each keyframe. Carries no audio and no times.
#[derive(Debug)]
pub struct AnnexB {
    codec: VideoCodec,
    started: bool,
}

impl AnnexB {
    /// A byte stream of the codec of `video`.
    pub fn new(video: &VideoConfig) -> Self {
        Self { codec: video.codec, started: false }
    }

    /// Whether this output carries `audio`: it carries none.
    pub fn carries_audio(_audio: &AudioConfig) -> bool {
        false
    }
}

impl PacketMuxer for AnnexB {
    fn content_type(&self) -> String {
        match self.codec {
            VideoCodec::Hevc => "video/h265".to_owned(),
            codec => format!("video/{}", codec.name()),
        }
    }

    fn header(&self) -> Bytes {
        Bytes::new()
    }

    fn packet(&mut self, packet: &Packet, out: &mut BytesMut) -> Result<Flow> {
        let Some(config) = packet.video_config() else { return Ok(Flow::Continue) };
        if config.codec != self.codec {
            return Ok(Flow::End);
        }
        self.started |= packet.is_random_access();
        if self.started {
            let sets = access_unit::parameter_sets_before(packet, config);
            out.reserve(packet.data.len() + 256);
            nal::write_annexb(out, sets.iter().map(|set| &set[..]));
            nal::write_annexb(out, nal::units(&packet.data));
        }
        Ok(Flow::Continue)
    }
}
