//! Segments and playlists, read back by ffprobe and held to the rules of RFC 8216bis.

use std::sync::Arc;

use super::clip::{Clip, probe_packets};
use crate::media::{MediaTime, Packet, Track, TrackConfig, VideoConfig, WallClock};
use crate::output::hls::{Resource, Segmenter, playlist};

const WIDE: usize = 1 << 30;

/// The clip's pictures and sound over and over, `seconds` long, from `start` ticks on. Its last sound is left out, as it
/// reaches into the next round.
fn looped(clip: &Clip, start: i64, seconds: i64) -> Vec<Packet> {
    let is_within = |packet: &&Packet| {
        packet.header.track == Track::Video || (0..2 * MediaTime::HZ - 1).contains(&packet.header.dts.0)
    };
    let once: Vec<&Packet> = clip.packets.iter().filter(is_within).collect();
    let shifted = |packet: &Packet, by: i64| {
        let mut packet = packet.clone();
        packet.header.pts = packet.header.pts.offset(by);
        packet.header.dts = packet.header.dts.offset(by);
        packet.header.wall = WallClock(packet.header.dts.0 * 100 / 9);
        packet
    };
    let round = |number: i64| once.iter().map(move |packet| shifted(packet, start + number * 2 * MediaTime::HZ));
    (0..seconds / 2).flat_map(round).collect()
}

fn segmenter(clip: &Clip, packets: &[Packet], limit: usize) -> Segmenter {
    let first = packets.iter().find(|packet| packet.is_random_access()).unwrap();
    let mut segmenter = Segmenter::new(clip.video.clone(), clip.audio.clone(), &first.header, limit).unwrap();
    feed(&mut segmenter, packets);
    segmenter
}

fn feed(segmenter: &mut Segmenter, packets: &[Packet]) {
    for packet in packets {
        segmenter.packet(packet).unwrap();
    }
}

fn text(segmenter: &Segmenter) -> String {
    playlist(segmenter.window(), "hls/0/").expect("a whole segment")
}

fn read(segmenter: &Segmenter, resource: Resource) -> Vec<u8> {
    segmenter.window().read(resource).unwrap().concat()
}

/// Durations in seconds: of segments, of each segment's listed parts, and the two targets.
struct Durations {
    segments: Vec<f64>,
    parts: Vec<Vec<f64>>,
    target: f64,
    part_target: f64,
}

impl Durations {
    fn of(playlist: &str) -> Self {
        let number = |text: &str| text.split(',').next().unwrap().parse::<f64>().unwrap();
        let mut found = Self { segments: vec![], parts: vec![vec![]], target: 0.0, part_target: 0.0 };
        for line in playlist.lines() {
            if let Some(value) = line.strip_prefix("#EXTINF:") {
                found.segments.push(number(value));
                found.parts.push(vec![]);
            } else if let Some(value) = line.strip_prefix("#EXT-X-PART:DURATION=") {
                found.parts.last_mut().unwrap().push(number(value));
            } else if let Some(value) = line.strip_prefix("#EXT-X-TARGETDURATION:") {
                found.target = number(value);
            } else if let Some(value) = line.strip_prefix("#EXT-X-PART-INF:PART-TARGET=") {
                found.part_target = number(value);
            }
        }
        found
    }

    /// RFC 8216bis §4.4.3.1 (segments), §4.4.3.7 and §4.4.4.9 (parts).
    fn assert_within_targets(&self) {
        assert!(self.segments.iter().all(|length| length.round() <= self.target), "{:?}", self.segments);
        for parts in &self.parts {
            assert!(parts.iter().all(|length| *length <= self.part_target), "{parts:?}");
            let all_but_last = parts.iter().rev().skip(1);
            assert!(all_but_last.clone().all(|length| *length >= self.part_target * 0.85), "{parts:?}");
        }
    }
}

#[test]
fn a_playlist_lists_segments_parts_and_what_comes_next() {
    let clip = Clip::new("160x120", &["-c:v", "libx264", "-bf", "0", "-force_key_frames", "0,1"]);
    let segmenter = segmenter(&clip, &looped(&clip, 70 * MediaTime::HZ, 6), WIDE);
    insta::assert_snapshot!(text(&segmenter));
}

#[test]
fn segments_joined_are_the_source() {
    for clip in [Clip::h264(), Clip::h264_with_b_frames(), Clip::hevc()] {
        let packets = looped(&clip, 0, 20);
        let segmenter = segmenter(&clip, &packets, WIDE);
        let playlist = text(&segmenter);
        let sequences = playlist.lines().filter_map(|line| line.strip_prefix("hls/0/")?.strip_suffix(".m4s"));
        let sequences: Vec<u64> = sequences.map(|number| number.parse().unwrap()).collect();
        assert!(sequences.len() >= 8 && sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
        let media = sequences.iter().flat_map(|sequence| read(&segmenter, Resource::Segment(*sequence)));
        let path = clip.beside("joined.mp4");
        std::fs::write(&path, [read(&segmenter, Resource::Map(0)), media.collect()].concat()).unwrap();
        for (streams, track) in [("v", Track::Video), ("a", Track::Audio)] {
            let probed = probe_packets(&path, streams);
            let source: Vec<_> = packets.iter().filter(|packet| packet.header.track == track).collect();
            let origin = packets.iter().find(|packet| packet.is_random_access()).unwrap().header.dts;
            let at = source.iter().position(|packet| packet.header.dts.since(origin) == probed[0].dts).unwrap();
            let expected = source[at..].iter().map(|packet| (packet.header.dts.since(origin), packet.header.keyframe));
            let seen: Vec<_> = probed.iter().map(|packet| (packet.dts, packet.keyframe)).collect();
            assert!(seen.len() > 150);
            assert_eq!(seen, expected.take(seen.len()).collect::<Vec<_>>());
        }
        let durations = Durations::of(&playlist);
        durations.assert_within_targets();
        let pictures = probe_packets(&path, "v").len() as f64;
        assert!((durations.segments.iter().sum::<f64>() - pictures / 25.0).abs() < 0.001);
    }
}

#[test]
fn a_source_without_keyframes_is_cut_all_the_same() {
    let clip = Clip::h264();
    let mut packets = looped(&clip, 0, 40);
    packets.retain(|packet| packet.header.track == Track::Video);
    packets.iter_mut().skip(1).for_each(|packet| packet.header.keyframe = false);
    let segmenter = segmenter(&clip, &packets, WIDE);
    let durations = Durations::of(&text(&segmenter));
    assert_eq!(durations.target, 4.0);
    durations.assert_within_targets();
    assert!(durations.segments.iter().all(|length| *length > 3.0), "{:?}", durations.segments);
}

#[test]
fn slow_and_unsteady_cameras_stay_within_their_targets() {
    let clip = Clip::h264();
    for step in [3 * MediaTime::HZ / 2, MediaTime::HZ, MediaTime::HZ / 5, MediaTime::HZ / 60] {
        let mut packets: Vec<_> =
            looped(&clip, 0, 20).into_iter().filter(|packet| packet.header.track == Track::Video).collect();
        for (index, packet) in packets.iter_mut().enumerate() {
            let jitter = step / 50 * (index as i64 * 7 % 5 - 2);
            packet.header.dts = MediaTime(index as i64 * step + step + jitter);
            packet.header.pts = packet.header.dts;
            packet.header.keyframe = (index as i64 * step) % (2 * MediaTime::HZ) < step;
        }
        let segmenter = segmenter(&clip, &packets, WIDE);
        Durations::of(&text(&segmenter)).assert_within_targets();
    }
}

#[test]
fn the_window_is_bounded_in_segments_and_bytes() {
    let clip = Clip::h264();
    let packets = looped(&clip, 0, 60);
    let long = segmenter(&clip, &packets, WIDE);
    assert_eq!(Durations::of(&text(&long)).segments.len(), 8);
    let newest = long.window().newest();
    assert!(long.window().read(Resource::Segment(newest - 10)).is_some());
    assert!(long.window().read(Resource::Segment(newest - 11)).is_none());

    let per_second: usize = packets.iter().map(|packet| packet.data.len()).sum::<usize>() / 60;
    let limit = per_second * 8;
    let short = segmenter(&clip, &packets, limit);
    let held = (0..=newest * 4).filter_map(|sequence| short.window().read(Resource::Segment(sequence)));
    let held: usize = held.map(|pieces| pieces.concat().len()).sum();
    assert!(held <= limit && held > limit / 2, "{held} of {limit}");
}

#[test]
fn a_changed_source_gets_a_header_of_its_own() {
    let (before, after) = (Clip::h264(), Clip::new("320x240", &["-c:v", "libx264", "-bf", "0"]));
    let config = Arc::new(VideoConfig { generation: 1, ..(*after.video).clone() });
    let mut later = looped(&after, 6 * MediaTime::HZ, 6);
    later.retain(|packet| packet.header.track == Track::Video);
    later.iter_mut().for_each(|packet| packet.config = TrackConfig::Video(config.clone()));
    let mut segmenter = segmenter(&before, &looped(&before, 0, 6), WIDE);
    feed(&mut segmenter, &later);

    let playlist = text(&segmenter);
    let at = |what: &str| playlist.find(what).unwrap_or_else(|| panic!("no {what} in {playlist}"));
    assert!(at("init0.mp4") < at("#EXT-X-DISCONTINUITY\n") && at("#EXT-X-DISCONTINUITY\n") < at("init1.mp4"));
    assert_eq!(playlist.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
    let first = playlist[at("init1.mp4")..].lines().find_map(|line| line.strip_prefix("hls/0/")?.strip_suffix(".m4s"));
    let segment = read(&segmenter, Resource::Segment(first.unwrap().parse().unwrap()));
    let path = after.beside("after.mp4");
    std::fs::write(&path, [read(&segmenter, Resource::Map(1)), segment].concat()).unwrap();
    let probed = probe_packets(&path, "v");
    assert!(probed[0].keyframe && probed[0].dts == 0 && probed.len() >= 20, "{probed:?}");

    // Long after, the number of what has left the playlist is kept.
    let mut rest = looped(&after, 12 * MediaTime::HZ, 30);
    rest.iter_mut().for_each(|packet| packet.config = TrackConfig::Video(config.clone()));
    rest.retain(|packet| packet.header.track == Track::Video);
    feed(&mut segmenter, &rest);
    let playlist = text(&segmenter);
    assert!(playlist.contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n") && !playlist.contains("#EXT-X-DISCONTINUITY\n"));
}

#[test]
fn changed_sound_gets_a_header_of_its_own() {
    let (silent, loud) = (Clip::h264(), Clip::new("160x120", &["-c:v", "libx264", "-bf", "0", "-ar", "44100"]));
    let mut packets = looped(&loud, 6 * MediaTime::HZ, 6);
    let video = TrackConfig::Video(silent.video.clone());
    packets
        .iter_mut()
        .filter(|packet| packet.header.track == Track::Video)
        .for_each(|packet| packet.config = video.clone());
    let mut segmenter = segmenter(&silent, &looped(&silent, 0, 6), WIDE);
    feed(&mut segmenter, &packets);
    let path = loud.beside("after.mp4");
    let newest = segmenter.window().newest();
    let media = read(&segmenter, Resource::Segment(newest - 1));
    std::fs::write(&path, [read(&segmenter, Resource::Map(1)), media].concat()).unwrap();
    assert!(probe_packets(&path, "a").len() > 20);
    Durations::of(&text(&segmenter)).assert_within_targets();
}

#[test]
fn a_gap_is_a_discontinuity_and_no_long_segment() {
    let clip = Clip::h264();
    let mut segmenter = segmenter(&clip, &looped(&clip, 0, 6), WIDE);
    feed(&mut segmenter, &looped(&clip, 60 * MediaTime::HZ, 6));
    let playlist = text(&segmenter);
    assert_eq!(playlist.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{playlist}");
    Durations::of(&playlist).assert_within_targets();
    assert_eq!(playlist.matches("#EXT-X-MAP").count(), 1);
}

#[test]
fn file_names_are_read_and_refused() {
    for resource in [Resource::Map(0), Resource::Segment(u64::MAX), Resource::Part(7, 12)] {
        assert_eq!(resource.file_name().parse(), Ok(resource));
    }
    for name in ["", ".m4s", "init.mp4", "1.2.3.m4s", "-1.m4s", "1.m4s.m4s", "../1.m4s", "99999999999999999999.m4s"] {
        assert!(name.parse::<Resource>().unwrap_err().contains("live.m3u8"), "{name}");
    }
}
