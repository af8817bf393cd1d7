//! Frames of AAC behind ADTS headers (ISO/IEC 13818-7 §6.2), as transport streams have them.

use bytes::Bytes;
use camshaft::media::{AudioCodec, AudioConfig};

/// Sample rates by `samplingFrequencyIndex` (ISO/IEC 14496-3 table 1.18).
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// A header without its checksum, in bytes.
pub const HEADER_MIN: usize = 7;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frames are read with.
    pub config: AudioConfig,
    /// Its own length in bytes.
    pub length: usize,
    /// The frame's length with it, in bytes.
    pub frame: usize,
}

impl Header {
    /// Reads the header that `bytes` begin with.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let &[0xff, sync, b2, b3, b4, b5, ..] = bytes else { return None };
        if sync & 0xf6 != 0xf0 {
            return None;
        }
        let length = if sync & 1 == 1 { HEADER_MIN } else { HEADER_MIN + 2 };
        let (object, rate, channels) = ((b2 >> 6) + 1, (b2 >> 2) & 15, (b2 & 1) << 2 | b3 >> 6);
        let sample_rate = *SAMPLE_RATES.get(usize::from(rate))?;
        // AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1): 5 bits of object type, 4 of rate, 4 of channels.
        let specific = [object << 3 | rate >> 1, rate << 7 | channels << 3];
        let config = AudioConfig {
            codec: AudioCodec::Aac,
            sample_rate,
            // 7 stands for 7.1.
            channels: if channels == 7 { 8 } else { channels.into() },
            specific: Bytes::copy_from_slice(&specific),
            rfc6381: format!("mp4a.40.{object}"),
        };
        let frame = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5) >> 5;
        (frame > length).then_some(Self { config, length, frame })
    }
}

/// The first frame without its header, and what follows it.
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let header = Header::read(bytes)?;
    let (frame, rest) = bytes.split_at_checked(header.frame)?;
    Some((frame.get(header.length..)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AAC LC, 44.1 kHz, 2 channels, 9 bytes in all, no CRC.
    const FRAME: [u8; 9] = [0xff, 0xf1, 0x50, 0x80, 0x01, 0x3f, 0xfc, 7, 8];

    #[test]
    fn a_header_is_understood() {
        let header = Header::read(&FRAME).unwrap();
        assert_eq!((header.length, header.frame), (7, 9));
        let AudioConfig { sample_rate, channels, specific, .. } = header.config;
        assert_eq!((sample_rate, channels, &specific[..]), (44_100, 2, &[0x12, 0x10][..]));
        assert_eq!(Header::read(&[0xff, 0xfb, 0x4c, 0x80, 0, 0, 0, 0]), None);
        for cut in 0..FRAME.len() {
            assert_eq!(split(&FRAME[..cut]), None);
        }
    }

    #[test]
    fn frames_are_taken_one_by_one() {
        let two = [FRAME, FRAME].concat();
        assert_eq!(split(&two), Some((&[7, 8][..], &FRAME[..])));
        assert_eq!(split(&FRAME), Some((&[7, 8][..], &[][..])));
    }
}
