//! Sessions against Debian's gst-rtsp-server (`tests/support/rtsp_camera.py`) and against peers that are no cameras.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::*;
use crate::link::FailureKind;
use crate::media::{
    AudioCodec, AudioConfig, FrameRate, Geometry, MediaTime, PacketHeader, Track, Transport, VideoCodec, VideoConfig,
};

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "s3cr3t-pa55";

/// A clip as the camera will send it.
struct Clip {
    directory: TempDir,
    path: PathBuf,
}

/// One packet of a clip, as ffprobe and ffmpeg see it.
struct Original {
    /// In seconds.
    pts: f64,
    keyframe: bool,
    data: Vec<u8>,
}

impl Clip {
    /// 320x180, 25 fps, two seconds, a keyframe each second, with AAC; `encoder` is ffmpeg's video arguments.
    fn new(encoder: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clip.mp4");
        let inputs = "-f lavfi -i testsrc2=s=320x180:r=25 -f lavfi -i sine=r=48000 -t 2";
        let output = "-g 25 -pix_fmt yuv420p -c:a aac -video_track_timescale 90000";
        let status = Command::new("ffmpeg")
            .args(["-v", "error", "-y"])
            .args(inputs.split(' '))
            .args(encoder.split(' '))
            .args(output.split(' '))
            .arg(&path)
            .status()
            .unwrap();
        assert!(status.success());
        Self { directory, path }
    }

    fn h264() -> Self {
        Self::new("-c:v libx264 -preset ultrafast -bf 0")
    }

    /// The packets of `stream` (`v` or `a`).
    fn originals(&self, stream: &str) -> Vec<Original> {
        let raw = self.directory.path().join(format!("{stream}.bin"));
        let copy =
            ["-v", "error", "-y", "-i", self.path.to_str().unwrap(), "-map", &format!("0:{stream}"), "-c", "copy"];
        assert!(Command::new("ffmpeg").args(copy).args(["-f", "data"]).arg(&raw).status().unwrap().success());
        let list = ["-v", "error", "-select_streams", stream, "-show_entries", "packet=pts_time,size,flags"];
        let listed = Command::new("ffprobe").args(list).args(["-of", "csv=p=0"]).arg(&self.path).output().unwrap();
        let bytes = std::fs::read(raw).unwrap();
        let mut rest = &bytes[..];
        let originals = String::from_utf8(listed.stdout)
            .unwrap()
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| original(line, &mut rest))
            .collect();
        assert!(rest.is_empty());
        originals
    }
}

/// From a line `pts,size,flags`; takes `size` bytes from the front of `rest`.
fn original(line: &str, rest: &mut &[u8]) -> Original {
    let [pts, size, flags, ..] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
    let (data, tail) = rest.split_at(size.parse().unwrap());
    *rest = tail;
    Original { pts: pts.parse().unwrap(), keyframe: flags.starts_with('K'), data: data.to_vec() }
}

/// One of the servers in `tests/support` as a child.
struct Camera {
    child: Child,
    port: u16,
}

impl Camera {
    fn start(clip: &Clip, options: &[&str]) -> Self {
        Self::spawn("rtsp_camera.py", &[&["--file", clip.path.to_str().unwrap()], options].concat())
    }

    fn hostile(mode: &str) -> Self {
        Self::spawn("hostile_camera.py", &[mode])
    }

    fn spawn(script: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new("/usr/bin/python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(script))
            .args(arguments)
            .env("CAMERA_PASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        let port = ready.trim().strip_prefix("READY ").expect("the camera starts").parse().unwrap();
        Self { child, port }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn task(&self, transport: Transport) -> IngestTask {
        IngestTask { transport, ..task(self.port) }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn task(port: u16) -> IngestTask {
    IngestTask {
        url: format!("rtsp://127.0.0.1:{port}/cam"),
        username: None,
        password: None,
        transport: Transport::Tcp,
        connect_ms: 20_000,
        first_media_ms: 20_000,
        idle_ms: 20_000,
        reach: crate::sandbox::Reach::default().with_loopback(),
    }
}

/// The supervisor's end of a session.
struct Session {
    link: UnixStream,
    worker: JoinHandle<io::Result<()>>,
}

impl Session {
    async fn start(task: IngestTask) -> Self {
        let (link, end) = UnixStream::pair().unwrap();
        let addresses = url::Url::parse(&task.url).unwrap().socket_addrs(|| None).unwrap();
        let worker = tokio::spawn(async move { serve(end, task, &addresses).await });
        let mut session = Self { link, worker };
        assert!(matches!(session.next().await, (FromWorker::Ready, _)));
        session
    }

    async fn next(&mut self) -> (FromWorker, Bytes) {
        let received = timeout(PATIENCE, receive_async(&mut self.link)).await.expect("the worker speaks in time");
        received.unwrap().expect("the worker does not end without a word")
    }

    async fn video_config(&mut self) -> VideoConfig {
        loop {
            match self.next().await.0 {
                FromWorker::VideoConfig(config) => return config,
                FromWorker::AudioConfig(_) | FromWorker::Packet(_) | FromWorker::Clock { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next `count` packets of `wanted`, which must come without loss.
    async fn packets(&mut self, wanted: Track, count: usize) -> Vec<(PacketHeader, Bytes)> {
        let mut packets = Vec::new();
        while packets.len() < count {
            match self.next().await {
                (FromWorker::Packet(header), data) if header.track == wanted => packets.push((header, data)),
                (FromWorker::Packet(_) | FromWorker::AudioConfig(_), _) => {}
                (FromWorker::VideoConfig(_) | FromWorker::Clock { .. }, _) => {}
                (other, _) => panic!("{other:?}"),
            }
        }
        packets
    }

    /// Reads on until the worker fails, and sees that it then ends.
    async fn failure(mut self) -> (FailureKind, String) {
        loop {
            if let (FromWorker::Failed { kind, message }, _) = self.next().await {
                timeout(PATIENCE, self.worker).await.unwrap().unwrap().unwrap();
                return (kind, message);
            }
        }
    }

    async fn stop(mut self) {
        send_async(&mut self.link, &ToWorker::Stop, &[]).await.unwrap();
        timeout(PATIENCE, self.worker).await.unwrap().unwrap().unwrap();
    }
}

fn assert_copied(packets: &[(PacketHeader, Bytes)], originals: &[Original]) {
    let start = packets[0].0.pts.0 as f64 / 90_000.0 - originals[0].pts;
    let mut last = None;
    for (index, ((header, data), original)) in packets.iter().zip(originals.iter().cycle()).enumerate() {
        let lap = (index / originals.len()) as f64 * 2.0;
        let expected = original.pts + start + lap;
        assert!((header.pts.seconds() - expected).abs() < 0.001, "packet {index}: {header:?}, expected {expected}");
        assert_eq!(header.keyframe, original.keyframe, "packet {index}");
        assert_eq!(data[..], original.data[..], "packet {index}");
        assert!(header.dts <= header.pts && last < Some(header.dts), "packet {index}: {header:?} after {last:?}");
        last = Some(header.dts);
    }
}

/// One lap of the clip and the keyframe of the next must come over as they are.
async fn assert_video_is_copied(clip: &Clip, task: IngestTask) -> VideoConfig {
    let originals = clip.originals("v");
    let mut session = Session::start(task).await;
    let config = session.video_config().await;
    let packets = session.packets(Track::Video, originals.len() + 1).await;
    assert_copied(&packets, &originals);
    // By arrival at first, in order of presentation once a report of the sender ties the clocks: either way with the media.
    for (header, _) in &packets {
        let passed = (header.wall.0 - packets[0].0.wall.0) as f64 / 1e6;
        let media = header.pts.seconds() - packets[0].0.pts.seconds();
        assert!((passed - media).abs() < 5.0, "{passed} s passed over {media} s of media");
        assert!(header.wall.0 > 1_700_000_000_000_000, "{header:?}");
    }
    session.stop().await;
    config
}

#[tokio::test]
async fn h264_over_tcp_is_copied_byte_for_byte() {
    let clip = Clip::h264();
    let camera = Camera::start(&clip, &[]);
    let config = assert_video_is_copied(&clip, camera.task(Transport::Tcp)).await;
    assert_eq!((config.generation, config.codec), (0, VideoCodec::H264));
    assert_eq!((config.geometry, config.frame_rate), (Geometry::new(320, 180), FrameRate::new(50, 2)));
    assert_eq!(config.parameter_sets.len(), 2);
}

#[tokio::test]
async fn h264_over_udp_is_copied_byte_for_byte() {
    let clip = Clip::h264();
    let camera = Camera::start(&clip, &["--transport", "udp"]);
    assert_video_is_copied(&clip, camera.task(Transport::Udp)).await;
}

#[tokio::test]
async fn b_frames_get_decode_times() {
    let clip = Clip::new("-c:v libx264 -preset ultrafast -bf 2");
    let camera = Camera::start(&clip, &[]);
    let config = assert_video_is_copied(&clip, camera.task(Transport::Tcp)).await;
    assert!(config.reorder_depth > 0);
}

#[tokio::test]
async fn h265_is_copied_byte_for_byte() {
    let clip = Clip::new("-c:v libx265 -preset ultrafast -x265-params log-level=none:bframes=2 -tag:v hvc1");
    let camera = Camera::start(&clip, &["--codec", "h265"]);
    let config = assert_video_is_copied(&clip, camera.task(Transport::Tcp)).await;
    assert_eq!(config.codec, VideoCodec::Hevc);
    assert!(config.rfc6381.starts_with("hvc1.1.6.L"), "{}", config.rfc6381);
    assert_eq!(config.parameter_sets.len(), 3);
}

#[tokio::test]
async fn parameter_sets_may_come_in_the_sdp_or_in_band_alone() {
    let clip = Clip::h264();
    for only in ["--sdp-only", "--in-band-only"] {
        let camera = Camera::start(&clip, &[only]);
        assert_video_is_copied(&clip, camera.task(Transport::Tcp)).await;
    }
}

#[tokio::test]
async fn aac_comes_along_on_the_same_timeline() {
    let clip = Clip::h264();
    let camera = Camera::start(&clip, &["--audio", "aac"]);
    let originals = clip.originals("a");
    let mut session = Session::start(camera.task(Transport::Tcp)).await;
    let (mut config, mut audio, mut video_times) = (None, Vec::new(), Vec::new());
    while audio.len() < 50 {
        match session.next().await {
            (FromWorker::AudioConfig(announced), _) => config = Some(announced),
            (FromWorker::Packet(header), data) if header.track == Track::Audio => audio.push((header, data)),
            (FromWorker::Packet(header), _) => video_times.push(header.pts),
            (FromWorker::VideoConfig(_), _) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
    session.stop().await;
    let AudioConfig { codec, sample_rate, channels, specific, rfc6381 } = config.unwrap();
    assert_eq!((codec, sample_rate, channels), (AudioCodec::Aac, 48_000, 1));
    assert_eq!((rfc6381.as_str(), specific.len() >= 2), ("mp4a.40.2", true));
    // Encoders start with silence that the clip's edit list hides, and which of it is sent is up to the server.
    let sent: Vec<&[u8]> = audio.iter().map(|(_, data)| &data[..]).collect();
    let clip: Vec<&[u8]> = originals.iter().map(|original| &original.data[..]).collect();
    assert!(clip.windows(sent.len()).any(|window| window == sent));
    assert!(audio.is_sorted_by(|(a, _), (b, _)| a.pts < b.pts));
    let apart = MediaTime::since(audio[0].0.pts, video_times[0]);
    assert!(apart.abs() < MediaTime::HZ / 10, "{apart}");
}

#[tokio::test]
async fn g711_is_announced_as_what_it_is() {
    let clip = Clip::h264();
    for (option, expected) in [("pcmu", AudioCodec::PcmMulaw), ("pcma", AudioCodec::PcmAlaw)] {
        let camera = Camera::start(&clip, &["--audio", option]);
        let mut session = Session::start(camera.task(Transport::Tcp)).await;
        let config = loop {
            if let (FromWorker::AudioConfig(config), _) = session.next().await {
                break config;
            }
        };
        assert_eq!((config.codec, config.sample_rate, config.channels), (expected, 8000, 1));
        session.packets(Track::Audio, 2).await;
        session.stop().await;
    }
}

#[tokio::test]
async fn credentials_open_the_camera_and_wrong_ones_are_told_apart() {
    let clip = Clip::h264();
    for method in ["basic", "digest"] {
        let camera = Camera::start(&clip, &["--auth", method]);
        let with = |username: Option<&str>, password: Option<&str>| IngestTask {
            username: username.map(str::to_owned),
            password: password.map(str::to_owned),
            ..camera.task(Transport::Tcp)
        };
        let mut session = Session::start(with(Some("viewer"), Some(PASSWORD))).await;
        session.video_config().await;
        session.stop().await;

        let (kind, message) = Session::start(with(Some("viewer"), Some("wrong-pa55"))).await.failure().await;
        assert_eq!(kind, FailureKind::Auth, "{message}");
        assert!(message.contains("password") && !message.contains("wrong-pa55"), "{message}");
        let (kind, message) = Session::start(with(None, None)).await.failure().await;
        assert_eq!(kind, FailureKind::Auth);
        assert!(message.contains("give username and password"), "{message}");
    }
}

#[tokio::test]
async fn a_wrong_path_is_refused() {
    let clip = Clip::h264();
    let camera = Camera::start(&clip, &[]);
    let url = format!("rtsp://127.0.0.1:{}/nowhere", camera.port);
    let (kind, message) = Session::start(IngestTask { url, ..task(camera.port) }).await.failure().await;
    assert_eq!(kind, FailureKind::Refused);
    assert!(message.contains("404"), "{message}");
}

#[tokio::test]
async fn a_refused_transport_names_the_other() {
    let clip = Clip::h264();
    let camera = Camera::start(&clip, &["--transport", "tcp"]);
    let (kind, message) = Session::start(camera.task(Transport::Udp)).await.failure().await;
    assert_eq!(kind, FailureKind::Refused);
    assert!(message.contains("transport tcp"), "{message}");
}

#[tokio::test]
async fn a_dead_port_fails_to_connect() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (kind, message) = Session::start(task(port)).await.failure().await;
    assert_eq!(kind, FailureKind::Connect, "{message}");
}

#[tokio::test]
async fn a_listener_that_never_answers_fails_to_connect_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = IngestTask { connect_ms: 200, ..task(listener.local_addr().unwrap().port()) };
    let (kind, message) = Session::start(silent).await.failure().await;
    assert_eq!(kind, FailureKind::Connect);
    assert!(message.contains("200ms"), "{message}");
}

#[tokio::test]
async fn a_killed_camera_has_ended_and_a_frozen_one_is_idle() {
    let clip = Clip::h264();
    for (signal, expected) in [(Signal::KILL, FailureKind::Ended), (Signal::STOP, FailureKind::Idle)] {
        let camera = Camera::start(&clip, &[]);
        let mut session = Session::start(IngestTask { idle_ms: 500, ..camera.task(Transport::Tcp) }).await;
        session.video_config().await;
        session.packets(Track::Video, 3).await;
        camera.signal(signal);
        let (kind, message) = session.failure().await;
        assert_eq!(kind, expected, "{message}");
    }
}

#[tokio::test]
async fn a_reset_connection_has_ended() {
    let camera = Camera::hostile("rst");
    let mut session = Session::start(camera.task(Transport::Tcp)).await;
    session.video_config().await;
    session.packets(Track::Video, 5).await;
    let (kind, message) = session.failure().await;
    assert_eq!(kind, FailureKind::Ended, "{message}");
}

#[tokio::test]
async fn broken_and_missing_packets_are_counted_and_the_stream_stays_up() {
    let camera = Camera::hostile("lossy");
    let mut session = Session::start(camera.task(Transport::Tcp)).await;
    let (mut pictures, mut lost) = (0, 0);
    while pictures < 5 {
        match session.next().await.0 {
            FromWorker::Packet(_) => pictures += 1,
            FromWorker::Lost { packets } => lost += packets,
            FromWorker::VideoConfig(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(lost, 4 * (1 + 3));
    session.stop().await;
}

#[tokio::test]
async fn changed_parameters_are_announced_before_the_picture_that_carries_them() {
    let camera = Camera::hostile("changing");
    let mut session = Session::start(camera.task(Transport::Tcp)).await;
    let mut seen = Vec::new();
    while seen.len() < 7 {
        match session.next().await.0 {
            FromWorker::VideoConfig(config) => seen.push(Some((config.generation, config.geometry))),
            FromWorker::Packet(_) => seen.push(None),
            other => panic!("{other:?}"),
        }
    }
    let (first, second) = (Some((0, Geometry::new(322, 242))), Some((1, Geometry::new(1920, 1080))));
    assert_eq!(seen, [first, None, None, second, None, None, None]);
    session.stop().await;
}

#[tokio::test]
async fn a_picture_past_the_limit_is_refused_before_any_packet() {
    let camera = Camera::hostile("huge-picture");
    let mut session = Session::start(camera.task(Transport::Tcp)).await;
    let FromWorker::Failed { kind, message } = session.next().await.0 else { panic!() };
    assert_eq!(kind, FailureKind::Limit);
    assert!(message.contains("17000000"), "{message}");
}

#[tokio::test]
async fn a_camera_that_echoes_the_login_learns_nothing_into_the_log() {
    let camera = Camera::hostile("echo");
    let username = Some("viewer".to_owned());
    let with_login = IngestTask { username, password: Some(PASSWORD.to_owned()), ..camera.task(Transport::Tcp) };
    let (kind, message) = Session::start(with_login).await.failure().await;
    assert_eq!(kind, FailureKind::Refused);
    assert!(!message.contains("Basic") && !message.contains(PASSWORD), "{message}");
}

#[tokio::test]
async fn the_worker_ends_with_its_link() {
    let clip = Clip::h264();
    let camera = Camera::start(&clip, &[]);
    let mut session = Session::start(camera.task(Transport::Tcp)).await;
    session.video_config().await;
    drop(session.link);
    // Whether the packet under way or the closed link is noticed first is a matter of luck.
    let _ = timeout(PATIENCE, session.worker).await.unwrap().unwrap();
}
