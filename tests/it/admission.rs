//! More work than the machine can do: what does not fit is refused, by priority, and what falls behind leaves out more.

use rustix::process::Signal;
use std::io::Read;
use std::process::{Command, Stdio};

use super::support::{Action, Call, Camshaft, Counter, Curl, Gpu, Y4m, command_output, ffprobe_packets, signal};

/// Decoding one of these takes 5.8 million pixels a second.
const SMALL: &str = "source: \"test:?width=640&height=360&fps=25&gop=25\"";

#[test]
fn over_the_budget_is_503_and_nobody_suffers() {
    let server =
        Camshaft::start_with("limits: { software_pixels: 10M }", &format!("  a: {{ {SMALL} }}\n  b: {{ {SMALL} }}\n"));
    server.wait_live("b");
    let mut raw = Y4m::new(server.open("/v1/streams/a/live.y4m"));
    let before = raw.numbers(5)[4];
    // Neither another stream nor more work on the same.
    for path in ["/v1/streams/b/live.y4m", "/v1/streams/a/live.ts?codec=hevc"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.json()["error"]["kind"].as_str()), (503, Some("overloaded")));
        assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{}", answer.text());
        assert!(answer.text().contains("limits.software_pixels"), "{}", answer.text());
    }
    let status = server.status("b");
    assert!(status["workers"]["pixels"].is_null() && status["renditions"] == serde_json::json!([]), "{status}");
    let numbers = raw.numbers(50);
    assert_eq!((numbers[0], numbers[49]), (before + 1, before + 50), "no picture is missing");
    // Copies cost nothing, and what fits is made.
    server.open("/v1/streams/b/live.ts").read_exact(&mut [0; 5000]).unwrap();
    Y4m::new(server.open("/v1/streams/a/live.y4m?width=160")).numbers(2);
    assert_eq!(server.metric("camshaft_admission_refused_total{stream=\"b\"}"), Some(1.0));
    assert_eq!(server.metric("camshaft_admission_budget_pixels{resource=\"software\"}"), Some(10e6));
    assert_eq!(
        server.metric("camshaft_admission_used_pixels{resource=\"software\"}"),
        Some(5.76e6 + 160.0 * 90.0 * 25.0)
    );
}

#[test]
fn the_lower_priority_gives_way_and_comes_back() {
    let server = Camshaft::start_with(
        "limits: { software_pixels: 8M, pixels_linger: 0ms, hold: 30s }",
        &format!(
            "  low: {{ {SMALL}, priority: 1 }}\n  equal: {{ {SMALL}, priority: 1 }}\n  high: {{ {SMALL}, priority: 9 }}\n"
        ),
    );
    let events = Curl::listen(&server.url("/v1/events?topic=load"), &[]);
    server.wait_live("high");
    let mut low = Y4m::new(server.open("/v1/streams/low/live.y4m"));
    let mut copy = server.open("/v1/streams/low/live.ts");
    low.numbers(5);
    assert_eq!(server.get("/v1/streams/equal/live.y4m").status, 503);
    let mut high = Y4m::new(server.open("/v1/streams/high/live.y4m"));
    let status = server.wait_status("low", "degraded", |status| status["load"]["state"] == "degraded");
    assert!(status["load"]["reason"].as_str().unwrap().contains("'high'"), "{status}");
    assert!(status["state"] == "live" && status["accel"]["decode"] == "none", "{status}");
    assert_eq!(server.metric("camshaft_stream_degraded{stream=\"low\"}"), Some(1.0));
    let answer = server.get("/v1/streams/low/live.y4m?width=64");
    assert!(answer.status == 503 && answer.text().contains("'high'"), "{}", answer.text());
    high.numbers(10);
    copy.read_exact(&mut [0; 20_000]).expect("copies go on");
    drop(high);
    // The consumer was held all the while.
    let numbers = low.numbers(40);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert_eq!(numbers[39] - numbers[20], 19, "all pictures come again");
    let degraded = events.wait("\"from\":\"full\",\"to\":\"degraded\"");
    assert!(degraded.contains("\"subject\":\"low\"") && degraded.contains("priority is 9"), "{degraded}");
    events.wait("\"from\":\"degraded\",\"to\":\"full\"");
}

#[test]
fn a_worker_that_falls_behind_climbs_down_and_up_again() {
    let server = Camshaft::start_with(
        "limits: { overload_calm: 2s, watchdog: 30s }",
        "  cam: { source: \"test:?width=320&height=180&fps=25&gop=7&bframes=2\" }\n",
    );
    let events = Curl::listen(&server.url("/v1/events?topic=load"), &[]);
    let mut raw = Y4m::new(server.open("/v1/streams/cam/live.y4m"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("encoded.ts");
    let encoded = Curl::save(&server.url("/v1/streams/cam/live.ts?codec=h264&width=160"), &file);
    let steady = raw.numbers(5);
    assert_eq!(steady[4] - steady[0], 4);
    let worker = server.pixels_pid("cam");

    signal(worker, Signal::STOP);
    let status = server.wait_status("cam", "the last step", |status| status["load"]["state"] == "keyframes_only");
    assert!(status["load"]["reason"].as_str().unwrap().contains("behind the camera"), "{status}");
    assert_eq!(server.metric("camshaft_overload_step{stream=\"cam\"}"), Some(4.0));
    signal(worker, Signal::CONT);
    // Every other keyframe, then the pictures that others refer to, then all.
    wait_steps(&mut raw, [14, 14]);
    wait_steps(&mut raw, [3, 3]);
    wait_steps(&mut raw, [1, 1]);
    server.wait_status("cam", "full effort", |status| status["load"]["state"] == "full");
    assert_eq!(server.pixels_pid("cam"), worker, "the same worker all the while");
    for step in ["skip_non_reference", "halve_detect", "skip_loop_filter", "keyframes_only"] {
        events.wait(&format!("\"to\":\"{step}\""));
    }
    events.wait("\"from\":\"skip_non_reference\",\"to\":\"full\"");

    drop(encoded);
    let packets = ffprobe_packets(file.to_str().unwrap(), "v:0");
    assert!(packets.len() > 100 && packets.windows(2).all(|pair| pair[0].dts < pair[1].dts), "times must rise");
    command_output("ffmpeg", &["-v", "error", "-xerror", "-i", file.to_str().unwrap(), "-f", "null", "-"]);
}

/// Reads until pictures follow each other in these steps.
fn wait_steps<R: Read>(raw: &mut Y4m<R>, steps: [u32; 2]) {
    let mut numbers = raw.numbers(3);
    for _ in 0..1000 {
        let [.., a, b, c] = numbers[..] else { unreachable!() };
        if [b - a, c - b] == steps {
            return;
        }
        numbers.extend(raw.numbers(1));
    }
    panic!("never in steps of {steps:?}: {numbers:?}");
}

#[test]
fn events_are_heard_by_curl() {
    let mut server = Camshaft::start("");
    let all = Curl::listen(&server.url("/v1/events"), &[]);
    let breakers = Curl::listen(&server.url("/v1/events?topic=breaker"), &[]);
    assert_eq!(server.put("clock", "{\"source\":\"test:?width=64&height=64\"}").status, 201);
    let data = all.wait("\"to\":\"live\"");
    let event: serde_json::Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((event["topic"].as_str(), event["subject"].as_str()), (Some("stream"), Some("clock")), "{event}");
    assert!(event["from"] == "connecting" && event["at"].as_str().unwrap().ends_with('Z'), "{event}");
    all.wait("event: stream");
    all.wait(&format!("id: {}", event["id"]));

    // Who comes back hears what it missed, which is the same event.
    let before = (event["id"].as_u64().unwrap() - 1).to_string();
    let again = Curl::listen(&server.url("/v1/events"), &["-H", &format!("Last-Event-ID: {before}")]);
    assert_eq!(again.wait("data:"), data);

    let refused = server.get("/v1/events?topic=weather");
    assert!(
        refused.status == 400 && refused.text().contains("stream, acceleration, breaker, load"),
        "{}",
        refused.text()
    );
    server.signal(Signal::TERM);
    for curl in [all, again, breakers] {
        curl.wait_end();
    }
    assert!(server.wait_exit(super::support::PATIENCE).success());
}

#[test]
fn a_metric_of_load_goes_with_its_stream() {
    let server = Camshaft::start("  clock: { source: \"test:?width=64&height=64\" }\n");
    Y4m::new(server.open("/v1/streams/clock/live.y4m")).numbers(1);
    server.delete("clock");
    let output =
        Command::new("curl").args(["-s", &server.admin_url("/metrics")]).stdout(Stdio::piped()).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("stream=\"clock\""));
}

#[test]
fn a_full_gpu_sends_work_to_the_cpus_and_full_cpus_say_so() {
    const TINY: &str = "source: \"test:?width=320&height=180&fps=25&gop=25\"";
    let gpu = Gpu::haswell();
    let server = Camshaft::start_on(
        &gpu,
        "limits: { device_pixels: 2M, software_pixels: 2M, pixels_linger: 0ms, hold: 30s }",
        &["a", "b", "c"].map(|id| format!("  {id}: {{ {TINY} }}\n")).concat(),
    );
    for id in ["a", "b", "c"] {
        server.wait_live(id);
    }
    let mut first = Y4m::new(server.open("/v1/streams/a/live.y4m"));
    let mut second = Y4m::new(server.open("/v1/streams/b/live.y4m"));
    first.numbers(5);
    second.numbers(5);
    let accel = |id: &str| server.status(id)["accel"].clone();
    assert_eq!((accel("a")["decode"].as_str(), accel("b")["decode"].as_str()), (Some("hardware"), Some("software")));
    assert!(accel("b")["reason"].as_str().unwrap().contains("limits.device_pixels"), "{}", accel("b"));
    assert!(gpu.count(Counter::H264Decoded) > 0);
    assert_eq!(server.get("/v1/streams/c/live.y4m").status, 503);

    let mut copy = server.open("/v1/streams/a/live.ts");
    let worker = server.pixels_pid("b");
    let second = std::thread::spawn(move || second.numbers(60));
    gpu.break_for_good(Call::EndDecode, 0, Action::Abort);
    let status = server.wait_status("a", "degraded", |status| status["load"]["state"] == "degraded");
    assert!(status["load"]["reason"].as_str().unwrap().contains("limits.software_pixels"), "{status}");
    copy.read_exact(&mut [0; 20_000]).expect("copies go on");
    let numbers = second.join().unwrap();
    // A reader on a busy machine may lose a picture: that its worker is the same one says that nothing was moved.
    assert_eq!(server.pixels_pid("b"), worker, "what runs goes on");
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    first.numbers(30);
    let status = server.wait_status("a", "full effort", |status| status["load"]["state"] == "full");
    assert_eq!(status["accel"]["decode"], "software");
}
