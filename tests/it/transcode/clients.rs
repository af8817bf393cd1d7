//! Who asks: many at once, some slowly, some who leave.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Instant;

use super::*;
use crate::sandbox::{assert_confined, open_files};
use crate::support::{children, eventually};

#[test]
fn the_job_over_the_limit_is_refused_at_once_and_the_others_lose_nothing() {
    let server = Camshaft::start_with("limits: { jobs: 20, software_pixels: 1G }", "");
    let dir = tempfile::tempdir().unwrap();
    let input = file(dir.path(), "in.ts", &["-c", "copy"]);
    let bytes = std::fs::read(&input).unwrap();
    // Twenty that have begun and wait for the rest of their input.
    let mut held: Vec<TcpStream> = (0..20).map(|_| begin(&server, "format=ts&height=90")).collect();
    for stream in &mut held {
        send(stream, &bytes[..bytes.len() / 2]);
    }
    let engines = || children(server.pid()).iter().filter(|(_, name)| name.starts_with("camshaft-eng")).count();
    eventually("all workers run", || std::thread::sleep(Duration::from_millis(50)), || (engines() >= 20).then_some(()));
    let started = Instant::now();
    let refused = post(&server, "format=mp4", &input, &dir.path().join("refused"));
    assert!(refused.status == "503" && refused.headers.to_lowercase().contains("retry-after"), "{}", refused.headers);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let rest = bytes[bytes.len() / 2..].to_vec();
    let answers: Vec<_> = held
        .into_iter()
        .map(|mut stream| {
            let rest = rest.clone();
            std::thread::spawn(move || {
                send(&mut stream, &rest);
                stream.write_all(b"0\r\n\r\n").unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                answer
            })
        })
        .collect();
    for (number, answer) in answers.into_iter().enumerate() {
        let answer = answer.join().unwrap();
        let path = dir.path().join(format!("{number}.ts"));
        std::fs::write(&path, dechunked(&answer)).unwrap();
        assert_eq!(frames(&path), FRAMES as usize, "job {number}");
    }
    server.wait_metric("camshaft_jobs_total{result=\"whole\"}", 20.0);
    assert_eq!(server.metric("camshaft_jobs_total{result=\"refused\"}"), Some(1.0));
    assert_eq!(server.metric("camshaft_job_frames_total"), Some(f64::from(20 * FRAMES)));
}

#[test]
fn live_pictures_come_out_while_they_go_in_and_the_worker_goes_with_its_client() {
    let server = Camshaft::start("");
    let mut stream = begin(&server, "format=mp4");
    send_two_pictures(&mut stream);
    let started = Instant::now();
    read_to_media(&mut stream);
    let waited = started.elapsed();
    // 150 ms is promised of a machine with nothing else to do (`camshaft bench transcode`).
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    eprintln!("first byte after {waited:?}");
    let engines = || children(server.pid()).iter().filter(|(_, name)| name.starts_with("camshaft-eng")).count();
    let before = engines();
    drop(stream);
    let gone = Instant::now();
    eventually(
        "the worker goes",
        || std::thread::sleep(Duration::from_millis(10)),
        || (engines() < before).then_some(()),
    );
    let gone = gone.elapsed();
    eprintln!("worker gone after {gone:?}");
    assert!(gone < Duration::from_secs(1), "{gone:?}: 0.5 s is promised of a machine that is not loaded");
    // Whether the end of the body or that of the connection is seen first is chance.
    let results = ["abandoned", "broken"].map(|result| format!("camshaft_jobs_total{{result=\"{result}\"}}"));
    let counted = || results.iter().any(|series| server.metric(series) == Some(1.0)).then_some(());
    eventually("the job is counted", || std::thread::sleep(Duration::from_millis(50)), counted);
}

#[test]
fn a_client_that_writes_all_before_it_reads_gets_all() {
    let server = Camshaft::start("");
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(file(dir.path(), "in.ts", &["-c", "copy"])).unwrap();
    let mut stream = begin(&server, "format=y4m");
    send(&mut stream, &bytes);
    stream.write_all(b"0\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let body = dechunked(&answer);
    let picture = 320 * 180 * 3 / 2 + "FRAME\n".len();
    assert_eq!(body.len() / picture, FRAMES as usize);
}

/// The beginning of a live y4m stream.
fn send_two_pictures(stream: &mut TcpStream) {
    send(stream, b"YUV4MPEG2 W320 H180 F25:1 Ip A1:1 C420jpeg\n");
    let picture = [b"FRAME\n".to_vec(), vec![90; 320 * 180 * 3 / 2]].concat();
    send(stream, &picture);
    send(stream, &picture);
}

#[test]
fn the_worker_has_bytes_and_neither_files_nor_the_network() {
    let server = Camshaft::start("");
    let engines = || {
        let named = |(pid, name): (u32, String)| name.starts_with("camshaft-eng").then_some(pid);
        children(server.pid()).into_iter().filter_map(named).collect::<Vec<_>>()
    };
    // The spare one becomes the job's.
    let worker =
        eventually("a spare engine", || std::thread::sleep(Duration::from_millis(20)), || engines().first().copied());
    let mut stream = begin(&server, "format=mp4");
    send_two_pictures(&mut stream);
    read_to_media(&mut stream);
    assert_confined(worker, "job");
    let files = open_files(worker);
    assert!(files.iter().all(|file| file == "/dev/null"), "{files:?}");
    let descriptors = std::fs::read_dir(format!("/proc/{worker}/fd")).unwrap().flatten();
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let sockets: BTreeSet<_> = targets.filter(|target| target.to_string_lossy().starts_with("socket:")).collect();
    assert_eq!(sockets.len(), 1, "{sockets:?} beside the link");
}

/// Python's client, which reads nothing before its last byte is sent: here in pieces over so many seconds.
const SLOW_UPLOAD: &str = "
import http.client, sys, time
address, query, path, seconds = sys.argv[1:]
data, pieces = open(path, 'rb').read(), 16
def body():
    for piece in range(pieces):
        yield data[len(data) * piece // pieces : len(data) * (piece + 1) // pieces]
        time.sleep(float(seconds) / pieces)
client = http.client.HTTPConnection(address, timeout=60)
client.request('POST', '/v1/transcode?' + query, body=body(), encode_chunked=True, headers={'Transfer-Encoding': 'chunked'})
sys.stdout.buffer.write(client.getresponse().read())
";

#[test]
fn an_upload_may_take_longer_than_a_reader_may_stall() {
    let server = Camshaft::start_with("limits: { stalled_consumer: 1s }", "");
    let dir = tempfile::tempdir().unwrap();
    let input = file(dir.path(), "in.ts", &["-c", "copy"]);
    let address = server.url("");
    let address = address.trim_start_matches("http://");
    // A connection is cut five seconds after its consumer is given up.
    let arguments = ["-c", SLOW_UPLOAD, address, "format=y4m", input.to_str().unwrap(), "9"];
    let body = command_output("python3", &arguments);
    let picture = 320 * 180 * 3 / 2 + "FRAME\n".len();
    assert_eq!(body.len() / picture, FRAMES as usize);
    server.wait_metric("camshaft_jobs_total{result=\"whole\"}", 1.0);
}

#[test]
fn a_client_that_neither_sends_nor_takes_is_given_up() {
    let server = Camshaft::start_with("limits: { stalled_consumer: 1s }", "");
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(file(dir.path(), "in.ts", &["-c", "copy"])).unwrap();
    let mut stream = begin(&server, "format=y4m&width=1280&height=720");
    send(&mut stream, &bytes[..bytes.len() * 3 / 4]);
    let is_free = || (server.metric("camshaft_jobs_running") == Some(0.0)).then_some(());
    server.log().wait("that it gives the client up", |line| line.contains("took and sent nothing"));
    eventually("the job's place is free", || std::thread::sleep(Duration::from_millis(50)), is_free);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.ends_with(b"0\r\n\r\n"), "a cut answer ended like a whole one");
}

#[test]
fn sound_does_not_hold_the_first_byte_back() {
    let server = Camshaft::start("");
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(file(dir.path(), "in.ts", &["-c", "copy"])).unwrap();
    for query in ["format=mp4", "format=mp4&codec=copy", "format=mkv&audio=aac", "format=ts&audio=aac"] {
        let mut stream = begin(&server, query);
        // A second and a half of four: FFmpeg 7 writes sound most of a second late, and 25 pictures are waited for it.
        send(&mut stream, &bytes[..bytes.len() * 3 / 8]);
        let started = Instant::now();
        read_to_media(&mut stream);
        eprintln!("{query}: first byte after {:?}", started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(10), "{query}: {:?}", started.elapsed());
    }
}
