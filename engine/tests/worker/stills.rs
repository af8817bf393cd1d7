//! JPEGs: renditions and single pictures, read by an independent decoder.

use bytes::Bytes;
use camshaft::link::{FromWorker, ToWorker};
use camshaft::media::FrameHeader;
use camshaft::media::pattern::read_number;
use camshaft::media::{Cadence, Crop, Geometry, MediaTime, OutputSpec, RenditionSpec, StillSpec};
use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Worker, frames, h264_clip};

const SIZE: Geometry = Geometry { width: 320, height: 180 };
const WHOLE: StillSpec = StillSpec { width: None, height: None, crop: None, quality: 90 };

/// The luma plane of a JPEG, as ffmpeg decodes it.
fn decode(jpeg: &[u8], size: Geometry) -> Vec<u8> {
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "mjpeg", "-i", "-", "-pix_fmt", "yuvj420p", "-f", "rawvideo", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(jpeg).unwrap();
    let mut picture = child.wait_with_output().unwrap().stdout;
    assert_eq!(picture.len(), camshaft::media::PixelFormat::I420.frame_bytes(size));
    picture.truncate(size.pixels() as usize);
    picture
}

fn still(worker: &Worker, spec: StillSpec, at: Option<i64>) -> Option<(FrameHeader, Bytes)> {
    worker.send(&ToWorker::Still { id: 9, spec, at: at.map(MediaTime) });
    let (FromWorker::Still { id: 9, header }, jpeg) = worker.next() else { panic!("a still is answered") };
    header.map(|header| (header, jpeg))
}

fn number(jpeg: &[u8], size: Geometry) -> Option<u32> {
    read_number(&decode(jpeg, size), size, size.width as usize)
}

#[test]
fn a_jpeg_rendition_is_one_full_range_jpeg_a_picture() {
    let clip = h264_clip(SIZE, 2);
    let worker = Worker::pixels(&clip.config);
    let size = Geometry::new(161, 90);
    for (id, quality, size) in [(1, 90, SIZE), (2, 20, SIZE), (3, 90, size)] {
        worker
            .add(id, RenditionSpec { crop: None, size, cadence: Cadence::Every, output: OutputSpec::Jpeg { quality } });
    }
    let out = worker.play(&clip);
    let (fine, coarse, small) = (frames(&out, 1), frames(&out, 2), frames(&out, 3));
    assert!(fine[0].1.len() > coarse[0].1.len());
    for index in 0..2 {
        assert_eq!(fine[index].0.pts, clip.packets[index].0.pts);
        assert_eq!(number(&fine[index].1, SIZE), Some(index as u32));
        assert_eq!(number(&coarse[index].1, SIZE), Some(index as u32));
        assert_eq!(number(&small[index].1, size), Some(index as u32));
    }
    // The code's black is 32 and its white 220 in limited range; the first bit of picture 0 is black.
    let luma = decode(&fine[0].1, SIZE);
    let black = f64::from(luma[10 * 320 + 10]);
    assert!((black - (32.0 - 16.0) * 255.0 / 219.0).abs() < 3.0, "{black}");
    let white = f64::from(*luma.iter().max().unwrap());
    assert!((white - (220.0 - 16.0) * 255.0 / 219.0).abs() < 8.0, "{white}");
}

#[test]
fn a_still_is_the_newest_picture_in_any_size() {
    let clip = h264_clip(SIZE, 4);
    let worker = Worker::pixels(&clip.config);
    assert!(still(&worker, WHOLE, None).is_none());
    for (expected, (header, data)) in clip.packets.iter().enumerate() {
        worker.feed(*header, data);
        let (found, jpeg) = still(&worker, WHOLE, None).unwrap();
        assert_eq!((found.pts, found.wall, found.size), (header.pts, header.wall, SIZE));
        assert_eq!(number(&jpeg, SIZE), Some(expected as u32));
    }
    let narrow = StillSpec { width: Some(160), ..WHOLE };
    let (header, jpeg) = still(&worker, narrow, None).unwrap();
    assert_eq!(header.size, Geometry::new(160, 90));
    assert_eq!(number(&jpeg, header.size), Some(3));
    let top = StillSpec { crop: Some(Crop { width: 100, height: 50, x: 0, y: 0 }), ..WHOLE };
    let (header, jpeg) = still(&worker, top, None).unwrap();
    assert_eq!(decode(&jpeg, header.size).len(), 5000);
    let outside = StillSpec { crop: Some(Crop { width: 400, height: 50, x: 0, y: 0 }), ..WHOLE };
    assert!(still(&worker, outside, None).is_none());
    let (status, stderr) = worker.end();
    assert!(status.success());
    assert!(stderr.contains("WARN still 9 cannot be made: crop 400:50:0:0"), "{stderr}");
}

#[test]
fn a_still_of_a_moment_is_the_picture_then() {
    let clip = h264_clip(SIZE, 10);
    let worker = Worker::pixels(&clip.config);
    let at = MediaTime(4 * 3600 + 1000);
    worker.send(&ToWorker::KeepStill { at });
    for (header, data) in &clip.packets {
        worker.feed(*header, data);
    }
    let (header, jpeg) = still(&worker, WHOLE, Some(at.0)).unwrap();
    assert_eq!(header.pts, MediaTime(4 * 3600));
    assert_eq!(number(&jpeg, SIZE), Some(4));
    let (header, _) = still(&worker, WHOLE, Some(1_000_000)).unwrap();
    assert_eq!(header.pts, MediaTime(9 * 3600), "a moment still to come has the newest picture");
    assert!(still(&worker, WHOLE, Some(3600)).is_none(), "what was not kept is gone");
}
