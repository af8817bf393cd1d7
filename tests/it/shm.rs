//! Raw pictures through shared memory: the shipped readers in C and Python, the stand-in, and readers that misbehave.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use camshaft::media::Geometry;

use rustix::process::Signal;

use crate::support::{Camshaft, Clip, Coding, Picture, SharedFrame, SharedReader, eventually, kill};

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

/// A shipped reader under way; what it writes is taken from it at once.
struct Reader {
    output: JoinHandle<Output>,
}

impl Reader {
    fn start(mut command: Command, server: &Camshaft, query: &str, count: usize) -> Self {
        command.arg(server.socket()).args(["cam", query, &count.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("the reader starts");
        Self { output: std::thread::spawn(move || child.wait_with_output().unwrap()) }
    }

    fn c(program: &Path, server: &Camshaft, query: &str, count: usize) -> Self {
        Self::start(Command::new(program), server, query, count)
    }

    fn python(server: &Camshaft, query: &str, count: usize) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(format!("{ROOT}/clients/python/camshaft_shm.py"));
        Self::start(command, server, query, count)
    }

    /// What it read, once it has ended by itself.
    fn finish(self) -> (Vec<u8>, Vec<Line>) {
        let output = self.output.join().unwrap();
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
    let program = c_reader(dir.path());
    let mut raw = server.open(&format!("/v1/streams/cam/live.raw?{QUERY}"));
    let readers = [Reader::c(&program, &server, QUERY, 50), Reader::python(&server, QUERY, 50)];
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

/// Runs a program that uses the reader in Python; its argument is the socket's path.
fn python(server: &Camshaft, program: &str) {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", program]).arg(server.socket()).env("PYTHONPATH", format!("{ROOT}/clients/python"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_python_of_the_documentation_works() {
    let server = server();
    server.wait_live("cam");
    let text = std::fs::read_to_string(format!("{ROOT}/docs/shm.md")).unwrap();
    let block = text.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let block: String = block.lines().map(|line| line.strip_prefix("  ").unwrap_or(line).to_owned() + "\n").collect();
    let block = block.replace("\"/run/camshaft/camshaft.sock\"", "sys.argv[1]").replace("\"yard\"", "\"cam\"");
    let detect = "import sys\nseen = []\n\ndef detect(data, width, height):\n    assert len(data) == width * height * 3\n    \
                  seen.append(width)\n    if len(seen) == 5:\n        sys.exit(0)\n\n";
    python(&server, &format!("{detect}{block}sys.exit('it ended')"));
}

#[test]
fn frames_are_held_in_python_as_long_as_they_are_needed() {
    let server = server();
    server.wait_live("cam");
    python(
        &server,
        r#"
import sys
from camshaft_shm import Ended, Reader
with Reader(sys.argv[1], "cam", slots=2, width=320, height=180, fps=25) as reader:
    kept = reader.next()
    before, view = bytes(kept.data), memoryview(kept.data)
    for _ in range(10):
        frame = reader.next()
        assert (frame.width, frame.height, frame.stride, frame.format, frame.fps) == (320, 180, 320, "YU12", 25)
        frame.release()
    assert kept.data == before
    try:
        view[0] = 1
        raise SystemExit("the memory is writable")
    except TypeError:
        pass
    kept.release()
    kept.release()
    reader.ask()
    reader.ask()
    one, two = reader.next(), reader.next()
    assert two.sequence == one.sequence + 1 + two.dropped and two.pts > one.pts
try:
    Reader(sys.argv[1], "nobody")
    raise SystemExit("there is no such stream")
except Ended as end:
    assert end.refused and "not_found" in str(end), end
"#,
    );
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
    let mut expected = 0;
    for line in &lines {
        expected += line.dropped;
        assert_eq!((line.sequence, line.format.as_str()), (expected, "NV12"));
        expected += 1;
    }
    assert!(lines.windows(2).all(|pair| pair[0].pts < pair[1].pts), "no picture came twice");
}

/// Pushes a clip in real time.
fn push(server: &Camshaft, clip: &Clip, seconds: &str) {
    let mut camera = Command::new("ffmpeg")
        .args(["-v", "error", "-re", "-t", seconds, "-i"])
        .arg(&clip.path)
        .args(["-c", "copy", "-f", "mpegts", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let url = server.url("/v1/streams/cam/ingest");
    let curl = Command::new("curl")
        .args(["-sS", "-X", "POST", "-H", "Content-Type: video/mp2t", "-T", "-", &url])
        .stdin(camera.stdout.take().unwrap())
        .status();
    assert!(curl.unwrap().success() && camera.wait().unwrap().success());
}

#[test]
fn another_size_of_the_camera_is_another_memory() {
    let small = Clip::make(Coding { frames: 250, ..Coding::default() });
    let large = Clip::make(Coding { size: (640, 360), gop: 25, frames: 500, ..Coding::default() });
    let server = Camshaft::start("  cam: { source: \"push:\" }\n");
    let dir = tempfile::tempdir().unwrap();
    let program = c_reader(dir.path());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            push(&server, &small, "8");
            push(&server, &large, "12");
        });
        server.wait_live("cam");
        let mut holding = SharedReader::open(&server, "").unwrap();
        holding.ask();
        let held = holding.frame().unwrap();
        let memory = holding.memory();
        let before = memory.data(held.slot);
        let reader = Reader::c(&program, &server, "", 250);
        let mut frame = holding.step();
        while frame.generation == 1 {
            frame = holding.step();
        }
        assert_eq!((frame.generation, holding.memory().frame_bytes), (2, 640 * 360 * 3 / 2));
        let lines = reader.finish().1;
        let sizes: Vec<&str> = lines.iter().map(|line| line.size.as_str()).collect();
        let small = sizes.iter().filter(|size| **size == "320x180").count();
        assert!((5..245).contains(&small), "{small}");
        assert!(sizes[small..].iter().all(|size| *size == "640x360"), "{sizes:?}");
        assert!(lines.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1 + pair[1].dropped));
        assert!(before == memory.data(held.slot), "what is held stays");
        holding.release(1, held.slot);
        eventually(
            "the old memory is given back",
            || std::thread::sleep(Duration::from_millis(20)),
            || memory.data(0).iter().all(|byte| *byte == 0).then_some(()),
        );
    });
}

/// A picture every 40 ms, and a reader whose messages the test writes.
fn reader(server: &Camshaft) -> SharedReader {
    server.wait_live("cam");
    SharedReader::open(server, QUERY).expect("an upgrade")
}

/// That a reader of the same rendition misses nothing while `others` happens.
fn unharmed(server: &Camshaft, others: impl FnOnce()) {
    let mut honest = reader(server);
    honest.step();
    honest.ask();
    honest.ask();
    others();
    let next = |honest: &mut SharedReader| {
        let frame: SharedFrame = honest.frame().unwrap();
        honest.release(frame.generation, frame.slot);
        honest.ask();
        frame
    };
    let frames: Vec<SharedFrame> = (0..20).map(|_| next(&mut honest)).collect();
    assert!(frames.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1 + pair[1].dropped), "{frames:?}");
}

fn no_reader_is_left(server: &Camshaft) {
    let none = |name: &str| server.metric(&format!("camshaft_shm_{name}{{stream=\"cam\"}}")) == Some(0.0);
    eventually("no reader is left", || server.log().pause(), || (none("readers") && none("bytes")).then_some(()));
}

fn closed(server: &Camshaft, reason: &str) -> f64 {
    server.metric(&format!("camshaft_shm_closed_total{{reason=\"{reason}\",stream=\"cam\"}}")).unwrap_or_default()
}

#[test]
fn a_slow_reader_gets_the_newest_and_is_told_what_it_lost() {
    let server = server();
    let mut slow = reader(&server);
    let first = slow.step();
    // Pictures that were there before its first credit are told as lost.
    assert_eq!(first.sequence, first.dropped);
    let mut quick = reader(&server);
    let seen: Vec<SharedFrame> = (0..50).map(|_| quick.step()).collect();
    let next = slow.step();
    assert!(next.dropped > 20 && next.sequence == first.sequence + 1 + next.dropped, "{next:?}");
    // Another task may not have the very last one yet.
    assert!(next.wall >= seen[46].wall, "{next:?}, not {:?}", &seen[46..]);
    let lost = server.metric("camshaft_shm_dropped_total{stream=\"cam\"}").unwrap();
    assert!(lost >= next.dropped as f64, "{lost}");
    assert!(server.metric("camshaft_consumer_dropped_total{kind=\"pictures\",stream=\"cam\"}").unwrap() >= lost);
}

#[test]
fn what_a_reader_holds_is_never_written_to() {
    let server = server();
    let mut reader = reader(&server);
    reader.ask();
    let held = reader.frame().unwrap();
    let before = reader.data(held.slot);
    for _ in 0..50 {
        assert_ne!(reader.step().slot, held.slot);
    }
    assert!(reader.data(held.slot) == before);
    // With all slots held there is nothing, and with one back there is a picture at once.
    reader.ask();
    reader.ask();
    let two = [reader.frame().unwrap(), reader.frame().unwrap()];
    reader.ask();
    std::thread::sleep(Duration::from_millis(500));
    reader.release(held.generation, held.slot);
    let next = reader.frame().unwrap();
    assert_eq!(next.slot, held.slot);
    assert!(next.dropped > 0 && next.sequence == two[1].sequence + 1 + next.dropped);
}

#[test]
fn a_reader_that_lies_is_cut_off_and_harms_nobody() {
    let server = server();
    type Lie<'a> = (&'a str, &'a dyn Fn(&mut SharedReader));
    let lies: [Lie; 7] = [
        ("a slot that it does not hold", &|liar| liar.release(1, 1)),
        ("a slot that there is not", &|liar| liar.release(1, u32::MAX)),
        ("a memory that there is not", &|liar| liar.release(7, 0)),
        ("twice", &|liar| {
            let frame = liar.step();
            liar.release(frame.generation, frame.slot);
        }),
        ("more than there are slots", &|liar| (0..64).for_each(|_| liar.ask())),
        ("garbage", &|liar| liar.say(&[0xa5; 100_000])),
        ("HTTP", &|liar| liar.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
    ];
    unharmed(&server, || {
        for (number, (what, lie)) in (1..).zip(&lies) {
            let mut liar = reader(&server);
            liar.step();
            lie(&mut liar);
            let end = (0..10).find_map(|_| liar.frame().err());
            assert_eq!(end, Some(4), "{what}");
            assert_eq!(closed(&server, "violation"), f64::from(number), "{what}");
        }
    });
    no_reader_is_left(&server);
}

#[test]
fn a_reader_that_dies_gives_everything_back() {
    let server = server();
    let dir = tempfile::tempdir().unwrap();
    let program = c_reader(dir.path());
    server.wait_live("cam");
    unharmed(&server, || {
        let mut reader = Command::new(&program);
        reader.arg(server.socket()).args(["cam", QUERY, "100000"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut reader = reader.spawn().unwrap();
        let (mut lines, mut line) = (BufReader::new(reader.stderr.take().unwrap()), String::new());
        lines.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "it has had a picture");
        reader.kill().unwrap();
        reader.wait().unwrap();
    });
    no_reader_is_left(&server);
    assert_eq!(closed(&server, "left"), 2.0);
}

#[test]
fn a_reader_that_never_releases_is_closed_and_its_memory_is_given_back() {
    let streams = "  cam: { source: \"test:?width=640&height=360&fps=25\" }\n";
    let server = Camshaft::start_with("limits: { stalled_consumer: 1s }", streams);
    let mut miser = reader(&server);
    for _ in 0..3 {
        miser.ask();
        miser.frame().unwrap();
    }
    miser.ask();
    assert_eq!(miser.frame(), Err(3));
    assert_eq!(closed(&server, "stalled"), 1.0);
    // It does not hang up, and keeps the memory.
    eventually(
        "the memory is given back",
        || server.log().pause(),
        || miser.data(0).iter().all(|byte| *byte == 0).then_some(()),
    );
    no_reader_is_left(&server);
}

#[test]
fn a_stop_leaves_readers_what_they_hold() {
    let mut server = server();
    let mut reader = reader(&server);
    reader.ask();
    let held = reader.frame().unwrap();
    let before = reader.data(held.slot);
    server.signal(Signal::TERM);
    assert_eq!(reader.frame(), Err(2));
    assert_eq!(server.wait_exit(Duration::from_secs(20)).code(), Some(0));
    assert!(reader.data(held.slot) == before);
}

#[test]
fn limits_are_named_and_leave_the_other_way_open() {
    let streams = "  cam: { source: \"test:?width=640&height=360&fps=25\" }\n";
    let server = Camshaft::start_with("limits: { shm_readers: 1, shm_bytes: 1M }", streams);
    server.wait_live("cam");
    let refused = |query: &str| SharedReader::open(&server, query).err().expect("a refusal");
    for (query, status, part) in [
        ("width=1280&height=720", "503", "limits.shm_bytes"),
        ("width=320&slots=17", "400", "from 1 to 16"),
        ("format=jpeg", "400", "format"),
        ("rendition=none", "404", "rendition"),
    ] {
        let answer = refused(query);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(part), "{query}: {answer}");
    }
    let _reader = SharedReader::open(&server, QUERY).unwrap();
    let answer = refused(QUERY);
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("limits.shm_readers"), "{answer}");
    assert_eq!(server.get("/v1/streams/cam/live.shm").status, 422, "over TCP");
}
