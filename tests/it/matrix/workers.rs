//! Workers that die or stop, by signal.

use rustix::process::Signal;
use std::time::Instant;

use super::bench::Bench;
use super::{DEATH, HANG, Hurt, Row};
use crate::support::{Camera, Camshaft, Clip, Coding, children, eventually, signal};

const ROWS: &[Row<()>] = &[
    Row {
        fault: "worker SIGKILL",
        hurt: Hurt::Pictures("one"),
        bound: DEATH,
        inject: |(), bench| strike(bench, "one", Signal::KILL),
    },
    Row {
        fault: "worker SIGSEGV",
        hurt: Hurt::Pictures("cam"),
        bound: DEATH,
        inject: |(), bench| strike(bench, "cam", Signal::SEGV),
    },
    Row {
        fault: "worker SIGABRT",
        hurt: Hurt::Pictures("one"),
        bound: DEATH,
        inject: |(), bench| strike(bench, "one", Signal::ABORT),
    },
    Row {
        fault: "worker SIGSTOP",
        hurt: Hurt::Pictures("cam"),
        bound: HANG,
        inject: |(), bench| strike(bench, "cam", Signal::STOP),
    },
    Row { fault: "all workers at once", hurt: Hurt::Everybody, bound: HANG, inject: |(), bench| strike_all(bench) },
];

/// Strikes the pixels worker of a stream, and waits until there is another. Once is not enough: Rust's own handler takes the
/// first SIGSEGV that is sent, where it would see a real one again.
fn strike(bench: &Bench, stream: &str, with: Signal) -> Instant {
    let pid = bench.server.pixels_pid(stream);
    let struck = Instant::now();
    signal(pid, with);
    let another = || {
        let now = bench.server.status(stream)["workers"]["pixels"]["pid"].as_u64();
        let _ = rustix::process::Pid::from_raw(pid as i32).map(|pid| rustix::process::kill_process(pid, with));
        now.is_some_and(|now| now != u64::from(pid)).then_some(())
    };
    eventually("there is another worker", || bench.server.log().pause(), another);
    struck
}

fn strike_all(bench: &Bench) -> Instant {
    let struck = Instant::now();
    let before = children(bench.server.pid());
    before.iter().for_each(|(pid, _)| signal(*pid, Signal::KILL));
    let gone = || {
        let now = children(bench.server.pid());
        (now.len() >= before.len() && before.iter().all(|old| !now.contains(old))).then_some(())
    };
    eventually("all workers are others", || bench.server.log().pause(), gone);
    struck
}

#[test]
fn deaths_of_workers() {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &[]);
    let test = "source: \"test:?width=320&height=180&fps=25&gop=25\"";
    let cam = format!("source: \"{}\"", camera.url());
    let server = Camshaft::start(&format!(
        "  one: {{ {test} }}\n  two: {{ {test} }}\n  cam: {{ {cam} }}\n  other: {{ {cam} }}\n"
    ));
    let bench = Bench::watch(server, &["one", "two", "cam", "other"]);
    bench.run(&(), ROWS);
    bench.server.wait_metric("camshaft_worker_cpu_seconds_total{role=\"pixels\",stream=\"cam\"}", 0.1);
}

/// The faults that the rows inject.
pub fn faults() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.fault).collect()
}
