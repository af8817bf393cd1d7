//! A container's audio track as camshaft has it: frames without headers, what they are read with beside them.

use bytes::{Buf, Bytes, BytesMut};
use camshaft::media::{AudioCodec, AudioConfig, MediaTime};

use super::super::adts::{HEADER_MIN, Header};
use crate::av::{TrackCodec, TrackFacts};

/// Samples of a frame of AAC (ISO/IEC 14496-3 §4.5.2.1).
const AAC_SAMPLES: i64 = 1024;
/// The longest ADTS frame: `frame_length` has 13 bits.
const LONGEST_ADTS: usize = 1 << 13;

/// An audio track.
pub(super) struct Audio {
    config: Option<AudioConfig>,
    framing: Framing,
    /// The beginning of an ADTS frame whose end is in the next packet.
    rest: BytesMut,
    /// When the next one is due.
    due: Option<MediaTime>,
}

/// A frame without a header, and when it is heard.
pub(super) struct Heard {
    pub(super) data: Bytes,
    pub(super) pts: MediaTime,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Bare,
    /// Each frame behind an ADTS header (ISO/IEC 13818-7 §6.2), which says what it is read with; packets hold several.
    Adts,
}

impl Audio {
    fn new(config: Option<AudioConfig>, framing: Framing) -> Self {
        Self { config, framing, rest: BytesMut::new(), due: None }
    }

    /// The track that `facts` describe, if it is audio that is carried and its parameters are possible.
    pub(super) fn of(facts: &TrackFacts) -> Option<Self> {
        let codec = match facts.codec {
            TrackCodec::Aac if facts.extradata.is_empty() => {
                return Some(Self::new(None, Framing::Adts));
            }
            TrackCodec::Aac => AudioCodec::Aac,
            TrackCodec::PcmMulaw => AudioCodec::PcmMulaw,
            TrackCodec::PcmAlaw => AudioCodec::PcmAlaw,
            TrackCodec::Opus => AudioCodec::Opus,
            _ => return None,
        };
        let (specific, rfc6381) = match codec {
            AudioCodec::Aac => {
                let object = facts.extradata.first()? >> 3;
                (Bytes::copy_from_slice(&facts.extradata), format!("mp4a.40.{object}"))
            }
            AudioCodec::Opus if facts.extradata.is_empty() => (opus_head(facts.channels), "opus".to_owned()),
            AudioCodec::Opus => (Bytes::copy_from_slice(&facts.extradata), "opus".to_owned()),
            _ => (Bytes::new(), String::new()),
        };
        let (sample_rate, channels) = (facts.sample_rate, facts.channels);
        let config = AudioConfig { codec, sample_rate, channels, specific, rfc6381 };
        is_possible(&config).then(|| Self::new(Some(config), Framing::Bare))
    }

    /// What the frames are read with, once that is known.
    pub(super) fn config(&self) -> Option<&AudioConfig> {
        self.config.as_ref()
    }

    /// The frames in a packet of this time; of several in a unit of the container, the first one alone has one.
    pub(super) fn take(&mut self, data: &Bytes, pts: Option<MediaTime>) -> Vec<Heard> {
        match self.framing {
            Framing::Bare if data.is_empty() => vec![],
            Framing::Bare => pts.map(|pts| Heard { data: data.clone(), pts }).into_iter().collect(),
            Framing::Adts => self.take_adts(data, pts),
        }
    }

    fn take_adts(&mut self, data: &[u8], pts: Option<MediaTime>) -> Vec<Heard> {
        let mut frames = Vec::new();
        let goes_on = self.due.filter(|_| !self.rest.is_empty());
        let Some(mut due) = goes_on.or(pts).or(self.due) else { return frames };
        self.rest.extend_from_slice(data);
        while self.rest.len() >= HEADER_MIN {
            let Some(header) = Header::read(&self.rest).filter(|header| is_possible(&header.config)) else {
                // Lost its place: the next frame begins where the next header does.
                self.rest.advance(1);
                continue;
            };
            if self.rest.len() < header.frame {
                break;
            }
            let data = self.rest.split_to(header.frame).freeze().slice(header.length..);
            let lasts = AAC_SAMPLES * MediaTime::HZ / i64::from(header.config.sample_rate);
            self.config = Some(header.config);
            frames.push(Heard { data, pts: due });
            due = due.offset(lasts);
        }
        self.due = Some(due);
        debug_assert!(self.rest.len() <= LONGEST_ADTS);
        frames
    }
}

/// The identification header (RFC 7845 §5.1) of a stream that came without: libopus's usual delay, no gain.
fn opus_head(channels: u16) -> Bytes {
    let channels = if channels == 1 { 1 } else { 2 };
    Bytes::from([&b"OpusHead\x01"[..], &[channels], b"\x38\x01\x80\xbb\0\0\0\0\0"].concat())
}

fn is_possible(config: &AudioConfig) -> bool {
    (7_350..=96_000).contains(&config.sample_rate) && (1..=8).contains(&config.channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adts_header_is_taken_off_and_understood() {
        // AAC LC, 44.1 kHz, 2 channels, 9 bytes in all, no CRC.
        let frame = Bytes::from_static(&[0xff, 0xf1, 0x50, 0x80, 0x01, 0x3f, 0xfc, 7, 8]);
        let facts =
            TrackFacts { codec: TrackCodec::Aac, extradata: vec![], sample_rate: 0, channels: 0, frame_rate: None };
        let mut audio = Audio::of(&facts).unwrap();
        let [first, second] = [&frame[..], &frame[..5]].map(Bytes::copy_from_slice);
        let packet = Bytes::from([&b"?"[..], &frame, &frame, &first, &second].concat());
        let heard = audio.take(&packet, Some(MediaTime(0)));
        let times: Vec<i64> = heard.iter().map(|heard| heard.pts.0).collect();
        assert!(heard.iter().all(|heard| heard.data[..] == [7, 8]));
        assert_eq!(times, [0, 2089, 4178], "three whole frames");
        let heard = audio.take(&frame.slice(5..), Some(MediaTime(9000)));
        assert_eq!((heard.len(), heard[0].pts.0), (1, 6267), "one that began in the packet before");
        assert_eq!(audio.take(&frame, None)[0].pts.0, 8356, "one without a time");
        let config = audio.config().unwrap();
        assert_eq!((config.sample_rate, config.channels, &config.specific[..]), (44_100, 2, &[0x12, 0x10][..]));
        assert!(audio.take(&Bytes::from_static(b"\0\0\0\0\0\0\0\0"), Some(MediaTime(0))).is_empty());
    }

    #[test]
    fn impossible_parameters_are_no_track() {
        let facts = |sample_rate, channels| TrackFacts {
            codec: TrackCodec::PcmAlaw,
            extradata: vec![],
            sample_rate,
            channels,
            frame_rate: None,
        };
        assert!(Audio::of(&facts(8000, 1)).is_some());
        for (rate, channels) in [(0, 1), (8000, 0), (8000, 9), (4_000_000_000, 1)] {
            assert!(Audio::of(&facts(rate, channels)).is_none());
        }
    }
}
