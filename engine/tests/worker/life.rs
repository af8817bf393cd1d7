//! How a worker begins and ends.

use camshaft::link::{FailureKind, FromWorker, IngestTask, PixelsTask, Role, ToWorker, wire};
use camshaft::media::{Cadence, Geometry, OutputSpec, PixelFormat, RenditionSpec, Transport};
use camshaft::plan::Backend;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Worker, h264_clip};

const SIZE: Geometry = Geometry { width: 160, height: 96 };

#[test]
fn a_closed_link_ends_it_quietly() {
    let clip = h264_clip(SIZE, 2);
    let spare = Worker::spare();
    let pixels = Worker::pixels(&clip.config);
    for worker in [spare, pixels] {
        let (status, stderr) = worker.end();
        assert!(status.success());
        assert_eq!(stderr, "");
    }
}

#[test]
fn a_message_cut_short_ends_it_quietly() {
    let spare = Worker::spare();
    let mut bytes = Vec::new();
    wire::send(&mut bytes, &ToWorker::Stop, &[0; 100]).unwrap();
    spare.send_bytes(&bytes[..bytes.len() - 50]);
    assert!(spare.end().0.success());
}

#[test]
fn what_is_no_message_ends_it_loudly() {
    let spare = Worker::spare();
    spare.send_bytes(b"GET / HTTP/1.1\r\n\r\n");
    let (status, stderr) = spare.ends_by_itself();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.starts_with("ERROR the link broke: not a link message"), "{stderr}");
}

#[test]
fn roles_of_others_are_refused() {
    let task = IngestTask {
        url: "rtsp://192.0.2.1/".into(),
        username: Some("viewer".into()),
        password: Some("hunter2".into()),
        transport: Transport::Tcp,
        connect_ms: 1,
        first_media_ms: 1,
        idle_ms: 1,
        reach: camshaft::sandbox::Reach::default(),
    };
    let worker = Worker::begin(Role::Ingest(task));
    let (FromWorker::Failed { kind, message }, _) = worker.next() else { panic!("ingest is refused") };
    assert_eq!(kind, FailureKind::Unsupported);
    let (status, stderr) = worker.end();
    assert_eq!(status.code(), Some(1));
    assert_eq!(stderr, format!("ERROR {message}\n"));
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let clip = h264_clip(SIZE, 2);
    let decode = Backend::Vaapi { device: "/dev/dri/renderD128".into() };
    let worker = Worker::begin(Role::Pixels(PixelsTask { config: clip.config, decode, sample_ticks: None }));
    let (FromWorker::Failed { kind, message }, _) = worker.next() else { panic!("the device is missing") };
    assert_eq!(kind, FailureKind::Device);
    assert!(message.contains("/dev/dri/renderD128"), "{message}");
}

#[test]
fn a_worker_gives_up_what_it_does_not_need() {
    let clip = h264_clip(SIZE, 2);
    let worker = Worker::pixels(&clip.config);
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", worker.id())).unwrap();
    assert!(read("status").lines().any(|line| line.split_whitespace().eq(["NoNewPrivs:", "1"])));
    let limits = read("limits");
    for (name, soft) in
        [("Max data size", "1073741824"), ("Max core file size", "0"), ("Max file size", "0"), ("Max open files", "64")]
    {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let values: Vec<_> = line[name.len()..].split_whitespace().take(2).collect();
        assert_eq!(values, [soft, soft], "{name}");
    }
}

/// KiB of files' pages, which linking reads.
fn file_pages(worker: &Worker) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", worker.id())).unwrap();
    let field = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
    };
    field("Rss:").saturating_sub(field("Anonymous:"))
}

#[test]
fn it_keeps_little_of_what_it_linked_and_works_all_the_same() {
    let clip = h264_clip(SIZE, 5);
    let spare = Worker::spare();
    let (mut most, start) = (0, Instant::now());
    loop {
        let pages = file_pages(&spare);
        most = most.max(pages);
        if most > 10_000 && pages < most / 2 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{pages} KiB of {most}");
        std::thread::sleep(Duration::from_millis(2));
    }
    let task = PixelsTask { config: clip.config.clone(), decode: Backend::Software, sample_ticks: None };
    spare.send(&ToWorker::Begin(Role::Pixels(task)));
    assert!(matches!(spare.next().0, FromWorker::Ready));
    let spec =
        RenditionSpec { crop: None, size: SIZE, cadence: Cadence::Every, output: OutputSpec::Raw(PixelFormat::I420) };
    spare.add(1, spec);
    let out = [spare.play(&clip), spare.drain()].concat();
    assert_eq!(out.iter().filter(|(message, _)| matches!(message, FromWorker::Frame { .. })).count(), 5);
}

#[test]
fn it_says_how_it_is_to_be_started() {
    let output = Command::new(env!("CARGO_BIN_EXE_camshaft-engine")).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("camshaft starts this program"), "{stderr}");
}
