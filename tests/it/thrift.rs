//! What is not decoded because nobody takes it.

use std::io::Read;
use std::time::{Duration, Instant};

use camshaft::media::Geometry;
use camshaft::media::pattern::read_number;

use crate::support::{Camshaft, Counter, Gpu, Y4m, command_output, eventually};

const DECODED: &str = "camshaft_frames_decoded_total{stream=\"clock\"}";

fn clock(more: &str) -> String {
    format!("  clock: {{ source: \"test:?width=320&height=180&fps=25{more}\" }}\n")
}

/// Pictures a second, by how `count` rises while `work` goes on.
fn rate(count: impl Fn() -> f64, work: impl FnOnce()) -> f64 {
    let (before, start) = (count(), Instant::now());
    work();
    (count() - before) / start.elapsed().as_secs_f64()
}

#[test]
fn pictures_that_nothing_refers_to_are_left_out_where_rates_allow_on_cpu_and_gpu() {
    let gpu = Gpu::haswell();
    let source = clock("&bframes=1&gop=50");
    let servers = [Camshaft::start(&source), Camshaft::start_on(&gpu, "", &source)];
    for (server, is_on_gpu) in servers.iter().zip([false, true]) {
        let decoded = || {
            let on_cpu = || server.metric(DECODED).unwrap_or(0.0);
            if is_on_gpu { gpu.count(Counter::H264Decoded) as f64 } else { on_cpu() }
        };
        let mut five = Y4m::new(server.open("/v1/streams/clock/live.y4m?fps=5"));
        five.numbers(10);
        let saved = rate(decoded, || drop(five.numbers(20)));
        assert!((10.0..17.0).contains(&saved), "on a GPU: {is_on_gpu}: {saved:.1} of 25 a second were decoded");
        // Somebody wants all of them: nothing is missing from then on.
        let mut all = Y4m::new(server.open("/v1/streams/clock/live.y4m"));
        let numbers = all.numbers(60);
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        let whole = rate(decoded, || drop(all.numbers(50)));
        assert!(whole > 22.0, "on a GPU: {is_on_gpu}: {whole:.1} of 25 a second were decoded");
    }
}

#[test]
fn keyframes_alone_cost_keyframes_alone() {
    let server = Camshaft::start(&clock("&gop=25"));
    let mut keyframes = Y4m::new(server.open("/v1/streams/clock/live.y4m?fps=keyframes"));
    let first = keyframes.numbers(1)[0];
    let decoded = || server.metric(DECODED).unwrap_or(0.0);
    let mut numbers = Vec::new();
    let rate = rate(decoded, || numbers = keyframes.numbers(4));
    assert!(rate < 3.0, "{rate:.1} a second were decoded");
    assert!(first.is_multiple_of(25) && numbers.iter().all(|number| number.is_multiple_of(25)), "{first}, {numbers:?}");

    // The newest picture is still to be had, and it is not the keyframe.
    let still = |_: &Camshaft| {
        let jpeg = server.get("/v1/streams/clock/frame.jpg").body;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("still.jpg");
        std::fs::write(&file, jpeg).unwrap();
        let luma = command_output(
            "ffmpeg",
            &["-v", "error", "-i", file.to_str().unwrap(), "-f", "rawvideo", "-pix_fmt", "gray", "-"],
        );
        read_number(&luma, Geometry::new(320, 180), 320).unwrap()
    };
    eventually("a still between two keyframes", || {}, || Some(still(&server)).filter(|number| number % 25 > 2));

    let refused = server.get("/v1/streams/clock/live.y4m?fps=key");
    assert!(refused.status == 400 && refused.text().contains("or keyframes"), "{}", refused.text());
    let status = server.status("clock");
    assert_eq!(status["renditions"][0]["key"], "i420@keyframes", "{status:#}");
}

/// When the newest keyframe was received, in seconds, by the frames' own wall clock.
fn keyframe_second(server: &Camshaft, id: &str) -> f64 {
    let mut head = [0; 400];
    server.open(&format!("/v1/streams/{id}/live.frames?fps=keyframes&width=160")).read_exact(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let wall = head.split("x-wall-clock: ").nth(1).expect("a wall clock").split("\r\n").next().unwrap().to_owned();
    let seconds = wall.rsplit(':').next().unwrap().trim_end_matches('z');
    seconds.parse().unwrap()
}

#[test]
fn the_cameras_of_a_start_do_not_send_their_keyframes_at_the_same_moment() {
    let ids = ["a", "b", "c"];
    let stream = |id: &&str| format!("  {id}: {{ source: \"test:?width=160&height=90&fps=25&gop=25\" }}\n");
    let server = Camshaft::start(&ids.iter().map(stream).collect::<String>());
    for id in ids {
        server.wait_live(id);
    }
    std::thread::sleep(Duration::from_millis(1200));
    let phases: Vec<f64> = ids.iter().map(|id| keyframe_second(&server, id).fract()).collect();
    let apart = |a: f64, b: f64| (a - b).abs().min(1.0 - (a - b).abs());
    let furthest = (0..3).map(|n| apart(phases[n], phases[(n + 1) % 3])).fold(0.0, f64::max);
    assert!(furthest > 0.15, "keyframes come at {phases:?} of each second");
}
