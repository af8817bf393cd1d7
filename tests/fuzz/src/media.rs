//! Sources and packets, made of bytes.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use camshaft::media::{
    AudioCodec, AudioConfig, FrameRate, Geometry, MediaTime, Packet, PacketHeader, Track, TrackConfig, VideoCodec,
    VideoConfig, WallClock, nal,
};
use std::sync::Arc;

/// Parameter sets of x264 at 320x180 and of x265 at the same.
const H264: [&[u8]; 2] = [
    b"\x67\x4d\x40\x0c\xec\xa0\xa0\xcf\xff\x01\x00\x00\xdc\x40\x00\x00\x03\x00\x40\x00\x00\x0c\x83\xc5\x0a\x65\x80",
    b"\x68\xef\xbc\x80",
];

/// A source of `codec` and `size` that says nothing more.
pub fn video_config(codec: VideoCodec, geometry: Geometry) -> VideoConfig {
    VideoConfig {
        generation: 0,
        codec,
        parameter_sets: H264.iter().map(|set| Bytes::from_static(set)).collect(),
        profile: "main".into(),
        rfc6381: "avc1.4D400C".into(),
        geometry,
        frame_rate: Some(FrameRate { num: 25, den: 1 }),
        bit_depth: 8,
        reorder_depth: 0,
    }
}

/// A source that says anything.
pub fn any_video(u: &mut Unstructured) -> Result<VideoConfig> {
    let codec = *u.choose(&[VideoCodec::H264, VideoCodec::H264, VideoCodec::Hevc, VideoCodec::Mjpeg])?;
    let mut config = video_config(codec, Geometry::new(u.arbitrary::<u16>()?.into(), u.arbitrary::<u16>()?.into()));
    if u.ratio(1, 3)? {
        let count = u.int_in_range(0..=4)?;
        config.parameter_sets = (0..count).map(|_| some_bytes(u, 40)).collect::<Result<_>>()?;
    }
    if u.arbitrary()? {
        config.frame_rate = u.arbitrary::<Option<(u32, u32)>>()?.map(|(num, den)| FrameRate { num, den });
    }
    Ok(config)
}

/// Sound that says anything.
pub fn any_audio(u: &mut Unstructured) -> Result<AudioConfig> {
    let codec = *u.choose(&[AudioCodec::Aac, AudioCodec::Opus, AudioCodec::PcmMulaw, AudioCodec::PcmS16le])?;
    let aac = Bytes::from_static(b"\x11\x90");
    let specific = if u.arbitrary()? { aac } else { some_bytes(u, 20)? };
    let (sample_rate, channels) = (u.arbitrary()?, u.arbitrary()?);
    Ok(AudioConfig { codec, sample_rate, channels, specific, rfc6381: String::new() })
}

/// Packets of these two tracks; their times mostly go on, and jump now and then.
pub fn packets(u: &mut Unstructured, video: VideoConfig, audio: AudioConfig) -> Result<Vec<Packet>> {
    let (mut video, audio) = (Arc::new(video), Arc::new(audio));
    let (mut packets, mut time) = (Vec::new(), 0i64);
    while !u.is_empty() && packets.len() < 300 {
        time = match u.int_in_range(0..=15)? {
            0 => u.arbitrary()?,
            1 => time,
            step => time.saturating_add(step * 900),
        };
        let is_video = !u.ratio(1, 4)?;
        if is_video && u.ratio(1, 32)? {
            video = Arc::new(VideoConfig { generation: video.generation + 1, ..any_video(u)? });
        }
        let delay: i64 = if u.ratio(1, 16)? { u.arbitrary()? } else { u.int_in_range(0..=3)? * 3600 };
        packets.push(Packet {
            header: PacketHeader {
                track: if is_video { Track::Video } else { Track::Audio },
                pts: MediaTime(time.saturating_add(delay)),
                dts: MediaTime(time),
                keyframe: !is_video || u.ratio(1, 4)?,
                wall: WallClock(time),
            },
            config: match is_video {
                true => TrackConfig::Video(video.clone()),
                false => TrackConfig::Audio(audio.clone()),
            },
            data: payload(u)?,
        });
    }
    Ok(packets)
}

/// Whole NAL units, or anything.
fn payload(u: &mut Unstructured) -> Result<Bytes> {
    if u.ratio(1, 4)? {
        return some_bytes(u, 200);
    }
    let count = u.int_in_range(1..=3)?;
    let units: Vec<Bytes> = (0..count).map(|_| some_bytes(u, 60)).collect::<Result<_>>()?;
    Ok(nal::length_prefixed(units.iter().map(|unit| &unit[..])))
}

fn some_bytes(u: &mut Unstructured, longest: usize) -> Result<Bytes> {
    let length = u.int_in_range(0..=longest)?.min(u.len());
    Ok(Bytes::copy_from_slice(u.bytes(length)?))
}
