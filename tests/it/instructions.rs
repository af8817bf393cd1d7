//! What decoding less saves, in instructions of the decoding worker, counted by valgrind: on every machine the same.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use camshaft::link::wire::{receive, send};
use camshaft::link::{FromWorker, PixelsTask, Role, ToWorker};
use camshaft::media::nal::{self, NalKind};
use camshaft::media::{
    Cadence, Crop, FrameRate, Geometry, MediaTime, OutputSpec, PacketHeader, PixelFormat, RenditionSpec, Track,
    VideoCodec, VideoConfig, WallClock, parse_parameter_sets,
};
use camshaft::plan::{Backend, Candidate};
use camshaft::sandbox::Confinement;

use crate::support::{Clip, Coding, access_units, command_output, ffprobe_packets};

/// Two layers of the same quality: every other picture is referred to by none.
const TWO_LAYERS: Coding = Coding {
    size: (640, 360),
    gop: 250,
    bframes: 1,
    frames: 100,
    extra: &["-preset", "medium", "-x264-params", "qp=24:ipratio=1:pbratio=1:b-adapt=0:weightb=0"],
    encoder: "libx264",
    audio: false,
};

/// A clip's packets as a source has them.
struct Packets {
    config: VideoConfig,
    packets: Vec<(PacketHeader, Vec<u8>)>,
}

impl Packets {
    fn of(clip: &Clip) -> Self {
        let file = clip.path.to_str().unwrap();
        let arguments = ["-v", "error", "-i", file, "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "-"];
        let stream = command_output("ffmpeg", &arguments);
        let codec = VideoCodec::H264;
        let mut parameter_sets: Vec<Bytes> = Vec::new();
        for unit in nal::annexb_units(&stream) {
            if nal::kind(codec, unit) == NalKind::ParameterSet && !parameter_sets.iter().any(|set| set == unit) {
                parameter_sets.push(Bytes::copy_from_slice(unit));
            }
        }
        let said = parse_parameter_sets(codec, &parameter_sets).unwrap();
        let config = VideoConfig {
            generation: 0,
            codec,
            parameter_sets,
            profile: said.profile,
            rfc6381: said.rfc6381,
            geometry: said.geometry,
            frame_rate: FrameRate::new(25, 1),
            bit_depth: 8,
            reorder_depth: said.reorder_depth,
        };
        let ticks = |seconds: f64| MediaTime((seconds * MediaTime::HZ as f64).round() as i64);
        let packets =
            access_units(&stream, codec).into_iter().zip(ffprobe_packets(file, "v:0")).map(|(unit, probed)| {
                let (pts, dts) = (ticks(probed.pts), ticks(probed.dts));
                let header = PacketHeader { track: Track::Video, pts, dts, keyframe: probed.key, wall: WallClock(0) };
                (header, nal::length_prefixed([&unit[..]]).to_vec())
            });
        Self { config, packets: packets.collect() }
    }
}

/// A corner of the picture, small enough to cost nothing.
fn corner(cadence: Cadence) -> RenditionSpec {
    let crop = Some(Crop { width: 64, height: 64, x: 0, y: 0 });
    RenditionSpec { crop, size: Geometry::new(64, 64), cadence, output: OutputSpec::Raw(PixelFormat::Gray) }
}

/// Instructions that a worker takes for so many packets, and the pictures that it makes.
fn count(source: &Packets, packets: usize, spec: RenditionSpec) -> (u64, BTreeMap<MediaTime, Bytes>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let engine = Path::new(env!("CARGO_BIN_EXE_camshaft")).with_file_name("camshaft-engine");
    let mut worker = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--"])
        .arg(engine)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped())
        .spawn()
        .expect("valgrind runs: `make test` installs it");
    let mut reader = BufReader::new(ours.try_clone().unwrap());
    let listener = std::thread::spawn(move || {
        let mut pictures = BTreeMap::new();
        while let Ok(Some((message, payload))) = receive::<FromWorker>(&mut reader) {
            match message {
                FromWorker::Frame { header, .. } => drop(pictures.insert(header.pts, payload)),
                FromWorker::Drained => break,
                _ => {}
            }
        }
        pictures
    });
    let stages = Candidate { decode: Backend::Software, scale: Backend::Software, encode: None, mode: None };
    let task = PixelsTask { config: source.config.clone(), decode: Backend::Software, sample_ticks: None };
    // valgrind takes what the sandbox forbids.
    let open = Confinement { layers: vec![], ..Confinement::default() };
    let setup = [
        ToWorker::Confine(open),
        ToWorker::Begin(Role::Pixels(task)),
        ToWorker::AddRendition { id: 1, spec, stages, after: None },
    ];
    let mut link = &ours;
    setup.iter().for_each(|message| send(&mut link, message, &[]).unwrap());
    for (header, data) in &source.packets[..packets] {
        send(&mut link, &ToWorker::Packet(*header), data).unwrap();
    }
    send(&mut link, &ToWorker::Drain, &[]).unwrap();
    let pictures = listener.join().unwrap();
    send(&mut link, &ToWorker::Stop, &[]).unwrap();
    let mut report = String::new();
    worker.stderr.take().unwrap().read_to_string(&mut report).unwrap();
    assert!(worker.wait().unwrap().success(), "{report}");
    let collected = report.lines().find_map(|line| line.split("Collected : ").nth(1));
    (collected.expect("a count").trim().parse().unwrap(), pictures)
}

/// `make test` runs it on request only: valgrind takes its time.
#[test]
#[ignore = "a figure, for docs/load.md: takes minutes"]
fn decoding_a_layer_less_saves_its_instructions_and_changes_no_bit() {
    let source = Packets::of(&Clip::make(TWO_LAYERS));
    let five = corner(Cadence::Fps(FrameRate { num: 5, den: 1 }));
    let (start, _) = count(&source, 0, five);
    let (whole, all) = count(&source, source.packets.len(), corner(Cadence::Every));
    let (less, some) = count(&source, source.packets.len(), five);
    assert!(all.len() >= 99 && some.len() >= 19, "{} and {}", all.len(), some.len());
    // Their times are those of the grid.
    let is_right = |picture: &Bytes| all.values().any(|right| right == picture);
    assert!(some.values().all(is_right), "every picture is one of all, to the bit");
    let (whole, less) = (whole - start, less - start);
    let ratio = whole as f64 / less as f64;
    println!("{whole} instructions for all of 100 pictures, {less} for 5 a second: {ratio:.2} times fewer");
    assert!(ratio >= 1.9, "{ratio:.2}");
}
