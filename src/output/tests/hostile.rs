//! Whatever a packet holds, a writer returns.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use std::sync::Arc;

use crate::media::{
    AudioCodec, AudioConfig, FrameRate, Geometry, MediaTime, Packet, PacketHeader, Track, TrackConfig, VideoCodec,
    VideoConfig, WallClock, nal,
};
use crate::output::{AnnexB, Fmp4, MpegTs, PacketMuxer, ParameterSets};

fn some_bytes(longest: usize) -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..longest).prop_map(Bytes::from)
}

/// Parameter sets with a fitting first byte and hostile bytes behind it.
fn parameter_sets(codec: VideoCodec) -> impl Strategy<Value = Vec<Bytes>> {
    let types: &[u8] = match codec {
        VideoCodec::H264 => &[0x67, 0x68],
        VideoCodec::Hevc => &[0x40, 0x42, 0x44],
        _ => &[0],
    };
    let set = (proptest::sample::select(types), some_bytes(40));
    let set = set.prop_map(|(first, rest)| Bytes::from([&[first], &rest[..]].concat()));
    proptest::collection::vec(set, 0..6)
}

fn video_config() -> impl Strategy<Value = VideoConfig> {
    let codec = prop_oneof![Just(VideoCodec::H264), Just(VideoCodec::Hevc), Just(VideoCodec::Mjpeg)];
    let config = codec.prop_flat_map(|codec| (Just(codec), parameter_sets(codec), any::<(u32, u32, u32, u32)>()));
    config.prop_map(|(codec, parameter_sets, (width, height, num, den))| VideoConfig {
        generation: 0,
        codec,
        parameter_sets,
        profile: String::new(),
        rfc6381: String::new(),
        geometry: Geometry::new(width % 70_000, height),
        frame_rate: Some(FrameRate { num, den }),
        bit_depth: 8,
        reorder_depth: 0,
    })
}

fn audio_config() -> impl Strategy<Value = AudioConfig> {
    (any::<u32>(), any::<u16>(), some_bytes(6)).prop_map(|(sample_rate, channels, specific)| AudioConfig {
        codec: AudioCodec::Aac,
        sample_rate,
        channels,
        specific,
        rfc6381: String::new(),
    })
}

/// Whole NAL units, or anything.
fn payload() -> impl Strategy<Value = Bytes> {
    let units = proptest::collection::vec(some_bytes(400), 0..4);
    prop_oneof![units.prop_map(|units| nal::length_prefixed(units.iter().map(|unit| &unit[..]))), some_bytes(400)]
}

fn packet(video: VideoConfig, audio: AudioConfig) -> impl Strategy<Value = Packet> {
    let (video, audio) = (Arc::new(video), Arc::new(audio));
    (any::<bool>(), any::<bool>(), any::<i64>(), any::<i64>(), payload()).prop_map(
        move |(is_video, keyframe, pts, dts, data)| Packet {
            header: PacketHeader {
                track: if is_video { Track::Video } else { Track::Audio },
                pts: MediaTime(pts),
                dts: MediaTime(dts),
                keyframe,
                wall: WallClock(0),
            },
            config: match is_video {
                true => TrackConfig::Video(video.clone()),
                false => TrackConfig::Audio(audio.clone()),
            },
            data,
        },
    )
}

fn source() -> impl Strategy<Value = (VideoConfig, AudioConfig, Vec<Packet>)> {
    (video_config(), audio_config()).prop_flat_map(|(video, audio)| {
        let packets = proptest::collection::vec(packet(video.clone(), audio.clone()), 0..12);
        (Just(video), Just(audio), packets)
    })
}

fn write(muxer: &mut dyn PacketMuxer, packets: &[Packet]) -> BytesMut {
    let mut out = BytesMut::from(&muxer.header()[..]);
    for packet in packets {
        muxer.packet(packet, &mut out).unwrap();
    }
    out
}

proptest! {
    #[test]
    fn a_writer_returns_whatever_comes((video, audio, packets) in source()) {
        for parameter_sets in [ParameterSets::OutOfBand, ParameterSets::InBand] {
            if let Ok(mut muxer) = Fmp4::new(&video, Some(&audio), parameter_sets) {
                write(&mut muxer, &packets);
            }
        }
        let stream = write(&mut MpegTs::new(&video, Some(&audio)), &packets);
        prop_assert!(stream.chunks(188).all(|packet| packet.len() == 188 && packet[0] == 0x47));
        write(&mut AnnexB::new(&video), &packets);
    }
}
