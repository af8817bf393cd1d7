//! The synthetic camera.

use camshaft::link::{FromWorker, Role, ToWorker};
use camshaft::media::nal::{self, NalKind};
use camshaft::media::pattern::Painter;
use camshaft::media::{FrameRate, Geometry, PatternSource, PixelFormat, VideoCodec};

use crate::support::{Worker, camera, frames, numbers, psnr, raw, record};

const SIZE: Geometry = Geometry { width: 320, height: 180 };

#[test]
fn it_keeps_time_and_stops_when_told() {
    let source = PatternSource { fps: FrameRate { num: 50, den: 1 }, gop: 10, ..camera(VideoCodec::H264, SIZE) };
    let worker = Worker::begin(Role::Pattern(source));
    assert!(matches!(worker.next().0, FromWorker::Ready));
    let (FromWorker::VideoConfig(config), _) = worker.next() else { panic!("the configuration comes first") };
    assert_eq!((config.codec, config.geometry, config.bit_depth), (VideoCodec::H264, SIZE, 8));
    assert_eq!((config.frame_rate, config.reorder_depth), (Some(source.fps), 0));
    assert!(config.rfc6381.starts_with("avc1."), "{}", config.rfc6381);

    let mut walls = Vec::new();
    for number in 0..26 {
        let (FromWorker::Packet(header), data) = worker.next() else { panic!("only packets follow") };
        assert_eq!((header.pts.0, header.dts.0), (number * 1800, number * 1800));
        assert_eq!(header.keyframe, number % 10 == 0);
        assert!(nal::is_well_formed(&data));
        assert!(nal::units(&data).all(|unit| nal::kind(VideoCodec::H264, unit) != NalKind::ParameterSet));
        walls.push(header.wall.0);
    }
    // No frame comes before its time; how late it may be depends on the machine.
    assert!(walls[25] - walls[0] >= 25 * 20_000 - 20_000, "{walls:?}");
    assert!(walls.is_sorted());

    worker.send(&ToWorker::Stop);
    let (status, stderr) = worker.ends_by_itself();
    assert!(status.success(), "{stderr}");
}

#[test]
fn b_frames_are_decoded_before_they_are_shown() {
    for codec in [VideoCodec::H264, VideoCodec::Hevc] {
        let clip = record(PatternSource { bframes: 2, ..camera(codec, SIZE) }, 30);
        assert!(clip.config.reorder_depth > 0);
        let headers: Vec<_> = clip.packets.iter().map(|(header, _)| header).collect();
        assert!(headers.is_sorted_by(|a, b| a.dts < b.dts));
        assert!(headers.iter().all(|header| header.dts <= header.pts));
        assert!(!headers.is_sorted_by_key(|header| header.pts), "{codec:?} has no B frames");

        let worker = Worker::pixels(&clip.config);
        worker.add(1, raw(PixelFormat::I420, SIZE));
        let out = worker.play(&clip);
        let shown = numbers(&out, 1);
        // The last packets may show pictures whose forerunners were not recorded.
        let expected: Vec<_> = (0..25).map(|number| (number, i64::from(number) * 3600)).collect();
        assert_eq!(shown[..25], expected, "{codec:?}");
    }
}

#[test]
fn its_pictures_are_those_that_were_drawn() {
    let painter = Painter::new(SIZE);
    for codec in [VideoCodec::H264, VideoCodec::Hevc] {
        let clip = record(camera(codec, SIZE), 24);
        let worker = Worker::pixels(&clip.config);
        worker.add(1, raw(PixelFormat::I420, SIZE));
        let out = frames(&worker.play(&clip), 1);
        assert_eq!(out.len(), 24);
        for (number, (header, pixels)) in out.iter().enumerate() {
            assert_eq!(header.wall, clip.packets[number].0.wall);
            let psnr = psnr(&painter, number as u32, pixels, SIZE);
            assert!(psnr > 30.0, "{codec:?} {number}: {psnr} dB");
        }
    }
}

#[test]
fn what_cannot_be_made_is_refused() {
    let good = camera(VideoCodec::H264, SIZE);
    let odd = Geometry::new(321, 180);
    let huge = Geometry::new(20_000, 20_000);
    for bad in [
        PatternSource { size: odd, ..good },
        PatternSource { size: huge, ..good },
        PatternSource { fps: FrameRate { num: 1, den: 0 }, ..good },
    ] {
        let worker = Worker::begin(Role::Pattern(bad));
        assert!(matches!(worker.next().0, FromWorker::Failed { .. }), "{bad:?}");
        assert_eq!(worker.end().0.code(), Some(1));
    }
}
