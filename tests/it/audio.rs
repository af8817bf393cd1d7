//! Sound: as it is or made anew, in step with the picture, and never in the picture's way.

use rustix::process::Signal;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Camera, Camshaft, Clip, Coding, Curl, command_output, eventually, ffprobe_packets, kill, signal};

const CLAPPER: &str = "test:?width=320&height=180&fps=25&gop=25";

fn clapper(audio: &str) -> Camshaft {
    let server = Camshaft::start(&format!("  clap: {{ source: \"{CLAPPER}&audio={audio}\" }}"));
    server.wait_live("clap");
    server
}

/// Saves a response for `seconds`.
fn save(server: &Camshaft, path: &str, seconds: u64, file: &Path) -> String {
    let (mut reader, mut bytes) = (server.open(path), Vec::new());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut buffer = vec![0; 64 << 10];
    while Instant::now() < end {
        let count = reader.read(&mut buffer).unwrap();
        assert!(count > 0, "{path} ended");
        bytes.extend_from_slice(&buffer[..count]);
    }
    std::fs::write(file, bytes).unwrap();
    file.to_str().unwrap().to_owned()
}

/// When something that ffmpeg's filters measure rises past `level`, in seconds of the input's clock.
fn onsets(report: &str, level: f64) -> Vec<f64> {
    let (mut times, mut time, mut before) = (Vec::new(), 0.0, f64::INFINITY);
    for line in report.lines() {
        if let Some((_, at)) = line.split_once("pts_time:") {
            time = at.trim().parse().unwrap();
        } else if let Some((_, value)) = line.split_once('=') {
            let value = value.trim().parse().unwrap_or(f64::NEG_INFINITY);
            if value > level && before <= level {
                times.push(time);
            }
            before = value;
        }
    }
    times
}

/// Flashes and beeps as ffmpeg decodes them from `input`.
fn claps(input: &[&str], seconds: u32) -> (Vec<f64>, Vec<f64>) {
    let dir = tempfile::tempdir().unwrap();
    let (flashes, beeps) = (dir.path().join("flashes"), dir.path().join("beeps"));
    let video = format!("signalstats,metadata=print:key=lavfi.signalstats.YAVG:file={}", flashes.to_str().unwrap());
    // Pieces of 5 ms.
    let audio = format!(
        "aresample=16000,asetnsamples=80,astats=metadata=1:reset=1,\
         ametadata=print:key=lavfi.astats.Overall.RMS_level:file={}",
        beeps.to_str().unwrap()
    );
    let seconds = seconds.to_string();
    let mut arguments = vec!["-v", "error"];
    arguments.extend(input);
    arguments.extend(["-t", &seconds, "-vsync", "passthrough", "-vf", &video, "-af", &audio, "-f", "null", "-"]);
    command_output("ffmpeg", &arguments);
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    // The picture's mean jumps from about 110 to 200; the beep is at -13 dB.
    (onsets(&read(&flashes), 160.0), onsets(&read(&beeps), -30.0))
}

fn expect_sync(what: &str, (flashes, beeps): &(Vec<f64>, Vec<f64>)) {
    let mut pairs = 0;
    for flash in flashes {
        let off = beeps.iter().map(|beep| beep - flash).min_by(|one, other| one.abs().total_cmp(&other.abs()));
        // The first beep of a recording may lie before its first sound.
        let Some(off) = off.filter(|off| off.abs() < 0.5) else { continue };
        assert!(off.abs() <= 0.040, "{what}: sound is {:.0} ms off: {flashes:?} {beeps:?}", off * 1000.0);
        pairs += 1;
    }
    assert!(pairs >= 3, "{what}: {pairs} claps: {flashes:?} {beeps:?}");
}

fn expect_rising(what: &str, file: &str) {
    for track in ["v:0", "a:0"] {
        let packets = ffprobe_packets(file, track);
        assert!(packets.len() > 40, "{what}: {} packets of {track}", packets.len());
        assert!(packets.windows(2).all(|pair| pair[1].dts > pair[0].dts), "{what}: {track}");
    }
}

/// The codecs of the video and the audio track, if there is one. Of MPEG-TS, ffprobe names each stream twice.
fn codecs(file: &str) -> String {
    let codec = |track: &str| {
        let entries = ["-select_streams", track, "-show_entries", "stream=codec_name", "-of", "csv=p=0", file];
        let said = command_output("ffprobe", &[&["-v", "error"], &entries[..]].concat());
        String::from_utf8(said).unwrap().lines().next().unwrap_or_default().to_owned()
    };
    format!("{} {}", codec("v:0"), codec("a:0")).trim_end().to_owned()
}

#[test]
fn copies_are_in_step_in_every_codec_and_container() {
    let dir = tempfile::tempdir().unwrap();
    for (audio, expected) in [("aac", "aac"), ("pcmu", "aac"), ("pcma", "aac"), ("opus", "opus")] {
        let server = clapper(audio);
        for extension in ["mp4", "ts"] {
            let file = dir.path().join(format!("{audio}.{extension}"));
            let file = save(&server, &format!("/v1/streams/clap/live.{extension}"), 6, &file);
            let what = format!("{audio} in {extension}");
            assert_eq!(codecs(&file), format!("h264 {expected}"), "{what}");
            expect_rising(&what, &file);
            expect_sync(&what, &claps(&["-i", &file], 20));
        }
    }
}

#[test]
fn sound_is_made_aac_on_request_and_comes_with_encodes() {
    let dir = tempfile::tempdir().unwrap();
    let server = clapper("opus");
    for (name, query) in
        [("aac.mp4", "mp4?audio=aac"), ("encode.mp4", "mp4?width=160"), ("encode.ts", "ts?w=160&audio=aac")]
    {
        let file = save(&server, &format!("/v1/streams/clap/live.{query}"), 6, &dir.path().join(name));
        let expected = if query.contains("aac") { "h264 aac" } else { "h264 opus" };
        assert_eq!(codecs(&file), expected, "{query}");
        expect_rising(query, &file);
        expect_sync(query, &claps(&["-i", &file], 20));
    }
    let file = save(&server, "/v1/streams/clap/live.mp4?audio=none", 2, &dir.path().join("silent.mp4"));
    assert_eq!(codecs(&file), "h264");
}

#[test]
fn hls_and_rtsp_are_in_step() {
    let server = clapper("pcmu");
    expect_sync("hls", &claps(&["-i", &server.url("/v1/streams/clap/live.m3u8")], 6));
    for query in ["", "?audio=aac", "?width=160"] {
        let url = server.rtsp_url(&format!("/clap{query}"));
        expect_sync(&url, &claps(&["-rtsp_transport", "tcp", "-i", &url], 6));
    }
}

/// Where beeps begin in samples of 16 bits, and how often each swings through zero.
fn beeps(samples: &[i16]) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut last_loud = None;
    for (at, sample) in samples.iter().enumerate() {
        if sample.unsigned_abs() < 3000 {
            continue;
        }
        if last_loud.is_none_or(|last| at - last > 1000) {
            found.push((at, 0));
        }
        if let (Some(last), Some((_, swings))) = (last_loud, found.last_mut()) {
            *swings += usize::from((samples[last] < 0) != (*sample < 0));
        }
        last_loud = Some(at);
    }
    found
}

#[test]
fn detectors_get_samples_at_their_rate() {
    for audio in ["aac", "pcmu", "pcma", "opus"] {
        let server = clapper(audio);
        let mut bytes = vec![0; 2 * 16_000 * 4];
        server.open("/v1/streams/clap/live.s16le").read_exact(&mut bytes).unwrap();
        let samples: Vec<i16> = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        let beeps = beeps(&samples);
        assert!((3..=5).contains(&beeps.len()), "{audio}: {beeps:?}");
        // The first and the last may be cut.
        let whole = &beeps[1..beeps.len() - 1];
        // 1000 Hz for 0.1 s swings 200 times.
        assert!(whole.iter().all(|(_, swings)| (190..=210).contains(swings)), "{audio}: {beeps:?}");
        assert!(whole.windows(2).all(|pair| (pair[1].0 - pair[0].0).abs_diff(16_000) < 160), "{audio}: {beeps:?}");
    }
}

#[test]
fn a_wav_file_is_what_its_header_says() {
    let server = clapper("aac");
    let dir = tempfile::tempdir().unwrap();
    let file = save(&server, "/v1/streams/clap/live.wav?rate=44100&channels=2", 3, &dir.path().join("sound.wav"));
    let entries = "stream=codec_name,sample_rate,channels";
    let said = command_output("ffprobe", &["-v", "error", "-show_entries", entries, "-of", "csv=p=0", &file]);
    assert_eq!(String::from_utf8(said).unwrap().trim(), "pcm_s16le,44100,2");
    let status = server.wait_status("clap", "that the worker is gone with its last consumer", |status| {
        status["workers"]["sound"].as_array().is_some_and(Vec::is_empty)
    });
    assert_eq!(status["source"]["audio_out"], serde_json::json!({ "mp4": "aac", "rtsp": "aac", "ts": "aac" }));
}

#[test]
fn equal_requests_share_one_worker() {
    let server = clapper("pcmu");
    let mut open: Vec<_> = (0..3).map(|_| server.open("/v1/streams/clap/live.s16le")).collect();
    open.iter_mut().for_each(|reader| reader.read_exact(&mut [0; 3200]).unwrap());
    let _other = server.open("/v1/streams/clap/live.mp4");
    let status = server.status("clap");
    let keys: Vec<&str> =
        status["workers"]["sound"].as_array().unwrap().iter().map(|sound| sound["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["aac 16000x1", "pcm_s16le 16000x1"]);
    assert_eq!(server.wait_metric("camshaft_worker_sandboxed{role=\"sound\"", 1.0), 1.0);
    server.wait_metric("camshaft_worker_rss_bytes{role=\"sound\"", 1e6);
}

#[test]
fn impossible_sounds_are_refused_by_name() {
    let server = Camshaft::start(&format!("  mute: {{ source: \"{CLAPPER}\" }}"));
    server.wait_live("mute");
    for (path, status, words) in [
        ("live.wav?rate=0", 400, "'rate'"),
        ("live.wav?channels=99", 400, "'channels'"),
        ("live.s16le?rate=x&width=5", 400, "'width'"),
        ("live.mp4?audio=loud", 400, "copy, aac, none"),
        ("live.y4m?audio=aac", 400, "no place"),
        ("live.wav", 422, "has no sound"),
        ("live.s16le", 422, "has no sound"),
    ] {
        let answer = server.get(&format!("/v1/streams/mute/{path}"));
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
    let mut pictures = server.open("/v1/streams/mute/live.mp4?audio=aac");
    pictures.read_exact(&mut [0; 20_000]).unwrap();
}

fn sound_pid(server: &Camshaft, id: &str) -> u32 {
    let pid = |status: &serde_json::Value| status["workers"]["sound"][0]["worker"]["pid"].as_u64();
    let status = server.wait_status(id, "that sound is made", |status| pid(status).is_some());
    pid(&status).unwrap() as u32
}

/// No picture is lost, and sound goes on behind `seconds`; gives the longest time without sound.
fn longest_silence(file: &str, seconds: f64) -> f64 {
    let (video, audio) = (ffprobe_packets(file, "v:0"), ffprobe_packets(file, "a:0"));
    assert!(video.windows(2).all(|pair| (pair[1].dts - pair[0].dts - 0.04).abs() < 0.001), "pictures are lost");
    let (end, last) = (video.last().unwrap().dts, audio.last().unwrap().dts);
    assert!(end > seconds && end - last < 1.0, "pictures up to {end}, sound up to {last}");
    audio.windows(2).map(|pair| pair[1].dts - pair[0].dts).fold(0.0, f64::max)
}

#[test]
fn a_sound_worker_that_dies_or_hangs_costs_no_picture_and_no_sound() {
    let sections = "limits: { watchdog: 1s }";
    let server = Camshaft::start_with(sections, &format!("  clap: {{ source: \"{CLAPPER}&audio=pcmu\" }}"));
    server.wait_live("clap");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clap.mp4");
    let copy = Curl::save(&server.url("/v1/streams/clap/live.mp4"), &path);
    let first = sound_pid(&server, "clap");
    std::thread::sleep(Duration::from_secs(2));
    kill(first);
    let another = |not: u32| {
        let check = || Some(sound_pid(&server, "clap")).filter(|pid| *pid != not);
        eventually("another worker makes sound", || server.log().pause(), check)
    };
    let second = another(first);
    std::thread::sleep(Duration::from_secs(2));
    signal(second, Signal::STOP);
    another(second);
    std::thread::sleep(Duration::from_secs(3));
    drop(copy);
    // What was not made while the worker was dead or hung is made by the next one: frames of 64 ms without a gap.
    let silence = longest_silence(path.to_str().unwrap(), 6.0);
    assert!(silence < 0.070, "{silence} s without sound");
    assert!(server.metric("camshaft_worker_restarts_total{reason=\"hang\",role=\"sound\"").is_some());
}

#[test]
fn a_camera_whose_sound_comes_and_goes_never_stalls_its_picture() {
    for audio in ["pcmu", "aac"] {
        let clip = Clip::make(Coding { audio: audio == "aac", ..Coding::default() });
        let camera = Camera::start(&clip, &["--transport", "tcp", "--audio", audio, "--audio-gaps", "1500"]);
        let server = Camshaft::start(&format!("  cam: {{ source: \"{}\" }}", camera.url()));
        server.wait_status("cam", "that audio came", |status| status["source"]["audio"].is_string());
        let dir = tempfile::tempdir().unwrap();
        let file = save(&server, "/v1/streams/cam/live.mp4", 8, &dir.path().join("gaps.mp4"));
        let (video, sound) = (ffprobe_packets(&file, "v:0"), ffprobe_packets(&file, "a:0"));
        assert!(video.windows(2).all(|pair| (0.0..0.2).contains(&(pair[1].dts - pair[0].dts))), "{audio}: gaps");
        assert!(video.last().unwrap().dts > 6.0 && sound.len() > 20, "{audio}: {} of sound", sound.len());
    }
}

#[test]
fn a_camera_that_comes_back_without_sound_is_not_said_to_have_it() {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &["--transport", "tcp", "--audio", "pcmu"]);
    let server = Camshaft::start(&format!("  cam: {{ source: \"{}\" }}", camera.url()));
    let has = |codec: serde_json::Value| move |status: &serde_json::Value| status["source"]["audio"] == codec;
    server.wait_status("cam", "that it has sound", has("pcm_mulaw".into()));
    let port = camera.port();
    drop(camera);
    let camera = Camera::start_on(port, &clip, &["--transport", "tcp"]);
    server.wait_status("cam", "that it has none", has(serde_json::Value::Null));
    let refused = server.get("/v1/streams/cam/live.wav");
    assert!(refused.text().contains("has no sound"), "{}", refused.text());
    drop(camera);
    let _camera = Camera::start_on(port, &clip, &["--transport", "tcp", "--audio", "pcma"]);
    server.wait_status("cam", "that it has another", has("pcm_alaw".into()));
}

#[test]
fn a_cameras_g711_becomes_aac_where_it_has_no_place() {
    let clip = Clip::make(Coding::default());
    for audio in ["pcmu", "pcma"] {
        let camera = Camera::start(&clip, &["--transport", "tcp", "--audio", audio]);
        let server = Camshaft::start(&format!("  cam: {{ source: \"{}\" }}", camera.url()));
        let own = if audio == "pcmu" { "pcm_mulaw" } else { "pcm_alaw" };
        let status = server.wait_status("cam", "that audio came", |status| status["source"]["audio"] == own);
        assert_eq!(status["source"]["audio_out"], serde_json::json!({ "mp4": "aac", "rtsp": own, "ts": "aac" }));
        let dir = tempfile::tempdir().unwrap();
        for extension in ["mp4", "ts"] {
            let file = dir.path().join(format!("cam.{extension}"));
            let file = save(&server, &format!("/v1/streams/cam/live.{extension}"), 4, &file);
            assert_eq!(codecs(&file), "h264 aac", "{extension}");
            expect_rising(extension, &file);
        }
    }
}
