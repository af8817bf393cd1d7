//! A camera's main stream and its substream as one: what is made from which, and the same instant in both.

use serde_json::Value;
use std::io::Read;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Camera, Camshaft, Clip, Coding, Parts, Picture, Relay, Tamper, Y4m, eventually, numbers_in};
use camshaft::media::Geometry;

const MAIN: (u32, u32) = (1280, 720);
const DETECT: (u32, u32) = (640, 360);
/// Pictures a second of the cameras here; a clip is so many minutes long that numbers do not come twice.
const FPS: &str = "10";
const FRAMES: u32 = 600;

/// A stream of two synthetic cameras.
fn two_patterns(more: &str) -> Camshaft {
    let source = |(width, height)| format!("\"test:?width={width}&height={height}&fps=10&gop=10\"");
    Camshaft::start(&format!("  door: {{ source: {}, detect_source: {}{more} }}", source(MAIN), source(DETECT)))
}

fn clip(size: (u32, u32)) -> Clip {
    Clip::make(Coding { size, gop: 10, frames: FRAMES, ..Coding::default() })
}

/// A camera that shows the same number as all others at a time.
fn camera(size: (u32, u32), port: u16) -> Camera {
    Camera::start_on(port, &clip(size), &["--live", FPS])
}

fn stream_of(main: &Camera, detect: &Camera, more: &str) -> String {
    format!("  door: {{ source: \"{}\", detect_source: \"{}\"{more} }}", main.url(), detect.url())
}

/// Both are live, and the main stream's ring reaches back: what was before it came is in no ring.
fn wait_both(server: &Camshaft) -> Value {
    let both = |status: &Value| {
        let kept = status["ring"]["seconds"].as_f64().unwrap_or_default();
        status["state"] == "live" && status["detect"]["state"] == "live" && kept > 2.0
    };
    server.wait_status("door", "that both are live", both)
}

/// What each rendition is made from, by its key.
fn made_from(status: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut all: Vec<_> =
        status["renditions"].as_array().unwrap().iter().map(|one| (text(&one["key"]), text(&one["from"]))).collect();
    all.sort();
    all
}

/// The number in a JPEG of this size.
fn number_in(jpeg: &[u8], size: (u32, u32)) -> u32 {
    let file = tempfile::Builder::new().suffix(".jpg").tempfile().unwrap();
    std::fs::write(file.path(), jpeg).unwrap();
    let number = numbers_in(file.path().to_str().unwrap(), size)[0];
    number.expect("a number in the picture")
}

/// How far two numbers of the cameras are apart.
fn apart(one: u32, other: u32) -> u32 {
    let ahead = (one + FRAMES - other) % FRAMES;
    ahead.min(FRAMES - ahead)
}

#[test]
fn small_pictures_come_from_the_substream_and_large_ones_from_the_main_stream() {
    let server = two_patterns("");
    wait_both(&server);
    let mut small = Y4m::new(server.open("/v1/streams/door/live.y4m?width=320&fps=5"));
    assert!(small.header.contains("W320 H180"), "{}", small.header);
    small.numbers(3);
    let status = server.status("door");
    assert!(status["detect"]["workers"]["pixels"].is_object(), "{status}");
    assert!(status["workers"]["pixels"].is_null(), "{status}");
    assert_eq!(status["detect"]["accel"]["decode"], "software");
    assert_eq!((&status["detect"]["source"]["width"], &status["source"]["width"]), (&640.into(), &1280.into()));
    assert_eq!(made_from(&status), [("i420 320x180@5".to_owned(), "detect".to_owned())]);
    assert_eq!(status["detect"]["fallback"], false);
    // An encoded one, and a still of what is decoded already.
    let mut phone = [0; 500];
    server.open("/v1/streams/door/live.ts?height=180&codec=h264").read_exact(&mut phone).unwrap();
    let still = server.get("/v1/streams/door/frame.jpg?width=640");
    assert_eq!(still.status, 200, "{}", still.text());
    number_in(&still.body, DETECT);
    assert!(server.status("door")["workers"]["pixels"].is_null(), "nothing of it needs the main stream");
    assert_eq!(server.metric("camshaft_stills_total{made_by=\"live_worker\",stream=\"door/detect\"}"), Some(1.0));

    for query in ["width=1280", "width=320&crop=640:360:0:0", "width=642&height=100"] {
        let mut large = Y4m::new(server.open(&format!("/v1/streams/door/live.y4m?{query}")));
        large.next().expect("a picture");
    }
    let status = server.status("door");
    assert!(status["workers"]["pixels"].is_object(), "{status}");
    let of_main = made_from(&status).into_iter().filter(|(_, from)| from == "main").count();
    assert_eq!(of_main, 3, "{status}");
    // Without a size, a still is the main stream's.
    number_in(&server.get("/v1/streams/door/frame.jpg").body, MAIN);
    let text = server.admin("/metrics").text();
    let series = text.lines().filter(|line| line.contains("stream=\"door")).count();
    assert!((40..=80).contains(&series), "{series} series a stream");
    assert!(text.contains("camshaft_stream_up{stream=\"door/detect\"} 1"));
    // They go with the stream, and whoever read it.
    server.delete("door");
    drop(small);
    let all_gone = || Some(()).filter(|()| !server.admin("/metrics").text().contains("door"));
    eventually("every series is gone", || server.log().pause(), all_gone);
}

#[test]
fn what_is_kept_warm_is_made_where_it_belongs_and_moves_when_the_substream_leaves() {
    let (main, detect) = (camera(MAIN, 0), camera(DETECT, 0));
    let warm = ", renditions: { detect: { width: 320, fps: 5 }, wall: { width: 960, fps: 2 } }";
    let server = Camshaft::start_with("limits: { hold: 2s, pixels_linger: 1s }", &stream_of(&main, &detect, warm));
    let key = |name: &str, from: &str| (name.to_owned(), from.to_owned());
    let apart = [key("i420 320x180@5", "detect"), key("i420 960x-@2", "main")];
    server.wait_status("door", "each in its place", |status| made_from(status) == apart);
    let mut pictures = Y4m::new(server.open("/v1/streams/door/live.y4m?rendition=detect"));
    assert!(pictures.header.contains("W320 H180"), "{}", pictures.header);
    pictures.numbers(2);

    let port = detect.port();
    drop(detect);
    let status =
        server.wait_status("door", "that the substream is away", |status| status["detect"]["fallback"] == true);
    assert!(status["detect"]["reason"].as_str().unwrap().contains("next try"), "{status}");
    assert_eq!(status["state"], "live");
    // Who read from it is held, and then ended.
    while pictures.next().is_some() {}
    let both_main = [key("i420 320x-@5", "main"), key("i420 960x-@2", "main")];
    server.wait_status("door", "both made of the main stream", |status| made_from(status) == both_main);
    // A new one has the main stream's pictures at once, in the same shape.
    let mut pictures = Y4m::new(server.open("/v1/streams/door/live.y4m?rendition=detect"));
    assert!(pictures.header.contains("W320 H180"), "{}", pictures.header);
    pictures.numbers(2);
    drop(pictures);

    let _detect = camera(DETECT, port);
    server.wait_status("door", "each in its place again", |status| made_from(status) == apart);
    assert_eq!(server.status("door")["detect"]["fallback"], false);
}

#[test]
fn a_detection_gets_the_main_streams_picture_of_its_instant() {
    let (main, detect) = (camera(MAIN, 0), camera(DETECT, 0));
    let server = Camshaft::start(&stream_of(&main, &detect, ""));
    wait_both(&server);
    let mut parts = Parts::new(server.open("/v1/streams/door/live.frames?format=i420&width=640&fps=5"));
    // The first of them is more than a second old when it is asked for.
    let detections: Vec<_> = (0..8).map(|_| detection(&mut parts)).collect();
    for (n, (wall, number)) in detections.iter().enumerate() {
        let at = if n % 2 == 0 { wall.to_owned() } else { unix_seconds(wall) };
        assert_shows(&server, &at, *number);
    }
    assert!(server.status("door")["workers"]["pixels"].is_null(), "the main stream is not decoded for long");
    // Long ago, and what the ring does not reach.
    let early = server.get("/v1/streams/door/frame.jpg?at=2026-01-01T00:00:00Z");
    assert_eq!(early.status, 404, "{}", early.text());
    assert!(early.text().contains("limits.ring_duration"), "{}", early.text());
}

/// The next picture's wall clock and number.
fn detection(parts: &mut Parts<impl Read>) -> (String, u32) {
    let part = parts.next();
    let wall = part.header("x-wall-clock").to_owned();
    let picture = Picture { size: Geometry::new(DETECT.0, DETECT.1), data: part.body };
    (wall, picture.number().expect("a number in the picture"))
}

/// Asserts that the main stream's picture of `at` has this number, or its neighbour's.
fn assert_shows(server: &Camshaft, at: &str, number: u32) {
    let still = server.get(&format!("/v1/streams/door/frame.jpg?at={at}"));
    assert_eq!(still.status, 200, "{}", still.text());
    let shown = number_in(&still.body, MAIN);
    assert!(apart(shown, number) <= 1, "{number} at {at}, but the main stream's picture is {shown}");
}

fn unix_seconds(wall: &str) -> String {
    let time: jiff::Timestamp = wall.parse().unwrap();
    format!("{:.3}", time.as_millisecond() as f64 / 1000.0)
}

#[test]
fn a_still_of_an_instant_comes_soon_out_of_a_long_gop() {
    let source = |width, height| format!("\"test:?width={width}&height={height}&fps=25&gop=50\"");
    let streams = format!("  door: {{ source: {}, detect_source: {} }}", source(1920, 1080), source(640, 360));
    let server = Camshaft::start(&streams);
    wait_both(&server);
    let mut parts = Parts::new(server.open("/v1/streams/door/live.frames?format=jpeg&width=640&fps=5"));
    // Two GOPs, so that the instant lies anywhere in one.
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let part = parts.next();
            let asked = Instant::now();
            let still = server.get(&format!("/v1/streams/door/frame.jpg?at={}", part.header("x-wall-clock")));
            assert_eq!(still.status, 200, "{}", still.text());
            asked.elapsed()
        })
        .collect();
    times.sort();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("a 1080p still of an instant, GOP of 2 s: median {median:?}, longest {longest:?}");
    assert!(server.status("door")["workers"]["pixels"].is_null());
    // 400 ms on an idle machine, which this one need not be.
    assert!(median < Duration::from_secs(4), "{times:?}");
}

#[test]
fn the_cameras_clock_finds_the_same_instant_however_late_its_streams_come() {
    const LATE: Duration = Duration::from_secs(2);
    let (main, detect) = (camera(MAIN, 0), camera(DETECT, 0));
    let relay = Relay::to(main.port());
    let streams = format!("  door: {{ source: \"{}\", detect_source: \"{}\" }}", relay.url(), detect.url());
    let server = Camshaft::start(&streams);
    wait_both(&server);
    // The handshake would not end in time otherwise.
    relay.tamper(Tamper::Late(LATE));
    let offset = |of: &Value| {
        let clock = &of["source"]["clock"];
        clock["offset_ms"].as_f64().filter(|_| clock["from"] == "sender_report")
    };
    let apart_by = |status: &Value| Some(offset(status)? - offset(&status["detect"])?);
    server.wait_status("door", "how late the main stream is", |status| {
        apart_by(status).is_some_and(|ms| (1500.0..4000.0).contains(&ms))
    });
    let shown = server.metric("camshaft_source_clock_offset_seconds{stream=\"door\"}").unwrap();
    assert!((1.5..4.5).contains(&shown), "{shown}");

    let mut parts = Parts::new(server.open("/v1/streams/door/live.frames?format=i420&width=640&fps=5"));
    // The main stream's picture of the first one is there by the time that the last one has come.
    let detections: Vec<_> = (0..15).map(|_| detection(&mut parts)).collect();
    for (wall, number) in &detections[..3] {
        assert_shows(&server, wall, *number);
    }
}

#[test]
fn a_camera_whose_clock_is_not_set_is_told_and_not_followed() {
    let camera = camera(DETECT, 0);
    let relay = Relay::to(camera.port());
    relay.tamper(Tamper::ClockAhead(3600));
    let server =
        Camshaft::start(&format!("  door: {{ source: \"{}\" }}\n  test: {{ source: \"test:\" }}", relay.url()));
    let status = server.wait_status("door", "a clock", |status| status["source"]["clock"]["offset_ms"].is_number());
    let clock = &status["source"]["clock"];
    assert_eq!(clock["from"], "receipt");
    let offset = clock["offset_ms"].as_f64().unwrap();
    assert!((-3_600_500.0..-3_590_000.0).contains(&offset), "{offset}");
    server.log().wait("that the log says so", |line| line.contains("the camera's clock is not set"));
    let still = server.get("/v1/streams/door/frame.jpg");
    let wall: jiff::Timestamp = still.header("x-wall-clock").parse().unwrap();
    let age = jiff::Timestamp::now().as_second() - wall.as_second();
    assert!((-1..30).contains(&age), "{age} s");
    let clock = server.wait_live("test")["source"]["clock"].clone();
    assert_eq!((&clock["from"], &clock["offset_ms"]), (&"receipt".into(), &Value::Null));
}

#[test]
fn the_commands_of_the_documentation_work() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/detect-source.md")).unwrap();
    let server = two_patterns("");
    wait_both(&server);
    let mut parts = Parts::new(server.open("/v1/streams/door/live.frames?width=640&fps=5&format=gray"));
    let (at, _) = detection(&mut parts);
    let blocks: Vec<&str> = text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 1);
    let dir = tempfile::tempdir().unwrap();
    let command = blocks[0]
        .replace("http://127.0.0.1:8080", &server.url(""))
        .replace("front-door", "door")
        .replace("2026-11-23T10:00:00.040Z", &at);
    assert!(command.contains(&at), "the documentation has another time: {command}");
    let output = Command::new("bash").current_dir(&dir).args(["-euo", "pipefail", "-c", &command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let still = std::fs::read(dir.path().join("still.jpg")).unwrap();
    // The main stream's picture, in full.
    number_in(&still, MAIN);

    let yaml = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let lookups = camshaft::config::Lookups {
        env: &|_| Some("secret".to_owned()),
        file: &|path| std::fs::read_to_string(path),
        env_overrides: &[],
    };
    let document = camshaft::config::Document { name: "detect-source.md".into(), text: yaml };
    let config = camshaft::config::load(&[document], &lookups).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(config.streams.values().all(|stream| stream.detect.is_some()));
}

#[test]
fn the_api_takes_a_substream_under_the_rules_of_sources() {
    let server = Camshaft::start("");
    let answer = server.put("a", r#"{ "source": "test:", "detect_source": "test:?width=640&height=360" }"#);
    assert_eq!((answer.status, &answer.json()["detect"]["source"]["codec"]), (201, &Value::Null), "{}", answer.text());
    assert_eq!(server.put("a", r#"{ "source": "test:" }"#).json()["detect"], Value::Null);
    let answer = server.put("b", r#"{ "source": "test:", "detect_source": "push:" }"#);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("detect_source"), "{}", answer.text());
    let lease = r#"{ "source": "test:", "detect_source": "rtsp://127.0.0.1/1", "ttl": "60s" }"#;
    assert_eq!(server.post("/v1/streams", lease).status, 422);
}
