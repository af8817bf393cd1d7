//! Frigate beside camshaft by URL: the recipe in `deploy/frigate`, and what `frigate-config` makes of a user's file, each
//! with Frigate's own command lines and a real ffmpeg.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::support::{
    Camera, Camshaft, Clip, Coding, FrigateCamera, FrigateReader, command_output, eventually, ffprobe_packets,
    numbers_in, signal,
};

const SIZE: (u32, u32) = (640, 360);

fn clip() -> Clip {
    Clip::make(Coding { size: SIZE, gop: 25, frames: 500, audio: true, ..Coding::default() })
}

fn ffmpeg(arguments: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

/// Pictures come, each once and in their order.
fn expect_detection(camera: &FrigateCamera) {
    let reader = FrigateReader::start(&ffmpeg(&camera.detect()), camera.size());
    reader.wait(20);
    let (exit, pictures) = reader.stop();
    assert_eq!(exit, 255, "as ffmpeg ends at SIGTERM");
    let numbers: Vec<u32> = pictures.iter().map(|picture| picture.number().expect("a number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{}: {numbers:?}", camera.name());
    let steps = numbers[2..].windows(2).filter(|pair| pair[1] - pair[0] == 5).count();
    assert!(steps + 3 >= numbers.len() - 2, "{}: {numbers:?} is not five a second of 25", camera.name());
}

/// A segment is written, whole, with sound and with every picture of the camera.
fn expect_recording(camera: &FrigateCamera) {
    let cache = tempfile::tempdir().unwrap();
    let mut recorder = ffmpeg(&camera.record(cache.path())).stdout(Stdio::null()).spawn().unwrap();
    let size = || fs::read_dir(cache.path()).unwrap().flatten().map(|file| file.metadata().unwrap().len()).sum::<u64>();
    eventually(
        "a segment grows",
        || std::thread::sleep(std::time::Duration::from_millis(100)),
        || (size() > 100_000).then_some(()),
    );
    signal(recorder.id(), rustix::process::Signal::TERM);
    recorder.wait().unwrap();
    let segment = fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    let segment = segment.to_str().unwrap();
    let numbers: Vec<u32> = numbers_in(segment, SIZE).into_iter().map(Option::unwrap).collect();
    assert!(numbers.len() > 25, "{}: {numbers:?}", camera.name());
    let whole = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1 || pair[1] < pair[0]);
    assert!(whole, "{}: {numbers:?}", camera.name());
    assert!(ffprobe_packets(segment, "a:0").len() > 20, "{}: the sound is in it", camera.name());
}

fn expect_sound(camera: &FrigateCamera) {
    let line = camera.audio().replace(" -threads 1 -f s16le", " -t 3 -threads 1 -f s16le");
    let bytes = command_output("ffmpeg", &line.split_whitespace().collect::<Vec<_>>());
    let samples = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs());
    assert!(bytes.len() > 16_000 * 2 * 2, "{}: {} bytes", camera.name(), bytes.len());
    assert!(samples.max().unwrap() > 1000, "{}: silence", camera.name());
}

/// What go2rtc reads comes: H.264 with sound.
fn expect_live_view(url: &str) {
    let transport: &[&str] = if url.starts_with("rtsp:") { &["-rtsp_transport", "tcp"] } else { &[] };
    let entries = ["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"];
    let codecs = command_output("ffprobe", &[&entries, transport, &[url]].concat());
    let codecs = String::from_utf8(codecs).unwrap();
    assert!(codecs.contains("h264") && codecs.contains("aac"), "{url}: {codecs}");
}

/// The sources of go2rtc in a file.
fn live_views(text: &str) -> Vec<String> {
    let file: serde_json::Value = serde_saphyr::from_str(text).unwrap();
    let streams = file["go2rtc"]["streams"].as_object().unwrap().values();
    let first = |value: &serde_json::Value| value.as_str().or_else(|| value[0].as_str()).unwrap().to_owned();
    streams.map(first).collect()
}

#[test]
fn the_recipe_feeds_every_role() {
    let recipe = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/frigate/by-url.yml")).unwrap();
    let camera = Camera::start(&clip(), &["--audio", "aac"]);
    let streams = ["front-door", "back-door"].map(|id| format!("  {id}: {{ source: \"{}\" }}\n", camera.url()));
    let server = Camshaft::start(&streams.concat());
    for id in ["front-door", "back-door"] {
        server.wait_status(id, "that audio came", |status| status["source"]["audio"] == "aac");
    }
    let here = recipe
        .replace("http://127.0.0.1:8080", &server.url(""))
        .replace("rtsp://127.0.0.1:18554", &server.rtsp_url(""));
    let cameras = FrigateCamera::all(&here);
    assert_eq!(cameras.len(), 2);
    for camera in &cameras {
        expect_detection(camera);
        expect_recording(camera);
        expect_sound(camera);
    }
    live_views(&here).iter().for_each(|url| expect_live_view(url));
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_users_file_is_converted_and_plays_while_go2rtc_has_its_ports() {
    // Whoever has them already serves the purpose as well.
    let _go2rtc = [1984, 8554, 8555].map(|port| TcpListener::bind(("127.0.0.1", port)));
    let clip = clip();
    // On another address than Frigate's pod, as cameras are.
    let at = ["--address", "127.0.0.2", "--audio", "aac"];
    let main = Camera::start(&clip, &[&at[..], &["--auth", "digest"]].concat());
    let sub = Camera::start(&clip, &at);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let users = format!(
        "go2rtc:\n  streams:\n    yard:\n      - rtsp://viewer:s3cret-canary@127.0.0.2:{}/cam   # main\n\
         cameras:\n  yard:\n    ffmpeg:\n      hwaccel_args: preset-vaapi\n      inputs:\n        \
         - path: rtsp://127.0.0.1:8554/yard\n          input_args: preset-rtsp-restream\n          roles: [record, audio]\n        \
         - path: rtsp://127.0.0.2:{}/cam\n          roles: [detect]\n    detect: {{ width: 320, height: 180, fps: 5 }}\n",
        main.port(),
        sub.port()
    );
    fs::write(path("frigate.yml"), users).unwrap();
    let (http, rtsp) = (format!("http://127.0.0.1:{}", free_port()), format!("rtsp://127.0.0.1:{}", free_port()));
    let (frigate, camshaft) = (path("new.yml"), path("camshaft.yaml"));
    let converted = Command::new(env!("CARGO_BIN_EXE_camshaft"))
        .args(["frigate-config", "--from", &path("frigate.yml"), "--url", &http, "--rtsp", &rtsp])
        .args(["--out-frigate", &frigate, "--out-camshaft", &camshaft])
        .output()
        .unwrap();
    assert!(converted.status.success(), "{}", String::from_utf8_lossy(&converted.stderr));
    let changed = fs::read_to_string(frigate).unwrap();
    assert!(!changed.contains("s3cret-canary") && changed.contains("# main"), "{changed}");
    // The machine's own: addresses that are free, cameras that are no others.
    let yaml = fs::read_to_string(&camshaft).unwrap();
    let yaml = yaml.replace("server:\n", "sources: { allow: [127.0.0.2] }\nserver:\n  admin: 127.0.0.1:0\n");
    fs::write(&camshaft, yaml).unwrap();
    let server = Camshaft::start_in(dir);
    assert_eq!((server.url(""), server.rtsp_url("")), (http, rtsp));
    for id in ["yard", "yard_sub"] {
        server.wait_status(id, "that audio came", |status| status["source"]["audio"] == "aac");
    }
    let cameras = FrigateCamera::all(&changed);
    expect_detection(&cameras[0]);
    expect_recording(&cameras[0]);
    expect_sound(&cameras[0]);
    live_views(&changed).iter().for_each(|url| expect_live_view(url));
    assert_eq!(server.get("/v1/streams").json().as_array().unwrap().len(), 2);
}
