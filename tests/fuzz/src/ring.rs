//! The packet ring and its readers.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use camshaft::media::{
    Geometry, MediaTime, Packet, PacketHeader, Track, TrackConfig, VideoCodec, VideoConfig, WallClock,
};
use camshaft::ring::{Read, Reader, Ring, RingLimits, Start};
use std::sync::Arc;

use crate::media::video_config;

const LIMITS: RingLimits =
    RingLimits { ticks: 90_000, bytes: 2_000, hard_bytes: 4_000, lag_ticks: 45_000, lag_bytes: 1_000 };

/// The ring stays within its hard limit; a reader starts at a keyframe, goes on at one where it skipped, and sees every other
/// packet once, in order.
pub fn ring(data: &[u8]) {
    // Too few bytes end the story.
    let _ = play(&mut Unstructured::new(data));
}

struct Watched {
    reader: Reader,
    /// The number of the packet that comes next; `None`: a keyframe.
    next: Option<i64>,
}

fn play(u: &mut Unstructured) -> Result<()> {
    let ring = Arc::new(Ring::new(LIMITS));
    let config = Arc::new(video_config(VideoCodec::H264, Geometry::new(320, 180)));
    let mut readers: Vec<Watched> = Vec::new();
    let (mut number, mut time) = (0i64, 0i64);
    while !u.is_empty() {
        match u.int_in_range(0..=7)? {
            0..=3 => {
                time += i64::from(u.arbitrary::<u16>()?);
                let size = usize::from(u.int_in_range(0..=1_000u16)?);
                ring.push(packet(&config, number, time, u.ratio(1, 4)?, size));
                number += 1;
            }
            4 if readers.len() < 8 => {
                let starts =
                    [Start::NewestKeyframe, Start::NextKeyframe, Start::KeyframeBefore(MediaTime(time - 90_000))];
                readers.push(Watched { reader: ring.reader(*u.choose(&starts)?), next: None });
            }
            5 => drop(ring.keep_newest_gop()),
            _ if !readers.is_empty() => {
                let which = u.choose_index(readers.len())?;
                readers[which].step();
            }
            _ => {}
        }
        let stats = ring.stats();
        assert!(stats.bytes <= LIMITS.hard_bytes && stats.seconds >= 0.0, "{stats:?}");
    }
    Ok(())
}

impl Watched {
    fn step(&mut self) {
        match self.reader.try_next() {
            None => {}
            Some(Read::Skipped(count)) => {
                assert!(count > 0);
                self.next = None;
            }
            Some(Read::Packet(packet)) => {
                let number = packet.header.wall.0;
                match self.next {
                    Some(expected) => assert_eq!(number, expected),
                    None => assert!(packet.header.keyframe, "packet {number} is no place to start"),
                }
                self.next = Some(number + 1);
                let passed = self.reader.since_keyframe();
                assert!(passed.first().is_none_or(|first| first.header.keyframe));
            }
        }
    }
}

fn packet(config: &Arc<VideoConfig>, number: i64, time: i64, keyframe: bool, size: usize) -> Packet {
    Packet {
        header: PacketHeader {
            track: Track::Video,
            pts: MediaTime(time),
            dts: MediaTime(time),
            keyframe,
            wall: WallClock(number),
        },
        config: TrackConfig::Video(config.clone()),
        data: Bytes::from(vec![0; size]),
    }
}
