//! JPEGs: what their headers say, and those that came over RTP made as files have them.

use std::borrow::Cow;

use crate::media::Geometry;

const START_OF_FRAME: u8 = 0xc0;
const START_OF_SCAN: u8 = 0xda;

/// `jpeg` with its components numbered from 1, as JFIF 1.02 has them. RFC 2435 carries no headers, and the ones that its
/// appendix A makes count from 0; FFmpeg takes 1 off on its way to VA-API, and 255 is no component that drivers find.
///
/// What is no baseline JPEG, or is numbered otherwise, stays as it is: the decoder has the last word.
pub fn with_jfif_numbers(jpeg: &[u8]) -> Cow<'_, [u8]> {
    let Some(numbers) = component_numbers(jpeg) else { return Cow::Borrowed(jpeg) };
    let mut jpeg = jpeg.to_vec();
    for at in numbers {
        if let Some(number) = jpeg.get_mut(at) {
            *number += 1;
        }
    }
    Cow::Owned(jpeg)
}

/// What a JPEG says of its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its size.
    pub size: Geometry,
    /// `baseline`, or `extended` or `progressive`, which only the CPU decodes.
    pub profile: &'static str,
}

/// Reads the frame's header (ITU-T T.81 §B.2.2); `None` of what is no JPEG of 8 bits that is coded by Huffman.
pub fn facts(jpeg: &[u8]) -> Option<Facts> {
    let mut rest = jpeg.strip_prefix(&[0xff, 0xd8])?;
    loop {
        // Any number of fill bytes may stand before a marker.
        let at = rest.iter().position(|byte| *byte != 0xff)?;
        let (&marker, tail) = rest.get(at..)?.split_first()?;
        let segment = tail.get(..usize::from(u16::from_be_bytes([*tail.first()?, *tail.get(1)?])))?;
        if at == 0 {
            return None;
        }
        let profile = match marker {
            0xc0 => "baseline",
            0xc1 => "extended",
            0xc2 => "progressive",
            // Other codings, and what comes behind the frame's header.
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | START_OF_SCAN => return None,
            _ => {
                rest = tail.get(segment.len().max(2)..)?;
                continue;
            }
        };
        let &[_, _, 8, h1, h0, w1, w0, ..] = segment else { return None };
        let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
        return Some(Facts { size: Geometry::new(side(w1, w0), side(h1, h0)), profile });
    }
}

/// Where the components' numbers stand in the frame's and the scan's header, if they count from 0.
fn component_numbers(jpeg: &[u8]) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    let mut at = 2;
    loop {
        let &[0xff, marker, high, low] = jpeg.get(at..at + 4)? else { return None };
        // Offset of the count of components, and length of what follows for each (ITU-T T.81 §B.2.2, §B.2.3).
        let (count_at, each) = match marker {
            START_OF_FRAME => (at + 9, 3),
            START_OF_SCAN => (at + 4, 2),
            _ => (0, 0),
        };
        if count_at > 0 {
            let count = usize::from(*jpeg.get(count_at)?);
            let places = (0..count).map(|component| count_at + 1 + component * each);
            let from_zero =
                places.clone().enumerate().all(|(n, place)| jpeg.get(place).map(|id| usize::from(*id)) == Some(n));
            if !from_zero {
                return None;
            }
            numbers.extend(places);
        }
        if marker == START_OF_SCAN {
            return Some(numbers);
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start of image, a table, frame and scan of three components numbered from `first`, and two bytes of the scan.
    fn jpeg(first: u8) -> Vec<u8> {
        let [y, cb, cr] = [first, first + 1, first + 2];
        let mut jpeg = vec![0xff, 0xd8, 0xff, 0xdb, 0, 3, 7];
        jpeg.extend([0xff, 0xc0, 0, 17, 8, 0, 16, 0, 16, 3, y, 0x22, 0, cb, 0x11, 1, cr, 0x11, 1]);
        jpeg.extend([0xff, 0xda, 0, 12, 3, y, 0, cb, 0x11, cr, 0x11, 0, 63, 0, 0, 0]);
        jpeg
    }

    #[test]
    fn the_size_is_read_and_nothing_else_believed() {
        let whole = jpeg(1);
        assert_eq!(facts(&whole), Some(Facts { size: Geometry::new(16, 16), profile: "baseline" }));
        for length in 0..20 {
            assert_eq!(facts(&whole[..length]), None, "{length}");
        }
        assert_eq!(facts(b"<html></html>"), None);
        assert_eq!(facts(&[0xff, 0xd8, 0xff, 0xe0, 0, 0, 0xff, 0xe0, 0, 0]), None);
        assert_eq!(facts(&[0xff; 100]), None);
    }

    #[test]
    fn components_count_from_1() {
        assert_eq!(with_jfif_numbers(&jpeg(0)), jpeg(1));
        assert_eq!(with_jfif_numbers(&jpeg(1)), jpeg(1));
    }

    #[test]
    fn what_is_cut_off_or_no_jpeg_is_left_alone() {
        let whole = jpeg(0);
        for length in 0..whole.len() - 9 {
            assert_eq!(*with_jfif_numbers(&whole[..length]), whole[..length]);
        }
        assert_eq!(*with_jfif_numbers(&[0; 40]), [0; 40]);
    }
}
