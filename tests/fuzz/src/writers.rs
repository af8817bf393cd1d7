//! Containers, read back by their structure.

use arbitrary::{Result, Unstructured};
use bytes::{Bytes, BytesMut};
use camshaft::media::{
    AudioConfig, Frame, FrameHeader, FrameRate, Geometry, MediaTime, Packet, PixelFormat, VideoConfig, WallClock,
};
use camshaft::output::hls::{Resource, Segmenter, playlist};
use camshaft::output::{AnnexB, Flow, Fmp4, FrameWriter, MpegTs, PacketMuxer, ParameterSets, Y4m};
use std::sync::Arc;

use crate::media::{any_audio, any_video, packets};

/// Whatever packets hold, what is written is whole boxes, whole packets of a transport stream, segments that the playlist
/// names, and pictures of the header's size.
pub fn writers(data: &[u8]) {
    // Too few bytes make no packets.
    let _ = write_all(&mut Unstructured::new(data));
}

fn write_all(u: &mut Unstructured) -> Result<()> {
    write_y4m(u)?;
    let (video, audio) = (any_video(u)?, any_audio(u)?);
    let packets = packets(u, video.clone(), audio.clone())?;
    for parameter_sets in [ParameterSets::OutOfBand, ParameterSets::InBand] {
        if let Ok(mut muxer) = Fmp4::new(&video, Some(&audio), parameter_sets) {
            assert_boxes(&write(&mut muxer, &packets));
        }
    }
    let stream = write(&mut MpegTs::new(&video, Some(&audio)), &packets);
    assert!(stream.len().is_multiple_of(188) && stream.chunks(188).all(|packet| packet[0] == 0x47));
    write(&mut AnnexB::new(&video), &packets);
    write_hls(video, audio, &packets);
    Ok(())
}

fn write(muxer: &mut dyn PacketMuxer, packets: &[Packet]) -> BytesMut {
    let mut out = BytesMut::from(&muxer.header()[..]);
    for packet in packets {
        let before = out.len();
        match muxer.packet(packet, &mut out) {
            Ok(Flow::Continue) => {}
            Ok(Flow::End) => break,
            Err(_) => {
                out.truncate(before);
                break;
            }
        }
    }
    out
}

/// ISO/IEC 14496-12 §4.2: boxes follow each other without a rest, and every fragment is followed by its samples.
fn assert_boxes(mut bytes: &[u8]) {
    let mut names = Vec::new();
    while let Some((size, rest)) = bytes.split_first_chunk::<4>() {
        let size = u32::from_be_bytes(*size) as usize;
        assert!((8..=bytes.len()).contains(&size), "a box of {size} bytes in {}", bytes.len());
        names.push(rest[..4].to_vec());
        bytes = &bytes[size..];
    }
    assert!(bytes.is_empty(), "{} bytes behind the last box", bytes.len());
    assert_eq!(&names[..2], [b"ftyp".to_vec(), b"moov".to_vec()]);
    assert!(names[2..].chunks(2).all(|pair| pair == [b"moof".to_vec(), b"mdat".to_vec()]), "{names:?}");
}

fn write_hls(video: VideoConfig, audio: AudioConfig, packets: &[Packet]) {
    let Some(first) = packets.iter().find(|packet| packet.is_random_access()) else { return };
    let segmenter = Segmenter::new(Arc::new(video), Some(Arc::new(audio)), &first.header, 64 << 10);
    let Ok(mut segmenter) = segmenter else { return };
    for packet in packets {
        if segmenter.packet(packet).is_err() {
            break;
        }
        let Some(text) = playlist(segmenter.window(), "") else { continue };
        assert!(text.starts_with("#EXTM3U\n"), "{text}");
        for uri in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let resource: Resource = uri.parse().unwrap_or_else(|_| panic!("no URI of ours: {uri}"));
            assert!(segmenter.window().read(resource).is_some(), "{uri} is listed and not there");
        }
    }
}

fn write_y4m(u: &mut Unstructured) -> Result<()> {
    let size = Geometry::new(u.int_in_range(0..=64)?, u.int_in_range(0..=64)?);
    let format = *u.choose(&[PixelFormat::I420, PixelFormat::Gray, PixelFormat::Nv12])?;
    let rate = FrameRate { num: u.arbitrary()?, den: u.arbitrary()? };
    let Ok(mut writer) = Y4m::new(format, size, rate) else { return Ok(()) };
    let length = if u.ratio(1, 8)? { u.int_in_range(0..=8192)? } else { format.frame_bytes(size) };
    let header = FrameHeader { pts: MediaTime(0), wall: WallClock(0), size };
    let frame = Frame { header, data: Bytes::from(vec![7; length]) };
    let mut out = Vec::new();
    let written = writer.frame(&frame, 0, &mut out).is_ok();
    assert_eq!(written, length == format.frame_bytes(size));
    let total: usize = out.iter().map(Bytes::len).sum();
    assert_eq!(total, if written { "FRAME\n".len() + length } else { 0 });
    Ok(())
}
