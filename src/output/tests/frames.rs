//! Raw pictures and JPEGs, read back by ffmpeg.

use bytes::Bytes;

use super::clip::{Clip, decoded_hashes, ffmpeg};
use crate::error::ErrorKind;
use crate::media::{Frame, FrameHeader, FrameRate, Geometry, MediaTime, PixelFormat, WallClock};
use crate::output::{FrameParts, FrameWriter, Mjpeg, RawFrames, Y4m};

const RATE: FrameRate = FrameRate { num: 25, den: 1 };

fn frame(data: Bytes, index: i64) -> Frame {
    let header = FrameHeader {
        pts: MediaTime(index * 3600),
        wall: WallClock(1_795_428_000_040_000),
        size: Geometry::new(160, 120),
    };
    Frame { header, data }
}

fn write(writer: &mut dyn FrameWriter, frames: &[Frame]) -> Vec<u8> {
    let mut pieces = vec![writer.header()];
    for frame in frames {
        writer.frame(frame, 0, &mut pieces).unwrap();
    }
    pieces.concat()
}

#[test]
fn y4m_and_raw_hold_the_pictures_as_they_are() {
    let clip = Clip::h264();
    for (format, pix_fmt) in [(PixelFormat::I420, "yuv420p"), (PixelFormat::Gray, "gray")] {
        let pixels = Bytes::from(ffmpeg(&clip.source, &["-map", "0:v", "-f", "rawvideo", "-pix_fmt", pix_fmt]));
        let size = format.frame_bytes(Geometry::new(160, 120));
        let frames: Vec<_> =
            (0..50).map(|index| frame(pixels.slice(index * size..(index + 1) * size), index as i64)).collect();
        assert_eq!(write(&mut RawFrames::new(format, Geometry::new(160, 120)), &frames), pixels);

        let path = clip.beside("pictures.y4m");
        std::fs::write(&path, write(&mut Y4m::new(format, Geometry::new(160, 120), RATE).unwrap(), &frames)).unwrap();
        assert_eq!(ffmpeg(&path, &["-f", "rawvideo"]), pixels);
    }
}

#[test]
fn y4m_names_the_formats_that_it_has() {
    let error = Y4m::new(PixelFormat::Nv12, Geometry::new(2, 2), RATE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("format=i420 or format=gray"), "{error}");
}

#[test]
fn a_frame_of_another_size_is_refused() {
    let mut writer = RawFrames::new(PixelFormat::Gray, Geometry::new(160, 120));
    let mut out = Vec::new();
    let short = frame(Bytes::from_static(&[0; 7]), 0);
    assert_eq!(writer.frame(&short, 0, &mut out).unwrap_err().kind(), ErrorKind::Internal);
    assert!(out.is_empty());
}

#[test]
fn an_mjpeg_stream_is_read_by_ffmpeg() {
    let clip = Clip::h264();
    let pictures = clip.jpegs(5);
    let frames: Vec<_> = pictures.iter().map(|path| frame(std::fs::read(path).unwrap().into(), 0)).collect();
    let path = clip.beside("pictures.mjpeg");
    let stream = write(&mut Mjpeg, &frames);
    // ffmpeg would look for the part that the last boundary promises.
    std::fs::write(&path, stream.strip_suffix(b"--camshaft-frame\r\n").unwrap()).unwrap();
    let expected: Vec<_> = pictures.iter().flat_map(|path| decoded_hashes(path, &[])).collect();
    assert_eq!(decoded_hashes(&path, &["-f", "mpjpeg"]), expected);
}

#[test]
fn a_part_says_all_about_its_frame_and_ends_at_once() {
    let mut writer = FrameParts::raw(PixelFormat::Gray);
    assert_eq!(writer.content_type(), "multipart/x-mixed-replace; boundary=camshaft-frame");
    let mut out = vec![writer.header()];
    writer.frame(&frame(Bytes::from_static(b"abc"), 1), 0, &mut out).unwrap();
    writer.frame(&frame(Bytes::from_static(b"de"), 5), 3, &mut out).unwrap();
    let expected = "--camshaft-frame\r\n\
        Content-Type: application/octet-stream\r\nContent-Length: 3\r\nX-Sequence: 0\r\nX-Pts: 0.040000\r\n\
        X-Wall-Clock: 2026-11-23T10:00:00.040Z\r\nX-Dropped: 0\r\nX-Video-Size: 160x120\r\nX-Video-Format: gray\r\n\r\n\
        abc\r\n--camshaft-frame\r\n\
        Content-Type: application/octet-stream\r\nContent-Length: 2\r\nX-Sequence: 4\r\nX-Pts: 0.200000\r\n\
        X-Wall-Clock: 2026-11-23T10:00:00.040Z\r\nX-Dropped: 3\r\nX-Video-Size: 160x120\r\nX-Video-Format: gray\r\n\r\n\
        de\r\n--camshaft-frame\r\n";
    assert_eq!(String::from_utf8(out.concat()).unwrap(), expected);
}
