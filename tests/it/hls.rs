//! HLS as players take it: ffmpeg, GStreamer's two demuxers, and a browser with hls.js.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use camshaft::media::Geometry;
use camshaft::media::pattern::read_number;
use serde_json::{Value, json};

use crate::support::{Browser, Camera, Camshaft, Clip, Coding, Y4m, command_output, ffprobe_packets, numbers_in};

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
    // The newer demuxer, in GStreamer 1.22, waits for good if there is only one segment when it comes.
    let has_segments = |status: &Value| status["ring"]["seconds"].as_f64() > Some(6.5);
    server.wait_status("clock", "several segments", has_segments);
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

/// Plays with hls.js until pictures of five seconds were shown, the last of the wanted width, or nothing came of it. Gives
/// what the video element says, the errors, and the grey of the picture that is shown.
const PLAY: &str = r#"
    const [url, width, done] = arguments;
    const errors = [];
    const video = document.createElement('video');
    video.muted = true;
    // In sight: what is not is not always drawn.
    document.body.prepend(video);
    const hls = new Hls({ lowLatencyMode: true });
    hls.on(Hls.Events.ERROR, (_, data) => errors.push(data.details + (data.fatal ? ' (fatal)' : '')));
    hls.loadSource(url);
    hls.attachMedia(video);
    video.play();
    const start = performance.now();
    const check = () => {
        const quality = video.getVideoPlaybackQuality();
        const hasEnough = quality.totalVideoFrames >= 125 && video.videoWidth == width;
        if (!hasEnough && performance.now() < start + 20000) return;
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

/// What a browser showed.
struct Played {
    facts: Value,
    /// The number in the last picture.
    number: u32,
}

fn play(browser: &Browser, url: &str, size: (u32, u32)) -> Played {
    let mut facts = browser.answer(PLAY, json!([url, size.0]));
    let luma: Vec<u8> = serde_json::from_value(facts["luma"].take()).unwrap();
    assert!(!facts["errors"].to_string().contains("fatal"), "{facts}");
    assert!(facts["frames"].as_u64() >= Some(125) && facts["time"].as_f64() > Some(4.0), "{facts}");
    assert_eq!((&facts["width"], &facts["height"]), (&json!(size.0), &json!(size.1)), "{facts}");
    let number = read_number(&luma, Geometry::new(size.0, size.1), size.0 as usize);
    Played { facts, number: number.expect("a number in the picture that is shown") }
}

fn browser(server: &Camshaft) -> Browser {
    let browser = Browser::open(&server.url("/openapi.json"));
    browser.run(HLS_JS);
    browser
}

#[test]
fn a_browser_plays_within_four_seconds_of_the_camera() {
    let server = Camshaft::start(CLOCK);
    server.wait_live("clock");
    let browser = browser(&server);
    let present = Present::watch(&server);
    for (query, size) in [("", (320, 180)), ("?width=160&bitrate=300k", (160, 90))] {
        let played = play(&browser, &server.url(&format!("{PLAYLIST}{query}")), size);
        assert_eq!(played.facts["errors"], json!([]), "{}", played.facts);
        let delay = f64::from(present.number().saturating_sub(played.number)) / 25.0;
        println!("live.m3u8{query}: {delay:.2} s behind the camera; hls.js says {}", played.facts["latency"]);
        assert!(delay > 0.0 && delay <= 4.0, "{query}: {delay} s behind: {}", played.facts);
    }
}

#[test]
fn a_browser_plays_on_when_the_camera_changes_its_size() {
    let small = Clip::make(Coding { frames: 150, ..Coding::default() });
    let large = Clip::make(Coding { size: (640, 360), ..Coding::default() });
    let camera = Camera::start(&small, &["--then", large.path.to_str().unwrap()]);
    let server = Camshaft::start(&format!("  clock: {{ source: \"{}\" }}\n", camera.url()));
    let browser = browser(&server);
    play(&browser, &server.url(PLAYLIST), (640, 360));
    let playlist = server.get(PLAYLIST).text();
    assert_eq!(uris(&playlist, |line| line.starts_with("#EXT-X-MAP")).len(), 2, "{playlist}");
    assert!(playlist.contains("#EXT-X-DISCONTINUITY\n"), "{playlist}");
}

/// Reads raw pictures beside: the newest is the camera's present.
struct Present(Arc<AtomicU32>);

impl Present {
    fn watch(server: &Camshaft) -> Self {
        let newest = Arc::new(AtomicU32::new(0));
        let (shared, mut raw) = (newest.clone(), Y4m::new(server.open("/v1/streams/clock/live.y4m")));
        std::thread::spawn(move || {
            while let Some(number) = raw.next().and_then(|picture| picture.number()) {
                shared.store(number, Ordering::Relaxed);
            }
        });
        Self(newest)
    }

    fn number(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
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
    let playlists: Vec<String> = std::thread::scope(|scope| {
        let viewers: Vec<_> = (0..8).map(|_| scope.spawn(|| server.get(PLAYLIST).text())).collect();
        viewers.into_iter().map(|viewer| viewer.join().unwrap()).collect()
    });
    let map = |playlist: &String| uris(playlist, |line| line.starts_with("#EXT-X-MAP")).remove(0);
    let maps: BTreeSet<String> = playlists.iter().map(map).collect();
    assert_eq!(maps.len(), 1, "{playlists:?}");
    let status = server.status("clock");
    assert_eq!((&status["state"], &status["consumers"]), (&json!("live"), &json!(1)));
    server.wait_status("clock", "idle", |status| status["state"] == "idle" && status["consumers"] == 0);

    // Whoever comes back finds later numbers.
    let again = server.get(PLAYLIST).text();
    let first = |playlist: &str| tag(playlist, "#EXT-X-MEDIA-SEQUENCE").parse::<u64>().unwrap();
    let known = first(&playlists[0]) + segments(&playlists[0]).len() as u64;
    assert!(first(&again) > known, "{known}: {again}");
    let old = maps.first().unwrap();
    assert_eq!(server.get(&format!("/v1/streams/clock/{old}")).status, 404);
}
