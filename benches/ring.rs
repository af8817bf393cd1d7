//! The packet ring and the fan-out: what every packet and every picture goes through.

use bytes::Bytes;
use camshaft::fanout::Fanout;
use camshaft::media::{
    Geometry, MediaTime, Packet, PacketHeader, Track, TrackConfig, VideoCodec, VideoConfig, WallClock,
};
use camshaft::ring::{Read, Ring, RingLimits, Start};
use criterion::{Criterion, criterion_group, criterion_main};
use std::sync::Arc;

const LIMITS: RingLimits =
    RingLimits { ticks: 900_000, bytes: 16 << 20, hard_bytes: 64 << 20, lag_ticks: 180_000, lag_bytes: 4 << 20 };

fn packets() -> Vec<Packet> {
    let config = Arc::new(VideoConfig {
        generation: 0,
        codec: VideoCodec::H264,
        parameter_sets: vec![],
        profile: "main".into(),
        rfc6381: "avc1.4D401F".into(),
        geometry: Geometry::new(1920, 1080),
        frame_rate: None,
        bit_depth: 8,
        reorder_depth: 0,
    });
    let data = Bytes::from(vec![0; 20_000]);
    (0..1000)
        .map(|number| {
            let time = MediaTime(number * 3600);
            let keyframe = number % 50 == 0;
            let header = PacketHeader { track: Track::Video, pts: time, dts: time, keyframe, wall: WallClock(0) };
            Packet { header, config: TrackConfig::Video(config.clone()), data: data.clone() }
        })
        .collect()
}

fn ring(criterion: &mut Criterion) {
    let packets = packets();
    criterion.bench_function("ring: 1000 packets past 20 readers", |bencher| {
        bencher.iter(|| {
            let ring = Arc::new(Ring::new(LIMITS));
            let mut readers: Vec<_> = (0..20).map(|_| ring.reader(Start::NewestKeyframe)).collect();
            let mut read = 0;
            for packet in &packets {
                ring.push(packet.clone());
                for reader in &mut readers {
                    read += usize::from(matches!(reader.try_next(), Some(Read::Packet(_))));
                }
            }
            assert_eq!(read, 20_000);
        });
    });
}

fn fanout(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let picture = Bytes::from(vec![0; 1 << 20]);
    criterion.bench_function("fan-out: 1000 pictures to 20 subscriptions", |bencher| {
        bencher.iter(|| {
            let fanout = Fanout::default();
            let mut subscriptions: Vec<_> = (0..20).map(|_| fanout.subscribe()).collect();
            runtime.block_on(async {
                for _ in 0..1000 {
                    fanout.send(picture.clone());
                    for subscription in &mut subscriptions {
                        assert!(subscription.next().await.is_some_and(|delivery| delivery.dropped == 0));
                    }
                }
            });
        });
    });
}

criterion_group!(benches, ring, fanout);
criterion_main!(benches);
