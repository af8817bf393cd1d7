//! Cameras that libavformat speaks with (`ingest: libav`), through a tunnel that leads to them only.

use camshaft::media::VideoCodec;
use std::io::Read;
use std::net::TcpListener;

use crate::cameras::arguments_of_all;
use crate::sources::expect_pictures;
use crate::support::{
    Camera, Camshaft, Certificate, Clip, Coding, Network, access_units, command_output, ffprobe_packets,
    hostile_camera, kill,
};

fn yaml(url: &str, more: &str) -> String {
    format!("  cam: {{ source: \"{url}\", ingest: libav{more} }}\n")
}

/// Some seconds of a copy, recorded by ffmpeg.
fn record(server: &Camshaft, seconds: &str, file: &str) {
    let url = server.url("/v1/streams/cam/live.mp4");
    command_output("ffmpeg", &["-v", "error", "-y", "-t", seconds, "-i", &url, "-c", "copy", file]);
}

fn annexb(file: &str) -> Vec<Vec<u8>> {
    let arguments = ["-v", "error", "-i", file, "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "-"];
    access_units(&command_output("ffmpeg", &arguments), VideoCodec::H264)
}

#[test]
fn rtsps_with_a_digest_and_opus_is_copied_bit_for_bit() {
    let clip = Clip::make(Coding { bframes: 2, ..Coding::default() });
    let dir = tempfile::tempdir().unwrap();
    let Certificate { key, certificate } = Certificate::make(dir.path());
    let camera = Camera::start(&clip, &["--tls", &certificate, &key, "--auth", "digest", "--audio", "opus"]);
    let url = camera.url().replace("rtsp://", "rtsps://viewer:s3cret-canary@");
    let trusting = format!("sources: {{ allow: [127.0.0.0/8], ca_file: {certificate} }}");
    let server = Camshaft::start_with(&trusting, &yaml(&url, ""));
    let status = server.wait_status("cam", "sound", |status| status["source"]["audio"] == "opus");
    for part in ["ingest", "demux"] {
        assert_eq!(status["workers"][part]["sandbox"]["state"], "enforced", "{part}: {status}");
    }
    expect_pictures(&server, "cam", 40);
    let file = dir.path().join("live.mp4");
    let file = file.to_str().unwrap();
    record(&server, "4", file);
    let codecs = ["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", file];
    let codecs = String::from_utf8(command_output("ffprobe", &codecs)).unwrap();
    assert_eq!(codecs.split_whitespace().collect::<Vec<_>>(), ["h264", "opus"]);
    assert!(ffprobe_packets(file, "a:0").len() > 100, "20 ms each");
    let video = ffprobe_packets(file, "v:0");
    assert!(video.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    assert!(video.iter().all(|packet| packet.pts >= packet.dts - 1e-4));
    let (own, copied) = (annexb(clip.path.to_str().unwrap()), annexb(file));
    let at = own.iter().position(|unit| Some(unit) == copied.first()).expect("it begins within the clip");
    assert!(copied.len() >= 60 && own[at..].starts_with(&copied[..60]), "every bit is the clip's");
    let places = [
        ("log", server.log().text()),
        ("status", server.get("/v1/streams").text()),
        ("metrics", server.admin("/metrics").text()),
        ("arguments", arguments_of_all()),
    ];
    for (place, text) in places {
        assert!(!text.contains("s3cret-canary"), "the password is in the {place}");
    }
}

#[test]
fn a_cameras_own_certificate_counts_where_that_is_said() {
    let clip = Clip::make(Coding::default());
    let dir = tempfile::tempdir().unwrap();
    let Certificate { key, certificate } = Certificate::make(dir.path());
    let camera = Camera::start(&clip, &["--tls", &certificate, &key]);
    let url = camera.url().replace("rtsp:", "rtsps:");
    let open = yaml(&url, ", tls: insecure").replace("cam:", "open:");
    let server = Camshaft::start(&(yaml(&url, "") + &open));
    server.wait_live("open");
    server.wait_status("cam", "the remedy", |status| {
        status["reason"].as_str().is_some_and(|reason| reason.contains("tls: insecure"))
    });
}

#[test]
fn mpeg4_is_decoded_and_what_cannot_carry_it_says_so() {
    let clip = Clip::make(Coding { encoder: "mpeg4", gop: 25, ..Coding::default() });
    let camera = Camera::start(&clip, &[]);
    let server = Camshaft::start(&yaml(&camera.url(), ""));
    let status = server.wait_status("cam", "its codec", |status| status["source"]["codec"] == "mpeg4");
    assert_eq!((&status["source"]["width"], &status["source"]["height"]), (&320.into(), &180.into()), "{status}");
    expect_pictures(&server, "cam", 30);
    for container in ["mp4", "ts", "h264"] {
        let refused = server.get(&format!("/v1/streams/cam/live.{container}?codec=copy"));
        assert!((400..500).contains(&refused.status), "{container}: {}", refused.status);
        assert!(refused.text().contains("codec=h264"), "{container}: {}", refused.text());
    }
    let file = tempfile::Builder::new().suffix(".mp4").tempfile().unwrap();
    let file = file.path().to_str().unwrap();
    let url = server.url("/v1/streams/cam/live.mp4?codec=h264");
    command_output("ffmpeg", &["-v", "error", "-y", "-t", "2", "-i", &url, "-c", "copy", file]);
    assert!(ffprobe_packets(file, "v:0").len() > 30);
    assert_eq!(server.get("/v1/streams/cam/frame.jpg").status, 200);
}

#[test]
fn udp_and_multicast_come_from_outside_the_tunnel() {
    let clip = Clip::make(Coding::default());
    let expect = |camera: &Camera, transport: &str| {
        let streams = yaml(&camera.url(), &format!(", transport: {transport}"));
        let server = Camshaft::start_with("sources: { allow: [127.0.0.0/8, 10.0.0.0/8] }", &streams);
        expect_pictures(&server, "cam", 30);
        assert_eq!(server.status("cam")["workers"]["demux"]["sandbox"]["state"], "enforced");
    };
    expect(&Camera::start(&clip, &["--transport", "udp"]), "udp");
    let Some(network) = Network::make() else {
        return eprintln!("no network can be made here: multicast is not tested");
    };
    let group = format!("{}:{}-{}", network.group(), 5000, 5001);
    expect(
        &Camera::start_in(&network, &clip, &["--transport", "multicast", "--group", &group, "--shared"]),
        "multicast",
    );
}

#[test]
fn what_a_camera_refuses_is_said_and_where_it_redirects_is_not_gone() {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &["--auth", "digest"]);
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let moved = hostile_camera(&format!("redirect {}", elsewhere.local_addr().unwrap().port()));
    let silent = hostile_camera("silent");
    let named = |id: &str, url: &str, more: &str| yaml(url, more).replace("cam:", &format!("{id}:"));
    let login = ", username: viewer, password: s3cret-canary";
    let streams = named("none", &camera.url(), "")
        + &named("wrong", &camera.url(), ", username: viewer, password: x")
        + &named("path", &camera.url().replace("/cam", "/none"), login)
        + &named("moved", &moved.url(), "")
        + &named("silent", &silent.url(), "");
    let server = Camshaft::start_with("limits: { first_media_timeout: 3s }", &streams);
    for (id, part) in [
        ("none", "wants credentials"),
        ("wrong", "refuses the credentials"),
        ("path", "no such path"),
        ("moved", "redirects, which is not followed"),
        ("silent", "no picture"),
    ] {
        server.wait_status(id, part, |status| status["reason"].as_str().is_some_and(|reason| reason.contains(part)));
    }
    // Without Landlock's rules for TCP (Linux 6.7) the connection is made, and nothing said on it.
    if let Ok((mut visitor, _)) = elsewhere.accept() {
        assert_eq!(visitor.read_to_end(&mut Vec::new()).unwrap_or(0), 0, "somebody spoke there");
    }
    assert_eq!(server.status("wrong")["state"], "failed");
}

#[test]
fn a_dead_engine_or_camera_is_replaced() {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &[]);
    let server = Camshaft::start(&yaml(&camera.url(), ""));
    server.wait_live("cam");
    let pid = |part: &str| server.status("cam")["workers"][part]["pid"].as_u64().map(|pid| pid as u32);
    for part in ["demux", "ingest"] {
        let died = pid(part).unwrap();
        kill(died);
        server.wait_status("cam", "another worker", |status| {
            status["state"] == "live"
                && status["workers"][part]["pid"].as_u64().is_some_and(|pid| pid != u64::from(died))
        });
    }
    let (port, before) = (camera.port(), server.status("cam")["source"]["reconnects"].as_u64().unwrap());
    drop(camera);
    server.wait_status("cam", "its camera gone", |status| status["state"] != "live");
    let _camera = Camera::start_on(port, &clip, &[]);
    server.wait_status("cam", "its camera again", |status| {
        status["state"] == "live" && status["source"]["reconnects"].as_u64() > Some(before)
    });
    expect_pictures(&server, "cam", 20);
}
