//! Containers for packets, read back by ffprobe and ffmpeg.

use bytes::{Bytes, BytesMut};
use mp4_atom::Codec;
use mpeg2ts::pes::{PesPacketReader, ReadPesPacket};
use mpeg2ts::ts::{ReadTsPacket, TsPacketReader, TsPayload};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::clip::{Clip, Probed, decoded_hashes, ffmpeg, ffprobe, probe_packets, sample_entries};
use crate::error::ErrorKind;
use crate::media::{AudioCodec, AudioConfig, MediaTime, Packet, Track, TrackConfig, VideoConfig, nal, nal::NalKind};
use crate::output::{AnnexB, Flow, Fmp4, MpegTs, PacketMuxer, ParameterSets};

/// What a transport stream adds to every time, in ticks.
const TS_LEAD: i64 = 63_000;

fn clips() -> [Clip; 3] {
    [Clip::h264(), Clip::h264_with_b_frames(), Clip::hevc()]
}

fn fmp4(clip: &Clip, parameter_sets: ParameterSets) -> Fmp4 {
    Fmp4::new(&clip.video, clip.audio.as_deref(), parameter_sets).unwrap()
}

fn mpegts(clip: &Clip) -> MpegTs {
    MpegTs::new(&clip.video, clip.audio.as_deref())
}

/// Times and key flags are the source's, moved so that the output starts at `lead`.
fn assert_same_times(probed: &[Probed], clip: &Clip, track: Track, lead: i64) {
    let seen: Vec<_> = probed.iter().map(|packet| (packet.dts, packet.pts, packet.keyframe)).collect();
    let expected = clip.expected(track);
    let expected: Vec<_> =
        expected.iter().map(|(header, _)| (header.dts.0 + lead, header.pts.0 + lead, header.keyframe)).collect();
    assert_eq!(seen, expected);
}

fn assert_same_pictures(path: &Path, clip: &Clip) {
    let hashes = decoded_hashes(path, &[]);
    assert_eq!(hashes.len(), 50);
    assert_eq!(hashes, decoded_hashes(&clip.source, &[]));
}

/// The hashes of the source's own packets that an output is to hold.
fn source_hashes(clip: &Clip, streams: &str, count: usize) -> Vec<String> {
    let probe = ffprobe(&clip.source, &["-select_streams", streams, "-show_packets", "-show_data_hash", "md5"]);
    let packets = probe["packets"].as_array().unwrap();
    let held = packets.iter().skip(packets.len() - count);
    held.map(|packet| packet["data_hash"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_copy_in_mp4_has_the_sources_samples_and_times() {
    for clip in clips() {
        let path = clip.mux(&mut fmp4(&clip, ParameterSets::OutOfBand), "copy.mp4");
        for (streams, track) in [("v", Track::Video), ("a", Track::Audio)] {
            let probed = probe_packets(&path, streams);
            assert!(probed.len() >= 50);
            assert_same_times(&probed, &clip, track, 0);
            let hashes: Vec<_> = probed.into_iter().map(|packet| packet.data_hash).collect();
            assert_eq!(hashes, source_hashes(&clip, streams, hashes.len()));
        }
        assert_same_pictures(&path, &clip);
    }
}

#[test]
fn an_mp4_header_says_what_the_source_is() {
    for clip in clips() {
        let path = clip.mux(&mut fmp4(&clip, ParameterSets::OutOfBand), "copy.mp4");
        let fields =
            "stream=codec_name,codec_tag_string,profile,level,width,height,pix_fmt,sample_rate,channels,extradata_hash";
        let describe = |path: &Path| {
            let mut streams = ffprobe(path, &["-show_data_hash", "md5", "-show_entries", fields])["streams"].clone();
            for stream in streams.as_array_mut().unwrap().iter_mut().filter(|stream| stream["codec_name"] == "hevc") {
                // ffmpeg's own hvcC holds the encoder's SEI as well, and its entry is hev1.
                stream["extradata_hash"] = Value::Null;
                stream["codec_tag_string"] = Value::Null;
            }
            streams
        };
        assert_eq!(describe(&path), describe(&clip.source));
    }
}

#[test]
fn the_hevc_configuration_record_equals_ffmpegs() {
    let clip = Clip::hevc();
    let Codec::Hev1(theirs) = &sample_entries(&std::fs::read(&clip.source).unwrap())[0] else {
        panic!("ffmpeg writes hev1")
    };
    let Codec::Hvc1(ours) = &sample_entries(&fmp4(&clip, ParameterSets::OutOfBand).header())[0] else {
        panic!("a copy is hvc1")
    };
    let without_arrays = |mut record: mp4_atom::Hvcc| {
        record.arrays.clear();
        // ffmpeg measures these two; 0 leaves them open.
        record.min_spatial_segmentation_idc = 0;
        record.parallelism_type = 0;
        record
    };
    assert_eq!(without_arrays(ours.hvcc.clone()), without_arrays(theirs.hvcc.clone()));
}

#[test]
fn in_band_parameter_sets_stand_before_every_keyframe() {
    for (clip, tag, codecs) in [(Clip::h264(), "avc3", "avc3.64000B"), (Clip::hevc(), "hev1", "hev1.1.6.L30.90")] {
        let mut muxer = fmp4(&clip, ParameterSets::InBand);
        assert_eq!(muxer.content_type(), format!("video/mp4; codecs=\"{codecs}, mp4a.40.2\""));
        let path = clip.mux(&mut muxer, "rendition.mp4");
        let streams = ffprobe(&path, &["-select_streams", "v", "-show_streams"]);
        assert_eq!(streams["streams"][0]["codec_tag_string"], tag);
        assert_same_times(&probe_packets(&path, "v"), &clip, Track::Video, 0);
        assert_same_pictures(&path, &clip);

        let mut muxer = fmp4(&clip, ParameterSets::InBand);
        for packet in clip.packets.iter().filter(|packet| packet.header.track == Track::Video) {
            let mut out = BytesMut::new();
            muxer.packet(packet, &mut out).unwrap();
            let sets = nal::length_prefixed(clip.video.parameter_sets.iter().map(|set| &set[..]));
            let sample = [if packet.header.keyframe { &sets[..] } else { &[] }, &packet.data].concat();
            assert!(out.ends_with(&sample));
        }
    }
}

#[test]
fn a_copy_in_mpegts_has_the_sources_pictures_sound_and_times() {
    for clip in clips() {
        let path = clip.mux(&mut mpegts(&clip), "copy.ts");
        let video = probe_packets(&path, "v");
        assert_same_times(&video, &clip, Track::Video, TS_LEAD);
        assert_same_pictures(&path, &clip);

        let audio = probe_packets(&path, "a");
        assert_same_times(&audio, &clip, Track::Audio, TS_LEAD);
        let without_adts = clip.beside("sound.mp4");
        let target = without_adts.to_str().unwrap();
        ffmpeg(&path, &["-map", "0:a", "-c", "copy", "-bsf:a", "aac_adtstoasc", target, "-f", "null"]);
        assert_eq!(source_hashes_of(&without_adts, audio.len()), source_hashes(&clip, "a", audio.len()));
    }
}

fn source_hashes_of(path: &Path, count: usize) -> Vec<String> {
    let probe = ffprobe(path, &["-select_streams", "a", "-show_packets", "-show_data_hash", "md5"]);
    let packets = probe["packets"].as_array().unwrap();
    assert_eq!(packets.len(), count);
    packets.iter().map(|packet| packet["data_hash"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_transport_stream_keeps_its_own_rules() {
    let clip = Clip::h264_with_b_frames();
    let bytes = std::fs::read(clip.mux(&mut mpegts(&clip), "copy.ts")).unwrap();
    let mut reader = TsPacketReader::new(&bytes[..]);
    let mut counters = HashMap::new();
    let (mut clock, mut tables_at) = (0, Vec::new());
    while let Some(packet) = reader.read_ts_packet().unwrap() {
        let counter = packet.header.continuity_counter.as_u8();
        if let Some(last) = counters.insert(packet.header.pid, counter) {
            assert_eq!(counter, (last + 1) % 16, "{:?}", packet.header.pid);
        }
        if matches!(packet.payload, Some(TsPayload::Pat(_))) {
            tables_at.push(clock);
        }
        let Some(TsPayload::PesStart(pes)) = packet.payload.filter(|_| packet.header.pid.as_u16() == 0x41) else {
            continue;
        };
        let field = packet.adaptation_field.unwrap();
        let pcr = field.pcr.unwrap().as_u64() / 300;
        assert!(pcr >= clock);
        clock = pcr;
        let dts = pes.header.dts.or(pes.header.pts).unwrap().as_u64();
        assert_eq!(dts - pcr, TS_LEAD as u64);
    }
    assert!(tables_at.len() >= 4, "{tables_at:?}");
    assert!(tables_at.windows(2).all(|pair| pair[1] - pair[0] <= 45_000));
}

#[test]
fn transport_stream_times_wrap_at_33_bits() {
    let clip = Clip::h264();
    let mut muxer = mpegts(&clip);
    let mut out = BytesMut::new();
    let keyframe = &clip.packets[clip.packets.iter().position(Packet::is_random_access).unwrap()];
    let mut later = keyframe.clone();
    later.header.dts = keyframe.header.dts.offset((1 << 33) + 5);
    later.header.pts = later.header.dts;
    muxer.packet(keyframe, &mut out).unwrap();
    muxer.packet(&later, &mut out).unwrap();
    let mut reader = PesPacketReader::new(TsPacketReader::new(&out[..]));
    let mut next_pts = || reader.read_pes_packet().unwrap().unwrap().header.pts.unwrap().as_u64();
    assert_eq!([next_pts(), next_pts()], [TS_LEAD as u64, TS_LEAD as u64 + 5]);
}

#[test]
fn a_byte_stream_has_the_nal_units_that_ffmpeg_writes() {
    for (clip, format, media_type) in
        [(Clip::h264_with_b_frames(), "h264", "video/h264"), (Clip::hevc(), "hevc", "video/h265")]
    {
        let mut muxer = AnnexB::new(&clip.video);
        assert_eq!(muxer.content_type(), media_type);
        let path = clip.mux(&mut muxer, "copy.bin");
        let ours = std::fs::read(&path).unwrap();
        let theirs = ffmpeg(&clip.source, &["-map", "0:v", "-c", "copy", "-f", format]);
        // ffmpeg puts parameter sets behind the SEI and repeats the SEI of its own hvcC; the slices are the same.
        let slices = |stream: &'_ [u8]| -> Vec<Bytes> {
            let kind = |unit: &[u8]| nal::kind(clip.video.codec, unit);
            let units = nal::annexb_units(stream).into_iter();
            units
                .filter(|unit| matches!(kind(unit), NalKind::KeySlice | NalKind::Slice))
                .map(Bytes::copy_from_slice)
                .collect()
        };
        assert!(slices(&ours).len() >= 50);
        assert!(slices(&ours) == slices(&theirs), "{format}");
        assert_eq!(decoded_hashes(&path, &["-f", format]), decoded_hashes(&clip.source, &[]));
    }
}

/// The second clip's packets behind the first's, as from a camera whose resolution changed.
fn changed_source() -> (Clip, Vec<Packet>) {
    let (before, after) = (Clip::h264(), Clip::new("320x240", &["-c:v", "libx264", "-bf", "0"]));
    let config = Arc::new(VideoConfig { generation: 1, ..(*after.video).clone() });
    let packets = after.packets.into_iter().filter(|packet| packet.header.track == Track::Video).map(|mut packet| {
        packet.config = TrackConfig::Video(config.clone());
        packet.header.dts = packet.header.dts.offset(2 * MediaTime::HZ);
        packet.header.pts = packet.header.pts.offset(2 * MediaTime::HZ);
        packet
    });
    let packets = packets.collect();
    (before, packets)
}

#[test]
fn a_changed_source_ends_a_copy_in_mp4() {
    let (clip, after) = changed_source();
    let mut muxer = fmp4(&clip, ParameterSets::OutOfBand);
    clip.mux(&mut muxer, "copy.mp4");
    let mut out = BytesMut::new();
    assert_eq!(muxer.packet(&after[0], &mut out).unwrap(), Flow::End);
    assert!(out.is_empty());
}

#[test]
fn changed_sound_ends_a_copy_in_mp4() {
    let clip = Clip::h264();
    let mut muxer = fmp4(&clip, ParameterSets::OutOfBand);
    clip.mux(&mut muxer, "copy.mp4");
    let mut packet = clip.packets.iter().rfind(|packet| packet.header.track == Track::Audio).unwrap().clone();
    let changed = AudioConfig { channels: 1, ..(**clip.audio.as_ref().unwrap()).clone() };
    packet.config = TrackConfig::Audio(Arc::new(changed));
    assert_eq!(muxer.packet(&packet, &mut BytesMut::new()).unwrap(), Flow::End);
}

#[test]
fn mp4_refuses_a_source_without_parameter_sets_and_says_so() {
    let clip = Clip::h264();
    let without_pps = VideoConfig { parameter_sets: clip.video.parameter_sets[..1].to_vec(), ..(*clip.video).clone() };
    let error = Fmp4::new(&without_pps, None, ParameterSets::OutOfBand).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedMedia);
    assert!(error.message().contains("no h264 parameter set of type 8"), "{error}");
}

#[test]
fn a_new_generation_with_the_same_parameter_sets_goes_on_in_mp4() {
    let clip = Clip::h264();
    let mut muxer = fmp4(&clip, ParameterSets::OutOfBand);
    clip.mux(&mut muxer, "copy.mp4");
    let mut packet = clip.packets.last().unwrap().clone();
    packet.config = TrackConfig::Video(Arc::new(VideoConfig { generation: 7, ..(*clip.video).clone() }));
    assert_eq!(muxer.packet(&packet, &mut BytesMut::new()).unwrap(), Flow::Continue);
}

#[test]
fn a_changed_source_goes_on_in_mpegts_and_with_parameter_sets_in_band() {
    let (clip, after) = changed_source();
    let mut muxers: [(Box<dyn PacketMuxer>, &str); 2] =
        [(Box::new(mpegts(&clip)), "copy.ts"), (Box::new(fmp4(&clip, ParameterSets::InBand)), "rendition.mp4")];
    for (muxer, name) in &mut muxers {
        let path = clip.mux(muxer.as_mut(), name);
        let mut out = BytesMut::from(&std::fs::read(&path).unwrap()[..]);
        for packet in &after {
            assert_eq!(muxer.packet(packet, &mut out).unwrap(), Flow::Continue);
        }
        std::fs::write(&path, &out).unwrap();
        let probe = ffprobe(&path, &["-select_streams", "v", "-show_frames", "-show_entries", "frame=width"]);
        let widths: Vec<_> = probe["frames"].as_array().unwrap().iter().map(|frame| frame["width"].as_u64()).collect();
        assert_eq!(widths, [[Some(160); 50], [Some(320); 50]].concat());
    }
}

#[test]
fn a_changed_codec_gets_a_new_program_map() {
    let (h264, hevc) = (Clip::h264(), Clip::hevc());
    let mut muxer = mpegts(&h264);
    let mut out = BytesMut::new();
    for packet in h264.packets.iter().chain(&hevc.packets) {
        muxer.packet(packet, &mut out).unwrap();
    }
    let mut reader = TsPacketReader::new(&out[..]);
    let mut maps = Vec::new();
    while let Some(packet) = reader.read_ts_packet().unwrap() {
        if let Some(TsPayload::Pmt(pmt)) = packet.payload {
            maps.push((pmt.version_number.as_u8(), pmt.es_info[0].stream_type as u8));
        }
    }
    maps.dedup();
    assert_eq!(maps, [(0, 0x1b), (1, 0x24)]);
}

#[test]
fn sound_that_a_container_does_not_carry_is_left_out() {
    let clip = Clip::h264();
    let g711 = AudioConfig {
        codec: AudioCodec::PcmMulaw,
        sample_rate: 8_000,
        channels: 1,
        specific: Bytes::new(),
        rfc6381: String::new(),
    };
    assert!(!Fmp4::carries_audio(&g711) && !MpegTs::carries_audio(&g711) && !AnnexB::carries_audio(&g711));
    let mut mp4 = Fmp4::new(&clip.video, Some(&g711), ParameterSets::OutOfBand).unwrap();
    assert_eq!(mp4.content_type(), format!("video/mp4; codecs=\"{}\"", clip.video.rfc6381));
    let mut ts = MpegTs::new(&clip.video, Some(&g711));
    let mut sound = clip.packets.iter().find(|packet| packet.header.track == Track::Audio).unwrap().clone();
    sound.header.pts = MediaTime(MediaTime::HZ);
    sound.config = TrackConfig::Audio(Arc::new(g711));
    for muxer in [&mut mp4 as &mut dyn PacketMuxer, &mut ts] {
        let path = clip.mux(muxer, "without-sound.bin");
        assert_eq!(ffprobe(&path, &["-show_streams"])["streams"].as_array().unwrap().len(), 1);
        let mut out = BytesMut::new();
        assert_eq!(muxer.packet(&sound, &mut out).unwrap(), Flow::Continue);
        assert!(out.is_empty());
    }
}
