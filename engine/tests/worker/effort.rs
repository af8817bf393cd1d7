//! What a worker leaves out when it is told to make less effort.

use bytes::Bytes;
use camshaft::link::{Effort, FromWorker, ToWorker};
use camshaft::media::nal::{self, NalKind};
use camshaft::media::pattern::Painter;
use camshaft::media::{
    Cadence, EncodeSpec, Geometry, OutputSpec, PacketHeader, PatternSource, PixelFormat, RateControl, RenditionSpec,
    VideoCodec,
};

use crate::support::{Clip, Worker, camera, frames, numbers, psnr, raw, record};

const SIZE: Geometry = Geometry { width: 320, height: 180 };
const RAW: u32 = 0;
const ENCODED: u32 = 1;

/// Two B pictures in a row, and a keyframe every twelve.
fn clip() -> Clip {
    record(PatternSource { bframes: 2, ..camera(VideoCodec::H264, SIZE) }, 48)
}

/// A worker on the clip that makes raw pictures and an encode.
fn worker(clip: &Clip) -> Worker {
    let worker = Worker::pixels(&clip.config);
    worker.add(RAW, raw(PixelFormat::I420, SIZE));
    let encode = EncodeSpec { codec: VideoCodec::H264, rate_control: RateControl::Quality(50), gop: 50 };
    worker.add(
        ENCODED,
        RenditionSpec { crop: None, size: SIZE, cadence: Cadence::Every, output: OutputSpec::Encode(encode) },
    );
    worker
}

/// All that comes of the clip with this effort.
fn play(clip: &Clip, effort: Effort) -> Vec<(FromWorker, Bytes)> {
    let worker = worker(clip);
    worker.send(&ToWorker::Effort(effort));
    worker.play(clip)
}

fn encoded_times(out: &[(FromWorker, Bytes)]) -> Vec<i64> {
    let time = |(message, _): &(FromWorker, Bytes)| match message {
        FromWorker::Encoded { id: ENCODED, header } => Some(header.pts.0),
        _ => None,
    };
    out.iter().filter_map(time).collect()
}

/// Whether any other picture may refer to it: `nal_ref_idc` (ITU-T H.264 §7.4.1).
fn is_reference((_, data): &&(PacketHeader, Bytes)) -> bool {
    let is_slice = |unit: &&[u8]| matches!(nal::kind(VideoCodec::H264, unit), NalKind::Slice | NalKind::KeySlice);
    nal::units(data).find(is_slice).is_some_and(|slice| slice[0] & 0x60 != 0)
}

#[test]
fn each_step_leaves_out_more_and_times_stay() {
    let clip = clip();
    let mut references: Vec<i64> = clip.packets.iter().filter(is_reference).map(|(header, _)| header.pts.0).collect();
    references.sort_unstable();
    assert!((16..40).contains(&references.len()), "some are references, some are not: {references:?}");
    let halved: Vec<i64> = references.iter().copied().step_by(2).collect();

    let full = play(&clip, Effort::Full);
    assert_eq!((frames(&full, RAW).len(), encoded_times(&full).len()), (48, 48));
    let steps = [Effort::SkipNonReference, Effort::HalveDetect, Effort::SkipLoopFilter];
    for (effort, raw_times) in steps.into_iter().zip([&references, &halved, &halved]) {
        let out = play(&clip, effort);
        let shown = numbers(&out, RAW);
        assert_eq!(shown.iter().map(|(_, time)| *time).collect::<Vec<_>>(), *raw_times, "{effort:?}");
        assert!(shown.iter().all(|(number, time)| i64::from(*number) * 3600 == *time), "{effort:?}: {shown:?}");
        assert_eq!(encoded_times(&out), references, "{effort:?}: an encode gets all there is");
    }
}

/// What a live encoder makes of the clip; unlike a pattern source it has H.264's loop filter on.
fn filtered_clip(clip: &Clip) -> Clip {
    let out = play(clip, Effort::Full);
    let config = out.iter().find_map(|(message, _)| match message {
        FromWorker::EncodedConfig { config, .. } => Some(config.clone()),
        _ => None,
    });
    let packet = |(message, data): &(FromWorker, Bytes)| match message {
        FromWorker::Encoded { header, .. } => Some((*header, data.clone())),
        _ => None,
    };
    Clip { config: config.expect("a configuration"), packets: out.iter().filter_map(packet).collect() }
}

#[test]
fn the_loop_filter_is_left_out_by_the_third_step() {
    let clip = filtered_clip(&clip());
    let full = play(&clip, Effort::Full);
    for (effort, is_filtered) in [(Effort::HalveDetect, true), (Effort::SkipLoopFilter, false)] {
        let out = play(&clip, effort);
        let same = |frame: &_| frames(&full, RAW).contains(frame);
        let (shown, filtered) = (frames(&out, RAW).len(), frames(&out, RAW).iter().filter(|frame| same(frame)).count());
        assert!(shown >= 12, "{effort:?}: {shown} pictures");
        assert_eq!(filtered == shown, is_filtered, "{effort:?}: {filtered} of {shown} are as with the loop filter");
    }
}

#[test]
fn keyframes_alone_come_at_once_and_nothing_smears_afterwards() {
    let clip = clip();
    let worker = worker(&clip);
    worker.send(&ToWorker::Effort(Effort::KeyframesOnly));
    let mut shown = Vec::new();
    for (header, data) in &clip.packets[..30] {
        let (out, _) = worker.feed(*header, data);
        assert_eq!(encoded_times(&out).len(), usize::from(header.keyframe), "a keyframe, at once");
        shown.extend(numbers(&out, RAW));
    }
    assert_eq!(shown, [(0, 0), (24, 24 * 3600)], "raw pictures at half their rate");
    // In the middle of a GOP, whose pictures refer to some that were left out.
    worker.send(&ToWorker::Effort(Effort::Full));
    let rest = Clip { config: clip.config.clone(), packets: clip.packets[30..].to_vec() };
    let out = worker.play(&rest);
    let shown: Vec<u32> = numbers(&out, RAW).iter().map(|(number, _)| *number).collect();
    assert_eq!(shown, (36..48).collect::<Vec<_>>());
    let painter = Painter::new(SIZE);
    for (number, (_, pixels)) in shown.iter().zip(frames(&out, RAW)) {
        assert!(psnr(&painter, *number, &pixels, SIZE) > 30.0, "picture {number} is smeared");
    }
}
