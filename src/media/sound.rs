//! What is asked of a source's sound, and what is made of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

use super::{AudioCodec, AudioConfig};

/// The most samples a second, and the most channels, of sound that comes from outside; more is damage or an attack.
pub const MAX_SAMPLE_RATE: u32 = 192_000;
/// See [`MAX_SAMPLE_RATE`].
pub const MAX_CHANNELS: u16 = 8;

/// Sample rates of AAC that every player knows, with their `samplingFrequencyIndex` (ISO/IEC 14496-3 table 1.18).
const AAC_RATES: [(u32, u16); 6] = [(16_000, 8), (22_050, 7), (24_000, 6), (32_000, 5), (44_100, 4), (48_000, 3)];

/// The sound that is wanted beside pictures (`audio=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AudioRequest {
    /// The source's own where the container has a place for it, else AAC made of it.
    #[default]
    Copy,
    /// AAC.
    Aac,
    /// None.
    None,
}

impl AudioRequest {
    /// Every request with its name in queries.
    pub const ALL: [(&'static str, Self); 3] = [("copy", Self::Copy), ("aac", Self::Aac), ("none", Self::None)];
}

/// How sound that is made is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SoundCoding {
    /// AAC LC.
    Aac,
    /// Samples of 16 bits, little-endian, channels interleaved.
    Pcm,
}

/// Sound to be made of a source's. Equal ones are made once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SoundSpec {
    /// How it is coded.
    pub coding: SoundCoding,
    /// Samples a second.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u16,
}

impl SoundSpec {
    /// The lowest rate of [`SoundSpec::pcm`].
    pub const PCM_RATE_MIN: u32 = 8_000;
    /// The highest.
    pub const PCM_RATE_MAX: u32 = 48_000;

    /// AAC that loses nothing of `source` that a camera's microphone hears: its rate or the next one that every player
    /// knows, one or two channels.
    pub fn aac(source: &AudioConfig) -> Self {
        Self::aac_of(source.sample_rate, source.channels)
    }

    /// The same, of sound at that rate in as many channels.
    pub fn aac_of(sample_rate: u32, channels: u16) -> Self {
        let fitting = AAC_RATES.iter().find(|(rate, _)| *rate >= sample_rate);
        let sample_rate = fitting.or(AAC_RATES.last()).map_or(sample_rate, |(rate, _)| *rate);
        Self { coding: SoundCoding::Aac, sample_rate, channels: channels.clamp(1, 2) }
    }

    /// Bare samples.
    pub fn pcm(sample_rate: u32, channels: u16) -> Self {
        Self { coding: SoundCoding::Pcm, sample_rate, channels }
    }

    /// Whether sound like this can be made.
    pub fn is_possible(&self) -> bool {
        let rates = Self::PCM_RATE_MIN..=Self::PCM_RATE_MAX;
        let rate_fits = match self.coding {
            SoundCoding::Aac => AAC_RATES.iter().any(|(rate, _)| *rate == self.sample_rate),
            SoundCoding::Pcm => rates.contains(&self.sample_rate),
        };
        rate_fits && (1..=2).contains(&self.channels)
    }

    /// What its packets are to be read with.
    pub fn config(&self) -> AudioConfig {
        let Self { coding, sample_rate, channels } = *self;
        match coding {
            SoundCoding::Aac => {
                let index = AAC_RATES.iter().find(|(rate, _)| *rate == sample_rate).map_or(0, |(_, index)| *index);
                // AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1): object type 2, AAC LC, in 5 bits; index and channels in 4.
                let specific = (2u16 << 11) | (index << 7) | (channels << 3);
                AudioConfig {
                    codec: AudioCodec::Aac,
                    sample_rate,
                    channels,
                    specific: Bytes::copy_from_slice(&specific.to_be_bytes()),
                    rfc6381: "mp4a.40.2".to_owned(),
                }
            }
            SoundCoding::Pcm => AudioConfig {
                codec: AudioCodec::PcmS16le,
                sample_rate,
                channels,
                specific: Bytes::new(),
                rfc6381: String::new(),
            },
        }
    }
}

impl fmt::Display for SoundSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coding = match self.coding {
            SoundCoding::Aac => "aac",
            SoundCoding::Pcm => "pcm_s16le",
        };
        write!(f, "{coding} {}x{}", self.sample_rate, self.channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(sample_rate: u32, channels: u16) -> AudioConfig {
        SoundSpec::pcm(sample_rate, channels).config()
    }

    #[test]
    fn made_aac_is_what_players_know() {
        for ((rate, channels), expected) in [
            ((8_000, 1), "aac 16000x1"),
            ((16_000, 1), "aac 16000x1"),
            ((44_100, 2), "aac 44100x2"),
            ((48_000, 6), "aac 48000x2"),
            ((96_000, 0), "aac 48000x1"),
        ] {
            let spec = SoundSpec::aac(&source(rate, channels));
            assert_eq!(spec.to_string(), expected);
            assert!(spec.is_possible());
        }
        assert_eq!(SoundSpec::aac(&source(48_000, 2)).config().specific[..], [0x11, 0x90]);
        assert_eq!(SoundSpec::aac(&source(8_000, 1)).config().specific[..], [0x14, 0x08]);
    }

    #[test]
    fn impossible_samples_are_told() {
        assert!(SoundSpec::pcm(16_000, 1).is_possible() && SoundSpec::pcm(48_000, 2).is_possible());
        for (rate, channels) in [(0, 1), (7_999, 1), (48_001, 1), (16_000, 0), (16_000, 99)] {
            assert!(!SoundSpec::pcm(rate, channels).is_possible());
        }
    }
}
