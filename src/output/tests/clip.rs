//! Small clips made by ffmpeg, read into packets, and the questions that tests put to ffmpeg and ffprobe.

use bytes::{Bytes, BytesMut};
use mp4_atom::{Any, Codec, Decode};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::media::{
    AudioCodec, AudioConfig, FrameRate, Geometry, MediaTime, Packet, PacketHeader, Track, TrackConfig, VideoCodec,
    VideoConfig, WallClock,
};
use crate::output::{Flow, PacketMuxer};

/// A clip in a directory of its own, and its packets in decoding order.
pub struct Clip {
    directory: tempfile::TempDir,
    pub source: PathBuf,
    pub video: Arc<VideoConfig>,
    pub audio: Option<Arc<AudioConfig>>,
    pub packets: Vec<Packet>,
}

/// One packet as ffprobe sees it; times in ticks of 1/90 000 s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    pub pts: i64,
    pub dts: i64,
    pub keyframe: bool,
    pub data_hash: String,
}

impl Clip {
    /// Two seconds of a moving picture of `size` with sound, encoded as `encoder` says.
    pub fn new(size: &str, encoder: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source.mp4");
        let picture = format!("testsrc2=size={size}:rate=25:duration=2");
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-f", "lavfi", "-i", &picture, "-f", "lavfi"]);
        command.args(["-i", "sine=frequency=440:sample_rate=48000:duration=2", "-pix_fmt", "yuv420p", "-g", "20"]);
        command.args(encoder).args(["-c:a", "aac", "-ac", "2", "-video_track_timescale", "90000", "-y"]).arg(&source);
        run(&mut command);
        Self::read(directory, source)
    }

    pub fn h264() -> Self {
        Self::new("160x120", &["-c:v", "libx264", "-bf", "0"])
    }

    pub fn h264_with_b_frames() -> Self {
        Self::new("160x120", &["-c:v", "libx264", "-bf", "2", "-b_strategy", "0"])
    }

    pub fn hevc() -> Self {
        Self::new("160x120", &["-c:v", "libx265", "-x265-params", "log-level=error:bframes=2:b-adapt=0"])
    }

    fn read(directory: tempfile::TempDir, source: PathBuf) -> Self {
        let bytes = Bytes::from(std::fs::read(&source).unwrap());
        let codecs = sample_entries(&bytes);
        let video = Arc::new(video_config(&codecs[0]));
        let audio = codecs.get(1).map(|codec| Arc::new(audio_config(codec)));
        let probe = ffprobe(&source, &["-show_packets", "-show_streams"]);
        let mut packets: Vec<Packet> = probe["packets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|packet| {
                let index = packet["stream_index"].as_u64().unwrap() as usize;
                let is_video = !matches!(codecs[index], Codec::Mp4a(_));
                let time = |field: &str| {
                    let hz = if is_video { 90_000 } else { audio.as_ref().unwrap().sample_rate };
                    MediaTime::from_clock(packet[field].as_i64().unwrap(), hz)
                };
                let number = |field: &str| packet[field].as_str().unwrap().parse::<usize>().unwrap();
                let at = number("pos");
                Packet {
                    header: PacketHeader {
                        track: if is_video { Track::Video } else { Track::Audio },
                        pts: time("pts"),
                        dts: time("dts"),
                        keyframe: packet["flags"].as_str().unwrap().starts_with('K'),
                        wall: WallClock(0),
                    },
                    config: match is_video {
                        true => TrackConfig::Video(video.clone()),
                        false => TrackConfig::Audio(audio.clone().unwrap()),
                    },
                    data: bytes.slice(at..at + number("size")),
                }
            })
            .collect();
        packets.sort_by_key(|packet| packet.header.dts);
        Self { directory, source, video, audio, packets }
    }

    /// A path beside the clip.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes every packet through `muxer` into a file beside the clip.
    pub fn mux(&self, muxer: &mut dyn PacketMuxer, name: &str) -> PathBuf {
        let path = self.beside(name);
        let mut out = BytesMut::from(&muxer.header()[..]);
        for packet in &self.packets {
            assert_eq!(muxer.packet(packet, &mut out).unwrap(), Flow::Continue);
        }
        std::fs::write(&path, &out).unwrap();
        path
    }

    /// The first `count` pictures as JPEG files.
    pub fn jpegs(&self, count: usize) -> Vec<PathBuf> {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-i"]).arg(&self.source).args(["-map", "0:v", "-frames:v", &count.to_string()]);
        run(command.args(["-pix_fmt", "yuvj420p"]).arg(self.beside("%d.jpg")));
        (1..=count).map(|index| self.beside(&format!("{index}.jpg"))).collect()
    }

    /// The packets of `track` that an output is to hold, with times from its start.
    pub fn expected(&self, track: Track) -> Vec<(PacketHeader, &Bytes)> {
        let origin = self.packets.iter().find(|packet| packet.is_random_access()).unwrap().header.dts;
        let from_origin = |packet: &'_ Packet| PacketHeader {
            pts: MediaTime(packet.header.pts.since(origin)),
            dts: MediaTime(packet.header.dts.since(origin)),
            ..packet.header
        };
        self.packets
            .iter()
            .filter(|packet| packet.header.track == track && packet.header.dts >= origin)
            .map(|packet| (from_origin(packet), &packet.data))
            .collect()
    }
}

/// What ffprobe says; fails on any warning.
pub fn ffprobe(path: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "warning", "-of", "json"]).args(arguments).arg(path);
    serde_json::from_slice(&run(&mut command)).unwrap()
}

/// The packets of `streams` (`v`, `a`) as ffprobe sees them.
pub fn probe_packets(path: &Path, streams: &str) -> Vec<Probed> {
    let probe =
        ffprobe(path, &["-select_streams", streams, "-show_packets", "-show_data_hash", "md5", "-show_streams"]);
    let time_base = probe["streams"][0]["time_base"].as_str().unwrap();
    assert_eq!(time_base, "1/90000");
    let read = |packet: &Value| Probed {
        pts: packet["pts"].as_i64().unwrap(),
        dts: packet["dts"].as_i64().unwrap(),
        keyframe: packet["flags"].as_str().unwrap().starts_with('K'),
        data_hash: packet["data_hash"].as_str().unwrap().to_owned(),
    };
    probe["packets"].as_array().unwrap().iter().map(read).collect()
}

/// The hash of every decoded picture; fails on any warning.
pub fn decoded_hashes(path: &Path, input: &[&str]) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "warning"]).args(input).arg("-i").arg(path);
    command.args(["-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-"]);
    let text = String::from_utf8(run(&mut command)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// The output of `ffmpeg -i path arguments -`; fails on any warning.
pub fn ffmpeg(path: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "warning", "-i"]).arg(path).args(arguments).arg("-");
    run(&mut command)
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} could not be started: {error}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaints}");
    assert_eq!(complaints, "", "{command:?}");
    output.stdout
}

/// The sample entries of a file, one a track.
pub fn sample_entries(mut file: &[u8]) -> Vec<Codec> {
    loop {
        if let Any::Moov(moov) = Any::decode(&mut file).unwrap() {
            return moov.trak.into_iter().flat_map(|trak| trak.mdia.minf.stbl.stsd.codecs).collect();
        }
    }
}

fn video_config(entry: &Codec) -> VideoConfig {
    let (codec, visual, sets, rfc6381) = match entry {
        Codec::Avc1(entry) => {
            let avcc = &entry.avcc;
            let sets: Vec<_> = avcc.sequence_parameter_sets.iter().chain(&avcc.picture_parameter_sets).collect();
            let profile = avcc.avc_profile_indication;
            let rfc6381 =
                format!("avc1.{profile:02X}{:02X}{:02X}", avcc.profile_compatibility, avcc.avc_level_indication);
            (VideoCodec::H264, &entry.visual, sets, rfc6381)
        }
        Codec::Hev1(entry) => {
            let sets = entry.hvcc.arrays.iter().filter(|array| array.nal_unit_type < 39);
            let rfc6381 = format!("hvc1.1.6.L{}.90", entry.hvcc.general_level_idc);
            (VideoCodec::Hevc, &entry.visual, sets.flat_map(|array| &array.nalus).collect(), rfc6381)
        }
        other => panic!("no video entry: {other:?}"),
    };
    VideoConfig {
        generation: 0,
        codec,
        parameter_sets: sets.into_iter().map(|set| Bytes::copy_from_slice(set)).collect(),
        profile: "main".to_owned(),
        rfc6381,
        geometry: Geometry::new(visual.width.into(), visual.height.into()),
        frame_rate: FrameRate::new(25, 1),
        bit_depth: 8,
        reorder_depth: 2,
    }
}

fn audio_config(entry: &Codec) -> AudioConfig {
    let Codec::Mp4a(entry) = entry else { panic!("no audio entry: {entry:?}") };
    let specific = entry.esds.es_desc.dec_config.dec_specific.as_ref().unwrap();
    AudioConfig {
        codec: AudioCodec::Aac,
        sample_rate: entry.audio.sample_rate.integer().into(),
        channels: entry.audio.channel_count,
        specific: Bytes::copy_from_slice(&specific.raw),
        rfc6381: "mp4a.40.2".to_owned(),
    }
}
