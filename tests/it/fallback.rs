//! Hardware → software → hardware while streams run: what consumers see, who is blamed, and when hardware is used again.

use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::support::{Action, Call, Camshaft, Counter, Gpu, Y4m, eventually, ffprobe_packets, numbers_in};

/// VA_STATUS_ERROR_DECODING_ERROR; FFmpeg makes EIO of it.
const DECODING_ERROR: Action = Action::Status(0x17);

fn clocks(names: &[&str]) -> String {
    let line = |name| format!("  {name}: {{ source: \"test:?width=320&height=180&fps=25&gop=25\" }}\n");
    names.iter().map(line).collect()
}

/// A service with these keys of `hardware:`, and a watchdog that does not take long.
fn start(gpu: &Gpu, hardware: &str, streams: &str) -> Camshaft {
    Camshaft::start_on(
        gpu,
        &format!("hardware: {{ {hardware} }}\nlimits: {{ watchdog: 1s, connect_spread: 0ms }}"),
        streams,
    )
}

/// Where a stream is decoded, and why.
fn accel(status: &Value) -> (String, String) {
    let text = |name: &str| status["accel"][name].as_str().unwrap_or_default().to_owned();
    (text("decode"), text("reason"))
}

fn wait_accel(server: &Camshaft, id: &str, decode: &str) -> Value {
    server.wait_status(id, decode, |status| accel(status).0 == decode)
}

fn blamed(server: &Camshaft, whom: &str, id: &str) -> f64 {
    server.metric(&format!("camshaft_hardware_failures_total{{blame=\"{whom}\",stream=\"{id}\"}}")).unwrap_or(0.0)
}

fn breaker(server: &Camshaft) -> (String, String) {
    let device = server.get("/v1/devices").json()["devices"][0].clone();
    let text = |name: &str| device[name].as_str().unwrap_or_default().to_owned();
    (text("breaker"), text("breaker_reason"))
}

fn wait_breaker(server: &Camshaft, state: &str) -> String {
    let what = format!("the breaker is {state}");
    eventually(&what, || server.log().pause(), || Some(breaker(server)).filter(|(now, _)| now == state)).1
}

/// Reads something on a thread until told to stop.
struct Recording<T> {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Recording<T> {
    fn start(read: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        Self { stop, thread: std::thread::spawn(move || read(&flag)) }
    }

    fn stop(self) -> T {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The numbers of all pictures of a y4m response.
fn numbers(server: &Camshaft, path: &str) -> Recording<Vec<u32>> {
    let mut raw = Y4m::new(server.open(path));
    Recording::start(move |stop| {
        let mut numbers = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            numbers.extend(raw.numbers(1));
        }
        numbers
    })
}

/// The bytes of a response.
fn bytes(server: &Camshaft, path: &str) -> Recording<Vec<u8>> {
    let mut body = server.open(path);
    Recording::start(move |stop| {
        let mut bytes = Vec::new();
        let mut chunk = [0; 8192];
        while !stop.load(Ordering::Relaxed) {
            let count = body.read(&mut chunk).expect("the response goes on");
            assert!(count > 0, "the response ended");
            bytes.extend_from_slice(&chunk[..count]);
        }
        bytes
    })
}

/// Nothing is missing behind what the ring held when the reader came, one GOP of the stream: that comes in a burst, of
/// which it sees the newest.
fn assert_consecutive(numbers: &[u32]) {
    let is_seam = |pair: &&[u32]| pair[1] != pair[0] + 1 && pair[1] > 25;
    let seams: Vec<_> = numbers.windows(2).filter(is_seam).collect();
    assert!(numbers.len() > 10 && seams.is_empty(), "{} pictures with seams {seams:?}", numbers.len());
}

/// Numbers of the pictures in an MPEG-TS recording that may be cut off anywhere; they and the times must rise.
fn assert_one_timeline(recording: &[u8], dir: &Path) -> Vec<u32> {
    let (cut, whole) = (dir.join("cut.ts"), dir.join("whole.ts"));
    std::fs::write(&cut, recording).unwrap();
    let (cut, whole) = (cut.to_str().unwrap(), whole.to_str().unwrap());
    let frames = (ffprobe_packets(cut, "v:0").len() - 1).to_string();
    let arguments = ["-v", "fatal", "-y", "-i", cut, "-c", "copy", "-frames:v", &frames, whole];
    crate::support::command_output("ffmpeg", &arguments);
    let packets = ffprobe_packets(whole, "v:0");
    assert!(packets.windows(2).all(|pair| pair[0].dts < pair[1].dts), "{packets:?}");
    let numbers: Vec<u32> = numbers_in(whole, (160, 90)).into_iter().map(|number| number.expect("a number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    numbers
}

#[test]
fn a_device_that_fails_for_ever_is_left_and_found_again_without_a_seam() {
    let gpu = Gpu::haswell();
    let server = start(&gpu, "cool_down: 2s", &clocks(&["clock"]));
    server.wait_live("clock");
    let raw = numbers(&server, "/v1/streams/clock/live.y4m?width=160&height=90");
    let copy = bytes(&server, "/v1/streams/clock/live.ts");
    let encoded = bytes(&server, "/v1/streams/clock/live.ts?codec=h264&width=160&height=90&gop=250&bitrate=1M");
    wait_accel(&server, "clock", "hardware");
    server.wait_metric("camshaft_frames_decoded_total{stream=\"clock\"}", 50.0);
    let fault = gpu.break_for_good(Call::EndDecode, 0, DECODING_ERROR);
    let status = wait_accel(&server, "clock", "software");
    assert!(accel(&status).1.contains("left alone") && accel(&status).1.contains("device"), "{status:#}");
    assert!(gpu.hits(fault) > 0);
    gpu.mend(fault);
    let software = status["workers"]["pixels"]["pid"].clone();
    let decoded = gpu.count(Counter::H264Decoded);
    let status = wait_accel(&server, "clock", "hardware");
    assert_ne!(status["workers"]["pixels"]["pid"], software);
    assert_eq!(status["workers"]["pixels"]["restarts"], 1, "going back is no death");
    server.wait_metric("camshaft_frames_decoded_total{stream=\"clock\"}", 150.0);
    assert!(gpu.count(Counter::H264Decoded) > decoded + 10);

    let raw = raw.stop();
    // The replay comes in a burst, of which a reader of raw pictures sees the newest. Nothing is lost on the way back.
    assert!(raw.windows(2).all(|pair| pair[0] < pair[1]), "{raw:?}");
    let seams: Vec<u32> = raw.windows(2).filter(|pair| pair[1] != pair[0] + 1).map(|pair| pair[0]).collect();
    let lost = raw.last().unwrap() - raw[0] + 1 - raw.len() as u32;
    let spread = seams.last().zip(seams.first()).map_or(0, |(last, first)| last - first);
    assert!(lost <= 25 && spread <= 25, "{lost} lost, seams after {seams:?}");
    let dir = tempfile::tempdir().unwrap();
    let encoded = assert_one_timeline(&encoded.stop(), dir.path());
    let lost = encoded.last().unwrap() - encoded[0] + 1 - encoded.len() as u32;
    assert!(encoded.len() > 80 && lost <= 4, "{lost} lost of {}: {encoded:?}", encoded.len());
    let copied = dir.path().join("copy.ts");
    std::fs::write(&copied, copy.stop()).unwrap();
    let packets = ffprobe_packets(copied.to_str().unwrap(), "v:0");
    let gaps: Vec<_> = packets.windows(2).map(|pair| pair[1].pts - pair[0].pts).filter(|gap| *gap > 0.06).collect();
    assert!(packets.len() > 80 && gaps.is_empty(), "the copy has gaps: {gaps:?}");
    assert_eq!(blamed(&server, "device", "clock"), 1.0);
    assert_eq!(server.metric("camshaft_fallbacks_total{reason=\"device\",stream=\"clock\"}"), Some(1.0));
}

#[test]
fn pictures_that_stand_still_or_show_nothing_are_found_out() {
    for (action, reason) in [(Action::FrozenPicture, "frozen"), (Action::ZeroPicture, "flat")] {
        let gpu = Gpu::haswell();
        let server = start(&gpu, "cool_down: 1h, sample_every: 200ms", &clocks(&["clock"]));
        server.wait_live("clock");
        let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m?width=160&height=90"));
        assert!(raw.numbers(20).windows(2).all(|pair| pair[0] < pair[1]));
        wait_accel(&server, "clock", "hardware");
        gpu.break_for_good(Call::EndDecode, 0, action);
        let reading = Recording::start(move |stop| while !stop.load(Ordering::Relaxed) && raw.next().is_some() {});
        let status = wait_accel(&server, "clock", "software");
        reading.stop();
        assert!(accel(&status).1.contains(reason), "{action:?}: {status:#}");
        eventually(
            "the device is blamed",
            || server.log().pause(),
            || (blamed(&server, "device", "clock") == 1.0).then_some(()),
        );
        let fallbacks = format!("camshaft_fallbacks_total{{reason=\"{reason}\",stream=\"clock\"}}");
        assert_eq!(server.metric(&fallbacks), Some(1.0));
    }
}

#[test]
fn hangs_and_crashes_of_the_driver_cost_a_moment() {
    // The time that it takes to notice, and a second, at 25 pictures a second.
    for (action, reason, lost_at_most) in
        [(Action::BlockForEver, "hang", 50), (Action::SegmentationFault, "signal", 25), (Action::Abort, "signal", 25)]
    {
        let gpu = Gpu::haswell();
        let server = start(&gpu, "cool_down: 1h", &clocks(&["clock"]));
        server.wait_live("clock");
        let raw = numbers(&server, "/v1/streams/clock/live.y4m?width=160&height=90");
        wait_accel(&server, "clock", "hardware");
        server.wait_metric("camshaft_frames_decoded_total{stream=\"clock\"}", 25.0);
        gpu.break_for_good(Call::EndDecode, 0, action);
        let status = wait_accel(&server, "clock", "software");
        assert!(accel(&status).1.contains(reason), "{action:?}: {status:#}");
        server.wait_metric("camshaft_frames_decoded_total{stream=\"clock\"}", 100.0);
        let raw = raw.stop();
        let lost = raw.last().unwrap() - raw[0] + 1 - raw.len() as u32;
        assert!(raw.windows(2).all(|pair| pair[0] < pair[1]) && lost <= lost_at_most, "{action:?}: {lost}: {raw:?}");
    }
}

#[test]
fn an_encoder_that_gives_the_same_again_is_replaced_and_gets_its_place_back() {
    let gpu = Gpu::haswell();
    let server = start(&gpu, "cool_down: 2s", &clocks(&["clock"]));
    server.wait_live("clock");
    let encoded = bytes(&server, "/v1/streams/clock/live.ts?codec=h264&width=160&height=90&bitrate=500k");
    let encode = |status: &Value| status["renditions"][0]["encode"].as_str().unwrap_or_default().to_owned();
    server.wait_status("clock", "an encode on the GPU", |status| encode(status) == "hardware");
    let pid = server.pixels_pid("clock");
    let fault = gpu.break_for_good(Call::EndEncode, 0, Action::StaleCoded);
    server.wait_status("clock", "an encode on the CPU", |status| encode(status) == "software");
    assert_eq!(server.metric("camshaft_fallbacks_total{reason=\"stale_packets\",stream=\"clock\"}"), Some(1.0));
    gpu.mend(fault);
    let count = gpu.count(Counter::H264Encoded);
    server.wait_status("clock", "an encode on the GPU again", |status| encode(status) == "hardware");
    eventually(
        "the GPU encodes",
        || server.log().pause(),
        || (gpu.count(Counter::H264Encoded) > count + 10).then_some(()),
    );
    assert_eq!(server.pixels_pid("clock"), pid, "the decoder had to go as well");
    let dir = tempfile::tempdir().unwrap();
    let numbers = assert_one_timeline(&encoded.stop(), dir.path());
    let lost = numbers.last().unwrap() - numbers[0] + 1 - numbers.len() as u32;
    assert!(lost <= 3, "{lost} pictures were lost: {numbers:?}");
}

#[test]
fn too_many_failures_cost_the_device_for_a_long_time() {
    let gpu = Gpu::haswell();
    let server = start(&gpu, "cool_down: 500ms, failures: 2, rest: 1h", &clocks(&["clock"]));
    server.wait_live("clock");
    let raw = numbers(&server, "/v1/streams/clock/live.y4m?width=160&height=90");
    wait_accel(&server, "clock", "hardware");
    gpu.break_for_good(Call::EndDecode, 0, DECODING_ERROR);
    eventually(
        "two failures are charged",
        || server.log().pause(),
        || (blamed(&server, "device", "clock") >= 2.0).then_some(()),
    );
    let raw = raw.stop();
    assert!(raw.windows(2).all(|pair| pair[0] < pair[1]), "{raw:?}");
    let plan = server.get("/v1/streams/clock/live.y4m?policy=require-hardware");
    assert!(plan.status == 503 && plan.text().contains("2 times in 600s"), "{}", plan.text());
    assert!(plan.header("retry-after").parse::<u64>().unwrap() > 3000);
    assert_eq!(breaker(&server).0, "closed", "one stream opens no breaker");
}

#[test]
fn the_breaker_opens_after_three_streams_and_a_canary_closes_it() {
    let gpu = Gpu::haswell();
    let names = ["a", "b", "c"];
    let server = start(&gpu, "cool_down: 500ms, failures: 100, canary_every: 1s", &clocks(&names));
    names.iter().for_each(|id| _ = server.wait_live(id));
    let readers = names.map(|id| numbers(&server, &format!("/v1/streams/{id}/live.y4m?width=160&height=90")));
    names.iter().for_each(|id| _ = wait_accel(&server, id, "hardware"));
    let fault = gpu.break_for_good(Call::EndDecode, 0, DECODING_ERROR);
    let reason = wait_breaker(&server, "open");
    assert!(names.iter().all(|id| reason.contains(id)), "{reason}");
    names.iter().for_each(|id| _ = wait_accel(&server, id, "software"));
    let plan = server.get("/v1/plan?codec=h264&width=320&height=180").json();
    assert!(plan["rejected"].to_string().contains("breaker is open"), "{plan:#}");
    let hits = gpu.hits(fault);
    eventually("a canary tries the device", || server.log().pause(), || (gpu.hits(fault) > hits).then_some(()));
    server.log().wait("a canary that failed", |line| line.contains("canary") && line.contains("\"passed\":false"));
    assert_eq!(breaker(&server).0, "open");
    gpu.mend(fault);
    wait_breaker(&server, "closed");
    names.iter().for_each(|id| _ = wait_accel(&server, id, "hardware"));
    for reader in readers {
        let numbers = reader.stop();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    }
}

#[test]
fn a_breaker_held_by_hand_moves_streams_without_losing_a_picture() {
    let gpu = Gpu::haswell();
    let server = start(&gpu, "canary_every: 1s", &clocks(&["a", "b"]));
    ["a", "b"].iter().for_each(|id| _ = server.wait_live(id));
    let readers = ["a", "b"].map(|id| numbers(&server, &format!("/v1/streams/{id}/live.y4m?width=160&height=90")));
    ["a", "b"].iter().for_each(|id| _ = wait_accel(&server, id, "hardware"));
    let held = server.put_to("/v1/devices/renderD128/breaker", r#"{"state": "held", "reason": "new firmware"}"#);
    assert_eq!((held.status, held.json()["breaker"].as_str()), (200, Some("held")), "{}", held.text());
    let started = std::time::Instant::now();
    for id in ["a", "b"] {
        let status = wait_accel(&server, id, "software");
        assert!(accel(&status).1.contains("new firmware"), "{status:#}");
    }
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    assert_eq!(breaker(&server).0, "held");
    let closed = server.put_to("/v1/devices/0000:00:02.0/breaker", r#"{"state": "closed"}"#);
    assert_eq!(closed.status, 200, "{}", closed.text());
    ["a", "b"].iter().for_each(|id| _ = wait_accel(&server, id, "hardware"));
    readers.into_iter().for_each(|reader| assert_consecutive(&reader.stop()));
    for (node, body, status) in [
        ("renderD129", r#"{"state": "open"}"#, 404),
        ("renderD128", r#"{"state": "ajar"}"#, 400),
        ("renderD128", r#"{"state": "open", "reason": "two\nlines"}"#, 400),
    ] {
        let refused = server.put_to(&format!("/v1/devices/{node}/breaker"), body);
        assert_eq!(refused.status, status, "{}", refused.text());
    }
    assert_eq!(breaker(&server).0, "closed");
}

#[test]
fn the_devices_pictures_are_compared_with_the_cpus() {
    let gpu = Gpu::haswell();
    let server = start(&gpu, "cool_down: 1h, sample_every: 1500ms, verify_every: 1s", &clocks(&["clock"]));
    server.wait_live("clock");
    let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m?width=160&height=90"));
    let reading = Recording::start(move |stop| while !stop.load(Ordering::Relaxed) && raw.next().is_some() {});
    server.wait_metric("camshaft_verifications_total{outcome=\"same\",stream=\"clock\"}", 1.0);
    assert_eq!(server.metric("camshaft_verify_psnr_db{stream=\"clock\"}"), Some(100.0));
    assert_eq!(accel(&server.status("clock")).0, "hardware");
    // The next sample shows another picture than this one, and still the wrong one.
    gpu.break_for_good(Call::EndDecode, 0, Action::FrozenPicture);
    let status = wait_accel(&server, "clock", "software");
    // Two samples that are both of the frozen picture are another way to find out.
    let why = accel(&status).1;
    assert!(why.contains("mismatch") || why.contains("frozen"), "{status:#}");
    assert!(server.metric("camshaft_verify_psnr_db{stream=\"clock\"}").unwrap() < 45.0);
    reading.stop();
}

#[test]
fn hardware_that_is_required_and_fails_is_an_error_until_it_works_again() {
    let gpu = Gpu::haswell();
    let server = start(&gpu, "cool_down: 2s", &clocks(&["clock"]));
    server.wait_live("clock");
    let path = "/v1/streams/clock/live.y4m?width=160&height=90&policy=require-hardware";
    let mut raw = Y4m::new(server.open(path));
    raw.numbers(20);
    let fault = gpu.break_for_good(Call::EndDecode, 0, DECODING_ERROR);
    while raw.next().is_some() {}
    gpu.mend(fault);
    let status = server.wait_status("clock", "why", |status| status["accel"]["decode"] == "none");
    assert!(accel(&status).1.contains("left alone"), "{status:#}");
    let refused = server.get(path);
    assert!(refused.status == 503 && refused.text().contains("left alone"), "{} {}", refused.status, refused.text());
    assert!(!refused.header("retry-after").is_empty());
    eventually(
        "hardware is used again",
        || server.log().pause(),
        || {
            let response =
                Command::new("curl").args(["-sf", "-m", "2", "-o", "/dev/null"]).arg(server.url(path)).status();
            // 28: the time was up, so that it played.
            (response.unwrap().code() == Some(28)).then_some(())
        },
    );
    assert_eq!(accel(&server.status("clock")).0, "hardware");
}

#[test]
fn a_device_that_goes_and_comes_back_is_followed() {
    let gpu = Gpu::haswell();
    let server = start(&gpu, "cool_down: 500ms, canary_every: 1s", &clocks(&["clock"]));
    server.wait_live("clock");
    let raw = numbers(&server, "/v1/streams/clock/live.y4m?width=160&height=90");
    wait_accel(&server, "clock", "hardware");
    Gpu::unplug(&server);
    let status = wait_accel(&server, "clock", "software");
    assert!(accel(&status).1.contains("no device"), "{status:#}");
    Gpu::plug(&server);
    wait_accel(&server, "clock", "hardware");
    assert_consecutive(&raw.stop());
}
