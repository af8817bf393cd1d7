//! One file into another: pictures a second, memory, and the wait for the first byte.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::clip;
use super::process::{OwnedChild, cpu_time, proportional_set_size};
use super::report::{Comparison, Promise, Row, Unit};
use super::server::Server;
use super::stage::Stage;
use crate::error::{Error, Result};

/// What is made of the clip, in camshaft's words and in ffmpeg's: the same encoder, preset, rate control, GOP, fragments.
struct Task {
    job: &'static str,
    ours: &'static str,
    theirs: &'static str,
}

const TASKS: [Task; 2] = [
    Task {
        job: "transcode",
        ours: "format=mp4&bitrate=4M&gop=50&audio=none&policy=software",
        theirs: "-b:v 4M -maxrate 4M -bufsize 4M",
    },
    Task {
        job: "shrink",
        ours: "format=mp4&height=360&bitrate=600k&gop=50&audio=none&policy=software",
        theirs: "-vf scale=640:360 -b:v 600k -maxrate 600k -bufsize 600k",
    },
];
/// How camshaft drives libx264 and the muxer, as ffmpeg's arguments.
const SAME: &str = "-c:v libx264 -preset superfast -tune zerolatency -g 50 -x264-params force-cfr=1:scenecut=0 \
    -pix_fmt yuv420p -an -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 1000000 -f mp4 -y";
/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(25);
/// How often the first byte is waited for.
const FIRST_BYTES: usize = 9;
/// The clip's second GOP: its encoder spent three times the usual on the first keyframe.
const SETTLED: &str = "2";
/// Of the clip.
const PICTURE: Duration = Duration::from_millis(40);
/// In which a used-up worker is followed by a spare one.
const PAUSE: Duration = Duration::from_millis(1370);

/// What a stream is sent in.
struct Form {
    of: &'static str,
    muxer: &'static str,
    file: &'static str,
    /// Milliseconds.
    reach: f64,
}

const FORMS: [Form; 2] = [
    Form { of: "first byte after a keyframe", muxer: "flv", file: "clip.flv", reach: 150.0 },
    // Here a picture ends where the next one begins, and FFmpeg's parser wants one more to tell: 80 ms at 25 a second.
    Form { of: "the same of MPEG-TS", muxer: "mpegts", file: "clip.ts", reach: 230.0 },
];

/// What one run took.
struct Figures {
    /// Pictures a second, from the request or the start to the end.
    fps: f64,
    /// CPU milliseconds for each picture, of all processes.
    cpu: f64,
    /// The most that was seen of the proportional set size of all processes, in MB.
    memory: f64,
}

/// Both tasks on one thread by both sides, then on as many as ffmpeg likes and camshaft is allowed; then first bytes.
pub fn transcode(stage: &Stage) -> Result<Vec<Row>> {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let mut rows = Vec::new();
    for task in &TASKS {
        for (threads, arguments, baseline) in
            [(1, "-threads 1 -filter_threads 1", "ffmpeg, one thread"), (cpus, "", "ffmpeg, its own threads")]
        {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for pair in 1..=stage.pairs {
                eprintln!("{} beside {baseline}: pair {pair} of {}", task.job, stage.pairs);
                ours.push(by_camshaft(stage, task, threads)?);
                theirs.push(by_ffmpeg(stage, task, arguments)?);
            }
            rows.extend(compare(task.job, baseline, &ours, &theirs));
        }
    }
    for form in &FORMS {
        rows.push(first_byte(stage, form)?);
    }
    Ok(rows)
}

fn compare(job: &'static str, baseline: &'static str, ours: &[Figures], theirs: &[Figures]) -> [Row; 3] {
    let compare = |unit, reach, figure: fn(&Figures) -> f64| {
        let of = |side: &[Figures]| side.iter().map(figure).collect::<Vec<_>>();
        Comparison { job, unit, baseline, reach }.row(&of(ours), &of(theirs))
    };
    [
        compare(Unit::PicturesPerSecond, 0.95, |run| run.fps),
        compare(Unit::CpuPerPicture, 1.05, |run| run.cpu),
        compare(Unit::PeakMemory, 1.2, |run| run.memory),
    ]
}

fn by_camshaft(stage: &Stage, task: &Task, threads: usize) -> Result<Figures> {
    let limits = format!("limits: {{ job_threads: {threads} }}");
    let server = Server::start_with(&stage.program, &stage.work, &limits)?;
    thread::sleep(PAUSE);
    let made = stage.work.join("transcoded.mp4");
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "-X", "POST", "-H", "Expect:", "-T"]).arg(stage.clip());
    command.arg("--output").arg(&made).arg(server.transcode_url(task.ours));
    let begun = Instant::now();
    let client = OwnedChild::start(command, "curl", &stage.work)?;
    watch(client, server.pid(), begun, &made)
}

fn by_ffmpeg(stage: &Stage, task: &Task, threads: &str) -> Result<Figures> {
    let made = stage.work.join("transcoded.mp4");
    let mut command = Command::new("ffmpeg");
    command.args("-nostdin -hide_banner -loglevel error".split(' ')).args(threads.split_whitespace());
    command.arg("-i").arg(stage.clip()).args(threads.split_whitespace());
    command.args(task.theirs.split(' ')).args(SAME.split_whitespace()).arg(&made);
    let begun = Instant::now();
    let ffmpeg = OwnedChild::start(command, "ffmpeg", &stage.work)?;
    let pid = ffmpeg.pid();
    watch(ffmpeg, pid, begun, &made)
}

/// Waits for `child`, with an eye on the memory of `pid` and its descendants. What was made must hold every picture.
fn watch(mut child: OwnedChild, pid: u32, begun: Instant, made: &Path) -> Result<Figures> {
    let cpu_before = if pid == child.pid() { Duration::ZERO } else { cpu_time(&[pid])? };
    let (mut peak, mut cpu) = (0, cpu_before);
    while !child.has_ended()? {
        peak = peak.max(proportional_set_size(&[pid])?);
        // What has just ended has none.
        cpu = cpu.max(cpu_time(&[pid])?);
        thread::sleep(LOOK);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let pictures = packets(made, "pts")?.len();
    if pictures != clip::PICTURES as usize {
        return Err(child.complain(&format!("made {pictures} pictures of {}", clip::PICTURES)));
    }
    let cpu = (cpu - cpu_before).as_secs_f64() * 1e3 / pictures as f64;
    Ok(Figures { fps: pictures as f64 / seconds, cpu, memory: peak as f64 / 1e6 })
}

/// From the last byte of the first keyframe that is sent, in a stream at the speed of a camera, to the first byte of media.
fn first_byte(stage: &Stage, form: &Form) -> Result<Row> {
    let stream = stage.work.join(form.file);
    remux(stage.clip(), &stream, form)?;
    let cuts = packets(&stream, "pos")?;
    let bytes = fs::read(&stream).map_err(|error| cannot_read(&stream, error))?;
    let server = Server::start(&stage.program, &stage.work)?;
    let mut waits = Vec::new();
    for round in 1..=FIRST_BYTES {
        eprintln!("{}: {round} of {FIRST_BYTES}", form.of);
        thread::sleep(PAUSE);
        let wait = wait_for_media(&server, &bytes, &cuts).map_err(|error| {
            Error::unavailable("camshaft gave no first byte of a transcoded stream").with_source(error)
        })?;
        waits.push(wait.as_secs_f64() * 1e3);
    }
    Ok(Promise { job: "transcode", of: form.of, reach: form.reach, unit: Unit::Wait }.row(&waits))
}

/// Sends the pieces of `bytes` that end at `cuts`, a picture each, until media comes.
fn wait_for_media(server: &Server, bytes: &[u8], cuts: &[usize]) -> io::Result<Duration> {
    let mut socket = TcpStream::connect(server.address())?;
    let query = TASKS[0].ours;
    let head = format!("POST /v1/transcode?{query} HTTP/1.1\r\nhost: bench\r\ntransfer-encoding: chunked\r\n\r\n");
    socket.write_all(head.as_bytes())?;
    let keyframe = *cuts.get(1).ok_or(io::ErrorKind::InvalidData)?;
    send(&mut socket, &bytes[..keyframe])?;
    let begun = Instant::now();
    let mut reader = socket.try_clone()?;
    reader.set_read_timeout(Some(Duration::from_secs(20)))?;
    let waiting = thread::spawn(move || read_to_media(&mut reader).map(|()| begun.elapsed()));
    for cut in cuts.windows(2).skip(1) {
        thread::sleep(PICTURE);
        if waiting.is_finished() {
            break;
        }
        send(&mut socket, &bytes[cut[0]..cut[1]])?;
    }
    waiting.join().unwrap_or_else(|_| Err(io::Error::other("the reader failed")))
}

/// A chunk (RFC 9112 §7.1).
fn send(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    socket.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
    socket.write_all(bytes)?;
    socket.write_all(b"\r\n")
}

/// Reads until the answer's head is followed by something.
fn read_to_media(socket: &mut TcpStream) -> io::Result<()> {
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
        match head {
            Some(_) if !answer.starts_with(b"HTTP/1.1 200") => {
                return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
            }
            Some(end) if answer.len() > end + 4 => return Ok(()),
            _ => {}
        }
        match socket.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
}

fn remux(clip: &Path, into: &PathBuf, form: &Form) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y", "-ss", SETTLED, "-i"]).arg(clip);
    command.args(["-c", "copy", "-f", form.muxer]).arg(into);
    let done = command.status().map_err(|error| Error::unavailable("cannot run ffmpeg").with_source(error))?;
    if done.success() { Ok(()) } else { Err(Error::unavailable(format!("ffmpeg could not make {}", form.file))) }
}

/// One `field` of each packet of video in `file`, as ffprobe reads them.
fn packets(file: &Path, field: &str) -> Result<Vec<usize>> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0", "-show_entries"]);
    let output = command.arg(format!("packet={field}")).arg(file).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Error::unavailable("cannot run ffprobe").with_source(error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |line: &str| line.trim_end_matches(',').parse().ok();
    Ok(text.lines().filter_map(number).collect())
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot read {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_has_its_three_rows() {
        let run = |fps, cpu, memory| Figures { fps, cpu, memory };
        let rows = compare("transcode", "ffmpeg", &[run(50.0, 21.0, 90.0)], &[run(40.0, 20.0, 60.0)]);
        let json = serde_json::to_value(&rows).unwrap();
        let facts: Vec<_> = json.as_array().unwrap().iter().map(|row| (&row["unit"], &row["reached"])).collect();
        let expected = [("pictures_per_second", true), ("cpu_per_picture", true), ("peak_memory", false)];
        assert!(
            facts
                .iter()
                .zip(expected)
                .all(|((unit, reached), row)| (**unit == row.0, **reached == row.1) == (true, true)),
            "{json}"
        );
        assert_eq!(json[0]["baseline"]["ratio"], 1.25);
    }

    #[test]
    fn media_is_what_follows_the_head() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = |text: &'static [u8]| {
            let client = thread::spawn(move || read_to_media(&mut TcpStream::connect(address).unwrap()));
            listener.accept().unwrap().0.write_all(text).unwrap();
            client.join().unwrap()
        };
        assert!(answer(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n4\r\n").is_ok());
        assert!(answer(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n").is_err());
        assert!(answer(b"HTTP/1.1 503 Full\r\n\r\nlater").unwrap_err().to_string().contains("503"));
    }
}
