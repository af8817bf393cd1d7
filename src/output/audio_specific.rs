//! AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1) and the ADTS headers that are made from it.

use h264_reader::rbsp::{BitRead, BitReader, BitReaderError};

/// Sample rates by `samplingFrequencyIndex` (ISO/IEC 14496-3 table 1.18).
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// `samplingFrequencyIndex` of a rate that is written out.
const EXPLICIT_RATE: u8 = 15;
/// Audio object types of spectral band replication and parametric stereo, which wrap another type.
const SBR: u8 = 5;
const PS: u8 = 29;

/// Length of an ADTS header without CRC, in bytes.
pub(super) const ADTS_HEADER: usize = 7;
/// `frame_length` of ADTS has 13 bits.
const MAX_ADTS_FRAME: usize = (1 << 13) - 1;

/// What an AudioSpecificConfig says of the core codec, below any spectral band replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AudioSpecific {
    /// Audio object type; 2 is AAC LC.
    object_type: u8,
    /// Index of the sample rate; 15 if the rate is not in the table.
    rate_index: u8,
    /// `channelConfiguration`; 0 if the layout is written out elsewhere.
    channels: u8,
    /// Samples a second.
    pub sample_rate: u32,
}

impl AudioSpecific {
    /// Reads a configuration; `None` if it ends early or has a reserved rate.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut bits = BitReader::new(bytes);
        let mut object_type = read_object_type(&mut bits).ok()?;
        let (rate_index, sample_rate) = read_rate(&mut bits).ok()??;
        let channels = bits.read::<4, u8>("channelConfiguration").ok()?;
        if object_type == SBR || object_type == PS {
            read_rate(&mut bits).ok()??;
            object_type = read_object_type(&mut bits).ok()?;
        }
        Some(Self { object_type, rate_index, channels, sample_rate })
    }

    /// Whether ADTS has room for this configuration: four object types, rates of the table, standard layouts.
    pub fn fits_adts(self) -> bool {
        (1..=4).contains(&self.object_type) && self.rate_index != EXPLICIT_RATE && (1..=7).contains(&self.channels)
    }

    /// The ADTS header (ISO/IEC 13818-7 §6.2) of a raw frame of `length` bytes; `None` if either does not fit.
    pub fn adts_header(self, length: usize) -> Option<[u8; ADTS_HEADER]> {
        let frame = length.checked_add(ADTS_HEADER).filter(|frame| *frame <= MAX_ADTS_FRAME)?;
        if !self.fits_adts() {
            return None;
        }
        let profile = self.object_type - 1;
        Some([
            0xff,
            0xf1, // MPEG-4, no CRC
            (profile << 6) | (self.rate_index << 2) | (self.channels >> 2),
            (self.channels << 6) | (frame >> 11) as u8,
            (frame >> 3) as u8,
            ((frame << 5) as u8) | 0x1f,
            0xfc, // buffer fullness 0x7ff: variable bit rate
        ])
    }
}

fn read_object_type(bits: &mut impl BitRead) -> Result<u8, BitReaderError> {
    match bits.read::<5, u8>("audioObjectType")? {
        31 => Ok(32 + bits.read::<6, u8>("audioObjectTypeExt")?),
        object_type => Ok(object_type),
    }
}

/// The index and the rate; `None` for the reserved indices.
fn read_rate(bits: &mut impl BitRead) -> Result<Option<(u8, u32)>, BitReaderError> {
    let index = bits.read::<4, u8>("samplingFrequencyIndex")?;
    if index == EXPLICIT_RATE {
        let rate = bits.read::<24, u32>("samplingFrequency")?;
        return Ok((rate > 0).then_some((index, rate)));
    }
    Ok(SAMPLE_RATES.get(usize::from(index)).map(|rate| (index, *rate)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn aac_lc_gets_an_adts_header() {
        let config = AudioSpecific::parse(&[0x11, 0x90]).unwrap();
        assert_eq!(config, AudioSpecific { object_type: 2, rate_index: 3, channels: 2, sample_rate: 48_000 });
        assert_eq!(config.adts_header(0x123), Some([0xff, 0xf1, 0x4c, 0x80, 0x25, 0x5f, 0xfc]));
        assert_eq!(config.adts_header(MAX_ADTS_FRAME), None);
    }

    #[test]
    fn he_aac_is_described_by_its_core() {
        // Object type 5 at 24 kHz, extended to 48 kHz, over AAC LC.
        let config = AudioSpecific::parse(&[0x2b, 0x11, 0x88]).unwrap();
        assert_eq!(config, AudioSpecific { object_type: 2, rate_index: 6, channels: 2, sample_rate: 24_000 });
    }

    #[test]
    fn an_explicit_rate_does_not_fit_adts() {
        // Object type 2, index 15, 44 056 Hz, two channels.
        let config = AudioSpecific::parse(&[0x17, 0x80, 0x56, 0x0c, 0x10]).unwrap();
        assert_eq!(config.sample_rate, 44_056);
        assert!(!config.fits_adts());
        assert_eq!(config.adts_header(100), None);
    }

    proptest! {
        #[test]
        fn hostile_configurations_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..8), length: usize) {
            if let Some(config) = AudioSpecific::parse(&bytes) {
                prop_assert_eq!(config.adts_header(length).is_some(), config.fits_adts() && length <= MAX_ADTS_FRAME - ADTS_HEADER);
            }
        }
    }
}
