//! Cameras that go, lie and stutter: behind a relay that damages what they send, and on a network whose cable is pulled.

use std::time::{Duration, Instant};

use super::bench::Bench;
use super::{Hurt, Row};
use crate::support::{Camera, Camshaft, Clip, Coding, Network, Relay, Tamper, eventually, eventually_within, signal};
use rustix::process::Signal;

/// A camera that answers to the first picture.
const RETURN: Duration = Duration::from_secs(2);
/// From whole packets to whole pictures: the clip's GOP, and a connection anew if it was given up.
const GOP: Duration = Duration::from_secs(4);
/// Noise took pictures away for 6.3 s once, and why was not traced; `limits.watchdog` finds what still hangs by then.
const CONFUSED: Duration = Duration::from_millis(6500);
/// From the cable's being plugged in again: a connection attempt, a pause and a handshake.
const CABLE: Duration = Duration::from_secs(5);
/// How long a camera misbehaves, in pictures of another.
const A_WHILE: usize = 50;

struct Cameras {
    relay: Relay,
    plain: Camera,
    closed: Camera,
    large: Camera,
    hevc: Camera,
    far: Far,
}

/// A camera that can be cut off without a word.
enum Far {
    Cabled(Network, Camera),
    /// Without the right to make networks: one that is stopped.
    Stopped(Camera),
}

const ROWS: &[Row<Cameras>] = &[
    row("camera RST", RETURN, |cameras, bench| {
        cameras.relay.go_away();
        bench.server.wait_status("cam", "reconnecting", |status| status["state"] == "reconnecting");
        answered_again(cameras, bench)
    }),
    Row {
        fault: "camera silent, link down",
        hurt: Hurt::Stream("far"),
        bound: CABLE,
        inject: |cameras, bench| {
            cameras.far.cut();
            bench.server.wait_status("far", "reconnecting", |status| status["state"] == "reconnecting");
            cameras.far.join();
            Instant::now()
        },
    },
    row("bit flips 1 in 10⁶", GOP, |cameras, bench| misbehave(cameras, bench, Tamper::FlipBits(1_000_000))),
    row("bit flips 1 in 10⁵", GOP, |cameras, bench| misbehave(cameras, bench, Tamper::FlipBits(100_000))),
    row("bit flips 1 in 10⁴", GOP, |cameras, bench| misbehave(cameras, bench, Tamper::FlipBits(10_000))),
    row("packet loss 1 %", GOP, |cameras, bench| lose(cameras, bench, 1)),
    row("packet loss 10 %", GOP, |cameras, bench| lose(cameras, bench, 10)),
    row("timestamps jump an hour ahead and back", GOP, |cameras, bench| {
        const JUMPS: &str = "camshaft_source_clock_jumps_total{stream=\"cam\"}";
        let jumps = bench.counted(JUMPS);
        let since = misbehave(cameras, bench, Tamper::Shift(3600 * 90_000));
        assert!(bench.counted(JUMPS) > jumps, "jumps are counted");
        since
    }),
    row("timestamps wrap", GOP, |cameras, bench| misbehave(cameras, bench, Tamper::Wrap)),
    row("timestamps stand still", GOP, |cameras, bench| misbehave(cameras, bench, Tamper::Freeze)),
    row("garbage for ever", CONFUSED, |cameras, bench| misbehave(cameras, bench, Tamper::Garbage)),
    row("camera changes its resolution", RETURN, |cameras, bench| switch(cameras, bench, &cameras.large)),
    row("camera changes its codec", RETURN, |cameras, bench| switch(cameras, bench, &cameras.hevc)),
    row("camera changes its password", RETURN, |cameras, bench| {
        cameras.relay.switch_to(cameras.closed.port());
        cameras.relay.reset();
        let status = bench.server.wait_status("cam", "failed", |status| status["state"] == "failed");
        assert!(status["reason"].as_str().is_some_and(|reason| reason.contains("password")), "{status:#}");
        switch(cameras, bench, &cameras.plain)
    }),
    // The clip's second keyframe comes 64 s after its first.
    Row {
        fault: "keyframes absent for 60 s",
        hurt: Hurt::Nobody,
        bound: Duration::ZERO,
        inject: |_, bench| {
            let reach =
                || bench.server.metric("camshaft_ring_seconds{stream=\"long\"}").filter(|seconds| *seconds >= 60.0);
            let pause = || bench.server.log().pause();
            eventually_within(Duration::from_secs(140), "the ring reaches back to the keyframe", pause, reach);
            Instant::now()
        },
    },
];

const fn row(fault: &'static str, bound: Duration, inject: fn(&Cameras, &Bench) -> Instant) -> Row<Cameras> {
    Row { fault, hurt: Hurt::Stream("cam"), bound, inject }
}

/// The camera does this for a while, and until it has made a difference.
fn misbehave(cameras: &Cameras, bench: &Bench, tamper: Tamper) -> Instant {
    cameras.relay.tamper(tamper);
    bench.wait_pictures("clock", A_WHILE);
    let struck = || (cameras.relay.struck() > 0).then_some(());
    // A bit in 10⁶ is one in ten seconds.
    eventually_within(Duration::from_secs(120), &format!("{tamper:?} strikes"), || bench.server.log().pause(), struck);
    eprintln!("{tamper:?} struck {} times", cameras.relay.struck());
    cameras.relay.tamper(Tamper::Nothing);
    Instant::now()
}

/// The camera's packets are lost, and counted.
fn lose(cameras: &Cameras, bench: &Bench, percent: u32) -> Instant {
    const LOST: &str = "camshaft_source_packets_lost_total{stream=\"cam\"}";
    let lost = bench.counted(LOST);
    let since = misbehave(cameras, bench, Tamper::Lose(percent));
    let counted = || (bench.counted(LOST) > lost).then_some(());
    // A loss shows by what follows it.
    eventually("losses are counted", || bench.server.log().pause(), counted);
    since
}

/// Another camera answers from now on.
fn switch(cameras: &Cameras, bench: &Bench, to: &Camera) -> Instant {
    cameras.relay.switch_to(to.port());
    cameras.relay.go_away();
    answered_again(cameras, bench)
}

fn answered_again(cameras: &Cameras, bench: &Bench) -> Instant {
    cameras.relay.come_back();
    // After a refused password, 30 s pass.
    let patience = Duration::from_secs(45);
    eventually_within(patience, "the camera is asked again", || bench.server.log().pause(), || cameras.relay.answered())
}

impl Far {
    fn start(clip: &Clip) -> Self {
        match Network::make() {
            Some(network) => {
                let camera = Camera::start_in(&network, clip, &[]);
                Self::Cabled(network, camera)
            }
            None => Self::Stopped(Camera::start(clip, &[])),
        }
    }

    fn url(&self) -> String {
        let (Self::Cabled(_, camera) | Self::Stopped(camera)) = self;
        camera.url()
    }

    fn cut(&self) {
        match self {
            Self::Cabled(network, _) => network.pull(),
            Self::Stopped(camera) => signal(camera.pid(), Signal::STOP),
        }
    }

    fn join(&self) {
        match self {
            Self::Cabled(network, _) => network.plug(),
            Self::Stopped(camera) => signal(camera.pid(), Signal::CONT),
        }
    }
}

#[test]
fn faults_of_cameras() {
    let clip = Clip::make(Coding::default());
    let large = Clip::make(Coding { size: (640, 360), ..Coding::default() });
    let hevc = Clip::make(Coding { encoder: "libx265", ..Coding::default() });
    let long = Clip::make(Coding { gop: 1600, frames: 3000, ..Coding::default() });
    let plain = Camera::start(&clip, &[]);
    let cameras = Cameras {
        relay: Relay::to(plain.port()),
        plain,
        closed: Camera::start(&clip, &["--auth", "digest"]),
        large: Camera::start(&large, &[]),
        hevc: Camera::start(&hevc, &[]),
        far: Far::start(&clip),
    };
    let long = Camera::start(&long, &[]);
    let limits = "limits: { connect_timeout: 1s, idle_timeout: 1s, backoff_max: 1s, hold: 1m, ring_bytes: 1M, ring_hard_bytes: 1M }";
    let server = Camshaft::start_with(
        limits,
        &format!(
            "  clock: {{ source: \"test:?width=320&height=180&fps=25&gop=25\" }}\n  cam: {{ source: \"{}\" }}\n  \
             steady: {{ source: \"{}\" }}\n  far: {{ source: \"{}\" }}\n  long: {{ source: \"{}\" }}\n",
            cameras.relay.url(),
            cameras.plain.url(),
            cameras.far.url(),
            long.url()
        ),
    );
    Bench::watch(server, &["clock", "cam", "steady", "far", "long"]).run(&cameras, ROWS);
}

/// The faults that the rows inject.
pub fn faults() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.fault).collect()
}
