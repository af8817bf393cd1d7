use super::*;
use crate::media::{Geometry, PacketHeader, Track, VideoCodec, WallClock};
use bytes::Bytes;

const LIMITS: RingLimits =
    RingLimits { ticks: 900_000, bytes: 10_000, hard_bytes: 40_000, lag_ticks: 180_000, lag_bytes: 4_000 };

fn config() -> Arc<VideoConfig> {
    Arc::new(VideoConfig {
        generation: 0,
        codec: VideoCodec::H264,
        parameter_sets: vec![],
        profile: "main".into(),
        rfc6381: "avc1.4D401F".into(),
        geometry: Geometry::new(64, 64),
        frame_rate: None,
        bit_depth: 8,
        reorder_depth: 0,
    })
}

fn packet(number: i64, keyframe: bool, size: usize) -> Packet {
    let time = MediaTime(number * 3600);
    let header = PacketHeader { track: Track::Video, pts: time, dts: time, keyframe, wall: WallClock(0) };
    Packet { header, config: TrackConfig::Video(config()), data: Bytes::from(vec![0; size]) }
}

fn filled(count: i64, gop: i64, size: usize) -> Arc<Ring> {
    let ring = Arc::new(Ring::new(LIMITS));
    for number in 0..count {
        ring.push(packet(number, number % gop == 0, size));
    }
    ring
}

fn number(read: Option<Read>) -> i64 {
    match read {
        Some(Read::Packet(packet)) => packet.header.pts.0 / 3600,
        other => panic!("expected a packet, got {other:?}"),
    }
}

#[tokio::test]
async fn a_reader_starts_at_the_newest_keyframe_and_follows() {
    let ring = filled(60, 50, 10);
    let mut reader = ring.reader(Start::NewestKeyframe);
    for expected in 50..60 {
        assert_eq!(number(reader.next().await), expected);
    }
    ring.push(packet(60, false, 10));
    assert_eq!(number(reader.next().await), 60);
    ring.close();
    assert!(reader.next().await.is_none());
}

#[tokio::test]
async fn whole_gops_leave_at_the_front() {
    let ring = filled(1000, 50, 10);
    let stats = ring.stats();
    assert!(stats.seconds <= 10.0 && stats.seconds > 8.0, "{stats:?}");
    let mut oldest = ring.reader(Start::KeyframeBefore(MediaTime(0)));
    assert_eq!(number(oldest.next().await) % 50, 0);
    let mut middle = ring.reader(Start::KeyframeBefore(MediaTime(870 * 3600)));
    assert_eq!(number(middle.next().await), 850);
}

#[test]
fn a_long_gop_is_kept_past_the_soft_limit_and_given_up_at_the_hard_one() {
    let ring = filled(300, 10_000, 100);
    assert!(ring.stats().bytes == 30_000 && ring.stats().joinable, "{:?}", ring.stats());
    let ring = filled(500, 10_000, 100);
    assert!(!ring.stats().joinable);
    assert!(ring.stats().bytes <= 40_000);
    ring.push(packet(500, true, 100));
    assert!(ring.stats().joinable);
    assert_eq!(number(ring.reader(Start::NewestKeyframe).try_next()), 500);
}

#[test]
fn a_reader_at_the_edge_survives_a_gop_that_is_given_up() {
    let ring = filled(1, 10_000, 100);
    let mut reader = ring.reader(Start::NewestKeyframe);
    for next in 0..600 {
        assert_eq!(number(reader.try_next()), next);
        ring.push(packet(next + 1, false, 100));
    }
}

#[test]
fn a_lagging_reader_skips_to_the_newest_keyframe_and_knows_how_far() {
    let ring = filled(1, 50, 10);
    let mut reader = ring.reader(Start::NewestKeyframe);
    assert_eq!(number(reader.try_next()), 0);
    for next in 1..120 {
        ring.push(packet(next, next % 50 == 0, 10));
    }
    assert!(matches!(reader.try_next(), Some(Read::Skipped(99))));
    assert_eq!(number(reader.try_next()), 100);
}

#[test]
fn the_backlog_at_joining_is_no_lag() {
    let ring = filled(240, 60, 10);
    let mut reader = ring.reader(Start::KeyframeBefore(MediaTime(0)));
    for expected in 0..240 {
        assert_eq!(number(reader.try_next()), expected);
    }
}

#[test]
fn an_overrun_reader_goes_on_at_a_keyframe() {
    let ring = filled(1, 50, 10);
    let mut reader = ring.reader(Start::NewestKeyframe);
    for next in 1..2000 {
        ring.push(packet(next, next % 50 == 0, 10));
    }
    assert!(matches!(reader.try_next(), Some(Read::Skipped(1950))));
    assert_eq!(number(reader.try_next()), 1950);
}
