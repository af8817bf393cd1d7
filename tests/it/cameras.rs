//! Every kind of camera that gst-rtsp-server can be.

use camshaft::media::VideoCodec;
use std::io::Read;
use std::time::{Duration, Instant};

use crate::support::{Camera, Camshaft, Clip, Coding, Y4m, access_units, command_output, ffprobe_packets, numbers_in};

fn yaml(camera: &Camera, more: &str) -> String {
    format!("  cam: {{ source: \"{}\"{more} }}\n", camera.url())
}

/// Three seconds of a live response, as a file; the last picture may be cut off.
fn save(server: &Camshaft, path: &str, file: &std::path::Path) {
    let mut body = server.open(path);
    let mut data = Vec::new();
    let mut chunk = vec![0; 65536];
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        let count = body.read(&mut chunk).unwrap();
        assert!(count > 0, "{path} ended early");
        data.extend_from_slice(&chunk[..count]);
    }
    std::fs::write(file, data).unwrap();
}

/// Frames decoded from a camera run on without loss.
fn expect_pictures(server: &Camshaft, count: usize) {
    let numbers = Y4m::new(server.open("/v1/streams/cam/live.y4m")).numbers(count);
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
}

#[test]
fn tcp_with_h264_and_aac_is_copied_into_mp4_and_ts() {
    let clip = Clip::make(Coding { audio: true, ..Coding::default() });
    let camera = Camera::start(&clip, &["--transport", "tcp", "--audio", "aac"]);
    let server = Camshaft::start(&yaml(&camera, ""));
    let status = server.wait_status("cam", "that audio came", |status| status["source"]["audio"] == "aac");
    assert_eq!(status["source"]["audio_out"], serde_json::json!({ "mp4": "aac", "rtsp": "aac", "ts": "aac" }));
    assert_eq!((&status["source"]["width"], &status["source"]["height"]), (&320.into(), &180.into()));
    server.wait_live("cam");
    let dir = tempfile::tempdir().unwrap();
    for extension in ["mp4", "ts"] {
        let file = dir.path().join(format!("live.{extension}"));
        save(&server, &format!("/v1/streams/cam/live.{extension}"), &file);
        let file = file.to_str().unwrap();
        let (video, audio) = (ffprobe_packets(file, "v:0"), ffprobe_packets(file, "a:0"));
        assert!(video.len() > 50 && audio.len() > 50, "{extension}: {} and {} packets", video.len(), audio.len());
        assert!(video[0].key, "{extension} starts at a keyframe");
        let drift = (video.last().unwrap().pts - video[0].pts) - (audio.last().unwrap().pts - audio[0].pts);
        assert!(drift.abs() < 0.5, "{extension}: picture and sound drift by {drift} s");
        let without = command_output(
            "curl",
            &[
                "-sS",
                "-m",
                "3",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                &server.url(&format!("/v1/streams/cam/live.{extension}?audio=none&codec=nonsense")),
            ],
        );
        assert_eq!(without, b"400");
    }
}

#[test]
fn udp_works() {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &["--transport", "udp"]);
    let server = Camshaft::start(&yaml(&camera, ", transport: udp"));
    expect_pictures(&server, 40);
    assert_eq!(server.status("cam")["source"]["packets_lost"], 0);
}

#[test]
fn basic_and_digest_passwords_work_and_appear_nowhere() {
    let clip = Clip::make(Coding::default());
    for auth in ["basic", "digest"] {
        let camera = Camera::start(&clip, &["--auth", auth]);
        let url = camera.url().replace("rtsp://", "rtsp://viewer:s3cret-canary@");
        let server = Camshaft::start(&format!("  cam: {{ source: \"{url}\" }}\n"));
        expect_pictures(&server, 10);
        let places = [
            ("log", server.log().text()),
            ("status", server.get("/v1/streams").text()),
            ("metrics", server.admin("/metrics").text()),
            ("arguments", arguments_of_all()),
        ];
        for (place, text) in places {
            assert!(!text.contains("s3cret-canary"), "{auth}: the password is in the {place}");
        }
    }
}

/// Arguments and environment of every process but the camera, which is given its password by the test.
pub fn arguments_of_all() -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&read("cmdline")).into_owned();
        if arguments.contains("camshaft") && !arguments.contains("rtsp_camera.py") {
            all += &arguments;
            all += &String::from_utf8_lossy(&read("environ"));
        }
    }
    all
}

#[test]
fn a_wrong_password_backs_off_and_says_so() {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &["--auth", "digest"]);
    let server = Camshaft::start(&yaml(&camera, ", username: viewer, password: wrong"));
    let status = server.wait_status("cam", "failed", |status| status["state"] == "failed");
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("30 s") || reason.contains("3") && reason.contains("next try"), "{reason}");
    let answer = server.get("/v1/streams/cam/live.mp4");
    assert_eq!(answer.status, 503);
    let retry: u64 = answer.header("Retry-After").parse().unwrap();
    assert!((30..=40).contains(&retry), "{retry}");
    assert!(!answer.text().contains("wrong"), "{}", answer.text());
}

#[test]
fn hevc_is_copied_and_decoded() {
    let clip = Clip::make(Coding { encoder: "libx265", ..Coding::default() });
    let camera = Camera::start(&clip, &[]);
    let server = Camshaft::start(&yaml(&camera, ""));
    expect_pictures(&server, 20);
    let dir = tempfile::tempdir().unwrap();
    for extension in ["mp4", "ts", "h265"] {
        let file = dir.path().join(format!("live.{extension}"));
        save(&server, &format!("/v1/streams/cam/live.{extension}"), &file);
        let raw = command_output(
            "ffmpeg",
            &[
                "-v",
                "error",
                "-i",
                file.to_str().unwrap(),
                "-frames:v",
                "20",
                "-f",
                "rawvideo",
                "-pix_fmt",
                "gray",
                "-",
            ],
        );
        assert_eq!(raw.len(), 20 * 320 * 180, "{extension}");
    }
    let refused = server.get("/v1/streams/cam/live.h264?codec=copy");
    assert!((400..500).contains(&refused.status), "{}", refused.status);
    assert!(refused.text().contains("codec=h264"), "{}", refused.text());
}

#[test]
fn b_frames_keep_their_order() {
    let clip = Clip::make(Coding { bframes: 2, ..Coding::default() });
    let camera = Camera::start(&clip, &[]);
    let server = Camshaft::start(&yaml(&camera, ""));
    expect_pictures(&server, 40);
    let dir = tempfile::tempdir().unwrap();
    for extension in ["mp4", "ts"] {
        let file = dir.path().join(format!("live.{extension}"));
        save(&server, &format!("/v1/streams/cam/live.{extension}"), &file);
        let packets = ffprobe_packets(file.to_str().unwrap(), "v:0");
        assert!(packets.windows(2).all(|pair| pair[0].dts < pair[1].dts), "{extension}");
        assert!(packets.iter().all(|packet| packet.pts >= packet.dts - 1e-4), "{extension}");
        assert!(packets.windows(2).any(|pair| pair[0].pts > pair[1].pts), "{extension} has no B frames left");
    }
}

#[test]
fn a_gop_of_twelve_seconds_can_be_joined_at_once() {
    let clip = Clip::make(Coding { gop: 300, ..Coding::default() });
    let camera = Camera::start(&clip, &[]);
    let server = Camshaft::start(&yaml(&camera, ""));
    server.wait_status("cam", "a ring longer than its soft limit", |status| {
        status["ring"]["seconds"].as_f64().unwrap() > 10.5
    });
    assert_eq!(server.status("cam")["ring"]["joinable"], true);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("live.mp4");
    let before = Instant::now();
    save(&server, "/v1/streams/cam/live.mp4", &file);
    assert!(before.elapsed().as_secs_f64() < 5.0, "{:?}", before.elapsed());
    assert!(ffprobe_packets(file.to_str().unwrap(), "v:0")[0].key);
}

#[test]
fn parameter_sets_may_come_in_the_sdp_alone_or_in_band_alone() {
    let clip = Clip::make(Coding::default());
    for how in ["--sdp-only", "--in-band-only"] {
        let camera = Camera::start(&clip, &[how]);
        let server = Camshaft::start(&yaml(&camera, ""));
        expect_pictures(&server, 15);
        let dir = tempfile::tempdir().unwrap();
        for extension in ["mp4", "ts", "h264"] {
            let file = dir.path().join(format!("live.{extension}"));
            save(&server, &format!("/v1/streams/cam/live.{extension}"), &file);
            // The last picture may be cut off by the end of what was read.
            let units = match extension {
                "h264" => access_units(&std::fs::read(&file).unwrap(), VideoCodec::H264).len(),
                _ => ffprobe_packets(file.to_str().unwrap(), "v:0").len(),
            };
            assert!(units > 20, "{how} {extension}: {units}");
        }
    }
}

#[test]
fn a_copy_decodes_to_the_clips_own_pictures() {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &[]);
    let server = Camshaft::start(&yaml(&camera, ""));
    server.wait_live("cam");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("live.mp4");
    // An independent client records: ffmpeg itself, as an NVR would.
    let url = server.url("/v1/streams/cam/live.mp4");
    command_output("ffmpeg", &["-v", "error", "-i", &url, "-t", "3", "-c", "copy", "-y", file.to_str().unwrap()]);
    let numbers = numbers_in(file.to_str().unwrap(), (320, 180));
    let numbers: Vec<_> = numbers.into_iter().map(Option::unwrap).collect();
    assert!(numbers.len() >= 70 && numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
}
