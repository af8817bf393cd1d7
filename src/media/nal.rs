//! NAL units: walking length-prefixed access units, and turning Annex B into them.

use bytes::{BufMut, Bytes, BytesMut};

use super::VideoCodec;

/// The start code that Annex B (ITU-T H.264 and H.265) puts before a NAL unit.
pub const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// What a NAL unit is, as far as camshaft must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NalKind {
    /// VPS, SPS or PPS.
    ParameterSet,
    /// A slice of an IDR (H.264) or IRAP (H.265) picture.
    KeySlice,
    /// A slice of any other picture.
    Slice,
    /// SEI, delimiters, filler and the rest.
    Other,
}

/// The kind of a bare NAL unit (ITU-T H.264 table 7-1, H.265 table 7-1); of codecs that have none, `Other`.
pub fn kind(codec: VideoCodec, nal: &[u8]) -> NalKind {
    let Some(&first) = nal.first() else { return NalKind::Other };
    match codec {
        VideoCodec::H264 => match first & 0x1f {
            5 => NalKind::KeySlice,
            1..=4 => NalKind::Slice,
            7 | 8 => NalKind::ParameterSet,
            _ => NalKind::Other,
        },
        VideoCodec::Hevc => match (first >> 1) & 0x3f {
            16..=23 => NalKind::KeySlice,
            0..=15 => NalKind::Slice,
            32..=34 => NalKind::ParameterSet,
            _ => NalKind::Other,
        },
        _ => NalKind::Other,
    }
}

/// The temporal layer of a slice whose picture no picture of that layer or a lower one refers to; `None`: they may.
///
/// Nothing at all refers to H.264's (`nal_ref_idc` of 0, ITU-T H.264 §7.4.1), which are given the highest layer. Pictures of
/// higher layers may refer to H.265's (types named `_N`, ITU-T H.265 table 7-1).
pub fn unreferenced_layer(codec: VideoCodec, slice: &[u8]) -> Option<u8> {
    let &[first, ref rest @ ..] = slice else { return None };
    match codec {
        VideoCodec::H264 => (first & 0x60 == 0).then_some(u8::MAX),
        VideoCodec::Hevc => {
            let (nal_type, temporal_id) = ((first >> 1) & 0x3f, (rest.first()? & 7).checked_sub(1)?);
            (nal_type < 16 && nal_type % 2 == 0).then_some(temporal_id)
        }
        _ => None,
    }
}

/// The bare NAL units of a length-prefixed access unit; stops at the first length that does not fit.
pub fn units(access_unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = access_unit;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (unit, tail) = tail.split_at_checked(length)?;
        rest = tail;
        Some(unit)
    })
}

/// Whether `access_unit` consists of whole, non-empty length-prefixed NAL units and nothing else.
pub fn is_well_formed(access_unit: &[u8]) -> bool {
    let mut count = 0;
    let mut used = 0;
    for unit in units(access_unit) {
        if unit.is_empty() {
            return false;
        }
        used += 4 + unit.len();
        count += 1;
    }
    count > 0 && used == access_unit.len()
}

/// The bare NAL units of an Annex B byte stream (ITU-T H.264 §B.1), trailing zero bytes removed.
pub fn annexb_units(stream: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(found) = stream.get(at..).and_then(find_start) {
        starts.push(at + found);
        at += found + 3;
    }
    let mut units = Vec::with_capacity(starts.len());
    for (index, &start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(stream.len());
        let mut unit = stream.get(start + 3..end).unwrap_or_default();
        while let [head @ .., 0] = unit {
            unit = head;
        }
        if !unit.is_empty() {
            units.push(unit);
        }
    }
    units
}

fn find_start(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

/// Bare NAL units as one length-prefixed access unit.
pub fn length_prefixed<'a>(units: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    let mut out = BytesMut::new();
    for unit in units {
        out.put_u32(unit.len() as u32);
        out.put_slice(unit);
    }
    out.freeze()
}

/// Appends bare NAL units to `out`, each behind a start code.
pub fn write_annexb<'a>(out: &mut BytesMut, units: impl IntoIterator<Item = &'a [u8]>) {
    for unit in units {
        out.put_slice(&START_CODE);
        out.put_slice(unit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annexb_and_back() {
        let stream = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x65, 9];
        let units = annexb_units(&stream);
        assert_eq!(units, [&[0x67, 1, 2][..], &[0x68, 3], &[0x65, 9]]);
        let prefixed = length_prefixed(units.iter().copied());
        assert!(is_well_formed(&prefixed));
        assert_eq!(super::units(&prefixed).collect::<Vec<_>>(), units);
        assert_eq!(kind(VideoCodec::H264, units[2]), NalKind::KeySlice);
    }

    #[test]
    fn hostile_lengths_end_the_walk() {
        assert!(!is_well_formed(&[0xff, 0xff, 0xff, 0xff, 1]));
        assert!(!is_well_formed(&[0, 0, 0, 0]));
        assert!(!is_well_formed(&[]));
        assert_eq!(units(&[0, 0, 0, 9, 1]).count(), 0);
    }
}
