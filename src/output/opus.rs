//! Opus outside of Ogg: its identification header, and its control header in MPEG-TS.

use bytes::{BufMut, BytesMut};

/// What the identification header (RFC 7845 §5.1) says of one or two channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpusHead {
    pub channels: u8,
    /// Samples at 48 kHz that a decoder leaves out at the start.
    pub pre_skip: u16,
    /// Of what was encoded; for display only.
    pub input_sample_rate: u32,
    pub output_gain: i16,
}

impl OpusHead {
    /// Reads a header; `None` if it is none, or of channels that are mapped.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [version, channels, skip0, skip1, rate0, rate1, rate2, rate3, gain0, gain1, family, ..] =
            *bytes.strip_prefix(b"OpusHead")?
        else {
            return None;
        };
        (version < 16 && family == 0 && (1..=2).contains(&channels)).then_some(Self {
            channels,
            pre_skip: u16::from_le_bytes([skip0, skip1]),
            input_sample_rate: u32::from_le_bytes([rate0, rate1, rate2, rate3]),
            output_gain: i16::from_le_bytes([gain0, gain1]),
        })
    }
}

/// What stands before each packet in MPEG-TS (ETSI TS 103 491 annex B, `opus_control_header`): a prefix without flags, and
/// the packet's length in bytes of 255 and a last one below.
pub(super) fn write_control_header(length: usize, out: &mut BytesMut) {
    out.put_slice(&[0x7f, 0xe0]);
    out.put_bytes(0xff, length / 255);
    out.put_u8((length % 255) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_hostile_ones_refused() {
        let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x05\x00\x00";
        let expected = OpusHead { channels: 2, pre_skip: 312, input_sample_rate: 48_000, output_gain: 5 };
        assert_eq!(OpusHead::parse(head), Some(expected));
        for length in 0..head.len() {
            assert_eq!(OpusHead::parse(&head[..length]), None);
        }
        for (at, byte) in [(0, b'o'), (8, 16), (9, 0), (9, 3), (18, 1)] {
            let mut bad = head.to_vec();
            bad[at] = byte;
            assert_eq!(OpusHead::parse(&bad), None);
        }
    }

    #[test]
    fn lengths_are_told_in_bytes_of_255() {
        let header = |length| {
            let mut out = BytesMut::new();
            write_control_header(length, &mut out);
            out[2..].to_vec()
        };
        assert_eq!(
            [header(0), header(254), header(255), header(600)],
            [vec![0], vec![254], vec![255, 0], vec![255, 255, 90]]
        );
    }
}
