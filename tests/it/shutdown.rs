//! It stops well.

use rustix::process::Signal;
use std::io::Read;
use std::time::{Duration, Instant};

use crate::support::{Camshaft, Y4m, children};

const CLOCK: &str =
    "  clock: { source: \"test:?width=320&height=180&fps=25\", renditions: { detect: { width: 160, fps: 5 } } }\n";

#[test]
fn a_signal_ends_streams_workers_and_process() {
    let mut server = Camshaft::start(CLOCK);
    let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m"));
    let mut copy = server.open("/v1/streams/clock/live.mp4");
    raw.numbers(3);
    let workers = children(server.pid());
    let started = Instant::now();
    server.signal(Signal::TERM);
    while raw.next().is_some() {}
    std::io::copy(&mut copy, &mut std::io::sink()).expect("the copy ends cleanly");
    let status = server.wait_exit(Duration::from_secs(20));
    assert!(status.success(), "{status:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
    for (pid, name) in workers {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{name} ({pid}) is still there");
    }
}

#[test]
fn a_second_signal_leaves_at_once() {
    let mut server = Camshaft::start(CLOCK);
    let mut copy = server.open("/v1/streams/clock/live.mp4");
    copy.read_exact(&mut [0; 1000]).unwrap();
    // A worker that does not listen holds the orderly end up.
    for (pid, _) in children(server.pid()) {
        crate::support::signal(pid, Signal::STOP);
    }
    server.signal(Signal::TERM);
    server.log().wait("that it is stopping", |line| line.contains("\"stopping\""));
    let second = Instant::now();
    server.signal(Signal::INT);
    server.wait_exit(Duration::from_secs(10));
    assert!(second.elapsed() < Duration::from_secs(1), "{:?}", second.elapsed());
}

#[test]
fn a_missing_configuration_is_named() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_camshaft"))
        .args(["serve", "--config", "/nonexistent/camshaft.yaml"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("/nonexistent/camshaft.yaml"), "{complaint}");
}
