//! What a pixels worker makes of packets.

use bytes::Bytes;
use camshaft::link::{FromWorker, RenditionId, ToWorker};
use camshaft::media::nal::{self, NalKind};
use camshaft::media::pattern::Painter;
use camshaft::media::{
    Cadence, EncodeSpec, FrameRate, Geometry, MediaTime, OutputSpec, PacketHeader, PixelFormat, RateControl,
    RenditionSpec, VideoCodec, VideoConfig,
};

use crate::support::{Clip, Worker, cropped, frames, h264_clip, number, numbers, psnr, raw};

const SIZE: Geometry = Geometry { width: 320, height: 180 };

fn at(fps: u32, spec: RenditionSpec) -> RenditionSpec {
    RenditionSpec { cadence: FrameRate::new(fps, 1).map_or(Cadence::Every, Cadence::Fps), ..spec }
}

fn encode(codec: VideoCodec, size: Geometry, rate_control: RateControl) -> RenditionSpec {
    let output = OutputSpec::Encode(EncodeSpec { codec, rate_control, gop: 10 });
    RenditionSpec { crop: None, size, cadence: Cadence::Every, output }
}

#[test]
fn every_format_and_size_shows_the_right_pictures() {
    let clip = h264_clip(SIZE, 6);
    let sizes =
        [SIZE, Geometry::new(160, 90), Geometry::new(161, 91), Geometry::new(640, 360), Geometry::new(400, 100)];
    for (_, format) in PixelFormat::ALL {
        let worker = Worker::pixels(&clip.config);
        for (id, size) in (0..).zip(sizes) {
            worker.add(id, raw(format, size));
        }
        let out = worker.play(&clip);
        for (id, size) in (0..).zip(sizes) {
            let made = frames(&out, id);
            assert_eq!(made.len(), 6, "{format:?} {size}");
            for (index, (header, pixels)) in made.iter().enumerate() {
                assert_eq!((header.size, pixels.len()), (size, format.frame_bytes(size)));
                assert_eq!(header.pts, MediaTime(index as i64 * 3600));
                assert_eq!(number(format, header, pixels), Some(index as u32), "{format:?} {size}");
            }
        }
    }
}

#[test]
fn formats_agree_on_the_colours() {
    let clip = h264_clip(SIZE, 1);
    let worker = Worker::pixels(&clip.config);
    for (id, (_, format)) in (0..).zip(PixelFormat::ALL) {
        worker.add(id, raw(format, SIZE));
    }
    let out = worker.play(&clip);
    let pixels = |id| frames(&out, id).remove(0).1;
    let [i420, nv12, gray, rgb, bgr] = [pixels(0), pixels(1), pixels(2), pixels(3), pixels(4)];
    let luma = SIZE.pixels() as usize;
    let (blue, red) = i420[luma..].split_at(luma / 4);
    assert_eq!(gray, i420[..luma]);
    assert_eq!(nv12[..luma], i420[..luma]);
    assert!(nv12[luma..].chunks(2).zip(blue.iter().zip(red)).all(|(pair, (b, r))| pair == [*b, *r]));
    assert!(rgb.chunks(3).zip(bgr.chunks(3)).all(|(a, b)| a[0] == b[2] && a[1] == b[1] && a[2] == b[0]));

    // BT.601, limited range: the stream says nothing else.
    let mut error = 0.0;
    for (index, found) in rgb.chunks(3).enumerate() {
        let (x, y) = (index % 320 / 2, index / 320 / 2);
        let luma = 1.164 * (f64::from(i420[index]) - 16.0);
        let (b, r) = (f64::from(blue[y * 160 + x]) - 128.0, f64::from(red[y * 160 + x]) - 128.0);
        let expected = [luma + 1.596 * r, luma - 0.392 * b - 0.813 * r, luma + 2.017 * b];
        error += found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b.clamp(0.0, 255.0)).abs()).sum::<f64>();
    }
    let mean = error / (3 * luma) as f64;
    assert!(mean < 1.5, "mean difference {mean}");
}

#[test]
fn a_crop_is_that_part_of_the_picture() {
    let clip = h264_clip(SIZE, 1);
    let worker = Worker::pixels(&clip.config);
    let part = Geometry::new(100, 60);
    worker.add(0, raw(PixelFormat::I420, SIZE));
    worker.add(1, cropped(raw(PixelFormat::I420, part), 100, 60, 40, 20));
    worker.add(2, cropped(raw(PixelFormat::I420, part), 100, 60, 41, 21));
    worker.add(3, cropped(raw(PixelFormat::I420, Geometry::new(50, 30)), 100, 60, 220, 120));
    let out = worker.play(&clip);
    let pixels = |id| frames(&out, id).remove(0).1;
    let whole = pixels(0);
    let plane = |start: usize, stride: usize, (x, y, width, height): (usize, usize, usize, usize)| -> Vec<u8> {
        let rows = (y..y + height).map(|row| start + row * stride + x);
        rows.flat_map(|at| whole[at..at + width].to_vec()).collect()
    };
    let luma = SIZE.pixels() as usize;
    let mut expected = plane(0, 320, (40, 20, 100, 60));
    expected.extend(plane(luma, 160, (20, 10, 50, 30)));
    expected.extend(plane(luma + luma / 4, 160, (20, 10, 50, 30)));
    assert_eq!(pixels(1), expected);
    assert_eq!(pixels(2), expected, "an odd corner moves to the chroma sample before it");

    let small = pixels(3);
    let corner = plane(0, 320, (220, 120, 100, 60));
    let mean = |bytes: &[u8]| bytes.iter().map(|byte| f64::from(*byte)).sum::<f64>() / bytes.len() as f64;
    assert!((mean(&small[..1500]) - mean(&corner)).abs() < 1.0);
}

#[test]
fn a_rate_picks_or_repeats() {
    let clip = h264_clip(SIZE, 26);
    let worker = Worker::pixels(&clip.config);
    let small = raw(PixelFormat::Gray, Geometry::new(160, 90));
    worker.add(1, at(5, small));
    worker.add(2, at(50, small));
    worker.add(3, small);
    let out = worker.play(&clip);
    let fifth: Vec<_> = [(0, 0), (3, 1), (8, 2), (13, 3), (18, 4), (23, 5)].map(|(n, slot)| (n, slot * 18_000)).into();
    assert_eq!(numbers(&out, 1), fifth);
    let double: Vec<_> = (0..51).map(|slot| (slot / 2, i64::from(slot) * 1800)).collect();
    assert_eq!(numbers(&out, 2), double);
    let all: Vec<_> = (0..26).map(|n| (n, i64::from(n) * 3600)).collect();
    assert_eq!(numbers(&out, 3), all);
}

#[test]
fn a_replay_goes_on_where_the_last_worker_ended() {
    let clip = h264_clip(SIZE, 24);
    let spec = at(5, raw(PixelFormat::Gray, SIZE));
    let first = Worker::pixels(&clip.config);
    first.add(1, spec);
    let mut delivered = Vec::new();
    for (header, data) in &clip.packets[..10] {
        delivered.extend(numbers(&first.feed(*header, data).0, 1));
    }
    drop(first);

    let second = Worker::pixels(&clip.config);
    let last = MediaTime(delivered.last().unwrap().1);
    second.add_after(1, spec, Some(last));
    delivered.extend(numbers(&second.play(&clip), 1));
    let undisturbed = Worker::pixels(&clip.config);
    undisturbed.add(1, spec);
    assert_eq!(delivered, numbers(&undisturbed.play(&clip), 1));
}

#[test]
fn renditions_come_and_go() {
    let clip = h264_clip(SIZE, 6);
    let worker = Worker::pixels(&clip.config);
    let spec = raw(PixelFormat::Gray, SIZE);
    let ids = |out: &[(FromWorker, Bytes)]| -> Vec<RenditionId> {
        (0..20).filter(|id| !frames(out, *id).is_empty()).collect()
    };
    let mut feed = clip.packets.iter().map(|(header, data)| worker.feed(*header, data).0);
    worker.add(1, spec);
    assert_eq!(ids(&feed.next().unwrap()), [1]);
    worker.add(2, spec);
    assert_eq!(ids(&feed.next().unwrap()), [1, 2]);
    worker.send(&ToWorker::RemoveRendition { id: 1 });
    worker.send(&ToWorker::RemoveRendition { id: 7 });
    assert_eq!(ids(&feed.next().unwrap()), [2]);
    worker.send(&ToWorker::RemoveRendition { id: 2 });
    assert!(ids(&feed.next().unwrap()).is_empty());
}

#[test]
fn what_cannot_be_made_fails_alone() {
    let clip = h264_clip(SIZE, 2);
    let worker = Worker::pixels(&clip.config);
    let good = raw(PixelFormat::Gray, SIZE);
    worker.add(1, good);
    worker.add(2, raw(PixelFormat::Gray, Geometry::new(50_000, 50_000)));
    worker.add(3, raw(PixelFormat::Gray, Geometry::new(0, 10)));
    worker.add(4, RenditionSpec { cadence: Cadence::Fps(FrameRate { num: 1, den: 0 }), ..good });
    for expected in [2, 3, 4] {
        let (message, _) = worker.next();
        assert!(matches!(message, FromWorker::RenditionFailed { id, .. } if id == expected), "{message:?}");
    }
    // These two are found out by the first picture.
    worker.add(5, cropped(good, 100, 100, 300, 0));
    worker.add(6, encode(VideoCodec::H264, Geometry::new(161, 91), RateControl::Bitrate(500_000)));
    let (header, data) = &clip.packets[0];
    let (out, _) = worker.feed(*header, data);
    let failed: Vec<_> = out.iter().filter(|(m, _)| matches!(m, FromWorker::RenditionFailed { .. })).collect();
    assert_eq!((failed.len(), frames(&out, 1).len()), (2, 1), "{out:?}");

    for id in 10..17 {
        worker.add(id, good);
    }
    worker.add(17, good);
    let (FromWorker::RenditionFailed { id: 17, message, .. }, _) = worker.next() else { panic!("the ninth fails") };
    assert!(message.contains("at most 8"), "{message}");
    let (header, data) = &clip.packets[1];
    assert_eq!(worker.feed(*header, data).0.len(), 8);
}

/// An encoded rendition as the clip of another camera.
fn recorded(out: &[(FromWorker, Bytes)], id: RenditionId) -> Clip {
    let mut config: Option<VideoConfig> = None;
    let mut packets: Vec<(PacketHeader, Bytes)> = Vec::new();
    for (message, payload) in out {
        match message {
            FromWorker::EncodedConfig { id: found, config: new } if *found == id => {
                assert!(config.is_none() && packets.is_empty(), "the configuration comes once, first");
                config = Some(new.clone());
            }
            FromWorker::Encoded { id: found, header } if *found == id => packets.push((*header, payload.clone())),
            _ => {}
        }
    }
    Clip { config: config.expect("a configuration"), packets }
}

#[test]
fn encoded_pictures_are_the_same_after_decoding() {
    let size = Geometry::new(160, 90);
    let painter = Painter::new(SIZE);
    let clip = h264_clip(SIZE, 25);
    for codec in [VideoCodec::H264, VideoCodec::Hevc] {
        for rate_control in [RateControl::Bitrate(2_000_000), RateControl::Quality(90)] {
            let worker = Worker::pixels(&clip.config);
            worker.add(1, encode(codec, SIZE, rate_control));
            worker.add(2, at(50, encode(codec, size, rate_control)));
            let out = worker.play(&clip);

            let same = recorded(&out, 1);
            assert_eq!((same.config.codec, same.config.geometry, same.config.reorder_depth), (codec, SIZE, 0));
            assert_eq!(same.packets.len(), 25);
            for (index, (header, data)) in same.packets.iter().enumerate() {
                assert_eq!((header.pts, header.dts), (clip.packets[index].0.pts, clip.packets[index].0.pts));
                assert_eq!(header.wall, clip.packets[index].0.wall);
                assert_eq!(header.keyframe, index % 10 == 0, "{codec:?} {index}");
                let sets = nal::units(data).filter(|unit| nal::kind(codec, unit) == NalKind::ParameterSet);
                assert_eq!(sets.count() > 0, header.keyframe, "{codec:?} {index}");
            }
            let again = Worker::pixels(&same.config);
            again.add(1, raw(PixelFormat::I420, SIZE));
            let shown = frames(&again.play(&same), 1);
            assert_eq!(shown.len(), 25);
            for (index, (header, pixels)) in shown.iter().enumerate() {
                assert_eq!(number(PixelFormat::I420, header, pixels), Some(index as u32));
                let psnr = psnr(&painter, index as u32, pixels, SIZE);
                assert!(psnr > 30.0, "{codec:?} {rate_control:?} {index}: {psnr} dB");
            }

            let double = recorded(&out, 2);
            assert_eq!(double.config.frame_rate, FrameRate::new(50, 1));
            let again = Worker::pixels(&double.config);
            again.add(1, raw(PixelFormat::I420, size));
            let expected: Vec<_> = (0..49).map(|slot| (slot / 2, i64::from(slot) * 1800)).collect();
            assert_eq!(numbers(&again.play(&double), 1), expected);
        }
    }
}

#[test]
fn a_keyframe_comes_when_it_is_asked_for() {
    let clip = h264_clip(SIZE, 8);
    for codec in [VideoCodec::H264, VideoCodec::Hevc] {
        let worker = Worker::pixels(&clip.config);
        worker.add(1, encode(codec, SIZE, RateControl::Bitrate(1_000_000)));
        let mut out = Vec::new();
        for (index, (header, data)) in clip.packets.iter().enumerate() {
            if index == 5 {
                worker.send(&ToWorker::ForceKeyframe { id: 1 });
            }
            out.extend(worker.feed(*header, data).0);
        }
        let keyframes: Vec<_> = recorded(&out, 1).packets.iter().map(|(header, _)| header.keyframe).collect();
        assert_eq!(keyframes, [true, false, false, false, false, true, false, false], "{codec:?}");
    }
}
