//! Small real files, damaged in seeded ways that know their structure, into real workers: whatever comes of one, the answer is
//! one of those that are documented, in time, and nobody else notices. `MUTATE_SECONDS` and `MUTATE_SEED` of the environment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::bombs::transcode;
use super::{CLOCK, bystander, resident};
use crate::support::{Camshaft, Clip, Coding, children, command_output, eventually};

/// How long an answer may take on a loaded machine: that of a whole file takes tenths of a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A container, and where its structure is.
struct Seed {
    name: &'static str,
    bytes: Vec<u8>,
    /// Where headers, lengths and tables begin: damage there is what finds something.
    marks: Vec<usize>,
}

/// The same second of video in six forms.
fn seeds() -> Vec<Seed> {
    let clip =
        Clip::make(Coding { size: (160, 90), gop: 12, frames: 25, bframes: 2, audio: true, ..Coding::default() });
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &'static str, arguments: &[&str], marks: &[&[u8]]| {
        let path = dir.path().join(name);
        let (clip, out) = (clip.path.to_str().unwrap(), path.to_str().unwrap());
        command_output("ffmpeg", &[&["-v", "error", "-y", "-i", clip], arguments, &[out]].concat());
        let bytes = std::fs::read(&path).unwrap();
        let marks = marks.iter().flat_map(|mark| places(&bytes, mark)).collect();
        Seed { name, bytes, marks }
    };
    let boxes: [&[u8]; 12] =
        [b"moov", b"mvhd", b"trak", b"tkhd", b"mdhd", b"stsd", b"avcC", b"stts", b"ctts", b"stsc", b"stsz", b"stco"];
    let start_code: &[u8] = &[0, 0, 1];
    vec![
        make("a.mp4", &["-c", "copy"], &boxes),
        make("f.mp4", &["-c", "copy", "-movflags", "frag_keyframe+empty_moov"], &[b"moof", b"trun", b"tfhd", b"avcC"]),
        make("a.ts", &["-c", "copy"], &[&[0x47, 0x40], &[0x47, 0x41], start_code]),
        make("a.flv", &["-c", "copy"], &[&[9, 0], &[8, 0], b"onMetaData"]),
        make("a.mkv", &["-c", "copy"], &[&[0x1f, 0x43, 0xb6, 0x75], &[0xa3], &[0x16, 0x54, 0xae, 0x6b], &[0x63, 0xa2]]),
        make("a.h264", &["-c:v", "copy", "-an"], &[start_code]),
        make(
            "a.mjpeg",
            &["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-an"],
            &[&[0xff, 0xc0], &[0xff, 0xc4], &[0xff, 0xdb], &[0xff, 0xda]],
        ),
    ]
}

fn places(bytes: &[u8], mark: &[u8]) -> Vec<usize> {
    bytes.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark).map(|(at, _)| at).collect()
}

/// A seed with one to six changes, most of them at a mark: a number, bits, a piece lost, doubled, or moved.
fn mutant(seed: &Seed, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seed.bytes.clone();
    for _ in 0..random.usize(1..=6) {
        let mark = seed.marks.get(random.usize(0..seed.marks.len().max(1)));
        let near = mark.filter(|_| random.u8(0..4) > 0).map(|at| (at + random.usize(0..32)).saturating_sub(4));
        let at = near.unwrap_or_else(|| random.usize(0..bytes.len())).min(bytes.len().saturating_sub(5));
        let end = (at + random.usize(1..200)).min(bytes.len());
        match random.u8(0..7) {
            0 => bytes[at] ^= 1 << random.u8(0..8),
            1 => bytes[at..at + 4].copy_from_slice(&random.u32(..).to_be_bytes()),
            2 => bytes[at..at + 4].fill(*random.choice(&[0, 0x7f, 0x80, 0xff]).unwrap()),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => bytes.rotate_left(usize::from(at == 0)),
            _ => bytes.truncate(at.max(64)),
        }
        if bytes.len() < 64 {
            break;
        }
    }
    bytes
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn damaged_files_are_answered_as_documented_and_disturb_nobody() {
    let seeds = seeds();
    let server = Camshaft::start(CLOCK);
    let watcher = bystander(&server);
    for seed in &seeds {
        assert_eq!(transcode(&server, "", &seed.bytes).0, 200, "{} as it is", seed.name);
    }
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let (memory, open, workers) = (resident(server.pid()), descriptors(), children(server.pid()).len());
    let seed = number("MUTATE_SEED", 7);
    let mut random = fastrand::Rng::with_seed(seed);
    let end = Instant::now() + Duration::from_secs(number("MUTATE_SECONDS", 8));
    let mut seen = BTreeMap::<(&str, u16), u32>::new();
    while Instant::now() < end {
        let seed = random.choice(&seeds).unwrap();
        let bytes = mutant(seed, &mut random);
        let (status, took) = transcode(&server, "", &bytes);
        let fine = [200, 415, 422, 503].contains(&status) && took < PATIENCE;
        if !fine {
            let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mutant-{}", seed.name));
            std::fs::write(&file, &bytes).unwrap();
            panic!("{}: {status} after {took:?}", file.display());
        }
        *seen.entry((seed.name, status)).or_default() += 1;
    }
    eprintln!("seed {seed}: {} damaged files: {seen:?}", seen.values().sum::<u32>());
    watcher.assert_undisturbed(&server);
    let settled = || {
        let settled = descriptors() <= open && children(server.pid()).len() <= workers;
        (settled && server.metric("camshaft_jobs_running") == Some(0.0)).then_some(())
    };
    eventually("workers and descriptors are back at their number", || server.log().pause(), settled);
    let grown = resident(server.pid()).saturating_sub(memory);
    assert!(grown < 64 << 20, "the supervisor grew by {grown} bytes");
}
