//! Reading what comes out: y4m pictures with their numbers, access units, packets as ffprobe sees them.

use camshaft::media::pattern::{Painter, read_number};
use camshaft::media::{Geometry, nal};
use std::io::{BufRead, BufReader, Read};

use super::command_output;

/// One I420 picture.
pub struct Picture {
    /// Size in pixels.
    pub size: Geometry,
    /// Planes without padding.
    pub data: Vec<u8>,
}

impl Picture {
    /// The number that the pattern carries.
    pub fn number(&self) -> Option<u32> {
        read_number(&self.data, self.size, self.size.width as usize)
    }

    /// The luma plane.
    pub fn luma(&self) -> &[u8] {
        &self.data[..self.size.pixels() as usize]
    }
}

/// A y4m stream.
pub struct Y4m<R> {
    reader: BufReader<R>,
    /// The stream's header line.
    pub header: String,
    size: Geometry,
}

impl<R: Read> Y4m<R> {
    /// Reads the stream's header.
    pub fn new(reader: R) -> Self {
        let mut reader = BufReader::new(reader);
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let side = |letter: char| {
            let field = header.split_whitespace().find_map(|field| field.strip_prefix(letter));
            field.and_then(|side| side.parse().ok()).unwrap_or_else(|| panic!("no {letter} in '{header}'"))
        };
        let size = Geometry::new(side('W'), side('H'));
        Self { reader, header, size }
    }

    /// The next picture; `None` at the end.
    pub fn next(&mut self) -> Option<Picture> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        assert_eq!(line.trim_end(), "FRAME");
        let mut data = vec![0; camshaft::media::PixelFormat::I420.frame_bytes(self.size)];
        self.reader.read_exact(&mut data).ok()?;
        Some(Picture { size: self.size, data })
    }

    /// The numbers of the next `count` pictures.
    pub fn numbers(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.next().expect("a picture").number().expect("a number in the picture")).collect()
    }
}

/// PSNR of luma against the pattern's picture `number`, in dB.
pub fn psnr(picture: &Picture, number: u32) -> f64 {
    let mut expected = Vec::new();
    Painter::new(picture.size).draw(number, &mut expected);
    let pairs = picture.luma().iter().zip(&expected);
    let squares: f64 = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let mean = squares / picture.size.pixels() as f64;
    if mean == 0.0 { 99.0 } else { 10.0 * (255.0f64.powi(2) / mean).log10() }
}

/// The numbers of every picture that ffmpeg decodes from `file`, which must decode without a complaint.
pub fn numbers_in(file: &str, size: (u32, u32)) -> Vec<Option<u32>> {
    let raw = command_output(
        "ffmpeg",
        &["-v", "error", "-xerror", "-i", file, "-f", "rawvideo", "-pix_fmt", "gray", "-vsync", "passthrough", "-"],
    );
    let size = Geometry::new(size.0, size.1);
    raw.chunks_exact(size.pixels() as usize).map(|luma| read_number(luma, size, size.width as usize)).collect()
}

/// An Annex B stream as access units of bare NAL units: delimiters and parameter sets left out, so that streams from
/// different muxers compare.
pub fn access_units(stream: &[u8], codec: camshaft::media::VideoCodec) -> Vec<Vec<u8>> {
    use nal::NalKind;
    let mut units: Vec<Vec<u8>> = Vec::new();
    for unit in nal::annexb_units(stream) {
        if matches!(nal::kind(codec, unit), NalKind::Slice | NalKind::KeySlice) {
            units.push(unit.to_vec());
        }
    }
    units
}

/// The boxes of an MP4 file that are there from their beginning to their end (ISO 14496-12 §4.2): ffmpeg opens no file that
/// breaks off within a `moof`.
pub fn whole_boxes(bytes: &[u8]) -> &[u8] {
    let mut end = 0;
    while let Some(size) = bytes.get(end..).and_then(|rest| rest.first_chunk()).map(|size| u32::from_be_bytes(*size)) {
        match end + size as usize {
            next if size >= 8 && next <= bytes.len() => end = next,
            _ => break,
        }
    }
    &bytes[..end]
}

/// A packet as ffprobe reads it.
#[derive(Clone, Debug)]
pub struct ProbedPacket {
    /// Seconds.
    pub pts: f64,
    /// Seconds.
    pub dts: f64,
    /// Whether it is a keyframe.
    pub key: bool,
}

/// The packets of `stream` (`v:0`, `a:0`) in `file`, as ffprobe reads them.
pub fn ffprobe_packets(file: &str, stream: &str) -> Vec<ProbedPacket> {
    let entries = "packet=pts_time,dts_time,flags";
    let csv = command_output(
        "ffprobe",
        &["-v", "error", "-select_streams", stream, "-show_entries", entries, "-of", "csv=p=0", file],
    );
    let packets = String::from_utf8(csv).unwrap();
    packets
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut fields = line.split(',');
            let mut number = || fields.next().and_then(|field| field.parse().ok()).unwrap_or(f64::NAN);
            let (pts, dts) = (number(), number());
            ProbedPacket { pts, dts, key: fields.next().is_some_and(|flags| flags.starts_with('K')) }
        })
        .collect()
}
