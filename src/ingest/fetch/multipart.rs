//! `multipart/x-mixed-replace`, as cameras send MJPEG: parts behind boundaries (RFC 2046 §5.1), most with a
//! `Content-Length`. Cameras take liberties: the boundary of the header with or without its dashes, quoted or not, or
//! missing altogether.

use bytes::{Buf, Bytes, BytesMut};

use crate::ingest::failure::Failure;
use crate::link::FailureKind;
use crate::media::MAX_ACCESS_UNIT;

/// The most bytes of a part's header, boundary included.
const MAX_HEADER: usize = 8 << 10;
/// The longest boundary (RFC 2046 §5.1.1) with its dashes.
const MAX_BOUNDARY: usize = 72;

/// Cuts a body into its parts as its bytes come.
pub(super) struct Multipart {
    buffer: BytesMut,
    state: State,
    /// With its dashes; `None` until the header or the first line says it.
    boundary: Option<Vec<u8>>,
    /// Whether the body's own header named it.
    is_named: bool,
}

enum State {
    /// Looking for the next boundary and what stands between it and an empty line.
    Header,
    /// This many bytes make the part.
    Sized(usize),
    /// The part ends at the next boundary; so many bytes have been searched.
    Unsized { searched: usize },
}

impl Multipart {
    /// Reads a body that came with this `Content-Type`.
    pub(super) fn new(content_type: &str) -> Self {
        let boundary = boundary_of(content_type);
        Self { buffer: BytesMut::new(), state: State::Header, is_named: boundary.is_some(), boundary }
    }

    /// Takes the next bytes of the body.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole part without its header.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match self.state {
                State::Header => {
                    let Some(length) = self.read_header()? else { return Ok(None) };
                    self.state = match length {
                        Some(length) => State::Sized(length),
                        None => State::Unsized { searched: 0 },
                    };
                }
                State::Sized(length) => {
                    if self.buffer.len() < length {
                        return Ok(None);
                    }
                    self.state = State::Header;
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
                State::Unsized { searched } => {
                    let boundary = self.boundary.clone().unwrap_or_default();
                    let from = searched.saturating_sub(boundary.len());
                    match find(self.buffer.get(from..).unwrap_or_default(), &boundary).map(|at| from + at) {
                        Some(end) => {
                            let mut part = self.buffer.split_to(end);
                            trim_line_end(&mut part);
                            self.state = State::Header;
                            return Ok(Some(part.freeze()));
                        }
                        None if self.buffer.len() > MAX_ACCESS_UNIT => return Err(too_large()),
                        None => {
                            self.state = State::Unsized { searched: self.buffer.len() };
                            return Ok(None);
                        }
                    }
                }
            }
        }
    }

    /// Takes a boundary and the header behind it; gives the part's length, if it says one.
    fn read_header(&mut self) -> Result<Option<Option<usize>>, Failure> {
        while let [b'\r' | b'\n', ..] = self.buffer[..] {
            self.buffer.advance(1);
        }
        let Some(end) = find_blank_line(&self.buffer) else {
            if self.buffer.len() > MAX_HEADER {
                let message =
                    format!("a part's header has more than {MAX_HEADER} bytes, or the source is no multipart");
                return Err(Failure::new(FailureKind::Limit, message));
            }
            return Ok(None);
        };
        let header = self.buffer.split_to(end);
        let mut lines = header[..].split(|byte| *byte == b'\n').map(|line| line.trim_ascii());
        let first = lines.next().unwrap_or_default();
        if !first.starts_with(b"--") || first.len() > MAX_BOUNDARY {
            return Err(Failure::new(
                FailureKind::Protocol,
                "a part does not begin with its boundary: the source is no multipart/x-mixed-replace",
            ));
        }
        // Some cameras name another one than they use: the one in use counts.
        self.boundary = Some(first.to_vec());
        match lines.find_map(content_length) {
            Some(Some(length)) if length <= MAX_ACCESS_UNIT => Ok(Some(Some(length))),
            Some(Some(_)) => Err(too_large()),
            Some(None) => Err(Failure::new(FailureKind::Protocol, "a part's Content-Length is no number")),
            None if self.is_named => Ok(Some(None)),
            None => Err(Failure::new(
                FailureKind::Protocol,
                "the source says neither where a part ends (Content-Length) nor which boundary ends it (Content-Type)",
            )),
        }
    }
}

fn too_large() -> Failure {
    Failure::new(FailureKind::Limit, format!("a picture is past the limit of {} MiB", MAX_ACCESS_UNIT >> 20))
}

/// The boundary that a `Content-Type` names, with its dashes.
fn boundary_of(content_type: &str) -> Option<Vec<u8>> {
    let named = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    let bare = named.strip_prefix("--").unwrap_or(named);
    let is_legal = !bare.is_empty() && bare.len() + 2 <= MAX_BOUNDARY;
    is_legal.then(|| format!("--{bare}").into_bytes())
}

fn content_length(line: &[u8]) -> Option<Option<usize>> {
    let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    name.trim().eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())
}

/// Where what follows the first empty line begins.
fn find_blank_line(bytes: &[u8]) -> Option<usize> {
    let searched = bytes.get(..MAX_HEADER + 4).unwrap_or(bytes);
    let ends = [find(searched, b"\r\n\r\n").map(|at| at + 4), find(searched, b"\n\n").map(|at| at + 2)];
    ends.into_iter().flatten().min()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len().max(1)).position(|window| window == wanted)
}

fn trim_line_end(part: &mut BytesMut) {
    for end in [b'\n', b'\r'] {
        if part.last() == Some(&end) {
            part.truncate(part.len() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMED: &str = "multipart/x-mixed-replace; boundary=frame";

    fn parts(content_type: &str, body: &[u8], step: usize) -> Result<Vec<Bytes>, Failure> {
        let mut multipart = Multipart::new(content_type);
        let mut parts = Vec::new();
        for chunk in body.chunks(step.max(1)) {
            multipart.push(chunk);
            while let Some(part) = multipart.next()? {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    #[test]
    fn parts_are_cut_however_the_bytes_come() {
        let sized = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\n\r\none--\r\n--frame\r\ncontent-length:3\r\n\r\ntwo\r\n";
        let open = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\none--\r\n--frame\n\ntwo\r\n--frame\r\n";
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(parts(NAMED, sized, step).unwrap(), ["one--", "two"]);
            assert_eq!(parts("multipart/x-mixed-replace", sized, step).unwrap(), ["one--", "two"]);
            assert_eq!(parts(NAMED, open, step).unwrap(), ["one--", "two"]);
        }
    }

    #[test]
    fn a_boundary_is_found_as_cameras_write_it() {
        for text in ["a/b;boundary=x", "a/b; Boundary=\"x\"", "a/b; charset=u; boundary=--x"] {
            assert_eq!(boundary_of(text).as_deref(), Some(&b"--x"[..]), "{text}");
        }
        assert_eq!(boundary_of("a/b; boundary="), None);
    }

    #[test]
    fn what_cannot_be_cut_is_named() {
        let why = |content_type: &str, body: &[u8]| format!("{:?}", parts(content_type, body, 4096).unwrap_err());
        assert!(why("multipart/x-mixed-replace", b"--x\r\nContent-Type: image/jpeg\r\n\r\n").contains("neither"));
        assert!(why(NAMED, &[b'x'; 3 * MAX_HEADER]).contains("no multipart"));
        assert!(why(NAMED, b"<html>\n\n").contains("boundary"));
        assert!(why(NAMED, b"--frame\r\nContent-Length: 99999999\r\n\r\n").contains("8 MiB"));
        assert!(why(NAMED, b"--frame\r\nContent-Length: -1\r\n\r\n").contains("no number"));
        let mut endless = b"--frame\r\n\r\n".to_vec();
        endless.resize(MAX_ACCESS_UNIT + 8192, b'x');
        assert!(why(NAMED, &endless).contains("8 MiB"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(prop::sample::select(b"-fr\r\n:7x".to_vec()), 0..300), step in 1usize..9) {
            let _ = parts("multipart/x-mixed-replace; boundary=f", &bytes, step);
        }
    }
}
