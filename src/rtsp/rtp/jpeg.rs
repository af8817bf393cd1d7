//! JPEG (RFC 2435): what the format does not fix of a picture's headers, then its scan.
//!
//! The format has the Huffman tables of ITU-T T.81 annex K built in. So have all encoders that make these pictures:
//! FFmpeg's by an option, hardware through FFmpeg's fixed tables.

use super::{Emit, Fragment, PAYLOAD_MAX};
use crate::error::{Error, ErrorKind, Result};

/// The largest width and height in pixels: the format counts in eights, in one byte.
pub const SIDE_MAX: u32 = 2040;

/// Markers (ITU-T T.81 table B.1).
const SOF0: u8 = 0xc0;
const DQT: u8 = 0xdb;
const DRI: u8 = 0xdd;
const SOS: u8 = 0xda;
const EOI: [u8; 2] = [0xff, 0xd9];

/// Bytes of a quantization table of 8 bits a value.
const TABLE: usize = 64;
/// `Q`: the tables come along in the picture's first packet (RFC 2435 §4.2).
const TABLES_COME_ALONG: u8 = 255;
/// Bytes of the main header (RFC 2435 §3.1).
const MAIN_HEADER: usize = 8;

/// What the main header says of a picture.
#[derive(Debug, Default)]
struct Picture<'a> {
    /// 0 for 4:2:2, 1 for 4:2:0 (RFC 2435 §4.1).
    kind: u8,
    /// In pixels.
    size: (u16, u16),
    tables: [Option<&'a [u8]>; 4],
    /// The tables of luma and chroma.
    used: [usize; 2],
    scan: &'a [u8],
}

/// The packets of one JPEG.
///
/// # Errors
/// [`ErrorKind::Impossible`] if it is not baseline, 4:2:0 or 4:2:2, at most [`SIDE_MAX`] wide and high.
pub(super) fn fragments(jpeg: &[u8], emit: &mut Emit) -> Result<()> {
    let picture = Picture::read(jpeg).ok_or_else(|| {
        Error::new(ErrorKind::Impossible, "a JPEG has a form that RTP does not carry: ask for codec=h264 instead")
    })?;
    let eights = |side: u16| u8::try_from(side.div_ceil(8)).ok();
    let (Some(width), Some(height)) = (eights(picture.size.0), eights(picture.size.1)) else {
        let message =
            format!("RTP carries JPEGs of at most {SIDE_MAX} pixels a side: ask for a smaller width or height");
        return Err(Error::new(ErrorKind::Impossible, message));
    };
    let tables = picture.tables().unwrap_or_default();
    let mut at = 0;
    while at < picture.scan.len() {
        let [_, high, middle, low] = (at as u32).to_be_bytes();
        let mut head = vec![0, high, middle, low, picture.kind, TABLES_COME_ALONG, width, height];
        if at == 0 {
            head.extend([0, 0, 0, (2 * TABLE) as u8]);
            head.extend(&tables);
        }
        debug_assert!(head.len() >= MAIN_HEADER);
        let end = picture.scan.len().min(at + PAYLOAD_MAX - head.len());
        emit(Fragment { head: &head, body: picture.scan.get(at..end).unwrap_or_default(), later: 0 });
        at = end;
    }
    Ok(())
}

impl<'a> Picture<'a> {
    fn read(jpeg: &'a [u8]) -> Option<Self> {
        let mut picture = Self::default();
        let mut rest = jpeg.strip_prefix(&[0xff, 0xd8])?;
        loop {
            let [0xff, marker, high, low, tail @ ..] = rest else { return None };
            let length = usize::from(u16::from_be_bytes([*high, *low])).checked_sub(2)?;
            let (segment, after) = tail.split_at_checked(length)?;
            match *marker {
                DQT => picture.read_tables(segment)?,
                SOF0 => picture.read_frame(segment)?,
                // No encoder here makes restart markers.
                DRI if segment != [0, 0] => return None,
                SOS => {
                    picture.scan = after.strip_suffix(&EOI).unwrap_or(after);
                    picture.tables()?;
                    return (picture.size != (0, 0)).then_some(picture);
                }
                // Progressive, lossless, arithmetic.
                0xc1..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcf => return None,
                _ => {}
            }
            rest = after;
        }
    }

    fn read_tables(&mut self, mut segment: &'a [u8]) -> Option<()> {
        while let [head, rest @ ..] = segment {
            // The high half is the precision: 0 for 8 bits.
            let slot = self.tables.get_mut(usize::from(*head))?;
            let (table, after) = rest.split_at_checked(TABLE)?;
            *slot = Some(table);
            segment = after;
        }
        Some(())
    }

    fn read_frame(&mut self, segment: &[u8]) -> Option<()> {
        let [8, h1, h0, w1, w0, 3, _, luma, y, _, 0x11, cb, _, 0x11, cr] = segment else { return None };
        self.kind = match luma {
            0x21 => 0,
            0x22 => 1,
            _ => return None,
        };
        self.size = (u16::from_be_bytes([*w1, *w0]), u16::from_be_bytes([*h1, *h0]));
        self.used = [usize::from(*y), usize::from(*cb)];
        (cb == cr).then_some(())
    }

    /// Luma's table and chroma's.
    fn tables(&self) -> Option<Vec<u8>> {
        let table = |index: usize| self.tables.get(index).copied().flatten();
        Some([table(self.used[0])?, table(self.used[1])?].concat())
    }
}
