//! Bad input.

use camshaft::link::{FailureKind, FromWorker, PixelsTask, Role};
use camshaft::media::{Geometry, MediaTime, PacketHeader, PixelFormat, Track, VideoCodec, VideoConfig, nal};
use camshaft::plan::Backend;

use crate::support::{Worker, camera, h264_clip, in_band, numbers, raw, record};

const SIZE: Geometry = Geometry { width: 320, height: 180 };

#[test]
fn a_broken_packet_is_counted_and_skipped_to_the_next_keyframe() {
    for codec in [VideoCodec::H264, VideoCodec::Hevc] {
        let clip = record(camera(codec, SIZE), 36);
        let worker = Worker::pixels(&clip.config);
        worker.add(1, raw(PixelFormat::Gray, SIZE));
        let mut shown = Vec::new();
        let mut counts = (0, 0);
        for (index, (header, data)) in clip.packets.iter().enumerate() {
            // The clip's keyframes are 0, 12 and 24. Packet 5 is no access unit. Packet 15 is a slice without
            // contents for H.264; FFmpeg 7's H.265 decoder passes over such a slice without a word.
            let empty_slice = nal::length_prefixed([&[0x41][..]]);
            let (out, counted) = match (index, codec) {
                (15, VideoCodec::H264) => worker.feed(*header, &empty_slice),
                (5 | 15, _) => worker.feed(*header, &[0xff; 40]),
                _ => worker.feed(*header, data),
            };
            shown.extend(numbers(&out, 1).into_iter().map(|(number, _)| number));
            counts = counted;
        }
        let expected: Vec<u32> = (0..5).chain(12..15).chain(24..36).collect();
        assert_eq!(shown, expected, "{codec:?}");
        assert_eq!(counts, (20, 2), "{codec:?}");
    }
}

#[test]
fn mutations_never_end_the_worker() {
    for codec in [VideoCodec::H264, VideoCodec::Hevc] {
        let clip = record(camera(codec, SIZE), 24);
        let worker = Worker::pixels(&clip.config);
        worker.add(1, raw(PixelFormat::Rgb24, Geometry::new(100, 60)));
        let mut state = 1u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize
        };
        for round in 0..20 {
            for (index, (header, data)) in clip.packets.iter().enumerate() {
                let mut data = data.to_vec();
                for _ in 0..random() % 4 {
                    let at = 4 + random() % (data.len() - 4);
                    data[at] ^= 1 << (random() % 8);
                }
                let pts = MediaTime((round * 24 + index as i64) * 3600);
                worker.feed(PacketHeader { pts, dts: pts, ..*header }, &data);
            }
        }
        worker.drain();
        assert!(worker.end().0.success());
    }
}

#[test]
fn parameter_sets_on_their_own_and_repeated_do_no_harm() {
    let clip = h264_clip(SIZE, 6);
    let worker = Worker::pixels(&clip.config);
    worker.add(1, raw(PixelFormat::Gray, SIZE));
    let mut out = Vec::new();
    for (header, data) in &clip.packets {
        let alone = worker.feed(*header, &in_band(&clip.config));
        assert_eq!(alone.1.1, 0, "parameter sets without a picture are not broken");
        out.extend(worker.feed(*header, &[&in_band(&clip.config)[..], data].concat()).0);
    }
    assert_eq!(numbers(&out, 1).len(), 6);
}

#[test]
fn a_new_resolution_in_band_is_scaled_to_the_same_output() {
    let (small, large) = (h264_clip(SIZE, 3), h264_clip(Geometry::new(640, 352), 3));
    let worker = Worker::pixels(&small.config);
    worker.add(1, raw(PixelFormat::I420, SIZE));
    worker.add(2, raw(PixelFormat::Rgb24, Geometry::new(100, 50)));
    let mut shown = Vec::new();
    for (index, clip) in [&small, &large, &small].into_iter().enumerate() {
        for (header, data) in &clip.packets {
            let pts = header.pts.offset(index as i64 * 90_000);
            let prefix = if header.keyframe { in_band(&clip.config) } else { Default::default() };
            let out = worker.feed(PacketHeader { pts, dts: pts, ..*header }, &[&prefix[..], data].concat()).0;
            shown.extend(numbers(&out, 1).into_iter().map(|(number, _)| number));
            assert_eq!(out.len(), 2);
        }
    }
    assert_eq!(shown, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
}

/// An SPS of a picture of `columns` × `rows` macroblocks (H.264 §7.3.2.1.1), baseline.
fn h264_sps(columns: u32, rows: u32) -> Vec<u8> {
    let exp_golomb = |value: u32| {
        let code = format!("{:b}", value + 1);
        "0".repeat(code.len() - 1) + &code
    };
    // Id, frame_num bits, order type 2, references, no gaps in frame_num; sides; frames only, no cropping, no VUI.
    let mut bits: String = [0, 0, 2, 1].map(exp_golomb).concat() + "0";
    bits += &[columns - 1, rows - 1].map(exp_golomb).concat();
    bits += "11001";
    bits += &"0".repeat(bits.len().next_multiple_of(8) - bits.len());
    let mut sps = vec![0x67, 66, 0, 40];
    sps.extend(bits.as_bytes().chunks(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | (bit & 1))));
    sps
}

#[test]
fn a_configuration_past_the_limits_is_refused() {
    let good = h264_clip(SIZE, 1).config;
    let with_sps = |sps: Vec<u8>| VideoConfig { parameter_sets: vec![sps.into()], ..good.clone() };
    let cases = [
        (VideoConfig { geometry: Geometry::new(16_000, 16_000), ..good.clone() }, FailureKind::Limit),
        (VideoConfig { geometry: Geometry::new(0, 0), ..good.clone() }, FailureKind::Limit),
        (with_sps(h264_sps(1000, 1000)), FailureKind::Limit),
        (VideoConfig { parameter_sets: vec![], ..good.clone() }, FailureKind::Unsupported),
        (VideoConfig { parameter_sets: vec![vec![0x67; 40].into()], ..good.clone() }, FailureKind::Unsupported),
    ];
    for (config, expected) in cases {
        let worker = Worker::begin(Role::Pixels(PixelsTask {
            config: config.clone(),
            decode: Backend::Software,
            sample_ticks: None,
        }));
        let (message, _) = worker.next();
        assert!(matches!(&message, FromWorker::Failed { kind, .. } if *kind == expected), "{config:?}: {message:?}");
        assert_eq!(worker.end().0.code(), Some(1));
    }
}

#[test]
fn parameter_sets_past_the_limits_are_refused_in_band_too() {
    let clip = h264_clip(SIZE, 14);
    let worker = Worker::pixels(&clip.config);
    worker.add(1, raw(PixelFormat::Gray, SIZE));
    let bomb = nal::length_prefixed([&h264_sps(1000, 1000)[..]]);
    let mut shown = Vec::new();
    for (index, (header, data)) in clip.packets.iter().enumerate() {
        let prefix = if index == 3 { bomb.clone() } else { Default::default() };
        let (out, (_, broken)) = worker.feed(*header, &[&prefix[..], data].concat());
        assert_eq!(broken, u64::from(index >= 3));
        shown.extend(numbers(&out, 1).into_iter().map(|(number, _)| number));
    }
    assert_eq!(shown, [0, 1, 2, 12, 13]);
}

#[test]
fn audio_is_passed_over() {
    let clip = h264_clip(SIZE, 2);
    let worker = Worker::pixels(&clip.config);
    let header = PacketHeader { track: Track::Audio, ..clip.packets[0].0 };
    let (out, counts) = worker.feed(header, &[1, 2, 3]);
    assert!(out.is_empty());
    assert_eq!(counts, (0, 0));
}
