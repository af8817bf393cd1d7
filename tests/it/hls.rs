//! HLS as players take it: ffmpeg, GStreamer's two demuxers, and a browser with hls.js.

use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camshaft::media::Geometry;
use camshaft::media::pattern::read_number;
use serde_json::{Value, json};

use crate::support::{Browser, Camera, Camshaft, Clip, Coding, command_output, ffprobe_packets, numbers_in};

const HLS_JS: &str = include_str!("../support/hls.js/hls.light.min.js");
const CLOCK: &str = "  clock: { source: \"test:?width=320&height=180&fps=25&gop=50\" }\n";
const PLAYLIST: &str = "/v1/streams/clock/live.m3u8";

/// The URIs of a playlist that `is_wanted` accepts, in order.
fn uris(playlist: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let uri = |line: &str| {
        let quoted = line.split_once("URI=\"").and_then(|(_, rest)| rest.split_once('"')).map(|(uri, _)| uri);
        quoted.or(Some(line).filter(|line| !line.starts_with('#'))).map(str::to_owned)
    };
    playlist.lines().filter(|line| is_wanted(line)).filter_map(uri).collect()
}

fn segments(playlist: &str) -> Vec<String> {
    uris(playlist, |line| !line.starts_with('#'))
}

/// The value of a tag.
fn tag<'a>(playlist: &'a str, name: &str) -> &'a str {
    let value = playlist.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {name} in {playlist}"))
}

fn fetch(server: &Camshaft, uri: &str) -> Vec<u8> {
    let answer = server.get(&format!("/v1/streams/clock/{uri}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, "video/mp4"), "{uri}: {}", answer.text());
    answer.body
}

#[test]
fn ffmpeg_records_a_copy_without_a_gap() {
    let clip = Clip::make(Coding { audio: true, ..Coding::default() });
    let camera = Camera::start(&clip, &["--transport", "tcp", "--audio", "aac"]);
    let server = Camshaft::start(&format!("  clock: {{ source: \"{}\" }}\n", camera.url()));
    server.wait_status("clock", "that audio came", |status| status["source"]["audio"] == "aac");
    let file = tempfile::Builder::new().suffix(".mp4").tempfile().unwrap();
    let path = file.path().to_str().unwrap();
    let url = server.url(PLAYLIST);
    command_output("ffmpeg", &["-v", "error", "-xerror", "-y", "-t", "6", "-i", &url, "-c", "copy", path]);
    let (video, audio) = (ffprobe_packets(path, "v:0"), ffprobe_packets(path, "a:0"));
    assert!(video.len() >= 148 && video[0].key, "{} pictures", video.len());
    assert!(audio.len() >= 250, "{} pieces of sound", audio.len());
    let steps: Vec<f64> = video.windows(2).map(|pair| pair[1].dts - pair[0].dts).collect();
    assert!(steps.iter().all(|step| (step - 0.04).abs() < 0.015), "{steps:?}");
    let numbers: Vec<u32> = numbers_in(path, (320, 180)).into_iter().map(|number| number.unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert!(server.status("clock")["workers"]["pixels"].is_null(), "a copy decodes nothing");
}

#[test]
fn gstreamer_plays_with_both_of_its_demuxers() {
    let server = Camshaft::start(CLOCK);
    let url = server.url(PLAYLIST);
    let source = format!("uri={url}");
    let location = format!("location={url}");
    // The older demuxer passes no end on: its pipeline ends by the error that is asked for after 100 pictures.
    let newer: &[&str] = &["uridecodebin3", &source, "!", "identity", "error-after=100", "!", "fakesink"];
    let older: &[&str] = &[
        "souphttpsrc",
        &location,
        "!",
        "hlsdemux",
        "!",
        "qtdemux",
        "!",
        "h264parse",
        "!",
        "avdec_h264",
        "!",
        "identity",
        "error-after=100",
        "!",
        "fakesink",
    ];
    for pipeline in [newer, older] {
        let output = Command::new("timeout").args(["20", "gst-launch-1.0"]).args(pipeline).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("Failed after iterations as requested"), "{pipeline:?}: {text}");
    }
}

/// Plays with hls.js until pictures of five seconds were shown or nothing came of it, then gives what the video element
/// says, the errors, and the grey of the picture that is shown.
const PLAY: &str = r#"
    const [url, done] = arguments;
    const errors = [];
    const video = document.createElement('video');
    video.muted = true;
    document.body.append(video);
    const hls = new Hls({ lowLatencyMode: true });
    hls.on(Hls.Events.ERROR, (_, data) => errors.push(data.details + (data.fatal ? ' (fatal)' : '')));
    hls.loadSource(url);
    hls.attachMedia(video);
    video.play();
    const start = performance.now();
    const check = () => {
        const quality = video.getVideoPlaybackQuality();
        if (quality.totalVideoFrames < 125 && performance.now() < start + 20000) return;
        video.removeEventListener('timeupdate', check);
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
        const context = canvas.getContext('2d');
        context.drawImage(video, 0, 0);
        const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
        done({
            errors, time: video.currentTime, frames: quality.totalVideoFrames, dropped: quality.droppedVideoFrames,
            latency: hls.latency, wall: hls.playingDate && hls.playingDate.getTime(),
            width: canvas.width, height: canvas.height, luma: Array.from(pixels).filter((_, i) => i % 4 == 1),
        });
    };
    video.addEventListener('timeupdate', check);
    setTimeout(check, 20001);
"#;

fn play(browser: &Browser, url: &str) -> Value {
    browser.answer(PLAY, json!([url]))
}

#[test]
fn a_browser_plays_within_four_seconds_of_the_camera() {
    let server = Camshaft::start(CLOCK);
    server.wait_live("clock");
    let browser = Browser::open(&server.url("/"));
    browser.run(HLS_JS);
    for (query, size) in [("", Geometry::new(320, 180)), ("?width=640&bitrate=1M", Geometry::new(640, 360))] {
        // The newest picture that this raw reader has seen is the camera's present.
        let present = Present::watch(&server);
        let played = play(&browser, &server.url(&format!("{PLAYLIST}{query}")));
        let now = present.number();
        let luma = played["luma"].as_array().unwrap().iter().map(|value| value.as_u64().unwrap() as u8);
        let luma: Vec<u8> = luma.collect();
        let what = json!({ "errors": played["errors"], "time": played["time"], "frames": played["frames"] });
        assert_eq!(played["errors"], json!([]), "{what}");
        assert!(played["frames"].as_u64() >= Some(125), "{what}");
        assert!(played["time"].as_f64() > Some(4.0), "{what}");
        assert_eq!(luma.len(), size.pixels() as usize, "{query}");
        let shown = read_number(&luma, size, size.width as usize).expect("a number in the picture that is shown");
        let delay = f64::from(now.saturating_sub(shown)) / 25.0;
        println!("live.m3u8{query}: {delay:.2} s behind the camera; hls.js says {}", played["latency"]);
        assert!(delay > 0.0 && delay <= 4.0, "{query}: {delay} s behind");
    }
}

/// Reads raw pictures beside, so that the present is known.
struct Present(std::sync::Arc<std::sync::atomic::AtomicU32>);

impl Present {
    fn watch(server: &Camshaft) -> Self {
        let newest = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let (shared, mut raw) = (newest.clone(), crate::support::Y4m::new(server.open("/v1/streams/clock/live.y4m")));
        std::thread::spawn(move || {
            while let Some(number) = raw.next().and_then(|picture| picture.number()) {
                shared.store(number, std::sync::atomic::Ordering::Relaxed);
            }
        });
        Self(newest)
    }

    fn number(&self) -> u32 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn a_playlist_waits_for_the_part_that_is_asked_for() {
    let server = Camshaft::start(CLOCK);
    let playlist = server.get(PLAYLIST);
    assert_eq!((playlist.status, playlist.header("content-type")), (200, "application/vnd.apple.mpegurl"));
    let playlist = playlist.text();
    assert_eq!(tag(&playlist, "#EXT-X-TARGETDURATION"), "2");
    let first: u64 = tag(&playlist, "#EXT-X-MEDIA-SEQUENCE").parse().unwrap();
    let open = first + segments(&playlist).len() as u64;
    let hint = uris(&playlist, |line| line.starts_with("#EXT-X-PRELOAD-HINT")).remove(0);
    let parts = |text: &str| uris(text, |line| line.starts_with("#EXT-X-PART:"));
    assert!(!parts(&playlist).contains(&hint));

    // What is announced comes when it is there, and then it is in the playlist.
    let bytes = fetch(&server, &hint);
    assert!(!bytes.is_empty());
    let index: u64 = hint.rsplit('.').nth(1).unwrap().parse().unwrap();
    let start = Instant::now();
    let next = server.get(&format!("{PLAYLIST}?_HLS_msn={open}&_HLS_part={}", index + 1)).text();
    assert!(parts(&next).contains(&hint), "{next}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());

    // Whole segments are their parts, joined.
    let whole = server.get(&format!("{PLAYLIST}?_HLS_msn={open}")).text();
    let segment = segments(&whole).pop().unwrap();
    let stem = segment.strip_suffix("m4s").unwrap();
    let joined: Vec<u8> =
        parts(&whole).iter().filter(|part| part.starts_with(stem)).flat_map(|part| fetch(&server, part)).collect();
    assert!(fetch(&server, &segment) == joined && !joined.is_empty());

    let file = tempfile::Builder::new().suffix(".mp4").tempfile().unwrap();
    let map = uris(&whole, |line| line.starts_with("#EXT-X-MAP")).remove(0);
    std::fs::write(file.path(), [fetch(&server, &map), joined].concat()).unwrap();
    assert_eq!(ffprobe_packets(file.path().to_str().unwrap(), "v:0").len(), 50);
}

#[test]
fn what_a_playlist_does_not_have_is_refused_by_name() {
    let server = Camshaft::start(CLOCK);
    let map = uris(&server.get(PLAYLIST).text(), |line| line.starts_with("#EXT-X-MAP")).remove(0);
    let session = format!("/v1/streams/clock/{}", map.rsplit_once('/').unwrap().0);
    for (path, status, words) in [
        (format!("{PLAYLIST}?_HLS_msn=99999999"), 400, "too far ahead"),
        (format!("{PLAYLIST}?_HLS_msn=-1"), 400, "whole number"),
        (format!("{PLAYLIST}?_HLS_part=1"), 400, "_HLS_msn"),
        (format!("{PLAYLIST}?codec=mjpeg"), 400, "codec"),
        ("/v1/streams/clock/live.mp4?_HLS_msn=1".into(), 400, "live.mp4"),
        (format!("{session}/init7.mp4"), 404, "live.m3u8"),
        (format!("{session}/99999.m4s"), 404, "live.m3u8"),
        (format!("{session}/0.99999999999999999999.m4s"), 400, "live.m3u8"),
        (format!("{session}/%2e%2e%2fetc"), 400, "live.m3u8"),
        ("/v1/streams/clock/hls/77/init0.mp4".into(), 404, "live.m3u8"),
        ("/v1/streams/clock/hls/x/init0.mp4".into(), 400, "x"),
    ] {
        let answer = server.get(&path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
}

#[test]
fn viewers_share_a_session_that_ends_when_nobody_asks() {
    let server =
        Camshaft::start_with("limits: { pixels_linger: 0s }", &CLOCK.replace("gop=50\"", "gop=50\", on_demand: true"));
    assert_eq!(server.status("clock")["state"], "idle");
    let maps: BTreeSet<Vec<String>> = std::thread::scope(|scope| {
        let ask = || uris(&server.get(PLAYLIST).text(), |line| line.starts_with("#EXT-X-MAP"));
        let viewers: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        viewers.into_iter().map(|viewer| viewer.join().unwrap()).collect()
    });
    assert_eq!(maps.len(), 1, "{maps:?}");
    let status = server.status("clock");
    assert_eq!((&status["state"], &status["consumers"]), (&json!("live"), &json!(1)));
    server.wait_status("clock", "idle", |status| status["state"] == "idle" && status["consumers"] == 0);

    // Whoever comes back finds later numbers.
    let again = server.get(PLAYLIST).text();
    assert!(tag(&again, "#EXT-X-MEDIA-SEQUENCE").parse::<u64>().unwrap() >= 10, "{again}");
    let old = maps.first().unwrap()[0].clone();
    assert_eq!(server.get(&format!("/v1/streams/clock/{old}")).status, 404);
}

#[test]
fn a_camera_that_changes_its_size_gets_a_new_header() {
    let small = Clip::make(Coding { frames: 150, ..Coding::default() });
    let large = Clip::make(Coding { size: (640, 360), ..Coding::default() });
    let camera = Camera::start(&small, &["--then", large.path.to_str().unwrap()]);
    let server = Camshaft::start(&format!("  clock: {{ source: \"{}\" }}\n", camera.url()));
    server.wait_live("clock");
    let mut ffmpeg = Command::new("ffmpeg")
        .args(["-v", "error", "-t", "12", "-i", &server.url(PLAYLIST), "-vf", "scale=320:180:flags=neighbor"])
        .args(["-f", "rawvideo", "-pix_fmt", "gray", "-fps_mode", "passthrough", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut raw = Vec::new();
    ffmpeg.stdout.take().unwrap().read_to_end(&mut raw).unwrap();
    assert!(ffmpeg.wait().unwrap().success());
    let playlist = server.get(PLAYLIST).text();
    let maps = uris(&playlist, |line| line.starts_with("#EXT-X-MAP"));
    assert!(maps.len() == 2 && playlist.contains("#EXT-X-DISCONTINUITY\n"), "{playlist}");
    let pictures = raw.chunks_exact(320 * 180).count();
    assert!(pictures > 200, "ffmpeg went on over the change: {pictures} pictures");
}
