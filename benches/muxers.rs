//! What it costs to write 1000 access units of a 1080p25 camera at 4 Mbit/s into each container.

use bytes::{Bytes, BytesMut};
use camshaft::media::{
    FrameRate, Geometry, MediaTime, Packet, PacketHeader, Track, TrackConfig, VideoCodec, VideoConfig, WallClock, nal,
};
use camshaft::output::{AnnexB, Fmp4, MpegTs, PacketMuxer, ParameterSets};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;

const PACKETS: i64 = 1000;
const GOP: i64 = 50;
/// 4 Mbit/s at 25 frames a second: a keyframe takes as much as 16 others.
const KEYFRAME_BYTES: usize = 250_000;
const OTHER_BYTES: usize = 15_600;

fn camera() -> (Arc<VideoConfig>, Vec<Packet>) {
    let config = Arc::new(VideoConfig {
        generation: 0,
        codec: VideoCodec::H264,
        parameter_sets: vec![
            Bytes::from_static(&[0x67, 0x4d, 0x40, 0x28, 0x95, 0xa0, 0x1e, 0x00, 0x89, 0xf9, 0x50]),
            Bytes::from_static(&[0x68, 0xee, 0x3c, 0x80]),
        ],
        profile: "main".to_owned(),
        rfc6381: "avc1.4D4028".to_owned(),
        geometry: Geometry::new(1920, 1080),
        frame_rate: FrameRate::new(25, 1),
        bit_depth: 8,
        reorder_depth: 0,
    });
    let access_unit =
        |first: u8, bytes: usize| nal::length_prefixed([&[&[first], &vec![0x5a; bytes][..]].concat()[..]]);
    let (key, other) = (access_unit(0x65, KEYFRAME_BYTES), access_unit(0x41, OTHER_BYTES));
    let packet = |index: i64| {
        let (time, keyframe) = (MediaTime(index * 3600), index % GOP == 0);
        Packet {
            header: PacketHeader { track: Track::Video, pts: time, dts: time, keyframe, wall: WallClock(0) },
            config: TrackConfig::Video(config.clone()),
            data: if keyframe { key.clone() } else { other.clone() },
        }
    };
    (config.clone(), (0..PACKETS).map(packet).collect())
}

fn muxers(criterion: &mut Criterion) {
    let (config, packets) = camera();
    let mut group = criterion.benchmark_group("muxers");
    group.throughput(Throughput::Bytes(packets.iter().map(|packet| packet.data.len() as u64).sum()));
    let mut bench = |name: &str, make: &dyn Fn() -> Box<dyn PacketMuxer>| {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (make(), BytesMut::with_capacity(1 << 20)),
                |(mut muxer, mut out)| {
                    for packet in &packets {
                        out.clear();
                        muxer.packet(packet, &mut out).expect("the packets are whole");
                        black_box(&out);
                    }
                },
                BatchSize::SmallInput,
            );
        });
    };
    bench("fmp4", &|| {
        Box::new(Fmp4::new(&config, None, ParameterSets::OutOfBand).expect("the parameter sets are whole"))
    });
    bench("mpegts", &|| Box::new(MpegTs::new(&config, None)));
    bench("annexb", &|| Box::new(AnnexB::new(&config)));
    group.finish();
}

criterion_group!(benches, muxers);
criterion_main!(benches);
