//! RTSP as independent clients see it: ffmpeg, ffprobe, GStreamer, and retina inside another camshaft.

use camshaft::media::pattern::read_number;
use camshaft::media::{Geometry, VideoCodec};
use std::io::Read;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::{Camera, Camshaft, Clip, Coding, Y4m, access_units, command_output, ffprobe_packets};

const SIZE: (u32, u32) = (320, 180);

fn clock(more: &str) -> Camshaft {
    Camshaft::start(&format!("  clock: {{ source: \"test:?width=320&height=180&fps=25{more}\" }}\n"))
}

/// A player that writes grey pictures of [`SIZE`] to its standard output.
struct Player {
    child: Child,
    pictures: ChildStdout,
}

impl Player {
    fn run(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("`make test` installs it");
        let pictures = child.stdout.take().unwrap();
        Self { child, pictures }
    }

    fn ffmpeg(url: &str, transport: &str) -> Self {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-rtsp_transport", transport, "-i", url, "-an"]);
        command.args(["-f", "rawvideo", "-pix_fmt", "gray", "-vsync", "passthrough", "-"]);
        Self::run(command)
    }

    fn gstreamer(url: &str, transport: &str) -> Self {
        let mut command = Command::new("gst-launch-1.0");
        command.args(["-q", "rtspsrc", &format!("location={url}"), &format!("protocols={transport}"), "latency=500"]);
        command.args(["!", "application/x-rtp,media=video", "!", "decodebin", "!", "videoconvert", "!"]);
        command.args(["video/x-raw,format=GRAY8,width=320,height=180", "!", "fdsink", "fd=1", "sync=false"]);
        Self::run(command)
    }

    /// The numbers of the next `count` pictures.
    fn numbers(&mut self, count: usize) -> Vec<u32> {
        let size = Geometry::new(SIZE.0, SIZE.1);
        let number = |_| {
            let mut picture = vec![0; size.pixels() as usize];
            self.pictures.read_exact(&mut picture).expect("another picture");
            read_number(&picture, size, SIZE.0 as usize).expect("a number in the picture")
        };
        (0..count).map(number).collect()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn consecutive(numbers: &[u32]) -> bool {
    numbers.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

#[test]
fn ffprobe_sees_every_form_over_tcp_and_udp() {
    let server = clock("");
    let forms = [
        ("", "h264,320,180"),
        ("?codec=hevc", "hevc,320,180"),
        ("?width=160", "h264,160,90"),
        ("?codec=mjpeg&height=120&w=208", "mjpeg,208,120"),
    ];
    for transport in ["tcp", "udp"] {
        for (query, expected) in forms {
            let url = server.rtsp_url(&format!("/clock{query}"));
            let entries = ["-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", &url];
            let output =
                command_output("ffprobe", &[&["-v", "error", "-rtsp_transport", transport], &entries[..]].concat());
            assert_eq!(String::from_utf8(output).unwrap().trim(), expected, "{transport} {query}");
        }
    }
}

#[test]
fn a_copy_has_the_very_access_units_and_times_of_the_source() {
    // No B frames: RTP has no decode times, and ffmpeg copies none of the like into a file, from whatever server.
    let clip = Clip::make(Coding { audio: true, ..Coding::default() });
    let camera = Camera::start(&clip, &["--audio", "aac"]);
    let server = Camshaft::start(&format!("  cam: {{ source: \"{}\" }}\n", camera.url()));
    server.wait_status("cam", "that audio came", |status| status["source"]["audio"] == "aac");
    let original =
        command_output("ffmpeg", &["-v", "error", "-i", clip.path.to_str().unwrap(), "-c", "copy", "-f", "h264", "-"]);
    let original = access_units(&original, VideoCodec::H264);
    let dir = tempfile::tempdir().unwrap();
    for transport in ["tcp", "udp"] {
        let file = dir.path().join(format!("{transport}.mkv"));
        let file = file.to_str().unwrap();
        let url = server.rtsp_url("/cam");
        // FFmpeg 7.1 copies no AAC that came by RTSP, from whatever server.
        let recording = format!("-v error -rtsp_transport {transport} -i {url} -t 4 -c:v copy -c:a aac -y {file}");
        command_output("ffmpeg", &recording.split(' ').collect::<Vec<_>>());
        let copied = command_output("ffmpeg", &["-v", "error", "-i", file, "-c", "copy", "-f", "h264", "-"]);
        let copied = access_units(&copied, VideoCodec::H264);
        let start = original.iter().position(|unit| *unit == copied[0]).expect("it starts with a unit of the clip");
        assert!(copied.len() > 80, "{transport}: {} access units", copied.len());
        assert_eq!(copied, &original[start..start + copied.len()], "{transport}");
        let (mut video, sound) = (ffprobe_packets(file, "v:0"), ffprobe_packets(file, "a:0"));
        assert!(video[0].key, "{transport} starts at a keyframe");
        video.sort_by(|a, b| a.pts.total_cmp(&b.pts));
        // ffmpeg gives the first picture of RTP no time of its own, from whatever server, and guesses one for the file.
        let steps: Vec<f64> = video[1..].windows(2).map(|pair| pair[1].pts - pair[0].pts).collect();
        assert!(steps.iter().all(|step| (step - 0.04).abs() < 0.003), "{transport}: {steps:?}");
        let apart = (video[0].pts - sound[0].pts, video.last().unwrap().pts - sound.last().unwrap().pts);
        assert!(sound.len() > 100 && (apart.0 - apart.1).abs() < 0.3, "{transport}: {apart:?}");
    }
}

#[test]
fn hevc_and_g711_travel_too() {
    let clip = Clip::make(Coding { encoder: "libx265", ..Coding::default() });
    for (sound, name) in [("pcmu", "pcm_mulaw"), ("pcma", "pcm_alaw")] {
        let camera = Camera::start(&clip, &["--audio", sound]);
        let server = Camshaft::start(&format!("  cam: {{ source: \"{}\" }}\n", camera.url()));
        server.wait_status("cam", "that audio came", |status| status["source"]["audio"] == name);
        let file = tempfile::Builder::new().suffix(".mkv").tempfile().unwrap();
        let (file, url) = (file.path().to_str().unwrap(), server.rtsp_url("/cam"));
        command_output(
            "ffmpeg",
            &["-v", "error", "-rtsp_transport", "tcp", "-i", &url, "-t", "2", "-c", "copy", "-y", file],
        );
        let entries = ["-v", "error", "-show_entries", "stream=codec_name,sample_rate", "-of", "csv=p=0", file];
        let streams = String::from_utf8(command_output("ffprobe", &entries)).unwrap();
        assert!(streams.contains("hevc") && streams.contains(&format!("{name},8000")), "{streams}");
        let sound = ffprobe_packets(file, "a:0");
        let length = sound.last().unwrap().pts - sound[0].pts;
        assert!((1.0..2.5).contains(&length), "{length} s of sound");
        assert!(ffprobe_packets(file, "v:0").len() > 40);
    }
}

#[test]
fn two_readers_of_one_rendition_cost_one_decode() {
    let server = clock("&bitrate=2M");
    let url = server.rtsp_url("/clock?codec=h264&bitrate=1M");
    let (mut one, mut other) = (Player::ffmpeg(&url, "tcp"), Player::ffmpeg(&url, "udp"));
    for numbers in [one.numbers(40), other.numbers(40)] {
        assert!(consecutive(&numbers), "{numbers:?}");
    }
    let status = server.status("clock");
    assert_eq!(status["renditions"].as_array().unwrap().len(), 1, "{status}");
    assert_eq!(status["renditions"][0]["consumers"], 2, "{status}");
    for transport in ["tcp", "udp"] {
        assert_eq!(server.metric(&format!("camshaft_rtsp_sessions{{transport=\"{transport}\"}}")), Some(1.0));
    }
    drop((one, other));
    server.wait_status("clock", "no consumers", |status| status["consumers"] == 0);
    assert_eq!(server.metric("camshaft_rtsp_sessions{transport=\"tcp\"}"), Some(0.0));
}

#[test]
fn gstreamer_plays_copies_and_renditions() {
    let server = clock("&bitrate=2M");
    for (path, transport) in [("/clock", "tcp"), ("/clock", "udp"), ("/clock?codec=hevc&bitrate=1M", "tcp")] {
        let numbers = Player::gstreamer(&server.rtsp_url(path), transport).numbers(30);
        assert!(consecutive(&numbers), "{path} {transport}: {numbers:?}");
    }
}

#[test]
fn jpegs_come_with_their_pictures() {
    let server = clock("&bitrate=2M");
    let url = server.rtsp_url("/clock?codec=mjpeg&q=90&width=320&height=184&fps=5");
    let mut command = Command::new("ffmpeg");
    // RTP counts in eights: of 184 lines, all are the picture's.
    command.args(["-v", "error", "-rtsp_transport", "tcp", "-i", &url, "-vf", "scale=320:180", "-f", "rawvideo"]);
    command.args(["-pix_fmt", "gray", "-vsync", "passthrough", "-"]);
    let numbers = Player::run(command).numbers(8).split_off(1);
    assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] == 5), "{numbers:?}");
}

#[test]
fn one_camshaft_is_the_camera_of_another() {
    for transport in ["tcp", "udp"] {
        let far = clock("&bitrate=2M");
        let near =
            Camshaft::start(&format!("  near: {{ source: \"{}\", transport: {transport} }}\n", far.rtsp_url("/clock")));
        let numbers = Y4m::new(near.open("/v1/streams/near/live.y4m")).numbers(40);
        assert!(consecutive(&numbers), "{transport}: {numbers:?}");
        assert_eq!(near.status("near")["source"]["packets_lost"], 0);
    }
}

#[test]
fn a_source_that_restarts_keeps_its_readers() {
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &[]);
    let port = camera.port();
    let source = format!("  cam: {{ source: \"{}\" }}\n", camera.url());
    // HTTP readers would be sent away after the hold; RTSP's stay.
    let server = Camshaft::start_with("limits: { hold: 1s, backoff_max: 1s }", &source);
    server.wait_live("cam");
    let mut reader = Player::ffmpeg(&server.rtsp_url("/cam"), "tcp");
    reader.numbers(30);
    let mut http = server.open("/v1/streams/cam/live.ts");
    drop(camera);
    std::io::copy(&mut http, &mut std::io::sink()).unwrap();
    let camera = Camera::start_on(port, &clip, &[]);
    let numbers = reader.numbers(80);
    let again = numbers.windows(2).position(|pair| pair[1] < pair[0]).expect("the clip starts again");
    assert!(consecutive(&numbers[again + 1..]) && numbers[again + 1] == 0, "{numbers:?}");
    drop(camera);
}

#[test]
fn only_the_right_password_opens() {
    let login = "server: { http: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", rtsp: \"127.0.0.1:0\", \
        rtsp_username: viewer, rtsp_password: s3cret-canary }";
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!("{login}\nstreams:\n  clock: {{ source: \"test:?width=320&height=180&fps=25\" }}\n");
    std::fs::write(dir.path().join("camshaft.yaml"), yaml).unwrap();
    let server = Camshaft::start_in(dir);
    let with = |login: &str| server.rtsp_url("/clock").replace("rtsp://", &format!("rtsp://{login}"));
    let numbers = Player::ffmpeg(&with("viewer:s3cret-canary@"), "tcp").numbers(10);
    assert!(consecutive(&numbers), "{numbers:?}");
    for login in ["", "viewer:wrong@", "other:s3cret-canary@"] {
        let output = Command::new("ffprobe").args(["-v", "error", &with(login)]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("401"), "'{login}': {said}");
    }
    assert!(server.metric("camshaft_rtsp_requests_total{method=\"DESCRIBE\",status=\"401\"}").unwrap() >= 4.0);
    for (place, text) in [("log", server.log().text()), ("metrics", server.admin("/metrics").text())] {
        assert!(!text.contains("s3cret-canary"), "the password is in the {place}");
    }
}

#[test]
fn the_commands_of_the_document_work() {
    let text = include_str!("../../docs/rtsp.md");
    let commands = text.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let server = Camshaft::start("  yard: { source: \"test:?width=320&height=180&fps=25\" }\n");
    server.wait_live("yard");
    let commands = commands.replace("rtsp://127.0.0.1:8554", &server.rtsp_url(""));
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("bash").args(["-euc", &commands]).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["copy.mkv", "small.mkv"] {
        let packets = ffprobe_packets(dir.path().join(name).to_str().unwrap(), "v:0");
        assert!(packets.len() > 40, "{name} has {} pictures", packets.len());
    }
}
