//! MPEG-4 part 2 (ISO/IEC 14496-2), as cameras of long ago send it: what its headers say, and which pictures stand alone.

use super::{Geometry, StreamParameters};

/// `vop_start_code` (§6.2.5).
const VOP: u8 = 0xb6;
/// `video_object_layer_start_code` (§6.2.3).
const LAYERS: std::ops::RangeInclusive<u8> = 0x20..=0x2f;
/// `video_object_type_indication` of the advanced simple profile, which has B pictures (table 6-10).
const ADVANCED_SIMPLE: u32 = 17;

/// What the first header of a layer in `bytes` says; `None` if there is none that can be read, or none of rectangular
/// pictures.
pub fn parse_layer(bytes: &[u8]) -> Option<StreamParameters> {
    let layer = after_start_code(bytes, |code| LAYERS.contains(&code))?;
    let mut bits = Bits { bytes: layer, at: 0 };
    bits.take(1)?;
    let kind = bits.take(8)?;
    if bits.take(1)? == 1 {
        bits.take(7)?;
    }
    // A ratio of its own.
    if bits.take(4)? == 15 {
        bits.take(16)?;
    }
    let mut low_delay = None;
    if bits.take(1)? == 1 {
        bits.take(2)?;
        low_delay = Some(bits.take(1)? == 1);
        // The parameters of a buffer, with their markers.
        if bits.take(1)? == 1 {
            bits.at += 79;
        }
    }
    let shape = bits.take(2)?;
    bits.take(1)?;
    let resolution = bits.take(16)?;
    bits.take(1)?;
    if bits.take(1)? == 1 {
        // As many bits as it takes to count up to it.
        bits.at += (u32::BITS - resolution.saturating_sub(1).leading_zeros()).max(1) as usize;
    }
    bits.take(1)?;
    let width = bits.take(13)?;
    bits.take(1)?;
    let height = bits.take(13)?;
    if shape != 0 || width == 0 || height == 0 {
        return None;
    }
    let is_advanced = kind == ADVANCED_SIMPLE;
    Some(StreamParameters {
        geometry: Geometry::new(width, height),
        profile: if is_advanced { "advanced_simple" } else { "simple" }.to_owned(),
        rfc6381: "mp4v.20".to_owned(),
        frame_rate: None,
        bit_depth: 8,
        reorder_depth: (is_advanced && low_delay != Some(true)).into(),
    })
}

/// Whether the picture in `access_unit` refers to no other: its `vop_coding_type` is I. `None` if there is no picture.
pub fn is_intra(access_unit: &[u8]) -> Option<bool> {
    let picture = after_start_code(access_unit, |code| code == VOP)?;
    picture.first().map(|first| first >> 6 == 0)
}

/// What follows the first start code of this kind.
fn after_start_code(bytes: &[u8], is_wanted: impl Fn(u8) -> bool) -> Option<&[u8]> {
    let at = bytes.windows(4).position(|four| matches!(four, [0, 0, 1, code] if is_wanted(*code)))?;
    bytes.get(at + 4..)
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next bits as a number, at most 16.
    fn take(&mut self, count: usize) -> Option<u32> {
        (0..count).try_fold(0, |number, _| {
            let byte = *self.bytes.get(self.at / 8)?;
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(number << 1 | u32::from(bit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The headers of FFmpeg's `mpeg4` encoder for 320x180 at 25 pictures a second.
    const HEADERS: &str = "000001b001000001b58913000001000000012000c48d8800cd0a04169443";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn a_layers_header_says_how_large_its_pictures_are() {
        let said = parse_layer(&bytes(HEADERS)).unwrap();
        assert_eq!((said.geometry, said.profile.as_str(), said.reorder_depth), (Geometry::new(320, 180), "simple", 0));
        assert_eq!(parse_layer(&bytes("000001b001000001b58913")), None);
    }

    #[test]
    fn a_picture_of_its_own_is_known_by_its_type() {
        assert_eq!(is_intra(&[0, 0, 1, 0xb6, 0x10]), Some(true));
        assert_eq!(is_intra(&[0, 0, 1, 0xb3, 0, 0, 1, 0xb6, 0x50]), Some(false));
        assert_eq!(is_intra(&[0, 0, 1, 0xb6]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            parse_layer(&bytes);
            parse_layer(&[&[0, 0, 1, 0x20][..], &bytes].concat());
            is_intra(&bytes);
        }
    }
}
