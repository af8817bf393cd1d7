//! One picture a part: `multipart/x-mixed-replace`, which browsers show as a film and scripts read part by part.

use bytes::{BufMut, Bytes, BytesMut};
use std::fmt::Write;

use super::{Flow, FrameWriter, PacketMuxer};
use crate::error::Result;
use crate::media::{Frame, Packet, PixelFormat, VideoCodec};

const CONTENT_TYPE: &str = "multipart/x-mixed-replace; boundary=camshaft-frame";
/// Before the first part.
const FIRST_BOUNDARY: Bytes = Bytes::from_static(b"--camshaft-frame\r\n");
/// Written with each part, not before the next: a browser shows a part once it has seen its end.
const NEXT_BOUNDARY: Bytes = Bytes::from_static(b"\r\n--camshaft-frame\r\n");

/// JPEGs for browsers and for all that read "MJPEG over HTTP".
#[derive(Debug, Default)]
pub struct Mjpeg;

impl FrameWriter for Mjpeg {
    fn content_type(&self) -> String {
        CONTENT_TYPE.to_owned()
    }

    fn header(&self) -> Bytes {
        FIRST_BOUNDARY
    }

    fn frame(&mut self, frame: &Frame, _dropped: u64, out: &mut Vec<Bytes>) -> Result<()> {
        out.extend([part_head(&frame.data).into(), frame.data.clone(), NEXT_BOUNDARY]);
        Ok(())
    }
}

/// The camera's own JPEGs, as they came.
impl PacketMuxer for Mjpeg {
    fn content_type(&self) -> String {
        CONTENT_TYPE.to_owned()
    }

    fn header(&self) -> Bytes {
        FIRST_BOUNDARY
    }

    fn packet(&mut self, packet: &Packet, out: &mut BytesMut) -> Result<Flow> {
        let Some(config) = packet.video_config() else { return Ok(Flow::Continue) };
        if config.codec != VideoCodec::Mjpeg {
            return Ok(Flow::End);
        }
        out.put_slice(part_head(&packet.data).as_bytes());
        out.put_slice(&packet.data);
        out.put_slice(&NEXT_BOUNDARY);
        Ok(Flow::Continue)
    }
}

fn part_head(jpeg: &[u8]) -> String {
    format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len())
}

/// Pictures with what is known of each: times, size, and how many this consumer lost.
#[derive(Debug)]
pub struct FrameParts {
    content_type: &'static str,
    format: &'static str,
    sequence: u64,
}

impl FrameParts {
    /// Parts of raw pixels in `format`.
    pub fn raw(format: PixelFormat) -> Self {
        Self { content_type: "application/octet-stream", format: format.name(), sequence: 0 }
    }

    /// Parts of one JPEG each.
    pub fn jpeg() -> Self {
        Self { content_type: "image/jpeg", format: "jpeg", sequence: 0 }
    }
}

impl FrameWriter for FrameParts {
    fn content_type(&self) -> String {
        CONTENT_TYPE.to_owned()
    }

    fn header(&self) -> Bytes {
        FIRST_BOUNDARY
    }

    /// `X-Sequence` counts the frames made since the output began, from 0, lost ones too; `X-Dropped` says how many
    /// were lost since the part before.
    fn frame(&mut self, frame: &Frame, dropped: u64, out: &mut Vec<Bytes>) -> Result<()> {
        let sequence = self.sequence.saturating_add(dropped);
        self.sequence = sequence.saturating_add(1);
        let header = &frame.header;
        let mut head = String::with_capacity(256);
        let lines: [(&str, &dyn std::fmt::Display); 8] = [
            ("Content-Type", &self.content_type),
            ("Content-Length", &frame.data.len()),
            ("X-Sequence", &sequence),
            ("X-Pts", &format_args!("{:.6}", header.pts.seconds())),
            ("X-Wall-Clock", &header.wall),
            ("X-Dropped", &dropped),
            ("X-Video-Size", &header.size),
            ("X-Video-Format", &self.format),
        ];
        for (name, value) in lines {
            // Writing to a String cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        out.extend([head.into(), frame.data.clone(), NEXT_BOUNDARY]);
        Ok(())
    }
}
