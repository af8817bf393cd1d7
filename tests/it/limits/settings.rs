//! Limits on how many there may be of something, and what whoever comes next is told.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::{CLOCK, connect, read_status, status_of};
use crate::support::{Camshaft, children, eventually};

const PLAIN: &str = r#"{ "source": "test:?width=160&height=90&fps=5", "on_demand": true }"#;

fn reached(limit: &str) -> String {
    format!("camshaft_limits_reached_total{{limit=\"{limit}\"}}")
}

#[test]
fn consumers_have_places_on_a_stream_and_in_all() {
    let limits = "limits: { consumers_per_stream: 2, consumers_total: 3 }\n";
    let other = "  other: { source: \"test:?width=160&height=90&fps=25\" }\n";
    let server = Camshaft::start_with(limits, &format!("{CLOCK}{other}"));
    let held: Vec<_> = (0..2).map(|_| server.open("/v1/streams/clock/live.ts")).collect();
    let refused = server.get("/v1/streams/clock/live.ts");
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("limits.consumers_per_stream") && !refused.header("retry-after").is_empty());
    let third = server.open("/v1/streams/other/live.ts");
    let refused = server.get("/v1/streams/other/live.ts");
    assert!(refused.status == 503 && refused.text().contains("limits.consumers_total"), "{}", refused.text());
    for limit in ["consumers_per_stream", "consumers_total"] {
        assert_eq!(server.metric(&reached(limit)), Some(1.0), "{limit}");
    }
    drop((held, third));
    server.wait_status("clock", "no consumers", |status| status["consumers"] == 0);
    server.open("/v1/streams/clock/live.ts").read_exact(&mut [0; 188]).unwrap();
}

#[test]
fn streams_have_places_too() {
    let server = Camshaft::start_with("limits: { streams_max: 2 }\n", CLOCK);
    assert_eq!(server.put("second", PLAIN).status, 201);
    let refused = server.put("third", PLAIN);
    assert!(refused.status == 503 && refused.text().contains("limits.streams_max"), "{}", refused.text());
    assert_eq!(server.metric(&reached("streams_max")), Some(1.0));
    assert_eq!(server.put("second", PLAIN).status, 200, "what is there may be replaced");
    assert_eq!(server.delete("second").status, 204);
    assert_eq!(server.put("third", PLAIN).status, 201);
}

#[test]
fn calls_of_the_control_api_are_few_short_and_small() {
    let limits = "limits: { control_calls: 1, control_timeout: 2s, control_body: 1K }\n";
    let server = Camshaft::start_with(limits, CLOCK);
    let large = server.put("large", &format!("{{ \"source\": \"test:\", \"x\": \"{}\" }}", "x".repeat(2000)));
    assert!(large.status == 413 && large.text().contains("limits.control_body"), "{}", large.text());
    // One whose body never comes holds the only place, for as long as a call may take.
    let started = Instant::now();
    let mut slow = connect(&server);
    slow.write_all(b"PUT /v1/streams/slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{")
        .unwrap();
    eventually("the place is taken", || (), || (server.get("/v1/streams").status == 503).then_some(()));
    assert!(server.get("/v1/streams").text().contains("limits.control_calls"));
    assert_eq!(server.admin("/livez").status, 200, "probes have a port of their own");
    assert_eq!(read_status(&mut slow), 503);
    assert!(started.elapsed() >= Duration::from_millis(1900), "{:?}", started.elapsed());
    eventually("the place is free", || (), || (server.get("/v1/streams").status == 200).then_some(()));
    let refused = "camshaft_http_requests_total{method=\"PUT\",route=\"/v1/streams/{id}\",status=\"413\"}";
    assert_eq!(server.metric(refused), Some(1.0));
}

#[test]
fn stills_are_decoded_by_as_many_workers_as_there_may_be() {
    let limits = "limits: { workers_beside: 1, pixels_linger: 0ms }\n";
    let server = Camshaft::start_with(limits, "  clock: { source: \"test:?width=1280&height=720&fps=25&gop=50\" }\n");
    server.wait_status("clock", "two seconds in the ring", |status| status["ring"]["seconds"].as_f64() > Some(2.0));
    let engines = || children(server.pid()).iter().filter(|(_, name)| name.starts_with("camshaft-eng")).count();
    // The pattern's, the spare one, and one that a spare is started for.
    let before = engines();
    let most = std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..6).map(|_| scope.spawn(|| server.get("/v1/streams/clock/frame.jpg?at=-1s").status)).collect();
        let mut most = 0;
        while asked.iter().any(|one| !one.is_finished()) {
            most = most.max(engines());
        }
        assert!(asked.into_iter().all(|one| one.join().unwrap() == 200));
        most
    });
    assert!(most <= before + 2, "{most} engines, {before} before");
    server.wait_metric("camshaft_stills_total{made_by=\"own_worker\",stream=\"clock\"}", 6.0);
}

#[test]
fn queries_of_any_length_are_answered_or_cut() {
    let server = Camshaft::start(CLOCK);
    let ask = |query: &str| {
        status_of(
            &server,
            &format!("GET /v1/streams/clock/live.y4m?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
        )
    };
    let before = super::resident(server.pid());
    assert_eq!(ask(&"width=1&".repeat(5_000)), 400, "many parameters");
    assert_eq!(ask(&format!("width={}", "9".repeat(50_000))), 400, "a long number");
    assert_eq!(ask(&format!("{}=1", "w".repeat(50_000))), 400, "a long name");
    assert_eq!(ask(&"%00".repeat(15_000)), 400, "escapes");
    for length in [200_000, 4_000_000] {
        let status = ask(&"x".repeat(length));
        assert!([0, 400, 414, 431].contains(&status), "{length} bytes: {status}");
    }
    let grown = super::resident(server.pid()).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
}
