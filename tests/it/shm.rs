//! Raw pictures through shared memory: the shipped readers in C and Python, the stand-in, and readers that misbehave.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use camshaft::media::Geometry;

use crate::support::{Camshaft, Picture, kill};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const SIZE: (u32, u32) = (320, 180);
const QUERY: &str = "width=320&height=180&fps=25";

fn server() -> Camshaft {
    Camshaft::start("  cam: { source: \"test:?width=640&height=360&fps=25\" }\n")
}

/// The reader in C, as its comment says how to build it.
fn c_reader(dir: &Path) -> PathBuf {
    let program = dir.join("reader");
    let flags = ["-std=gnu99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2", "-o"];
    let made = Command::new("cc").args(flags).arg(&program).arg(format!("{ROOT}/clients/c/reader.c")).status();
    assert!(made.expect("cc comes with every Rust").success());
    program
}

/// A line of a reader on a picture.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    sequence: u64,
    size: String,
    format: String,
    pts: f64,
    wall: f64,
    dropped: u64,
}

impl Line {
    fn parse(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        let [sequence, size, format, pts, wall, dropped] = words[..] else { panic!("{text}") };
        Self {
            sequence: sequence.parse().unwrap(),
            size: size.into(),
            format: format.into(),
            pts: pts.parse().unwrap(),
            wall: wall.parse().unwrap(),
            dropped: dropped.parse().unwrap(),
        }
    }
}

/// A shipped reader under way.
struct Reader(Child);

impl Reader {
    fn start(mut command: Command, server: &Camshaft, query: &str, count: usize) -> Self {
        command.arg(server.socket()).args(["cam", query, &count.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("the reader starts"))
    }

    fn c(dir: &Path, server: &Camshaft, query: &str, count: usize) -> Self {
        Self::start(Command::new(c_reader(dir)), server, query, count)
    }

    fn python(server: &Camshaft, query: &str, count: usize) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(format!("{ROOT}/clients/python/camshaft_shm.py"));
        Self::start(command, server, query, count)
    }

    /// What it read, once it has ended by itself.
    fn finish(self) -> (Vec<u8>, Vec<Line>) {
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{text}");
        (output.stdout, text.lines().map(Line::parse).collect())
    }
}

fn pictures(bytes: &[u8]) -> HashMap<u32, Vec<u8>> {
    let size = Geometry::new(SIZE.0, SIZE.1);
    assert_eq!(bytes.len() % (SIZE.0 * SIZE.1 * 3 / 2) as usize, 0, "every picture is whole");
    let pictures = bytes.chunks_exact((SIZE.0 * SIZE.1 * 3 / 2) as usize);
    pictures
        .map(|data| {
            let picture = Picture { size, data: data.to_vec() };
            (picture.number().expect("a number in the picture"), picture.data)
        })
        .collect()
}

#[test]
fn readers_in_c_and_python_get_what_live_raw_gives() {
    let server = server();
    server.wait_live("cam");
    let dir = tempfile::tempdir().unwrap();
    let mut raw = server.open(&format!("/v1/streams/cam/live.raw?{QUERY}"));
    let readers = [Reader::c(dir.path(), &server, QUERY, 50), Reader::python(&server, QUERY, 50)];
    let mut expected = vec![0; 100 * (SIZE.0 * SIZE.1 * 3 / 2) as usize];
    raw.read_exact(&mut expected).unwrap();
    let expected = pictures(&expected);
    for reader in readers {
        let (bytes, lines) = reader.finish();
        let own = pictures(&bytes);
        assert_eq!((own.len(), lines.len()), (50, 50));
        let common = own.iter().filter(|(number, _)| expected.contains_key(number));
        let same = common.clone().filter(|(number, data)| expected[*number] == **data).count();
        assert!(same >= 30 && same == common.count(), "{same} of the same pictures have the same bytes");
        for (line, next) in lines.iter().zip(&lines[1..]) {
            assert_eq!((line.size.as_str(), line.format.as_str()), ("320x180", "YU12"));
            assert_eq!(next.sequence, line.sequence + 1 + next.dropped);
            assert!(next.pts > line.pts && next.wall > line.wall, "{line:?} {next:?}");
        }
    }
    assert_eq!(server.status("cam")["renditions"].as_array().unwrap().len(), 1, "made once for all");
}

#[test]
fn a_killed_worker_is_a_gap_and_the_sequence_goes_on() {
    let server = server();
    server.wait_live("cam");
    let reader = Reader::python(&server, &format!("{QUERY}&format=nv12"), 75);
    server.wait_metric("camshaft_shm_readers{stream=\"cam\"}", 1.0);
    std::thread::sleep(Duration::from_secs(1));
    kill(server.pixels_pid("cam"));
    let (bytes, lines) = reader.finish();
    assert_eq!(bytes.len(), 75 * (SIZE.0 * SIZE.1 * 3 / 2) as usize);
    let mut expected = lines[0].sequence;
    for line in &lines {
        expected += line.dropped;
        assert_eq!((line.sequence, line.format.as_str()), (expected, "NV12"));
        expected += 1;
    }
    assert!(lines.windows(2).all(|pair| pair[0].pts < pair[1].pts), "no picture came twice");
}
