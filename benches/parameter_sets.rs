//! What it costs to find an access unit's NAL units, to put their lengths before them, and to read parameter sets.

use bytes::Bytes;
use camshaft::media::{VideoCodec, nal, parse_parameter_sets};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// x264's, of 1920x1080 with VUI.
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00,
    0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
/// A keyframe of a 1080p25 camera at 4 Mbit/s.
const KEYFRAME_BYTES: usize = 250_000;

fn parameter_sets(criterion: &mut Criterion) {
    let sets = [Bytes::from_static(SPS), Bytes::from_static(PPS)];
    parse_parameter_sets(VideoCodec::H264, &sets).expect("the sets are whole");
    criterion.bench_function("parameter_sets/parse", |bencher| {
        bencher.iter(|| parse_parameter_sets(VideoCodec::H264, black_box(&sets)));
    });
}

fn nal_units(criterion: &mut Criterion) {
    const START: &[u8] = &[0, 0, 0, 1];
    let slice = [&[0x65][..], &vec![0x5a; KEYFRAME_BYTES]].concat();
    let stream = [START, SPS, START, PPS, START, &slice].concat();
    let mut group = criterion.benchmark_group("nal");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function("find", |bencher| bencher.iter(|| nal::annexb_units(black_box(&stream)).len()));
    let units = nal::annexb_units(&stream);
    group.bench_function("length_prefixed", |bencher| {
        bencher.iter(|| nal::length_prefixed(black_box(&units).iter().copied()));
    });
    group.finish();
}

criterion_group!(benches, parameter_sets, nal_units);
criterion_main!(benches);
