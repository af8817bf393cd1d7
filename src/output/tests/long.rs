//! Outputs that run for hours: no drift, and no trouble where the clocks of MPEG-TS wrap.

use bytes::BytesMut;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::clip::Clip;
use crate::media::{MediaTime, Packet, Track};
use crate::output::{Fmp4, MpegTs, PacketMuxer, ParameterSets};

const HOUR: i64 = 3600 * MediaTime::HZ;
/// Ticks of a picture at 25 a second.
const PICTURE: i64 = MediaTime::HZ / 25;
/// Samples in an AAC frame, and how many there are a second: no whole number of ticks.
const AAC_FRAME: i64 = 1024;
const SAMPLE_RATE: u32 = 44_100;

fn small_clip() -> Clip {
    Clip::new("64x64", &["-c:v", "libx264", "-bf", "0", "-qp", "40", "-b:a", "16k", "-ar", "44100"])
}

/// An hour of the clip's pictures and sound, in the order of their times, from `start` on.
fn hour(clip: &Clip, start: i64) -> impl Iterator<Item = Packet> {
    let of = |track: Track| {
        let packets: Vec<Packet> = clip.packets.iter().filter(|packet| packet.header.track == track).cloned().collect();
        packets.into_iter().cycle()
    };
    let at = move |mut packet: Packet, time: i64| {
        packet.header.dts = MediaTime(start + time);
        packet.header.pts = packet.header.dts;
        packet
    };
    let pictures = of(Track::Video).zip(0..).map(move |(packet, index)| at(packet, index * PICTURE));
    let sound = of(Track::Audio)
        .zip(0..)
        .map(move |(packet, index)| at(packet, MediaTime::from_clock(index * AAC_FRAME, SAMPLE_RATE).0));
    let is_within = move |packet: &Packet| packet.header.dts.0 < start + HOUR;
    let mut pictures = pictures.take_while(is_within).peekable();
    let mut sound = sound.take_while(is_within).peekable();
    std::iter::from_fn(move || match (pictures.peek(), sound.peek()) {
        (Some(picture), Some(piece)) if piece.header.dts < picture.header.dts => sound.next(),
        (Some(_), _) => pictures.next(),
        (None, _) => sound.next(),
    })
}

/// What `muxer` makes of an hour from `start` on, after a first keyframe at 0.
fn write(clip: &Clip, mut muxer: impl PacketMuxer, start: i64, name: &str) -> PathBuf {
    let mut out = BytesMut::new();
    let mut first = clip.packets.iter().find(|packet| packet.is_random_access()).unwrap().clone();
    (first.header.dts, first.header.pts) = (MediaTime(0), MediaTime(0));
    muxer.packet(&first, &mut out).unwrap();
    // A reader that joins late sees what comes later.
    out.clear();
    out.extend_from_slice(&muxer.header());
    hour(clip, start).for_each(|packet| _ = muxer.packet(&packet, &mut out).unwrap());
    let path = clip.beside(name);
    std::fs::write(&path, &out).unwrap();
    path
}

/// The times of every packet, as ffprobe reads them without a warning; in ticks.
fn times(path: &Path, streams: &str) -> Vec<i64> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "warning", "-select_streams", streams, "-show_entries", "packet=dts", "-of", "csv=p=0"]);
    let output = command.arg(path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect()
}

/// Every picture and piece of sound is at its time, counted from the first picture.
fn assert_no_drift(path: &Path) {
    let (pictures, sound) = (times(path, "v"), times(path, "a"));
    let zero = pictures[0];
    assert_eq!(pictures.len() as i64, HOUR / PICTURE);
    let moved = |(index, time): &(usize, &i64)| **time - zero != *index as i64 * PICTURE;
    assert_eq!(pictures.iter().enumerate().find(moved), None);
    assert_eq!(sound.len() as i64, 3600 * i64::from(SAMPLE_RATE) / AAC_FRAME + 1);
    let exact = |index: usize| MediaTime::from_clock(index as i64 * AAC_FRAME, SAMPLE_RATE).0;
    let moved = |(index, time): &(usize, &i64)| (**time - zero).abs_diff(exact(*index)) > 1;
    assert_eq!(sound.iter().enumerate().find(moved), None);
}

#[test]
fn an_hour_of_mp4_does_not_drift() {
    let clip = small_clip();
    let muxer = Fmp4::new(&clip.video, clip.audio.as_deref(), ParameterSets::OutOfBand).unwrap();
    assert_no_drift(&write(&clip, muxer, PICTURE, "hour.mp4"));
}

#[test]
fn an_hour_of_mpegts_does_not_drift() {
    let clip = small_clip();
    assert_no_drift(&write(&clip, MpegTs::new(&clip.video, clip.audio.as_deref()), PICTURE, "hour.ts"));
}

#[test]
fn an_hour_over_the_wrap_of_mpegts_does_not_drift() {
    let clip = small_clip();
    let half_an_hour_before = (1 << 33) - HOUR / 2;
    let muxer = MpegTs::new(&clip.video, clip.audio.as_deref());
    assert_no_drift(&write(&clip, muxer, half_an_hour_before, "wrap.ts"));
}
