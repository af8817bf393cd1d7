//! What a worker does not decode, because no rendition takes it.

use bytes::Bytes;
use camshaft::link::{FromWorker, ToWorker};
use camshaft::media::nal::{self, NalKind};
use camshaft::media::{
    Cadence, FrameHeader, FrameRate, Geometry, OutputSpec, PacketHeader, PatternSource, PixelFormat, RenditionSpec,
    StillSpec, VideoCodec, VideoConfig,
};

use crate::support::{Clip, Worker, camera, frames, numbers, raw, record};

const SIZE: Geometry = Geometry { width: 320, height: 180 };
const LOW: u32 = 0;
const ALL: u32 = 1;

fn at(fps: u32) -> RenditionSpec {
    RenditionSpec { cadence: Cadence::Fps(FrameRate { num: fps, den: 1 }), ..raw(PixelFormat::I420, SIZE) }
}

fn keyframes() -> RenditionSpec {
    RenditionSpec { cadence: Cadence::Keyframes, ..raw(PixelFormat::I420, SIZE) }
}

/// What comes of the clip, and how many pictures were decoded for it.
fn play(clip: &Clip, spec: RenditionSpec) -> (Vec<(FromWorker, Bytes)>, u64) {
    let worker = Worker::pixels(&clip.config);
    worker.add(LOW, spec);
    feed(&worker, clip)
}

fn feed(worker: &Worker, clip: &Clip) -> (Vec<(FromWorker, Bytes)>, u64) {
    let (mut out, mut decoded) = (Vec::new(), 0);
    for (header, data) in &clip.packets {
        let (more, (count, broken)) = worker.feed(*header, data);
        assert_eq!(broken, 0);
        out.extend(more);
        decoded = count;
    }
    out.extend(worker.drain());
    (out, decoded)
}

/// Every picture of the clip, by its number.
fn all(clip: &Clip) -> Vec<Bytes> {
    let (out, _) = play(clip, raw(PixelFormat::I420, SIZE));
    let pixels: Vec<_> = frames(&out, LOW).into_iter().map(|(_, pixels)| pixels).collect();
    assert_eq!(pixels.len(), clip.packets.len());
    pixels
}

/// One picture in each slot of 200 ms, each to the bit what a decoder of everything makes of it.
fn assert_whole(clip: &Clip, out: &[(FromWorker, Bytes)]) {
    let everything = all(clip);
    let taken = frames(out, LOW);
    let times: Vec<i64> = taken.iter().map(|(header, _)| header.pts.0).collect();
    // A picture belongs to the nearest slot.
    let slots = (clip.packets.len() as i64 + 1) / 5;
    assert_eq!(times, (0..=slots).map(|slot| slot * 18_000).collect::<Vec<_>>());
    for ((number, time), (_, pixels)) in numbers(out, LOW).iter().zip(&taken) {
        assert!(everything[*number as usize] == *pixels, "picture {number} differs");
        assert!((i64::from(*number) * 3600 - time).abs() <= 9_000, "picture {number} is not of the slot at {time}");
    }
}

#[test]
fn pictures_that_nothing_refers_to_are_left_out_between_those_that_are_taken() {
    // A B picture nothing refers to between every two others.
    let clip = record(PatternSource { bframes: 1, gop: 50, ..camera(VideoCodec::H264, SIZE) }, 150);
    let (out, decoded) = play(&clip, at(5));
    assert_whole(&clip, &out);
    assert!((70..=90).contains(&decoded), "{decoded} of 150 were decoded");
    // At 20 a second there is no slot to spare.
    let (_, decoded) = play(&clip, at(20));
    assert!(decoded > 140, "{decoded} of 150 were decoded");
}

#[test]
fn h265_is_thinned_by_its_nal_types() {
    let clip = record(PatternSource { bframes: 1, gop: 50, ..camera(VideoCodec::Hevc, SIZE) }, 100);
    let (out, decoded) = play(&clip, at(5));
    assert_whole(&clip, &out);
    assert!(decoded < 80, "{decoded} of 100 were decoded");
}

#[test]
fn the_end_of_a_gop_waits_for_somebody_who_wants_it() {
    let clip = record(PatternSource { gop: 12, ..camera(VideoCodec::H264, SIZE) }, 120);
    let (out, decoded) = play(&clip, at(5));
    assert_whole(&clip, &out);
    assert!((80..115).contains(&decoded), "{decoded} of 120 were decoded");

    // Somebody comes while something is held: it is decoded first, or the rest would be smeared.
    let everything = all(&clip);
    for joined in 40..60 {
        let worker = Worker::pixels(&clip.config);
        worker.add(LOW, at(5));
        let (head, tail) = clip.packets.split_at(joined);
        for (header, data) in head {
            worker.feed(*header, data);
        }
        worker.add(ALL, raw(PixelFormat::I420, SIZE));
        let tail = Clip { config: clip.config.clone(), packets: tail.to_vec() };
        let (out, _) = feed(&worker, &tail);
        let shown = numbers(&out, ALL);
        assert!(shown[0].0 <= joined as u32, "{shown:?}");
        assert!(shown.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "{shown:?}");
        assert!(shown.iter().zip(frames(&out, ALL)).all(|((n, _), (_, pixels))| everything[*n as usize] == pixels));
    }
}

#[test]
fn keyframes_alone_are_decoded_where_nobody_wants_more() {
    let clip = record(PatternSource { gop: 12, bframes: 2, ..camera(VideoCodec::H264, SIZE) }, 60);
    let keys: Vec<u32> = (0..5).map(|n| n * 12).collect();
    let (out, decoded) = play(&clip, keyframes());
    let shown = |out| numbers(out, LOW).iter().map(|(number, _)| *number).collect::<Vec<_>>();
    assert_eq!((shown(&out), decoded), (keys.clone(), 5));

    // Beside others they are the same; who joins in the middle of a GOP gets what lies behind its keyframe as well.
    let everything = all(&clip);
    let worker = Worker::pixels(&clip.config);
    worker.add(LOW, keyframes());
    let mut out = Vec::new();
    for (header, data) in &clip.packets[..30] {
        out.extend(worker.feed(*header, data).0);
    }
    worker.add(ALL, raw(PixelFormat::I420, SIZE));
    let rest = Clip { config: clip.config.clone(), packets: clip.packets[30..].to_vec() };
    out.extend(feed(&worker, &rest).0);
    assert_eq!(shown(&out), keys);
    let joined = numbers(&out, ALL);
    assert_eq!(joined.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (24..60).collect::<Vec<_>>());
    assert!(joined.iter().zip(frames(&out, ALL)).all(|((n, _), (_, pixels))| everything[*n as usize] == pixels));
}

#[test]
fn a_still_is_of_the_newest_picture_all_the_same() {
    let clip = record(PatternSource { gop: 25, ..camera(VideoCodec::H264, SIZE) }, 40);
    let worker = Worker::pixels(&clip.config);
    worker.add(LOW, keyframes());
    for (header, data) in &clip.packets {
        worker.feed(*header, data);
    }
    let spec = StillSpec { width: None, height: None, crop: None, quality: 90 };
    worker.send(&ToWorker::Still { id: 7, spec, at: None });
    let (FromWorker::Still { header: Some(header), .. }, _) = worker.next() else { panic!("a still comes") };
    assert_eq!(header.pts.0, 39 * 3600);
}

/// The clip as a camera of JPEGs would send it.
fn as_jpegs(clip: &Clip) -> Clip {
    let (out, _) =
        play(clip, RenditionSpec { output: OutputSpec::Jpeg { quality: 80 }, ..raw(PixelFormat::I420, SIZE) });
    let header = clip.packets[0].0;
    let packet = |(frame, data): (FrameHeader, Bytes)| {
        (PacketHeader { pts: frame.pts, dts: frame.pts, keyframe: true, ..header }, data)
    };
    let config = VideoConfig { codec: VideoCodec::Mjpeg, parameter_sets: Vec::new(), ..clip.config.clone() };
    Clip { config, packets: frames(&out, LOW).into_iter().map(packet).collect() }
}

#[test]
fn jpegs_are_decoded_as_they_are_taken() {
    let clip = as_jpegs(&record(camera(VideoCodec::H264, SIZE), 50));
    let (out, decoded) = play(&clip, at(5));
    assert_whole(&clip, &out);
    assert_eq!(decoded, 11, "one for each slot, of which the last begins");
}

#[test]
fn the_clip_with_b_pictures_has_what_is_tested_here() {
    let clip = record(PatternSource { bframes: 1, gop: 50, ..camera(VideoCodec::H264, SIZE) }, 50);
    let is_unreferenced = |data: &[u8]| {
        let mut slices = nal::units(data).filter(|unit| nal::kind(VideoCodec::H264, unit) == NalKind::Slice);
        slices.any(|slice| nal::unreferenced_layer(VideoCodec::H264, slice).is_some())
    };
    assert_eq!(clip.packets.iter().filter(|(_, data)| is_unreferenced(data)).count(), 24);
}
