//! The end of the service, while everything else goes wrong as well.

use rustix::process::Signal;
use std::time::{Duration, Instant};

use super::bench::Bench;
use crate::support::{Camera, Camshaft, Clip, Coding, Relay, Tamper, children, eventually, signal};

/// The faults of this module's tests.
pub const FAULTS: [&str; 2] = ["SIGTERM during all of it", "supervisor SIGKILL"];

/// A service with a stopped worker, a dead one, a camera that sends garbage and one that is silent.
fn in_trouble() -> (Bench, Relay, Camera) {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &[]);
    let relay = Relay::to(camera.port());
    let test = "source: \"test:?width=320&height=180&fps=25&gop=25\"";
    let (own, relayed) = (camera.url(), relay.url());
    let server = Camshaft::start(&format!(
        "  one: {{ {test} }}\n  two: {{ {test} }}\n  cam: {{ source: \"{own}\" }}\n  bad: {{ source: \"{relayed}\" }}\n"
    ));
    let bench = Bench::watch(server, &["one", "two", "cam", "bad"]);
    relay.tamper(Tamper::Garbage);
    signal(bench.server.pixels_pid("one"), Signal::STOP);
    signal(bench.server.pixels_pid("two"), Signal::KILL);
    bench.wait_pictures("cam", 10);
    relay.tamper(Tamper::Silence);
    (bench, relay, camera)
}

fn wait_gone(workers: Vec<(u32, String)>, bench: &Bench) {
    let gone = || workers.iter().all(|(pid, _)| camshaft::link::usage(*pid).is_none_or(|usage| usage.rss_bytes == 0));
    eventually("every worker is gone", || bench.server.log().pause(), || gone().then_some(()));
}

#[test]
fn it_stops_in_order_whatever_is_wrong() {
    let (mut bench, _relay, _camera) = in_trouble();
    let workers = children(bench.server.pid());
    let asked = Instant::now();
    bench.server.signal(Signal::TERM);
    let status = bench.server.wait_exit(Duration::from_secs(20));
    assert!(status.success(), "{status:?}");
    super::figures::note(FAULTS[0], asked.elapsed());
    wait_gone(workers, &bench);
}

#[test]
fn no_worker_outlives_the_supervisor() {
    let (bench, _relay, _camera) = in_trouble();
    let workers = children(bench.server.pid());
    let killed = Instant::now();
    bench.server.signal(Signal::KILL);
    wait_gone(workers, &bench);
    super::figures::note(FAULTS[1], killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
}
