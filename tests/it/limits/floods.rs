//! Many at once: connections, those that trickle, streams that nobody reads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{CLOCK, bystander, connect, read_status, resident};
use crate::support::{Camshaft, eventually};

const MANY: usize = 1000;

/// As many descriptors as this process may have: a thousand connections need more than the usual number.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

#[test]
fn a_thousand_connections_take_their_places_and_disturb_nobody() {
    raise_descriptors();
    let server = Camshaft::start_with(&format!("limits: {{ http_connections: {MANY}, http_head: 10s }}\n"), CLOCK);
    let watcher = bystander(&server);
    let before = resident(server.pid());
    // One place is the watcher's.
    let silent: Vec<TcpStream> = (0..MANY - 1).map(|_| connect(&server)).collect();
    let connections = "camshaft_connections{server=\"http\"}";
    // All places are taken.
    server.wait_metric("camshaft_limits_reached_total{limit=\"http_connections\"}", 1.0);
    let grown = resident(server.pid()).saturating_sub(before);
    eprintln!("{MANY} silent connections take {} KiB each", (grown / MANY as u64) >> 10);
    assert!(grown < 64 << 20, "{grown} bytes more");
    // Who comes next waits until the silent ones are cut off; probes do not.
    let asked = Instant::now();
    let mut next = connect(&server);
    next.write_all(b"GET /v1/streams HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    assert_eq!(server.admin("/livez").status, 200);
    watcher.assert_undisturbed(&server);
    assert_eq!(read_status(&mut next), 200);
    eprintln!("the next one was answered after {:?}", asked.elapsed());
    server.wait_metric("camshaft_limits_reached_total{limit=\"http_head\"}", MANY as f64 - 1.0);
    drop(silent);
    eventually(
        "all places but the watcher's are free",
        || (),
        || (server.metric(connections) <= Some(1.0)).then_some(()),
    );
    watcher.assert_undisturbed(&server);
}

#[test]
fn who_trickles_a_request_is_cut_off_in_time() {
    let server = Camshaft::start_with("limits: { http_head: 2s, rtsp_head: 2s }\n", CLOCK);
    let watcher = bystander(&server);
    let mut trickling: Vec<TcpStream> = (0..100).map(|_| connect(&server)).collect();
    let rtsp: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(server.rtsp_address()).unwrap()).collect();
    trickling.extend(rtsp);
    let started = Instant::now();
    let mut request = b"GET / HTTP/1.1\r\nx-slow: ".iter().chain(std::iter::repeat(&b'a'));
    // A byte now and then, for as long as anybody listens.
    while !trickling.is_empty() {
        let byte = [*request.next().unwrap()];
        std::thread::sleep(Duration::from_millis(100));
        trickling.retain_mut(|stream| stream.write_all(&byte).is_ok());
        assert!(started.elapsed() < Duration::from_secs(20), "{} are still there", trickling.len());
    }
    server.wait_metric("camshaft_limits_reached_total{limit=\"http_head\"}", 100.0);
    server.wait_metric("camshaft_rtsp_closed_total{reason=\"too_slow\"}", 100.0);
    watcher.assert_undisturbed(&server);
}

#[test]
fn ten_thousand_idle_streams_are_there_when_somebody_comes() {
    const STREAMS: usize = 10_000;
    let idle: String =
        (0..STREAMS).map(|n| format!("  s{n}: {{ source: 'test:?width=160&height=90', on_demand: true }}\n")).collect();
    let empty = Camshaft::start("");
    let alone = resident(empty.pid());
    drop(empty);
    let mut server = Camshaft::start_with(&format!("limits: {{ streams_max: {STREAMS} }}\n"), &idle);
    let each = resident(server.pid()).saturating_sub(alone) / STREAMS as u64;
    eprintln!("an idle stream takes {} KiB", each >> 10);
    assert!(each < 64 << 10, "an idle stream takes {each} bytes");
    let asked = Instant::now();
    let list = server.get("/v1/streams").json();
    assert_eq!(list.as_array().map(Vec::len), Some(STREAMS));
    eprintln!("they are listed within {:?}", asked.elapsed());
    server.open("/v1/streams/s7777/live.ts").read_exact(&mut [0; 188 * 100]).unwrap();
    assert_eq!(server.metric("camshaft_streams"), Some(STREAMS as f64));
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait_exit(Duration::from_secs(25)).success(), "it stops in order");
}
