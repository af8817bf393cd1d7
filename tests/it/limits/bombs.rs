//! Small files that ask for much: sizes that no picture has, boxes that no file has, and bodies that would unpack to more
//! than there is. Each is refused, or ends its own worker, and nobody else notices.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{CLOCK, bystander, connect, largest_worker, read_status, resident};
use crate::support::{Camshaft, Clip, Coding, command_output, hostile_server};

/// H.264 parameter sets that ask for 8192x8192 pixels, and a slice.
const HUGE_SPS: &[u8] = b"\0\0\0\x01\x67\x42\xc0\x3e\xda\x00\x20\x00\x04\x01\x90\0\0\0\x01\x68\xcb\x83\xcb\x20\0\0\0\x01\x65\x88\x80\x10\xff\xff";
/// How long a refusal may take on a loaded machine.
const REFUSAL: Duration = Duration::from_secs(20);

fn clip() -> Clip {
    Clip::make(Coding { frames: 50, ..Coding::default() })
}

fn made_by_ffmpeg(dir: &Path, name: &str, arguments: &[&str]) -> Vec<u8> {
    let path = dir.join(name);
    command_output("ffmpeg", &[&["-v", "error", "-y"], arguments, &[path.to_str().unwrap()]].concat());
    std::fs::read(path).unwrap()
}

/// Every box of the clip once with a size that it has not, and every table of it with more entries than there are.
fn absurd_boxes(whole: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut bombs = Vec::new();
    for name in ["ftyp", "moov", "mvhd", "trak", "mdia", "minf", "stbl", "stsd", "stts", "stsc", "stsz", "stco", "mdat"]
    {
        let Some(at) = whole.windows(4).position(|window| window == name.as_bytes()) else { continue };
        for size in [0u32, 1, 7, 0x7fff_ffff, 0xffff_fff0] {
            let mut bomb = whole.to_vec();
            bomb[at - 4..at].copy_from_slice(&size.to_be_bytes());
            bombs.push((format!("{name} of {size} bytes"), bomb));
        }
        // Behind version and flags stands a count; in stsz the sample size comes first.
        let count = at + if name == "stsz" { 12 } else { 8 };
        if name.starts_with("st") && name != "stbl" {
            let mut bomb = whole.to_vec();
            bomb[count..count + 4].copy_from_slice(&0xffff_fffeu32.to_be_bytes());
            bombs.push((format!("{name} with 4 billion entries"), bomb));
        }
    }
    bombs
}

/// A JPEG that says that it has 65535x65535 pixels (ITU-T T.81 §B.2.2).
fn huge_jpeg(dir: &Path) -> Vec<u8> {
    let mut jpeg = made_by_ffmpeg(dir, "a.jpg", &["-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1"]);
    let frame = jpeg.windows(2).position(|window| window == [0xff, 0xc0]).expect("a baseline frame");
    jpeg[frame + 5..frame + 9].fill(0xff);
    jpeg
}

/// A PNG that says the same (RFC 2083 §4.1.1).
fn huge_png(dir: &Path) -> Vec<u8> {
    let mut png = made_by_ffmpeg(dir, "a.png", &["-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1"]);
    png[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    png
}

/// 500 MB of zeros in half a megabyte.
fn zipped() -> Vec<u8> {
    command_output("sh", &["-c", "head -c 500M /dev/zero | gzip -1 | head -c 500000"])
}

/// Posts `body` for transcoding; the status, and how long it took.
pub fn transcode(server: &Camshaft, header: &str, body: &[u8]) -> (u16, Duration) {
    let started = Instant::now();
    let mut stream = connect(server);
    let head = format!(
        "POST /v1/transcode?format=mp4&height=90 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Whoever is refused early finds the connection closed.
    let _ = stream.write_all(body);
    (read_status(&mut stream), started.elapsed())
}

#[test]
fn small_files_that_ask_for_much_are_refused_or_done_within_their_memory() {
    let dir = tempfile::tempdir().unwrap();
    let clip = std::fs::read(clip().path).unwrap();
    let mut bombs = absurd_boxes(&clip);
    bombs.push(("an SPS of 8192x8192".into(), HUGE_SPS.to_vec()));
    bombs.push(("y4m of 65535x65535".into(), b"YUV4MPEG2 W65535 H65535 F25:1 C420jpeg\nFRAME\nxxxx".to_vec()));
    bombs.push(("a JPEG of 65535x65535".into(), huge_jpeg(dir.path()).repeat(3)));
    bombs.push(("a PNG of 65535x65535".into(), huge_png(dir.path())));
    bombs.push(("gzip".into(), zipped()));
    let server = Camshaft::start_with("limits: { pixels_memory: 256M }\n", CLOCK);
    let watcher = bystander(&server);
    let before = resident(server.pid());
    let mut largest = 0;
    for (what, bomb) in &bombs {
        let (status, took) = transcode(&server, "", bomb);
        // 200: some of these numbers mean nothing to a demuxer. 503: the worker went beyond its memory.
        assert!([200, 422, 503].contains(&status), "{what}: {status}");
        assert!(took < REFUSAL, "{what}: {took:?}");
        largest = largest.max(largest_worker(&server));
    }
    let (status, _) = transcode(&server, "content-encoding: gzip\r\n", &zipped());
    assert!((400..500).contains(&status), "a body is never unpacked: {status}");
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "the supervisor grew by {grown} bytes");
    eprintln!("{} bombs; the largest worker took {} MiB", bombs.len(), largest >> 20);
    watcher.assert_undisturbed(&server);
    assert_eq!(server.metric("camshaft_jobs_running"), Some(0.0));
}

/// Twenty black pictures with as many references as there may be.
fn black(dir: &Path, size: &str) -> Vec<u8> {
    let source = format!("color=black:s={size}:r=25");
    let coder = ["-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "ref=16:keyint=250:scenecut=0"];
    let arguments = [&["-f", "lavfi", "-i", &source, "-frames:v", "20"], &coder[..]].concat();
    made_by_ffmpeg(dir, "bomb.h264", &arguments)
}

#[test]
fn fifty_kilobytes_that_decode_into_half_a_gigabyte_stay_within_their_workers_memory() {
    let dir = tempfile::tempdir().unwrap();
    let server = Camshaft::start_with("limits: { pixels_memory: 128M, software_pixels: 100G }\n", CLOCK);
    let watcher = bystander(&server);
    let before = resident(server.pid());
    // The gate refuses the first by its size; the second may be decoded, if its worker has the room.
    for size in ["4096x4096", "4096x2160"] {
        let bomb = black(dir.path(), size);
        assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
        let (server, most) = (&server, &AtomicU64::new(0));
        let (status, took) = std::thread::scope(|scope| {
            let asked = scope.spawn(|| transcode(server, "", &bomb));
            while !asked.is_finished() {
                most.fetch_max(largest_worker(server), Ordering::Relaxed);
            }
            asked.join().unwrap()
        });
        let most = most.load(Ordering::Relaxed);
        eprintln!("{} bytes of {size}: {status} after {took:?}, worker of {} MiB", bomb.len(), most >> 20);
        assert!([200, 422, 503].contains(&status), "{size}: {status}");
        // FFmpeg's libraries are in there as well.
        assert!(most < 256 << 20, "{size}: {most} bytes");
    }
    assert!(resident(server.pid()).saturating_sub(before) < 64 << 20);
    watcher.assert_undisturbed(&server);
    // What comes next is none the worse for it.
    let clip = std::fs::read(clip().path).unwrap();
    assert_eq!(transcode(&server, "", &clip).0, 200);
}

#[test]
fn a_cameras_bomb_ends_its_own_worker() {
    let dir = tempfile::tempdir().unwrap();
    let jpeg: &'static [u8] = huge_jpeg(dir.path()).leak();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
    let answer: &'static [u8] = [head.as_bytes(), jpeg].concat().leak();
    let still = hostile_server(answer, b"");
    let part: &'static [u8] = [b"--x\r\nContent-Type: image/jpeg\r\n\r\n", jpeg, b"\r\n"].concat().leak();
    let multipart =
        hostile_server(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n", part);
    let server = Camshaft::start(&format!(
        "{CLOCK}  still: {{ source: \"{still}\", input: jpeg }}\n  parts: {{ source: \"{multipart}\" }}\n"
    ));
    let watcher = bystander(&server);
    for id in ["still", "parts"] {
        let past =
            |status: &serde_json::Value| status["reason"].as_str().is_some_and(|reason| reason.contains("limit"));
        server.wait_status(id, "a picture past the limit", past);
    }
    watcher.assert_undisturbed(&server);
}
