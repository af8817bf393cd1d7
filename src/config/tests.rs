//! The configuration as its users see it: whole documents in, settings or mistakes out.

mod detect;
mod libav;
mod nodes;
mod server;

use secrecy::ExposeSecret;
use std::io;
use std::path::Path;

use super::*;
use crate::media::{
    Cadence, Container, FrameRate, Geometry, InputFormat, OutputRequest, PatternSource, PixelFormat, TlsTrust,
    Transport, VideoCodec,
};
use crate::plan::Policy;

const EXAMPLE: &str = include_str!("../../deploy/camshaft.example.yaml");
const SECRET: &str = "hunter2-4711";

fn env(name: &str) -> Option<String> {
    match name {
        "FRONT_DOOR_PASSWORD" | "SECRET" => Some(SECRET.into()),
        "PORT" => Some("9000".into()),
        _ => None,
    }
}

fn file(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/run/secret") => Ok(format!("{SECRET}\r\n")),
        Some("/run/empty") => Ok("\n".into()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn load_all(documents: &[(&str, &str)], overrides: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let documents: Vec<Document> =
        documents.iter().map(|(name, text)| Document { name: (*name).to_owned(), text }).collect();
    let env_overrides: Vec<(String, String)> =
        overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(&documents, &Lookups { env: &env, file: &file, env_overrides: &env_overrides })
}

fn load_one(text: &str) -> Result<Config, Mistakes> {
    load_all(&[("c.yaml", text)], &[])
}

fn lines<T: std::fmt::Debug>(result: Result<T, Mistakes>) -> Vec<String> {
    result.unwrap_err().to_string().lines().map(str::to_owned).collect()
}

/// The one stream of `text`, which is its body in flow style.
fn stream(text: &str) -> Result<StreamSettings, Mistakes> {
    let config = load_one(&format!("streams: {{ s: {text} }}"))?;
    Ok(config.streams.into_values().next().unwrap())
}

fn login(settings: &StreamSettings) -> Option<(&str, &str)> {
    let credentials = settings.credentials.as_ref()?;
    Some((&credentials.username, credentials.password.expose_secret()))
}

#[test]
fn the_example_is_right_and_complete() {
    let config = load_all(&[("camshaft.example.yaml", EXAMPLE)], &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let defaults = load_one("").unwrap();
    assert_eq!(
        (config.server, config.hardware, &config.limits, config.workers),
        (defaults.server, defaults.hardware, &defaults.limits, defaults.workers)
    );
    assert_eq!(config.defaults, defaults.defaults);

    for key in SECTIONS.iter().flat_map(|section| section.keys).chain(stream::KEYS).chain(ROOT_KEYS) {
        let unbuilt = key.kind == section::KeyKind::Unbuilt;
        let mention = if unbuilt { key.name.to_owned() } else { format!("{}:", key.name) };
        assert!(EXAMPLE.contains(&mention), "{} is not in the example", key.name);
    }
}

#[test]
fn the_example_gives_the_ranges_that_hold() {
    for (name, keys) in [("limits", limits::KEYS), ("hardware", hardware::KEYS)] {
        let section = EXAMPLE.split(&format!("\n{name}:\n")).nth(1).unwrap();
        let lines_of_it = section.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
        let mut checked = 0;
        for (setting, range) in lines_of_it.filter_map(|line| line.split_once("  # ")) {
            let Some((key, _)) = setting.trim().split_once(':') else { continue };
            let (min, rest) = range.split_once(" to ").unwrap();
            let max = rest.split([':', ';', ' ']).next().unwrap();
            let mistakes = lines(load_one(&format!("{name}: {{ {key}: x }}")));
            assert!(mistakes[0].contains(&format!("from {min} to {max}")), "{key}: {mistakes:?}");
            checked += 1;
        }
        let others = ["policy", "device", "driver_env"];
        assert_eq!(checked, keys.iter().filter(|key| !others.contains(&key.name)).count());
    }
}

#[test]
fn a_whole_configuration() {
    let config = load_all(
        &[
            (
                "camshaft.yaml",
                "server: { http: '[::]:${PORT}', open_to_network: true }\n\
                 defaults: { username: viewer, transport: udp, renditions: { small: { width: 64 } } }\n\
                 hardware: { policy: software, device: 'pci:0000:00:02.0' }\n\
                 limits: { hold: 0ms, pixels_memory: 2G }\n\
                 streams:\n\
                 \x20 a: { source: 'rtsp://Camera.local:554/s?x=1', password: '${SECRET}', on_demand: true }\n\
                 \x20 b: { source: 'rtsp://10.0.0.1:8554/', transport: tcp, policy: prefer-hardware, renditions: }\n",
            ),
            ("conf.d/more.yaml", "streams:\n  c: { source: 'test:' }\n"),
            ("conf.d/none.yaml", "# nothing\n"),
            ("conf.d/budgets.yaml", "limits: { software_pixels: 400M }\n"),
        ],
        &[
            ("CAMSHAFT_SERVER_ADMIN", "0.0.0.0:9"),
            ("CAMSHAFT_LIMITS_HOLD", "1s"),
            ("CAMSHAFT_PORT", "tcp://10.0.0.1:1"),
        ],
    )
    .unwrap();
    assert_eq!(config.server.http, "[::]:9000".parse().unwrap());
    assert_eq!(config.server.admin, "0.0.0.0:9".parse().unwrap());
    assert_eq!(config.hardware.device.to_string(), "pci:0000:00:02.0");
    let software_pixels = PixelRate(Some(400_000_000));
    let changed = Limits { hold: Duration::from_secs(1), pixels_memory: 2 << 30, software_pixels, ..Limits::default() };
    assert_eq!(config.limits, changed);
    let [a, b, c] = ["a", "b", "c"].map(|id| &config.streams[&id.parse().unwrap()]);

    let Source::Rtsp(RtspSource { url, .. }) = &a.source else { panic!("{:?}", a.source) };
    assert_eq!((url.host(), url.port(), url.request_url()), ("Camera.local", 554, "rtsp://Camera.local/s?x=1"));
    assert_eq!((a.transport, a.on_demand, a.policy), (Transport::Udp, true, Policy::Software));
    assert_eq!(login(a), Some(("viewer", SECRET)));
    assert_eq!(
        (a.renditions["small"].width, a.renditions["small"].output),
        (Some(64), OutputRequest::Raw(PixelFormat::I420))
    );

    assert_eq!(
        (b.transport, b.policy, login(b), b.renditions.len()),
        (Transport::Tcp, Policy::PreferHardware, None, 0)
    );
    assert_eq!(b.source.to_string(), "rtsp://10.0.0.1:8554/");
    let (size, fps) = (Geometry::new(1280, 720), FrameRate { num: 25, den: 1 });
    let pattern = PatternSource {
        size,
        fps,
        codec: VideoCodec::H264,
        gop: 50,
        bframes: 0,
        bitrate: 1_843_200,
        noise: 0,
        audio: None,
    };
    assert_eq!((c.source.clone(), c.credentials.clone()), (Source::Pattern(pattern), None));
}

#[test]
fn every_mistake_is_listed_with_its_line() {
    let text = "\
server:
  http: localhost:8080
  prot: 1
  rtsp: none
hardware: { policy: fastest, device: renderD128 }
limits:
  drain: 21s
  ring_bytes: 128M
  hold: 5 s
  hold: 6s
sources: { allow: [10.0.0.0/8, lan, [1]], ports: '80, 0', files: srv }
stream: {}
streams:
  -x: { source: 'test:?width=63&fps=0&colour=red' }
  front-door:
    sorce: rtsp://viewer:hunter2-4711@10.0.0.1/
    transport: [tcp]
    on_demand: yes
    detect_source: 'push:'
    password_file: secret
    renditions:
      Detect: { width: 0, fps: fast, bitrate: 1M }
      b: { codec: h264, bitrate: 1M, quality: 5 }
  c: rtsp://viewer:hunter2-4711@10.0.0.1/
  d: { source: 'rtmps://viewer:hunter2-4711@10.0.0.1/', priority: 11 }
  e: { source: 'rtsp://10.0.0.1/', username: '${NOBODY}', password: }
";
    insta::assert_snapshot!(load_one(text).unwrap_err(), @"
    c.yaml:2: server.http: must be an IP address with a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080, but it is 'localhost:8080'
    c.yaml:3: server.prot: unknown key; known are http, https, admin, rtsp, rtsps, tls_certificate, tls_key, rtsp_username, rtsp_password, rtsp_password_file, unix, unix_users, node, token_file, open_to_network
    c.yaml:4: server.rtsp: must be an IP address with a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080; or off, but it is 'none'
    c.yaml:5: hardware.policy: must be one of prefer-hardware, require-hardware, software, but it is 'fastest'
    c.yaml:5: hardware.device: must be auto, the path of a render node such as /dev/dri/renderD128, or pci:0000:00:02.0, but it is 'renderD128'
    c.yaml:7: limits.drain: must be a duration from 1s to 20s, such as 250ms, 10s, 5m or 1h, but it is '21s'
    c.yaml:8: limits.ring_bytes: ring_bytes must be at most ring_hard_bytes, which is 64M; change one of the two
    c.yaml:9: limits.hold: must be a duration from 0ms to 10m, such as 250ms, 10s, 5m or 1h, but it is '5 s'
    c.yaml:10: limits.hold: is given twice, first at c.yaml:9; remove one
    c.yaml:11: sources.allow: must be a network, such as 192.168.0.0/16, fd00::/8 or 127.0.0.1, but it is 'lan'
    c.yaml:11: sources.allow: must be a list of single values
    c.yaml:11: sources.ports: must be a port from 1 to 65535, but it is '80, 0'
    c.yaml:11: sources.files: must be an absolute path, such as /srv/media, but it is 'srv'
    c.yaml:12: stream: unknown key; did you mean 'streams'?
    c.yaml:14: streams.-x: a stream's id has 1 to 63 letters, digits, '-' and '_', the first a letter or digit
    c.yaml:14: streams.-x.source: parameter 'width' must be an even number from 64 to 4096
    c.yaml:14: streams.-x.source: parameter 'fps' must be a frame rate from 1 to 60, such as 25 or 30000/1001
    c.yaml:14: streams.-x.source: parameter 'colour' is no parameter of test:; known are width, height, fps, codec, gop, bframes, bitrate, noise, audio
    c.yaml:16: streams.front-door.sorce: unknown key; did you mean 'source'?
    c.yaml:16: streams.front-door.source: is missing; every stream needs one: rtsp://host[:port]/path, or test: for a synthetic camera
    c.yaml:17: streams.front-door.transport: must be a single value, not a list or a map
    c.yaml:18: streams.front-door.on_demand: must be true or false, but it is 'yes'
    c.yaml:19: streams.front-door.detect_source: cannot be push:, as what is pushed is the stream's own source
    c.yaml:20: streams.front-door.password_file: must be an absolute path, such as /run/secrets/camera, but it is 'secret'
    c.yaml:22: streams.front-door.renditions.Detect: a rendition's name has 1 to 63 of a-z, 0-9, '_' and '-'
    c.yaml:22: streams.front-door.renditions.Detect.width: must be a whole number from 1 to 8192, but it is '0'
    c.yaml:22: streams.front-door.renditions.Detect.fps: must be a frame rate above 0 and at most 240, such as 5, 12.5 or 30000/1001, or keyframes, but it is 'fast'
    c.yaml:23: streams.front-door.renditions.b.quality: contradicts bitrate: an encoder keeps one of the two; remove the other
    c.yaml:24: streams.c: must be a map of 'key: value' lines
    c.yaml:25: streams.d.source: 'rtmps' sources are not built yet; use rtsp://host[:port]/path, rtsps://…, http://… or https://…, file:/path, push: for what a client sends, or test: for a synthetic camera
    c.yaml:25: streams.d.priority: must be a whole number from 0 to 10, but it is '11'
    c.yaml:26: streams.e.username: the environment variable NOBODY is not set; set it, or give a default: ${NOBODY:-default}
    c.yaml:26: streams.e.password: has no value; give one or remove the key
    ");
}

#[test]
fn rtsp_can_be_closed_and_switched_off_but_not_half_closed() {
    let server = |keys: &str| load_one(&format!("server: {{ {keys} }}")).map(|config| config.server);
    assert_eq!(server("rtsp: off").unwrap().rtsp, None);
    let open = server("http: '127.0.0.1:9'").unwrap();
    assert_eq!((open.rtsp, open.rtsp_login), (Some("127.0.0.1:8554".parse().unwrap()), None));
    let closed = server("rtsp_username: u, rtsp_password: hunter2-4711").unwrap();
    assert!(!format!("{closed:?}").contains("hunter2"));
    assert_eq!(closed.rtsp_login.unwrap().username, "u");
    assert!(server("rtsp_username: u, rtsp_password_file: /run/secret").unwrap().rtsp_login.is_some());
    for (keys, problem) in [
        ("rtsp_username: u", "server.rtsp_username: needs 'rtsp_password' or 'rtsp_password_file' beside it"),
        ("rtsp_password: p", "server.rtsp_password: needs 'rtsp_username' beside it"),
        ("rtsp_password: p, rtsp_password_file: /run/secret, rtsp_username: u", "stands beside 'rtsp_password'"),
        ("rtsp: '127.0.0.1:8080'", "'http' and 'rtsp' are both 127.0.0.1:8080"),
        ("admin: '127.0.0.1:8080'", "'http' and 'admin' are both 127.0.0.1:8080"),
    ] {
        let mistakes = server(keys).unwrap_err().to_string();
        assert!(mistakes.contains(problem) && mistakes.lines().count() == 1, "{keys}: {mistakes}");
    }
}

#[test]
fn files_are_united_and_double_entries_name_both_places() {
    let a = "server: { http: '127.0.0.1:1' }\nstreams:\n  x: { source: 'test:' }\n";
    let b =
        "server: { http: '127.0.0.1:2' }\nstreams:\n  x: { source: 'test:' }\n  y: { source: 'test:' }\nstreams: {}\n";
    assert_eq!(
        lines(load_all(&[("a.yaml", a), ("b.yaml", b)], &[])),
        [
            "b.yaml:1: server: is given twice, first at a.yaml:1; remove one",
            "b.yaml:3: streams.x: is given twice, first at a.yaml:3; remove one",
            "b.yaml:5: streams: is given twice, first at a.yaml:2; remove one",
        ]
    );
    let twice = [("a.yaml", "limits: { hold: 1s }"), ("b.yaml", "limits: { hold: 2s, drain: 9s }")];
    assert_eq!(lines(load_all(&twice, &[])), ["b.yaml:1: limits.hold: is given twice, first at a.yaml:1; remove one"]);
    let late = [("a.yaml", "streams:\n"), ("b.yaml", "streams: { x: { source: 'test:' } }"), ("c.yaml", "streams:\n")];
    assert_eq!(load_all(&late, &[]).unwrap().streams.len(), 1);
    assert_eq!(lines(load_one("[1]")).len(), 1);
}

#[test]
fn the_environment_sets_single_keys_only() {
    let overrides = [
        ("CAMSHAFT_DEFAULTS_RENDITIONS", "x"),
        ("CAMSHAFT_LIMITS_DRAIN", "1d"),
        ("CAMSHAFT_SERVER_HTP", "127.0.0.1:1"),
        ("CAMSHAFT_SERVER_UNIX", "x"),
        ("CAMSHAFT_STREAMS_A_SOURCE", "test:"),
    ];
    insta::assert_snapshot!(load_all(&[("c.yaml", "limits: { drain: 5s, drain: 6s }")], &overrides).unwrap_err(), @"
    CAMSHAFT_DEFAULTS_RENDITIONS: defaults.renditions: is a map, which the environment cannot hold; unset the variable
    CAMSHAFT_LIMITS_DRAIN: limits.drain: must be a duration from 1s to 20s, such as 250ms, 10s, 5m or 1h, but it is '1d'
    CAMSHAFT_SERVER_HTP: is the name of no setting; did you mean 'CAMSHAFT_SERVER_HTTP'?
    CAMSHAFT_SERVER_UNIX: server.unix: must be an absolute path of at most 107 bytes, such as /run/camshaft/camshaft.sock, but it is 'x'
    CAMSHAFT_STREAMS_A_SOURCE: streams cannot be set from the environment; write ${VAR} in the file instead
    ");
}

#[test]
fn credentials_come_from_one_place() {
    let url = "source: 'rtsp://us%65r:p%40ss@10.0.0.1/'";
    assert_eq!(login(&stream(&format!("{{ {url} }}")).unwrap()), Some(("user", "p@ss")));
    let by_file = stream("{ source: 'rtsp://10.0.0.1/', username: u, password_file: /run/secret }").unwrap();
    assert_eq!(login(&by_file), Some(("u", SECRET)));
    assert_eq!(
        login(&stream("{ source: 'rtsp://10.0.0.1/', username: u, password: 0123 }").unwrap()),
        Some(("u", "0123"))
    );

    for (keys, problem) in [
        (
            format!("{url}, password: x"),
            "streams.s.password: stands beside a user name or password in the source's URL",
        ),
        (
            "source: 'rtsp://h/', username: u, password: x, password_file: /run/secret".into(),
            "password_file: stands beside",
        ),
        ("source: 'rtsp://h/', username: u".into(), "username: needs 'password' or 'password_file'"),
        ("source: 'rtsp://h/', password: u".into(), "password: needs 'username'"),
        ("source: 'rtsp://h/', username: u, password_file: /none".into(), "password_file: the file cannot be read"),
        ("source: 'rtsp://h/', username: u, password_file: /run/empty".into(), "password_file: the file is empty"),
        ("source: 'rtsp://h/', username: u, password: \"a\\r\\nb\"".into(), "no line breaks"),
        ("source: 'rtsp://u%0a:x@h/'".into(), "no line breaks"),
        ("source: 'http://h/', transport: tcp".into(), "transport: means nothing for an http: source"),
        ("source: 'http://h/', tls: insecure".into(), "tls: means nothing for an http: source"),
        ("source: 'rtsp://h/', input: ts".into(), "input: means nothing for an rtsp: source"),
        ("source: 'push:', password: x".into(), "password: means nothing for a push: source"),
        ("source: 'http://h/', input: avi".into(), "must be one of ts, flv, mp4, mjpeg, jpeg"),
        ("source: 'http://h/', rate: 31".into(), "requests a second from 0.1 to 30"),
        ("source: 'test:', transport: tcp".into(), "transport: means nothing for a test: source"),
        ("source: 'test:', password: x".into(), "password: means nothing for a test: source"),
    ] {
        let found = lines(stream(&format!("{{ {keys} }}")));
        assert!(found.len() == 1 && found[0].contains(problem), "{keys}: {found:?}");
    }
}

#[test]
fn sources_that_are_no_source() {
    for (source, problem) in [
        ("rtsp://", "names no host"),
        ("rtsp:///x", "names no host"),
        ("rtsp://h:0/", "names no host or port"),
        ("rtsp://h:99999/", "is no URL"),
        ("rtsp://h/#x", "'#' has no meaning"),
        ("rtsps://h/", "is encrypted RTSP, which needs ingest: libav"),
        ("rtmp://h/", "'rtmp' sources are not built yet"),
        ("file:x.ts", "names no file"),
        ("file:///x", "does not say by its name"),
        ("file:/x/../y.ts", "must not go back"),
        ("file:///x.ts", "is in no directory that sources.files lists"),
        ("push:x", "push: takes nothing behind it"),
        ("http:///", "is no URL"),
        ("/dev/video0", "must be rtsp://host"),
        ("viewer:hunter2-4711@h", "must be rtsp://host"),
        ("test:fps=5", "test: takes '?'"),
        ("test:?width=100&width=100", "parameter 'width' is given twice"),
        ("test:?height=65", "parameter 'height' must be an even number from 64 to 4096"),
        ("test:?fps=61", "parameter 'fps' must be a frame rate from 1 to 60"),
        ("test:?bframes=4", "parameter 'bframes' must be a whole number from 0 to 3"),
        ("test:?noise=11", "parameter 'noise' must be a whole number from 0 to 10"),
        ("test:?colour=1", "parameter 'colour' is no parameter of test:"),
    ] {
        let found = lines(stream(&format!("{{ source: '{source}' }}")));
        assert!(found.len() == 1 && found[0].contains(problem), "{source}: {found:?}");
    }
}

#[test]
fn sources_are_read_with_what_stands_beside_them() {
    let yaml = "sources: { allow: [127.0.0.1, 'fd00::/8'], ports: '80, 443', files: [/srv], ca_file: /etc/ca.pem }\n\
                streams:\n\
                \x20 a: { source: 'https://u:p@h:443/x?y=1', input: jpeg, rate: 0.5, tls: insecure }\n\
                \x20 b: { source: 'file:///srv/a.mp4' }\n\
                \x20 c: { source: 'file:/srv/a', input: ts }\n\
                \x20 d: { source: 'push:' }\n";
    let config = load_all(&[("c.yaml", yaml)], &[("CAMSHAFT_SOURCES_PORTS", "8080")]).unwrap();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|id| &config.streams[&id.parse().unwrap()]);
    let Source::Http(http) = &a.source else { panic!("{:?}", a.source) };
    assert_eq!((http.url.request_url(), http.url.port(), login(a)), ("https://h/x?y=1", 443, Some(("u", "p"))));
    assert_eq!((http.input, http.rate.as_f64(), http.tls), (Some(InputFormat::Jpeg), 0.5, TlsTrust::Insecure));
    let reach = &a.sources.reach;
    assert_eq!((reach.networks.len(), &reach.ports[..], a.sources.ca_file.is_some()), (2, &[8080][..], true));
    for (stream, container) in [(b, Container::Mp4), (c, Container::MpegTs)] {
        let Source::File(file) = &stream.source else { panic!("{:?}", stream.source) };
        assert_eq!(file.container, container);
    }
    assert_eq!((&d.source, d.source.to_string().as_str()), (&Source::Push, "push:"));
}

#[test]
fn a_request_body_is_a_stream_that_reads_nothing() {
    let base = "defaults: { transport: udp, username: u, password: '${SECRET}' }\nhardware: { policy: software }\n";
    let defaults = load_one(base).unwrap().defaults;
    let body = br#"{"source": "rtsp://10.0.0.1/", "renditions": {"d": {"fps": 12.5, "format": "gray"}}}"#;
    let settings = stream_from_json(body, &defaults).unwrap();
    assert_eq!((settings.transport, settings.policy, login(&settings)), (Transport::Udp, Policy::Software, None));
    assert_eq!(Some(settings.renditions["d"].cadence), FrameRate::new(125, 10).map(Cadence::Fps));

    let body = b"{\"source\": \"rtsp://10.0.0.1/${SECRET}\",\n\"username\": \"u\", \"password_file\": \"/run/secret\", \"ttl\": \"5s\", \"username\": 5}";
    insta::assert_snapshot!(stream_from_json(body, &defaults).unwrap_err(), @"
    request body:1: source: '${…}' is not expanded in a request: write the value itself; a '$' that stands for itself is '$$'
    request body:2: password_file: is not read for a request; send 'password' instead
    request body:2: ttl: unknown key; did you mean 'tls'?
    request body:2: username: is given twice, first at request body:2; remove one
    ");
    for bad in [&b"{"[..], b"", b"[]", b"5", b"\xff", b"{\"source\": null}"] {
        assert!(stream_from_json(bad, &defaults).is_err(), "{bad:?}");
    }

    let (settings, ttl) =
        temporary_stream_from_json(br#"{"source": "test:", "ttl": "60s"}"#, &StreamDefaults::default()).unwrap();
    assert_eq!((settings.on_demand, ttl), (false, Duration::from_secs(60)));
    assert!(temporary_stream_from_json(br#"{"source": "test:"}"#, &defaults).is_err());
}

#[test]
fn secrets_are_never_shown() {
    let config = load_one(
        "streams:\n\
         \x20 a: { source: 'rtsp://viewer:hunter2-4711@h/' }\n\
         \x20 b: { source: 'rtsp://h/', username: u, password: '${SECRET}' }\n\
         \x20 c: { source: 'rtsp://h/cam?user=x&channel=1&password=hunter2-4711' }\n\
         \x20 d: { source: 'rtsp://h/user=admin_password=hunter2-4711_channel=1' }\n",
    )
    .unwrap();
    let mut shown = format!("{config:?}");
    shown.extend(config.streams.values().map(|stream| stream.source.to_string()));
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("rtsp://h/cam?user=…&channel=1&password=…"), "{shown}");

    for wrong in [
        "{ source: 'rtsp://u:hunter2-4711@h:port/' }",
        "{ source: 'rtsp://u:hunter2-4711@h/', password: [hunter2-4711] }",
        "{ source: 'rtsp://u:hunter2-4711@h/', password: { hunter2-4711: 1 } }",
        "{ source: 'rtsp://h/', transport: '${SECRET}', on_demand: '${SECRET}', renditions: { a: { width: '${SECRET}' } } }",
        "{ source: '${SECRET}' }",
        "{ source: 'http://u:hunter2-4711@h/', transport: tcp }",
        "{ source: 'rtsp://h/', username: u, password: \"hunter2-4711\\n\" }",
        "{ source: 'rtsp://u:hunter2-4711%ff@h/' }",
        "rtsp://u:hunter2-4711@h/",
        "hunter2-4711",
        "!hunter2-4711",
        "*hunter2-4711",
        "[hunter2-4711",
    ] {
        let mistakes = stream(wrong).unwrap_err();
        assert!(!format!("{mistakes} {mistakes:?}").contains("hunter2"), "{wrong}: {mistakes}");
    }
}

#[test]
fn equal_settings_are_equal_and_a_new_password_is_not() {
    let text = |password: &str| format!("{{ source: 'rtsp://h/', username: u, password: {password} }}");
    assert_eq!(stream(&text("a")).unwrap(), stream(&text("a")).unwrap());
    assert!(stream(&text("a")).unwrap() != stream(&text("b")).unwrap());
}

#[test]
fn a_flood_of_mistakes_is_cut_short() {
    let found = lines(load_one(&(0..1000).map(|n| format!("x{n}: 1\n")).collect::<String>()));
    assert_eq!((found.len(), found[200].as_str()), (201, "c.yaml:200: 800 more mistakes are not listed"));
}

#[test]
fn limits_are_checked_against_each_other() {
    assert_eq!(
        lines(load_one("limits:\n  backoff_max: 100ms\n  consumers_total: 5\n  ring_hard_bytes: 8M\n")),
        [
            "c.yaml:2: limits.backoff_max: backoff_min must be at most backoff_max, which is 100ms; change one of the two",
            "c.yaml:3: limits.consumers_total: consumers_per_stream must be at most consumers_total, which is 5; change one of the two",
            "c.yaml:4: limits.ring_hard_bytes: ring_bytes must be at most ring_hard_bytes, which is 8M; change one of the two",
        ]
    );
    let two = "limits: { streams_max: 1 }\nstreams:\n  a: { source: 'test:' }\n  b: { source: 'test:' }\n";
    assert_eq!(lines(load_one(two)), ["c.yaml:3: streams: has 2 streams; limits.streams_max allows 1"]);
    assert!(load_one("server: { http: '127.0.0.1:8081' }").is_err());
    assert!(load_one("server: { http: '127.0.0.1:0', admin: '127.0.0.1:0' }").is_ok());
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(\\PC|\n|\t|\r){0,200}") {
        let _ = load_one(&text);
        let _ = stream_from_json(text.as_bytes(), &StreamDefaults::default());
    }

    #[test]
    fn no_configuration_of_known_words_panics(words in proptest::collection::vec(
        "streams|server|limits|defaults|source|renditions|a|rtsp://u:p@h:1/|test:\\?fps=|password|width|[0-9]{1,25}|\\$\\{X(:-)?\\}?|[:{},\\[\\]&*!'\"-]|: |\n {0,4}", 0..40,
    )) {
        let _ = load_one(&words.concat());
    }
}
