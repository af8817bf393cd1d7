//! The promise: a worker may die at any moment, and nobody but its own pictures notices.

use camshaft::media::VideoCodec;
use rustix::process::Signal;
use std::io::Read;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{Camera, Camshaft, Clip, Coding, Y4m, access_units, children, command_output, kill, signal};

/// Reads `path` of `server` on a thread until the response ends or `enough` bytes came.
fn record(server: &Camshaft, path: &str, enough: usize) -> std::thread::JoinHandle<Vec<u8>> {
    let mut body = server.open(path);
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut chunk = [0; 65536];
        while bytes.len() < enough {
            match body.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            }
        }
        bytes
    })
}

#[test]
fn a_killed_worker_costs_no_copy_a_packet_and_raw_readers_see_one_timeline() {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &[]);
    let server = Camshaft::start(&format!("  cam: {{ source: \"{}\" }}\n", camera.url()));
    server.wait_live("cam");
    let copy = record(&server, "/v1/streams/cam/live.h264", 600_000);
    let mut raw = Y4m::new(server.open("/v1/streams/cam/live.y4m?width=160&height=90"));
    let mut numbers = raw.numbers(40);
    let first = server.pixels_pid("cam");
    kill(first);
    numbers.extend(raw.numbers(60));
    let second = server.pixels_pid("cam");
    assert_ne!(first, second);
    kill(second);
    numbers.extend(raw.numbers(60));
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "numbers repeat or go back: {numbers:?}");
    let skipped = numbers.last().unwrap() - numbers[0] + 1 - numbers.len() as u32;
    assert!(skipped <= 4, "{skipped} pictures were lost over two deaths: {numbers:?}");
    assert_eq!(server.status("cam")["workers"]["pixels"]["restarts"], 2);
    assert!(server.status("cam")["source"]["reconnects"] == 0);

    let copied = access_units(&copy.join().unwrap(), VideoCodec::H264);
    let original =
        command_output("ffmpeg", &["-v", "error", "-i", clip.path.to_str().unwrap(), "-c", "copy", "-f", "h264", "-"]);
    let original = access_units(&original, VideoCodec::H264);
    let start = original.iter().position(|unit| *unit == copied[0]).expect("the copy starts with a unit of the clip");
    let whole = &copied[..copied.len() - 1];
    assert!(whole.len() > 150, "{} access units are too few to judge", whole.len());
    assert_eq!(whole, &original[start..start + whole.len()]);
}

#[test]
fn a_death_is_mended_within_half_a_second() {
    let server = Camshaft::start("  clock: { source: \"test:?width=320&height=180&fps=25&gop=25\" }\n");
    let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m"));
    raw.numbers(30);
    let mut gaps = Vec::new();
    for _ in 0..3 {
        let pid = server.pixels_pid("clock");
        let before = raw.numbers(1)[0];
        kill(pid);
        let killed = Instant::now();
        // Pictures already under way are no recovery: wait for the worker to be another.
        while server.pixels_pid("clock") == pid {}
        let after = raw.numbers(2)[1];
        gaps.push(killed.elapsed());
        assert!(after > before);
        raw.numbers(30);
    }
    gaps.sort();
    assert!(gaps[1] <= Duration::from_millis(500), "median of {gaps:?}");
}

#[test]
fn an_encoded_rendition_goes_on_after_a_death_with_an_idr() {
    let server = Camshaft::start("  clock: { source: \"test:?width=320&height=180&fps=25&gop=50\" }\n");
    let dir = tempfile::tempdir().unwrap();
    let encoded = record(&server, "/v1/streams/clock/live.ts?codec=h264&gop=25&bitrate=1M", 500_000);
    server.wait_metric("camshaft_rendition_frames_total{rendition=\"h264\",stream=\"clock\"}", 40.0);
    kill(server.pixels_pid("clock"));
    let file = dir.path().join("live.ts");
    std::fs::write(&file, encoded.join().unwrap()).unwrap();
    let numbers: Vec<_> = crate::support::numbers_in(file.to_str().unwrap(), (320, 180))
        .into_iter()
        .map(|number| number.unwrap())
        .collect();
    assert!(numbers.len() > 60);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let packets = crate::support::ffprobe_packets(file.to_str().unwrap(), "v:0");
    assert!(packets.windows(2).all(|pair| pair[0].dts < pair[1].dts));
}

#[test]
fn a_stopped_worker_is_found_and_replaced() {
    let server = Camshaft::start_with(
        "limits: { watchdog: 1s }",
        "  clock: { source: \"test:?width=320&height=180&fps=25&gop=25\" }\n",
    );
    let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m"));
    let before = *raw.numbers(30).last().unwrap();
    let pid = server.pixels_pid("clock");
    signal(pid, Signal::STOP);
    let numbers = raw.numbers(60);
    assert!(numbers[0] > before && numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert_ne!(server.pixels_pid("clock"), pid);
    assert!(
        server.metric("camshaft_worker_restarts_total{reason=\"hang\",role=\"pixels\",stream=\"clock\"}") == Some(1.0)
    );
}

#[test]
fn the_pixels_worker_lives_only_while_pixels_are_wanted() {
    let server = Camshaft::start_with(
        "limits: { pixels_linger: 1s }",
        "  clock: { source: \"test:?width=320&height=180&fps=25&gop=25\" }\n",
    );
    server.wait_live("clock");
    let mut copy = server.open("/v1/streams/clock/live.mp4");
    let mut bytes = [0; 10_000];
    copy.read_exact(&mut bytes).unwrap();
    assert!(server.status("clock")["workers"]["pixels"].is_null(), "a copy needs no decoder");
    let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m"));
    raw.numbers(5);
    let pid = server.pixels_pid("clock");
    drop(raw);
    server.wait_status("clock", "no pixels worker", |status| status["workers"]["pixels"].is_null());
    assert!(!children(server.pid()).iter().any(|(child, _)| *child == pid));
    copy.read_exact(&mut bytes).unwrap();
}

#[test]
fn workers_die_with_the_supervisor() {
    let server = Camshaft::start("  clock: { source: \"test:?width=320&height=180&fps=25\" }\n");
    let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m"));
    raw.numbers(5);
    let workers = children(server.pid());
    assert!(workers.len() >= 2, "{workers:?}");
    let (done, gone) = mpsc::channel();
    std::thread::spawn(move || {
        for (pid, _) in workers {
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            let Ok(watch) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { continue };
            let mut poll = [rustix::event::PollFd::new(&watch, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut poll, None).unwrap();
        }
        done.send(()).unwrap();
    });
    kill(server.pid());
    gone.recv_timeout(Duration::from_secs(5)).expect("every worker is gone within 5 s of the supervisor's death");
}
