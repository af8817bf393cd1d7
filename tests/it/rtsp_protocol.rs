//! RTSP byte by byte: what clients get wrong, hold back, or mean ill.

use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use crate::support::{Camshaft, RtspClient};

fn clock(limits: &str, more: &str) -> Camshaft {
    let stream = format!("  clock: {{ source: \"test:?width=320&height=180&fps=25{more}\" }}\n");
    let server = Camshaft::start_with(&format!("limits: {{ {limits} }}"), &stream);
    server.wait_live("clock");
    server
}

const TCP: &str = "RTP/AVP/TCP;unicast;interleaved=0-1";

#[test]
fn every_mistake_has_its_status() {
    let server = clock("", "");
    let mut client = RtspClient::connect(&server);
    let public = client.ask("OPTIONS", "/clock", &[]);
    assert!(public.status == 200 && public.headers["public"].contains("GET_PARAMETER"), "{public:?}");
    let transport = format!("Transport: {TCP}");
    let cases: [(&str, &str, &[&str], u16); 22] = [
        ("DESCRIBE", "/nobody", &[], 404),
        ("DESCRIBE", "/clock?widht=640", &[], 400),
        ("DESCRIBE", "/clock?rendition=nothing", &[], 404),
        ("DESCRIBE", "/clock?crop=640:480:0:0", &[], 406),
        ("DESCRIBE", "/clock?codec=mjpeg&width=4000", &[], 406),
        ("DESCRIBE", "/clock", &["Accept: text/html"], 406),
        ("DESCRIBE", "/clock", &["Require: www.onvif.org/ver20/backchannel"], 551),
        ("SETUP", "/clock/trackID=0", &[], 461),
        ("SETUP", "/clock/trackID=0", &["Transport: RTP/AVP;multicast;port=5000-5001"], 461),
        ("SETUP", "/clock/trackID=0", &["Transport: RTP/AVP;unicast;client_port=5000-5001;destination=192.0.2.1"], 461),
        ("SETUP", "/clock/trackID=0", &["Transport: \""], 461),
        ("SETUP", "/clock/trackID=9", &[&transport], 404),
        ("SETUP", "/clock/trackID=x", &[&transport], 400),
        ("PLAY", "/clock", &[], 455),
        ("PAUSE", "/clock", &[], 455),
        ("TEARDOWN", "/clock", &[], 455),
        ("PLAY", "/clock", &["Session: 12345678"], 454),
        ("TEARDOWN", "/clock", &["Session: 12345678"], 454),
        ("ANNOUNCE", "/clock", &[], 405),
        ("RECORD", "/clock", &[], 405),
        ("DANCE", "/clock", &[], 501),
        ("GET_PARAMETER", "/clock", &[], 200),
    ];
    for (method, path, lines, expected) in cases {
        let reply = client.ask(method, path, lines);
        assert_eq!(reply.status, expected, "{method} {path} {lines:?}: {reply:?}");
        assert!(expected == 200 || reply.body.len() > 10, "no reason: {reply:?}");
    }
    client.play("/clock", TCP);
    assert_eq!(client.ask("SETUP", "/clock/trackID=0", &[&transport]).status, 455);
    assert_eq!(client.ask("SETUP", "/clock/trackID=0?width=160", &[&transport]).status, 459);
    assert_eq!(client.ask("PAUSE", "/clock", &[]).status, 200);
    assert_eq!(client.ask("PLAY", "/clock", &[]).status, 200);
    assert_eq!(client.ask("TEARDOWN", "/clock", &[]).status, 200);
    client.session = None;
    client.socket().write_all(b"OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n").unwrap();
    assert_eq!(client.reply().status, 505);
    client.socket().write_all(b"OPTIONS * RTSP/1.0\r\n\r\n").unwrap();
    assert_eq!(client.reply().status, 400);
}

#[test]
fn a_description_has_what_decoders_need() {
    let server = clock("", "");
    let mut client = RtspClient::connect(&server);
    let reply = client.ask("DESCRIBE", "/clock?width=160", &["Accept: application/sdp"]);
    assert_eq!(reply.headers["content-type"], "application/sdp");
    assert_eq!(reply.headers["content-base"], server.rtsp_url("/clock?width=160"));
    let lines: BTreeMap<&str, &str> = reply.body.lines().filter_map(|line| line.split_once(':')).collect();
    assert_eq!(lines["a=rtpmap"], "96 H264/90000");
    let parameters = lines["a=fmtp"];
    for part in ["packetization-mode=1", "profile-level-id=", "sprop-parameter-sets=Z"] {
        assert!(parameters.contains(part), "{parameters}");
    }
    assert!(
        reply.body.contains(&format!("a=control:{}", server.rtsp_url("/clock/trackID=0?width=160"))),
        "{}",
        reply.body
    );
}

#[test]
fn what_is_no_rtsp_is_answered_and_cut_off() {
    let server = clock("rtsp_message: 4K", "");
    let large = format!("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nX: {}\r\n\r\n", "x".repeat(8000));
    let many = format!("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n{}\r\n", "a: b\r\n".repeat(300));
    let noise: Vec<u8> = (0..3000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let cases: [(&[u8], &str, u16); 5] = [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "malformed", 400),
        (&[&noise[..], b"\r\n\r\n"].concat(), "malformed", 400),
        (large.as_bytes(), "too_large", 413),
        (many.as_bytes(), "too_large", 413),
        (&b"x".repeat(10_000), "too_large", 413),
    ];
    for (bytes, reason, status) in cases {
        let metric = format!("camshaft_rtsp_closed_total{{reason=\"{reason}\"}}");
        let before = server.metric(&metric).unwrap_or(0.0);
        let mut client = RtspClient::connect(&server);
        // The server may close while this is still being written.
        let _ = client.socket().write_all(bytes);
        server.wait_metric(&metric, before + 1.0);
        let mut answer = Vec::new();
        // What it did not read makes the kernel reset the connection, behind the answer.
        let _ = client.socket().read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with(&format!("RTSP/1.0 {status} ")), "{answer}");
    }
    assert_eq!(RtspClient::connect(&server).ask("DESCRIBE", "/clock", &[]).status, 200);
}

#[test]
fn media_starts_at_once_and_reports_tell_the_time_of_day() {
    let server = clock("", "&gop=250");
    server.wait_status("clock", "two seconds in the ring", |status| status["ring"]["seconds"].as_f64().unwrap() > 2.0);
    let start = Instant::now();
    let mut client = RtspClient::connect(&server);
    client.play("/clock", TCP);
    let (channel, first) = client.interleaved();
    let waited = start.elapsed();
    assert!(channel == 0 && waited < Duration::from_millis(300), "{waited:?}");
    assert_eq!(first[12] & 0x1f, 7, "parameter sets come first");
    let timestamp = |packet: &[u8]| u32::from_be_bytes(packet[4..8].try_into().unwrap());
    let mut last = timestamp(&first);
    let report = loop {
        match client.interleaved() {
            (0, packet) => last = timestamp(&packet),
            (1, report) => break report,
            (other, _) => panic!("channel {other}"),
        }
    };
    assert_eq!(report[1], 200, "a sender report");
    let word = |at: usize| u32::from_be_bytes(report[at..at + 4].try_into().unwrap());
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let ntp = f64::from(word(8)) - 2_208_988_800.0 + f64::from(word(12)) / 4_294_967_296.0;
    assert!((unix - ntp).abs() < 1.0, "{unix} {ntp}");
    // The packet sent last is the present, or nearly.
    let ahead = f64::from(word(16).wrapping_sub(last) as i32) / 90_000.0;
    assert!((-0.2..1.0).contains(&ahead), "the report is {ahead} s ahead of the media");
}

#[test]
fn a_client_that_is_not_heard_of_ends_and_reports_keep_it() {
    let server = clock("rtsp_session: 1s", "");
    let (rtp, rtcp) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let ports = format!("{}-{}", rtp.local_addr().unwrap().port(), rtcp.local_addr().unwrap().port());
    let transport = format!("RTP/AVP;unicast;client_port={ports}");
    let mut client = RtspClient::connect(&server);
    let set_up = client.play("/clock", &transport);
    assert!(set_up.headers["session"].ends_with(";timeout=1"), "{set_up:?}");
    let server_ports = set_up.headers["transport"].split("server_port=").nth(1).unwrap();
    let server_rtcp: u16 = server_ports.split([';', '-']).nth(1).unwrap().parse().unwrap();
    // An empty receiver report with every packet that comes.
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    let playing = Instant::now();
    let mut packet = [0; 2000];
    while playing.elapsed() < Duration::from_millis(2500) {
        rtp.recv(&mut packet).unwrap();
        rtcp.send_to(&report, ("127.0.0.1", server_rtcp)).unwrap();
    }
    let silent = Instant::now();
    assert!(client.is_closed());
    assert!((0.9..5.0).contains(&silent.elapsed().as_secs_f64()), "{:?}", silent.elapsed());
    assert_eq!(server.metric("camshaft_rtsp_closed_total{reason=\"silent\"}"), Some(1.0));
    server.wait_status("clock", "no consumers", |status| status["consumers"] == 0);
}

#[test]
fn a_reader_that_takes_nothing_is_closed_and_disturbs_nobody() {
    let server = clock("stalled_consumer: 2s, consumer_lag: 1s", "&gop=25&bitrate=8M");
    let mut stalled = RtspClient::connect(&server);
    // A small window, or the kernel takes for it what it does not take itself.
    set_socket_recv_buffer_size(&*stalled.socket(), 4096).unwrap();
    stalled.play("/clock", TCP);
    let mut healthy = RtspClient::connect(&server);
    healthy.play("/clock", TCP);
    let closed = "camshaft_rtsp_closed_total{reason=\"stalled\"}";
    let (mut sequence, mut packets, mut checked) = (None, 0, Instant::now());
    // The healthy one's packets number on without a gap, and at the pace of the camera, until the other is gone.
    while packets < 500 || server.metric(closed).is_none() {
        let (channel, packet) = healthy.interleaved();
        if channel != 0 {
            continue;
        }
        let number = u16::from_be_bytes([packet[2], packet[3]]);
        assert!(sequence.is_none_or(|last: u16| last.wrapping_add(1) == number));
        (sequence, packets) = (Some(number), packets + 1);
        assert!(checked.elapsed() < Duration::from_secs(2), "{:?} without a packet", checked.elapsed());
        checked = Instant::now();
    }
    assert_eq!(server.metric("camshaft_consumers_stalled_total{stream=\"clock\"}"), Some(1.0));
    assert_eq!(server.metric("camshaft_consumer_dropped_total{kind=\"packets\",stream=\"clock\"}").unwrap_or(0.0), 0.0);
    assert!(stalled.is_closed());
}

#[test]
fn connections_past_the_limit_wait_for_a_place() {
    let server = clock("rtsp_connections: 1", "");
    let mut first = RtspClient::connect(&server);
    assert_eq!(first.ask("OPTIONS", "/clock", &[]).status, 200);
    let mut second = TcpStream::connect(server.rtsp_address()).unwrap();
    second.write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(second.read(&mut [0]).is_err(), "the second has to wait");
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    second.read_exact(&mut [0; 12]).unwrap();
}

#[test]
fn a_stream_that_is_removed_says_goodbye() {
    let server = clock("", "");
    let body = r#"{"source": "test:?width=160&height=90&fps=25"}"#;
    assert_eq!(server.put("short", body).status, 201);
    server.wait_live("short");
    let mut client = RtspClient::connect(&server);
    client.play("/short", TCP);
    client.interleaved();
    assert_eq!(server.delete("short").status, 204);
    let mut rest = Vec::new();
    client.socket().read_to_end(&mut rest).unwrap();
    // The last packet is a goodbye: type 203, one source.
    let goodbye = [0x81, 203, 0, 1];
    assert!(rest.windows(4).any(|window| window == goodbye));
}
