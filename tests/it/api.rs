//! The stream API, its errors, probes and metrics.

use serde_json::{Value, json};
use std::io::Read;

use crate::support::{Camshaft, Y4m, command_output, eventually};

const CLOCK: &str = "  clock: { source: \"test:?width=320&height=180&fps=25\" }\n";

fn expect(server: &Camshaft, path: &str, status: u16, words: &[&str]) {
    let answer = server.get(path);
    assert_eq!(answer.status, status, "{path}: {}", answer.text());
    let error = &answer.json()["error"];
    assert!(error["kind"].is_string(), "{path}: {}", answer.text());
    let message = error["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "{path}: '{word}' is not in '{message}'");
    }
}

#[test]
fn a_stream_is_made_replaced_and_deleted() {
    let server = Camshaft::start("");
    let body = r#"{ "source": "test:?width=320&height=180&fps=25" }"#;
    assert_eq!(server.put("new", body).status, 201);
    assert_eq!(server.put("new", body).status, 200);
    let live = server.wait_live("new");
    assert_eq!(live["source"]["codec"], "h264");
    let mut copy = server.open("/v1/streams/new/live.ts");
    copy.read_exact(&mut [0; 1000]).unwrap();
    assert_eq!(server.put("new", r#"{ "source": "test:?width=160&height=90&fps=25" }"#).status, 200);
    server.wait_status("new", "the new size", |status| status["source"]["width"] == 160);
    assert_eq!(server.delete("new").status, 204);
    assert_eq!(server.delete("new").status, 404);
    assert_eq!(server.get("/v1/streams/new").status, 404);
    std::io::copy(&mut copy, &mut std::io::sink()).expect("its consumers end");
}

#[test]
fn a_put_lists_every_mistake() {
    let server = Camshaft::start("");
    let answer =
        server.put("x", r#"{ "source": "rtsp://", "transport": "smoke", "colour": 1, "password": "${HOME}" }"#);
    assert_eq!(answer.status, 400);
    let text = answer.text();
    for word in ["source", "transport", "tcp", "colour"] {
        assert!(text.contains(word), "'{word}' is missing in {text}");
    }
    let answer =
        server.put("x", r#"{ "source": "rtsp://192.168.1.9/", "username": "u", "password_file": "/etc/passwd" }"#);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("password_file") && !answer.text().contains("root:"), "{}", answer.text());
    assert_eq!(server.put("x", "{ nonsense").status, 400);
    assert_eq!(server.put("-x", r#"{ "source": "test:" }"#).status, 400);
    assert_eq!(server.put("x", &"x".repeat(70_000)).status, 413);
    assert_eq!(server.get("/v1/streams").json().as_array().unwrap().len(), 0);
}

#[test]
fn a_lease_goes_when_nobody_uses_it() {
    let server = Camshaft::start("");
    let body = r#"{ "source": "test:?width=320&height=180&fps=25", "ttl": "1s" }"#;
    let first = server.post("/v1/streams", body);
    assert_eq!(first.status, 201, "{}", first.text());
    let id = first.json()["id"].as_str().unwrap().to_owned();
    let second = server.post("/v1/streams", body);
    assert_eq!((second.status, second.json()["id"].as_str().unwrap()), (200, id.as_str()));
    let mut raw = Y4m::new(server.open(&format!("/v1/streams/{id}/live.y4m")));
    raw.numbers(60);
    assert_eq!(server.get(&format!("/v1/streams/{id}")).status, 200, "a consumer keeps it");
    drop(raw);
    let gone = || {
        // Asking for the stream itself would keep it.
        let list = server.get("/v1/streams").json();
        list.as_array().unwrap().is_empty().then_some(())
    };
    eventually("the lease goes", || server.log().pause(), gone);
}

#[test]
fn errors_name_the_parameter_its_range_and_the_remedy() {
    let server = Camshaft::start(CLOCK);
    server.wait_live("clock");
    expect(&server, "/v1/streams/nobody", 404, &["nobody"]);
    expect(&server, "/v1/streams/nobody/live.mp4", 404, &["nobody"]);
    expect(&server, "/v1/streams/a%20b", 400, &["letters"]);
    for (query, words) in [
        ("live.y4m?width=0", vec!["width"]),
        ("live.y4m?width=x", vec!["width"]),
        ("live.y4m?fps=1000", vec!["fps", "240"]),
        ("live.y4m?format=yuyv", vec!["format", "i420"]),
        ("live.y4m?crop=1:2:3", vec!["crop", "W:H:X:Y"]),
        ("live.y4m?widht=5", vec!["widht", "width"]),
        ("live.y4m?policy=best", vec!["policy", "software"]),
        ("live.mp4?codec=av1", vec!["codec", "h264"]),
        ("live.mp4?codec=h264&bitrate=1", vec!["bitrate"]),
        ("live.mjpeg?quality=101", vec!["quality", "100"]),
        ("frame.jpg?at=yesterday", vec!["at"]),
        ("live.avi", vec!["avi", "mp4"]),
    ] {
        let path = format!("/v1/streams/clock/{query}");
        let answer = server.get(&path);
        assert!(matches!(answer.status, 400 | 404), "{path}: {} {}", answer.status, answer.text());
        let text = answer.text();
        for word in words {
            assert!(text.contains(word), "{path}: '{word}' is not in {text}");
        }
    }
    expect(&server, "/v1/streams/clock/live.y4m?width=8000&height=8000", 422, &["8000x8000", "17000000"]);
    expect(&server, "/v1/streams/clock/frame.jpg?width=8000&height=8000", 422, &["8000x8000"]);
    expect(&server, "/v1/streams/clock/live.y4m?policy=require-hardware", 422, &["hardware"]);
    expect(&server, "/v1/streams/clock/live.wav", 422, &["has no sound"]);
    expect(&server, "/nowhere", 404, &[]);
    assert_eq!(server.post("/v1/streams/clock", "").status, 405);
}

#[test]
fn a_source_that_is_down_gives_503_with_the_reason() {
    // A port that was just free: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server =
        Camshaft::start_with("limits: { hold: 1s }", &format!("  gone: {{ source: \"rtsp://127.0.0.1:{port}/x\" }}\n"));
    for path in ["live.mp4", "live.y4m", "frame.jpg", "live.ts?codec=h264"] {
        let answer = server.get(&format!("/v1/streams/gone/{path}"));
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1), "{path}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_lowercase();
        assert!(message.contains("refused") || message.contains("connect"), "{path}: {message}");
    }
    let status = server.status("gone");
    assert_eq!(status["state"], "connecting");
    assert!(status["reason"].is_string());
}

#[test]
fn named_renditions_are_warm_and_served_by_name() {
    let server = Camshaft::start(
        "  clock: { source: \"test:?width=320&height=180&fps=25\", renditions: { detect: { width: 160, height: 90, fps: 5 } } }\n",
    );
    server.wait_status("clock", "a warm rendition", |status| status["renditions"][0]["frames"].as_u64() > Some(2));
    let mut by_name = Y4m::new(server.open("/v1/streams/clock/live.y4m?rendition=detect"));
    let mut by_numbers = Y4m::new(server.open("/v1/streams/clock/live.y4m?width=160&height=90&fps=5"));
    by_name.numbers(2);
    by_numbers.numbers(2);
    assert_eq!(server.status("clock")["renditions"].as_array().unwrap().len(), 1);
    expect(&server, "/v1/streams/clock/live.y4m?rendition=detekt", 404, &["detect"]);
}

#[test]
fn on_demand_streams_run_only_while_wanted() {
    let server = Camshaft::start_with(
        "limits: { pixels_linger: 500ms }",
        "  rare: { source: \"test:?width=320&height=180&fps=25\", on_demand: true }\n",
    );
    assert_eq!(server.status("rare")["state"], "idle");
    let mut copy = server.open("/v1/streams/rare/live.mp4");
    copy.read_exact(&mut [0; 1000]).unwrap();
    assert_eq!(server.status("rare")["state"], "live");
    drop(copy);
    let idle = server.wait_status("rare", "idle", |status| status["state"] == "idle");
    assert!(idle["workers"]["ingest"].is_null());
    let mut raw = Y4m::new(server.open("/v1/streams/rare/live.y4m"));
    raw.numbers(3);
}

#[test]
fn probes_metrics_and_the_api_description_are_there() {
    let server = Camshaft::start(CLOCK);
    server.wait_live("clock");
    for probe in ["/livez", "/healthz", "/readyz"] {
        assert_eq!(server.admin(probe).status, 200, "{probe}");
    }
    let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m?width=160&fps=5"));
    raw.numbers(3);
    let metrics = server.admin("/metrics");
    assert!(metrics.header("content-type").starts_with("text/plain"));
    let text = metrics.text();
    for name in [
        "camshaft_stream_up{stream=\"clock\"} 1",
        "camshaft_source_packets_total{stream=\"clock\",track=\"video\"}",
        "camshaft_frames_decoded_total{stream=\"clock\"}",
        "camshaft_rendition_frames_total{",
        "camshaft_acceleration_info{accel=\"software\"",
        "camshaft_consumers{kind=\"pictures\",stream=\"clock\"} 1",
        "camshaft_build_info{",
        "camshaft_http_requests_total{",
        "camshaft_worker_rss_bytes{",
        "camshaft_delivery_latency_seconds_bucket{",
    ] {
        assert!(text.contains(name), "no {name}");
    }
    assert!(text.lines().filter(|line| line.contains("stream=\"clock\"")).count() <= 80);
    let description = server.get("/openapi.json").json();
    let paths = description["paths"].as_object().unwrap();
    for path in ["/v1/streams", "/v1/streams/{id}", "/v1/plan"] {
        assert!(paths.contains_key(path), "{path} is not described");
    }
    assert!(paths.keys().any(|path| path.contains("live.")) && paths.keys().any(|path| path.contains("frame.")));
    // An independent reader: Prometheus' own text parser is promtool's; here curl at least sees a whole answer.
    let whole = command_output("curl", &["-sSf", &server.url("/v1/streams/clock")]);
    let status: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(status["id"], json!("clock"));
}

#[test]
fn the_plan_says_why_not_the_hardware() {
    let server = Camshaft::start(CLOCK);
    let plan = server.get("/v1/plan?codec=h264&width=1920&height=1080");
    assert_eq!(plan.status, 200, "{}", plan.text());
    assert!(plan.text().contains("software") && plan.text().contains("no device"), "{}", plan.text());
}
