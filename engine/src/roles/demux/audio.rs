//! A container's audio track as camshaft has it: frames without headers, what they are read with beside them.

use bytes::Bytes;
use camshaft::media::{AudioCodec, AudioConfig};

use super::super::adts::Header;
use crate::av::{TrackCodec, TrackFacts};

/// An audio track.
pub(super) struct Audio {
    config: Option<AudioConfig>,
    framing: Framing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Bare,
    /// Each frame behind an ADTS header (ISO/IEC 13818-7 §6.2), which says what it is read with.
    Adts,
}

impl Audio {
    /// The track that `facts` describe, if it is audio that is carried and its parameters are possible.
    pub(super) fn of(facts: &TrackFacts) -> Option<Self> {
        let codec = match facts.codec {
            TrackCodec::Aac if facts.extradata.is_empty() => {
                return Some(Self { config: None, framing: Framing::Adts });
            }
            TrackCodec::Aac => AudioCodec::Aac,
            TrackCodec::PcmMulaw => AudioCodec::PcmMulaw,
            TrackCodec::PcmAlaw => AudioCodec::PcmAlaw,
            _ => return None,
        };
        let (specific, rfc6381) = match codec {
            AudioCodec::Aac => {
                let object = facts.extradata.first()? >> 3;
                (Bytes::copy_from_slice(&facts.extradata), format!("mp4a.40.{object}"))
            }
            _ => (Bytes::new(), String::new()),
        };
        let (sample_rate, channels) = (facts.sample_rate, facts.channels);
        let config = AudioConfig { codec, sample_rate, channels, specific, rfc6381 };
        is_possible(&config).then_some(Self { config: Some(config), framing: Framing::Bare })
    }

    /// What the frames are read with, once that is known.
    pub(super) fn config(&self) -> Option<&AudioConfig> {
        self.config.as_ref()
    }

    /// The frame in a packet.
    pub(super) fn take(&mut self, data: &Bytes) -> Option<Bytes> {
        if self.framing == Framing::Bare {
            return (!data.is_empty()).then(|| data.clone());
        }
        let header = Header::read(data)?;
        if is_possible(&header.config) {
            self.config = Some(header.config);
        }
        Some(data.slice(header.length..)).filter(|frame| !frame.is_empty())
    }
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
        assert_eq!(audio.take(&frame).as_deref(), Some(&[7, 8][..]));
        let config = audio.config().unwrap();
        assert_eq!((config.sample_rate, config.channels, &config.specific[..]), (44_100, 2, &[0x12, 0x10][..]));
        assert_eq!(audio.take(&frame.slice(..7)), None);
        assert_eq!(audio.take(&Bytes::from_static(b"\0\0\0\0\0\0\0\0")), None);
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
