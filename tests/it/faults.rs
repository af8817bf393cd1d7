//! What goes wrong at the camera's and at the consumer's end, and who must not notice.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Camera, Camshaft, Clip, Coding, Y4m, eventually, hostile_camera, kill};

#[test]
fn a_camera_that_goes_and_comes_back_is_followed_by_its_consumers() {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &[]);
    let port = camera.port();
    let server = Camshaft::start(&format!("  cam: {{ source: \"{}\" }}\n", camera.url()));
    let mut raw = Y4m::new(server.open("/v1/streams/cam/live.y4m"));
    let mut copy = server.open("/v1/streams/cam/live.ts");
    copy.read_exact(&mut [0; 10_000]).unwrap();
    raw.numbers(20);
    let worker = server.pixels_pid("cam");
    drop(camera);
    server.wait_status("cam", "reconnecting", |status| status["state"] == "reconnecting");
    let camera = Camera::start_on(port, &clip, &[]);
    server.wait_live("cam");
    let numbers = raw.numbers(60);
    assert!(numbers.iter().any(|number| *number < 20), "the clip starts again: {numbers:?}");
    copy.read_exact(&mut [0; 100_000]).unwrap();
    let status = server.status("cam");
    assert!(status["source"]["reconnects"].as_u64() >= Some(1));
    assert_eq!(server.pixels_pid("cam"), worker, "the decoder outlives the camera's absence");
    drop(camera);
}

#[test]
fn consumers_are_held_and_then_ended_while_the_camera_is_away() {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &[]);
    let server = Camshaft::start_with("limits: { hold: 1s }", &format!("  cam: {{ source: \"{}\" }}\n", camera.url()));
    let mut raw = Y4m::new(server.open("/v1/streams/cam/live.y4m"));
    let mut copy = server.open("/v1/streams/cam/live.mp4");
    raw.numbers(5);
    drop(camera);
    let away = Instant::now();
    while raw.next().is_some() {}
    std::io::copy(&mut copy, &mut std::io::sink()).expect("the copy ends cleanly");
    assert!(away.elapsed() >= Duration::from_millis(900), "held for {:?} only", away.elapsed());
}

#[test]
fn a_reset_connection_is_noticed_and_mended() {
    let camera = hostile_camera("rst");
    let server = Camshaft::start(&format!("  cam: {{ source: \"{}\" }}\n", camera.url()));
    server.wait_metric("camshaft_source_reconnects_total{stream=\"cam\"}", 2.0);
    assert_eq!(server.admin("/livez").status, 200);
}

#[test]
fn a_camera_that_says_nothing_is_given_up_in_time() {
    let camera = hostile_camera("silent");
    let server = Camshaft::start_with(
        "limits: { connect_timeout: 1s }",
        &format!("  cam: {{ source: \"{}\" }}\n", camera.url()),
    );
    let started = Instant::now();
    server.wait_metric("camshaft_source_failures_total{reason=\"connect\",stream=\"cam\"}", 1.0);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn endless_headers_fragments_and_descriptions_cost_one_worker_and_nobody_else() {
    for mode in ["endless-header", "endless-fragments", "million-lines", "million-tracks"] {
        let camera = hostile_camera(mode);
        let server = Camshaft::start(&format!(
            "  clock: {{ source: \"test:?width=160&height=90&fps=25\" }}\n  evil: {{ source: \"{}\" }}\n",
            camera.url()
        ));
        let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m"));
        let mut numbers = raw.numbers(5);
        let failed = || server.metric("camshaft_source_failures_total{").filter(|count| *count >= 1.0);
        let mut largest = 0;
        let mut worst_worker = 0;
        eventually(
            &format!("{mode} is given up"),
            || {
                largest = largest.max(resident(server.pid()));
                if let Some(pid) = server.status("evil")["workers"]["ingest"]["pid"].as_u64() {
                    worst_worker = worst_worker.max(resident(pid as u32));
                }
            },
            failed,
        );
        numbers.extend(raw.numbers(10));
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{mode}: {numbers:?}");
        assert!(largest < 80 << 20, "{mode}: the supervisor grew to {largest} bytes");
        assert!(worst_worker < 160 << 20, "{mode}: the worker grew to {worst_worker} bytes");
        let reason = server.wait_status("evil", "why", |status| status["reason"].is_string());
        assert!(reason["state"] != "live", "{reason}");
    }
}

#[test]
fn a_picture_past_the_limit_is_refused_before_anything_decodes_it() {
    let camera = hostile_camera("huge-picture");
    let server = Camshaft::start(&format!("  huge: {{ source: \"{}\" }}\n", camera.url()));
    server.wait_metric("camshaft_source_failures_total{reason=\"limit\",stream=\"huge\"}", 1.0);
    let status = server.status("huge");
    assert!(status["reason"].as_str().is_some_and(|reason| reason.contains("limit")), "{status}");
    assert!(status["workers"]["pixels"].is_null() && status["state"] != "live");
}

/// Resident memory of a process in bytes.
fn resident(pid: u32) -> u64 {
    camshaft::link::usage(pid).map_or(0, |usage| usage.rss_bytes)
}

#[test]
fn twenty_consumers_and_one_that_takes_nothing() {
    let server = Camshaft::start_with(
        "limits: { stalled_consumer: 5s, consumer_lag: 1s }",
        "  clock: { source: \"test:?width=640&height=360&fps=25&gop=25&bitrate=8M\" }\n",
    );
    server.wait_live("clock");
    let address = server.url("").trim_start_matches("http://").to_owned();
    let stall = |path: &str| {
        let mut socket = TcpStream::connect(&address).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        socket.read_exact(&mut [0; 12]).unwrap();
        socket
    };
    let stalled = stall("/v1/streams/clock/live.ts");
    // A small window, or the kernel takes for it what it does not take itself.
    rustix::net::sockopt::set_socket_recv_buffer_size(&stalled, 4096).unwrap();
    let read_on = |_| {
        let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m?width=160"));
        std::thread::spawn(move || raw.numbers(250))
    };
    let readers: Vec<_> = (0..10).map(read_on).collect();
    let mut copies: Vec<_> = (0..10).map(|_| server.open("/v1/streams/clock/live.ts")).collect();
    let mut slow = stall("/v1/streams/clock/live.y4m");
    assert_eq!(server.status("clock")["consumers"], 22);
    let made = "camshaft_rendition_frames_total{rendition=\"i420\",stream=\"clock\"}";
    let before = server.metric(made).unwrap();
    server.wait_metric(made, before + 40.0);
    // The one that took nothing for forty pictures takes some again, and is told what it lost.
    slow.read_exact(&mut vec![0; 6 << 20]).unwrap();
    server.wait_metric("camshaft_consumer_dropped_total{kind=\"pictures\",stream=\"clock\"}", 5.0);
    for reader in readers {
        let numbers = reader.join().unwrap();
        let lost = numbers[249] - numbers[0] - 249;
        assert!(lost <= 8, "a healthy consumer lost {lost}");
    }
    for copy in &mut copies {
        copy.read_exact(&mut [0; 100_000]).unwrap();
    }
    server.wait_metric("camshaft_consumers_stalled_total{stream=\"clock\"}", 2.0);
    drop(copies);
    server.wait_status("clock", "no consumers", |status| status["consumers"] == 0);
    drop((stalled, slow));
}

#[test]
fn a_camera_that_changes_its_size_keeps_its_scaled_consumers() {
    let small = Clip::make(Coding { frames: 150, ..Coding::default() });
    let large = Clip::make(Coding { size: (640, 360), ..Coding::default() });
    let camera = Camera::start(&small, &["--then", large.path.to_str().unwrap()]);
    let server = Camshaft::start(&format!("  cam: {{ source: \"{}\" }}\n", camera.url()));
    let mut raw = Y4m::new(server.open("/v1/streams/cam/live.y4m?width=160&height=90"));
    let mut encoded = server.open("/v1/streams/cam/live.ts?codec=h264&width=160&height=90&bitrate=500k");
    let mut copy = server.open("/v1/streams/cam/live.mp4");
    let first = server.pixels_pid("cam");
    raw.numbers(10);
    server.wait_status("cam", "the new size", |status| status["source"]["width"] == 640);
    std::io::copy(&mut copy, &mut std::io::sink()).expect("a copy in mp4 ends cleanly at the change");
    let numbers = raw.numbers(60);
    assert!(numbers.len() == 60);
    assert_ne!(server.pixels_pid("cam"), first, "the worker restarts at the keyframe that carries the change");
    encoded.read_exact(&mut [0; 20_000]).unwrap();
    assert_eq!(server.status("cam")["source"]["reconnects"], 0);
    assert_eq!(server.status("cam")["workers"]["pixels"]["restarts"], 0, "a change is no death");
}

#[test]
fn an_ingest_worker_that_dies_is_replaced() {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &[]);
    let server = Camshaft::start(&format!("  cam: {{ source: \"{}\" }}\n", camera.url()));
    let status = server.wait_live("cam");
    let mut copy = server.open("/v1/streams/cam/live.ts");
    copy.read_exact(&mut [0; 1000]).unwrap();
    kill(status["workers"]["ingest"]["pid"].as_u64().unwrap() as u32);
    server.wait_status("cam", "live again", |status| {
        status["state"] == "live" && status["source"]["reconnects"].as_u64() >= Some(1)
    });
    copy.read_exact(&mut [0; 100_000]).unwrap();
}
