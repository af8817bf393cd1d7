//! What an input is, by its first bytes.

use camshaft::link::InputAccess;
use camshaft::media::RawInput;
use std::io;

use super::wire::Input;
use crate::av::FileForm;

/// As many bytes as tell all forms apart.
const HEAD: usize = 1024;
const TS_PACKET: usize = 188;
/// Boxes of an MP4 before its index or its media; real files have at most five.
const MOST_BOXES: usize = 64;

/// What `input` is, and how it must be read; `None` for anything that no job reads.
///
/// # Errors
/// Those of the link.
pub fn sniff(input: &mut Input, raw: Option<RawInput>) -> io::Result<Option<(FileForm, InputAccess)>> {
    if let Some(raw) = raw {
        return Ok(Some((FileForm::Raw(raw), InputAccess::Sequential)));
    }
    let head = input.look(0, HEAD)?;
    let Some(container) = container(&head) else { return Ok(None) };
    let access = match container {
        FileForm::Mp4 => mp4_access(input)?,
        _ => InputAccess::Sequential,
    };
    Ok(Some((container, access)))
}

fn container(head: &[u8]) -> Option<FileForm> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let boxes: [&[u8]; 8] = [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"];
    if boxes.iter().any(|name| at(4, name)) {
        return Some(FileForm::Mp4);
    }
    if at(0, &[0x1a, 0x45, 0xdf, 0xa3]) {
        return Some(FileForm::Matroska);
    }
    if at(0, b"FLV\x01") {
        return Some(FileForm::Flv);
    }
    if at(0, b"RIFF") && (at(8, b"AVI ") || at(8, b"AVIX")) {
        return Some(FileForm::Avi);
    }
    if at(0, b"YUV4MPEG2 ") {
        return Some(FileForm::Y4m);
    }
    if at(0, &[0xff, 0xd8, 0xff]) {
        return Some(FileForm::Mjpeg);
    }
    if is_transport_stream(head) {
        return Some(FileForm::MpegTs);
    }
    bare_stream(head)
}

/// A packet starts every 188 bytes. A stream that was cut out of another may begin within one.
fn is_transport_stream(head: &[u8]) -> bool {
    let starts = |from: usize| {
        let marks: Vec<u8> = head.iter().skip(from).step_by(TS_PACKET).copied().collect();
        !marks.is_empty() && marks.len() >= (head.len() / TS_PACKET).min(3) && marks.iter().all(|mark| *mark == 0x47)
    };
    head.len() >= TS_PACKET && (0..TS_PACKET).any(starts)
}

/// H.264 and H.265 begin with a start code and, but for delimiters and SEI, a parameter set.
fn bare_stream(head: &[u8]) -> Option<FileForm> {
    let zeroes = head.iter().take_while(|byte| **byte == 0).count();
    if zeroes < 2 || head.get(zeroes) != Some(&1) {
        return None;
    }
    let units = head.windows(5).filter(|window| window.starts_with(&[0, 0, 1]));
    for unit in units {
        let &[_, _, _, first, second] = unit else { continue };
        // H.265: two bytes, layer 0, temporal id 1; VPS, SPS, PPS are 32 to 34.
        let hevc = (first >> 1) & 0x3f;
        if (32..=34).contains(&hevc) && first & 0x81 == 0 && second == 1 {
            return Some(FileForm::Hevc);
        }
        // H.264: SPS 7, PPS 8, which others may refer to.
        if matches!(first & 0x1f, 7 | 8) && first & 0x80 == 0 && first & 0x60 != 0 {
            return Some(FileForm::H264);
        }
    }
    None
}

/// From front to back if the index comes before the media, or in fragments between them.
fn mp4_access(input: &mut Input) -> io::Result<InputAccess> {
    let mut offset = 0u64;
    for _ in 0..MOST_BOXES {
        let head = input.look(offset, 16)?;
        let (Some(size), Some(name)) = (head.first_chunk(), head.get(4..8)) else { break };
        if name == b"moov" || name == b"moof" {
            return Ok(InputAccess::Sequential);
        }
        if name == b"mdat" {
            return Ok(InputAccess::Random);
        }
        let size = u64::from(u32::from_be_bytes(*size));
        let size = match (size, head.get(8..16).and_then(|large| large.try_into().ok())) {
            (1, Some(large)) => u64::from_be_bytes(large),
            (size, _) => size,
        };
        match offset.checked_add(size) {
            Some(next) if size >= 8 => offset = next,
            _ => break,
        }
    }
    Ok(InputAccess::Sequential)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_by_their_first_bytes() {
        let ts: Vec<u8> = (0..1024).map(|at| if at % 188 == 7 { 0x47 } else { 0 }).collect();
        let cases: [(&[u8], Option<FileForm>); 12] = [
            (b"\0\0\0\x18ftypisom", Some(FileForm::Mp4)),
            (b"\0\0\0\x08wide\0\0\0\0mdat", Some(FileForm::Mp4)),
            (&[0x1a, 0x45, 0xdf, 0xa3, 1], Some(FileForm::Matroska)),
            (b"FLV\x01\x05", Some(FileForm::Flv)),
            (b"RIFF....AVI LIST", Some(FileForm::Avi)),
            (b"YUV4MPEG2 W64 H64", Some(FileForm::Y4m)),
            (&[0xff, 0xd8, 0xff, 0xe0], Some(FileForm::Mjpeg)),
            (&ts, Some(FileForm::MpegTs)),
            (&[0, 0, 0, 1, 9, 0x10, 0, 0, 0, 1, 0x67, 0x4d], Some(FileForm::H264)),
            (&[0, 0, 0, 1, 0x40, 1, 0x0c], Some(FileForm::Hevc)),
            (b"#EXTM3U\nfile:///etc/passwd", None),
            (b"ffconcat version 1.0\nfile /etc/passwd", None),
        ];
        for (head, expected) in cases {
            assert_eq!(container(head), expected, "{head:?}");
        }
        assert_eq!(container(b""), None);
        assert_eq!(container(&[0; 1024]), None);
        assert_eq!(container(&[0x47; 100]), None);
    }
}
