//! The stand-in ffmpeg with Frigate's own command lines, between a camera and a reader that does what Frigate does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{
    Camera, Camshaft, Clip, Coding, Counter, Gpu, Picture, StandIn, children, command_output, eventually,
    ffprobe_packets, kill, numbers_in,
};

/// Frigate's defaults, in front of `-i`.
const GENERIC: &str = "-user_agent FFmpeg_Frigate/0.18.0 -avoid_negative_ts make_zero -fflags +genpts+discardcorrupt \
    -rtsp_transport tcp -timeout 10000000 -use_wallclock_as_timestamps 1";
const VAAPI: &str = "-hwaccel_flags allow_profile_mismatch -hwaccel vaapi -hwaccel_device /dev/dri/renderD128 \
    -hwaccel_output_format vaapi";
const RAW: &str = "-threads 2 -f rawvideo -pix_fmt yuv420p pipe:";

/// What a reader of Frigate's may wait for, although camshaft loses a worker.
const LONGEST_GAP: Duration = Duration::from_millis(6500);

const SIZE: (u32, u32) = (320, 180);

/// Twice the size of what is detected on.
fn clip() -> Clip {
    Clip::make(Coding { size: (640, 360), gop: 25, frames: 500, ..Coding::default() })
}

/// `detect`, by the software preset.
fn detect(url: &str) -> String {
    let (width, height) = SIZE;
    format!("-hide_banner -loglevel warning -threads 2 {GENERIC} -i {url} -r 5 -vf fps=5,scale={width}:{height} {RAW}")
}

/// `detect`, by `preset-vaapi`.
fn detect_vaapi(url: &str) -> String {
    let (width, height) = SIZE;
    format!(
        "-hide_banner -loglevel warning -threads 2 {VAAPI} {GENERIC} -i {url} -r 5 \
         -vf fps=5,scale_vaapi=w={width}:h={height},hwdownload,format=nv12 {RAW}"
    )
}

/// `record` and `detect` on one input.
fn record_and_detect(url: &str, cache: &Path) -> String {
    let segments = cache.join("cam@%Y%m%d%H%M%S%z.mp4");
    let record = format!(
        "-f segment -segment_time 10 -segment_format mp4 -reset_timestamps 1 -strftime 1 -c:v copy -c:a aac {}",
        segments.display()
    );
    detect(url).replace(" -r 5 ", &format!(" {record} -r 5 "))
}

/// `audio`.
fn audio(url: &str) -> String {
    format!(
        "-vn -threads 1 -hide_banner -loglevel warning -threads 2 {GENERIC} -i {url} -threads 1 -f s16le -ar 16000 \
         -ac 1 -y pipe:"
    )
}

fn number(picture: &Picture) -> u32 {
    picture.number().expect("a number in the picture")
}

/// Every fifth of 25 pictures a second, as many as ffmpeg gives. The first is whatever there was, and off the grid.
fn expect_five_a_second(pictures: &[Picture]) {
    let numbers: Vec<u32> = pictures.iter().map(number).collect();
    assert!(numbers[1..].windows(2).all(|pair| pair[1] - pair[0] == 5), "{numbers:?}");
    assert!((1..=5).contains(&(numbers[1] - numbers[0])), "{numbers:?}");
}

/// PSNR of two pictures over all planes, in dB.
fn psnr(one: &[u8], two: &[u8]) -> f64 {
    assert_eq!(one.len(), two.len());
    let squares: f64 = one.iter().zip(two).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    if squares == 0.0 { 99.0 } else { 10.0 * (255.0f64.powi(2) * one.len() as f64 / squares).log10() }
}

/// What ffmpeg makes of a clip's pictures, each scaled to [`SIZE`].
fn by_ffmpeg(clip: &Clip) -> Vec<Vec<u8>> {
    let scale = format!("scale={}:{}", SIZE.0, SIZE.1);
    let raw = command_output(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-i",
            clip.path.to_str().unwrap(),
            "-vf",
            &scale,
            "-f",
            "rawvideo",
            "-pix_fmt",
            "yuv420p",
            "-",
        ],
    );
    raw.chunks_exact((SIZE.0 * SIZE.1 * 3 / 2) as usize).map(<[u8]>::to_vec).collect()
}

#[test]
fn detection_gets_the_pictures_that_ffmpeg_would_make() {
    let clip = clip();
    let camera = Camera::start(&clip, &[]);
    let server = Camshaft::start("");
    let mut frigate = StandIn::start(&server.socket(), &detect_vaapi(&camera.url()));
    let (pictures, _) = frigate.pictures(SIZE, 25);
    let reference = by_ffmpeg(&clip);
    expect_five_a_second(&pictures);
    for picture in &pictures {
        let decibels = psnr(&picture.data, &reference[number(picture) as usize]);
        assert!(decibels >= 40.0, "picture {} has {decibels} dB", number(picture));
    }
    let pid = frigate.pid();
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim(), "ffmpeg");
    assert!(children(pid).is_empty(), "nothing but the stand-in runs: {:?}", children(pid));
    assert_eq!(frigate.terminate().code(), Some(255));
    assert_eq!(server.get("/v1/streams").json().as_array().unwrap().len(), 1);
}

#[test]
fn detection_runs_on_the_gpu_of_camshaft() {
    let gpu = Gpu::haswell();
    let camera = Camera::start(&clip(), &[]);
    let server = Camshaft::start_on(&gpu, "", "");
    let (decoded, scaled) = (gpu.count(Counter::H264Decoded), gpu.count(Counter::Scaled));
    let mut frigate = StandIn::start(&server.socket(), &detect_vaapi(&camera.url()));
    let (pictures, _) = frigate.pictures(SIZE, 15);
    expect_five_a_second(&pictures);
    assert!(gpu.count(Counter::H264Decoded) >= decoded + 60, "it was not decoded on the GPU");
    assert!(gpu.count(Counter::Scaled) >= scaled + 15, "it was not scaled on the GPU");
}

#[test]
fn pictures_come_through_shared_memory_where_there_is_any() {
    let camera = Camera::start(&clip(), &[]);
    for (readers, through) in [(1, 101), (0, 200)] {
        let server = Camshaft::start_with(&format!("limits: {{ shm_readers: {readers} }}"), "");
        let mut frigate = StandIn::start(&server.socket(), &detect(&camera.url()));
        expect_five_a_second(&frigate.pictures(SIZE, 10).0);
        let form = if through == 101 { "shm" } else { "{ext}" };
        let answers = format!("method=\"GET\",route=\"/v1/streams/{{id}}/live.{form}\",status=\"{through}\"");
        assert_eq!(server.metric(&format!("camshaft_http_requests_total{{{answers}}}")), Some(1.0));
        let id = server.get("/v1/streams").json()[0]["id"].as_str().unwrap().to_owned();
        let now = server.metric(&format!("camshaft_shm_readers{{stream=\"{id}\"}}"));
        assert_eq!(now.unwrap_or_default(), f64::from(readers));
    }
}

#[test]
fn a_killed_worker_is_a_short_gap_between_whole_pictures() {
    let camera = Camera::start(&clip(), &[]);
    let server = Camshaft::start("");
    let mut frigate = StandIn::start(&server.socket(), &detect(&camera.url()));
    let (before, _) = frigate.pictures(SIZE, 5);
    let id = server.get("/v1/streams").json()[0]["id"].as_str().unwrap().to_owned();
    kill(server.pixels_pid(&id));
    let (after, gap) = frigate.pictures(SIZE, 15);
    assert!(gap <= LONGEST_GAP, "{gap:?}");
    let numbers: Vec<u32> = before.iter().chain(&after).map(number).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
}

#[test]
fn a_new_camshaft_goes_on_where_the_old_one_was() {
    let camera = Camera::start(&clip(), &[]);
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("camshaft.sock");
    let first = Camshaft::start("");
    symlink(first.socket(), &socket).unwrap();
    let mut frigate = StandIn::start(&socket, &detect(&camera.url()));
    frigate.pictures(SIZE, 5);
    let second = Camshaft::start("");
    fs::remove_file(&socket).unwrap();
    symlink(second.socket(), &socket).unwrap();
    drop(first);
    frigate.log().wait("that it connects again", |line| line.contains("connecting again"));
    // One or the other may have waited in the pipe.
    let (pictures, gap) = frigate.pictures(SIZE, 10);
    assert!(gap <= LONGEST_GAP, "{gap:?}");
    assert!(pictures.iter().all(|picture| picture.number().is_some()), "half a picture has shifted the others");
    assert_eq!(second.get("/v1/streams").json().as_array().unwrap().len(), 1);
}

#[test]
fn a_lost_camera_ends_it_before_frigates_watchdog_does() {
    let camera = Camera::start(&clip(), &[]);
    let server = Camshaft::start("");
    let mut frigate = StandIn::start(&server.socket(), &detect(&camera.url()));
    frigate.pictures(SIZE, 3);
    drop(camera);
    let lost = Instant::now();
    let rest = frigate.drain();
    assert_eq!(frigate.wait().code(), Some(0), "as the end of a file");
    assert!(lost.elapsed() < Duration::from_secs(20), "{:?}", lost.elapsed());
    assert_eq!(rest % u64::from(SIZE.0 * SIZE.1 * 3 / 2), 0, "the last picture is whole");
}

/// The files that a process has open below `folder`.
fn open_files(pid: u32, folder: &Path) -> Vec<PathBuf> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok()).filter(|path| path.starts_with(folder)).collect()
}

#[test]
fn recording_stays_with_a_real_ffmpeg_that_finishes_its_file() {
    let clip = Clip::make(Coding { size: (640, 360), gop: 25, frames: 500, audio: true, ..Coding::default() });
    let camera = Camera::start(&clip, &["--audio", "aac"]);
    let server = Camshaft::start("");
    let cache = tempfile::tempdir().unwrap();
    let mut frigate = StandIn::start(&server.socket(), &record_and_detect(&camera.url(), cache.path()));
    frigate.pictures(SIZE, 30);
    let recorder = eventually(
        "a process named ffmpeg writes a segment",
        || frigate.log().pause(),
        || {
            let mut found = children(frigate.pid()).into_iter();
            found.find(|(pid, name)| name == "ffmpeg" && !open_files(*pid, cache.path()).is_empty())
        },
    );
    let segment = open_files(recorder.0, cache.path()).remove(0);
    let camera_clients = server.get("/v1/streams").json();
    assert_eq!(camera_clients.as_array().unwrap().len(), 1, "one stream for both roles");
    assert_eq!(frigate.terminate().code(), Some(255));
    assert!(!Path::new(&format!("/proc/{}", recorder.0)).exists(), "the recorder ended before the stand-in");
    let segment = segment.to_str().unwrap();
    let numbers: Vec<u32> = numbers_in(segment, (640, 360)).into_iter().map(Option::unwrap).collect();
    assert!(numbers.len() > 50 && numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    assert!(ffprobe_packets(segment, "a:0").len() > 80, "the sound is in it");
}

#[test]
fn a_recorder_that_cannot_write_ends_the_command() {
    let camera = Camera::start(&clip(), &[]);
    let server = Camshaft::start("");
    let nowhere = Path::new("/nonexistent");
    let mut frigate = StandIn::start(&server.socket(), &record_and_detect(&camera.url(), nowhere));
    frigate.drain();
    // 1 up to FFmpeg 6, then what the system said.
    let clip = clip();
    let recording = ["-i", clip.path.to_str().unwrap(), "-c", "copy", "-f", "segment", "/nonexistent/%d.mp4"];
    let real = Command::new("ffmpeg").args(recording).output().unwrap().status.code();
    assert!(real.is_some_and(|code| code != 0));
    assert_eq!(frigate.wait().code(), real);
    frigate.log().wait("ffmpeg's own complaint", |line| line.contains("/nonexistent"));
}

#[test]
fn a_killed_stand_in_leaves_no_recorder_behind() {
    let camera = Camera::start(&clip(), &[]);
    let server = Camshaft::start("");
    let cache = tempfile::tempdir().unwrap();
    let mut frigate = StandIn::start(&server.socket(), &record_and_detect(&camera.url(), cache.path()));
    frigate.pictures(SIZE, 10);
    let (recorder, _) = children(frigate.pid()).remove(0);
    kill(frigate.pid());
    frigate.wait();
    eventually(
        "the recorder is gone",
        || frigate.log().pause(),
        || {
            let state = fs::read_to_string(format!("/proc/{recorder}/stat")).unwrap_or_default();
            (state.is_empty() || state.contains(") Z ")).then_some(())
        },
    );
    let segment = fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    assert!(numbers_in(segment.to_str().unwrap(), (640, 360)).len() > 25, "its file is whole");
}

#[test]
fn two_roles_of_a_camera_are_one_stream_and_one_decode() {
    let clip = Clip::make(Coding { size: (640, 360), gop: 25, frames: 500, audio: true, ..Coding::default() });
    let camera = Camera::start(&clip, &["--audio", "aac"]);
    let server = Camshaft::start("");
    let mut detect = StandIn::start(&server.socket(), &detect(&camera.url()));
    let mut other = StandIn::start(&server.socket(), &detect_vaapi(&camera.url()));
    let mut audio = StandIn::start(&server.socket(), &audio(&camera.url()));
    detect.pictures(SIZE, 5);
    other.pictures(SIZE, 5);
    // Frigate reads just under a second at a time.
    let samples: Vec<i16> =
        audio.bytes(31_200).chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    let loudest = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
    assert!(loudest > 1000, "the tone is at {loudest} only");
    let streams = server.get("/v1/streams").json();
    assert_eq!(streams.as_array().unwrap().len(), 1, "{streams:#}");
    assert_eq!(streams[0]["renditions"].as_array().unwrap().len(), 1, "{streams:#}");
    assert_eq!(streams[0]["consumers"], 3);
}

#[test]
fn sound_without_a_place_in_mpeg_ts_is_recorded_all_the_same() {
    let camera = Camera::start(&clip(), &["--audio", "pcmu"]);
    let server = Camshaft::start("");
    let cache = tempfile::tempdir().unwrap();
    let mut frigate = StandIn::start(&server.socket(), &record_and_detect(&camera.url(), cache.path()));
    frigate.pictures(SIZE, 20);
    assert_eq!(frigate.terminate().code(), Some(255));
    let segment = fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    assert!(ffprobe_packets(segment.to_str().unwrap(), "a:0").len() > 20, "the sound is in it");
}

#[test]
fn an_encode_for_go2rtc_is_made_by_camshaft_and_published_by_ffmpeg() {
    let gpu = Gpu::haswell();
    let camera = Camera::start(&clip(), &[]);
    let server = Camshaft::start_on(&gpu, "", "");
    let dir = tempfile::tempdir().unwrap();
    let received = dir.path().join("received.mp4");
    let port = free_port();
    let target = format!("rtsp://127.0.0.1:{port}/0123456789abcdef");
    // ffmpeg is an RTSP server for one that announces, as go2rtc is.
    let receiver = Command::new("ffmpeg")
        .args(["-v", "error", "-rtsp_flags", "listen", "-i", &target, "-frames:v", "50", "-c", "copy", "-y"])
        .arg(&received)
        .spawn()
        .unwrap();
    eventually("the receiver listens", || server.log().pause(), || listens(port).then_some(()));
    let encoded = gpu.count(Counter::H264Encoded);
    let arguments = format!(
        "-hide_banner -v error -hwaccel vaapi -hwaccel_output_format vaapi -hwaccel_flags allow_profile_mismatch \
         -fflags nobuffer -flags low_delay -timeout 5000000 -user_agent go2rtc/ffmpeg -rtsp_flags prefer_tcp -i {} \
         -c:v h264_vaapi -g 50 -bf 0 -profile:v high -level:v 4.1 -sei:v 0 -an \
         -vf format=vaapi|nv12,hwupload,scale_vaapi=out_color_matrix=bt709:out_range=tv:format=nv12 \
         -user_agent ffmpeg/go2rtc -rtsp_transport tcp -f rtsp {target}",
        camera.url()
    );
    let _go2rtc = StandIn::start(&server.socket(), &arguments);
    let ended = receiver.wait_with_output().unwrap();
    assert!(ended.status.success());
    let numbers = numbers_in(received.to_str().unwrap(), (640, 360));
    assert!(numbers.len() >= 40 && numbers.iter().all(Option::is_some), "{numbers:?}");
    assert!(gpu.count(Counter::H264Encoded) >= encoded + 40, "it was not encoded on the GPU");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether somebody listens there; connecting would be taken for the client.
fn listens(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| line.contains(&format!(":{port:04X} 00000000:0000 0A")))
}

#[test]
fn without_camshaft_the_real_ffmpeg_decodes_in_software() {
    let camera = Camera::start(&clip(), &[]);
    let mut frigate = StandIn::start_at("unix:///nonexistent/camshaft.sock", &detect_vaapi(&camera.url()));
    let (pictures, _) = frigate.pictures(SIZE, 5);
    assert!(pictures.windows(2).all(|pair| number(&pair[1]) > number(&pair[0])));
    frigate.log().wait("why", |line| line.contains("camshaft is away") && line.contains("CPU"));
    let program = fs::read_link(format!("/proc/{}/exe", frigate.pid())).unwrap();
    assert_ne!(program, StandIn::path("ffmpeg"), "it has become the real one");
    assert_eq!(frigate.terminate().code(), Some(255));
}

#[test]
fn a_service_of_the_pod_is_not_asked_for_over_the_network() {
    let camera = Camera::start(&clip(), &[]);
    let server = Camshaft::start("");
    let mut frigate = StandIn::start_at(&server.url(""), &detect(&camera.url()));
    frigate.pictures(SIZE, 3);
    frigate.log().wait("why", |line| line.contains("CAMSHAFT_URL is unix:"));
    assert!(server.get("/v1/streams").json().as_array().unwrap().is_empty());
    // Nor does camshaft itself listen to who asks all the same.
    let body = format!(r#"{{ "source": "{}", "ttl": "10s" }}"#, camera.url());
    let refused = server.post("/v1/streams", &body);
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("Unix socket"), "{}", refused.text());
    let curl = |arguments: &[&str]| {
        let socket = server.socket();
        let start = ["-sS", "--unix-socket", socket.to_str().unwrap()];
        command_output("curl", &[&start, arguments].concat())
    };
    let status = curl(&["-d", &body, "-o", "/dev/null", "-w", "%{http_code}", "http://camshaft/v1/streams"]);
    assert_eq!(status, b"201");
    let uid = rustix::process::getuid().as_raw();
    server.log().wait("who called", |line| line.contains("over the Unix socket") && line.contains(&uid.to_string()));
}

#[test]
fn everything_else_is_the_real_programs_own() {
    let run = |name: &str, arguments: &[&str]| {
        StandIn::command(name, "unix:///nonexistent").args(arguments).output().unwrap()
    };
    let banner = run("ffmpeg", &["-version"]);
    assert_eq!(banner.stdout, command_output("ffmpeg", &["-version"]), "Frigate looks for libavformat's version");
    assert_eq!(
        run("ffmpeg", &["-hide_banner", "-encoders"]).stdout,
        command_output("ffmpeg", &["-hide_banner", "-encoders"])
    );
    let clip = clip();
    let file = clip.path.to_str().unwrap();
    let probe = ["-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "json", file];
    assert_eq!(run("ffprobe", &probe).stdout, command_output("ffprobe", &probe));
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.mp4");
    let export =
        ["-hide_banner", "-y", "-i", file, "-c", "copy", "-progress", "pipe:2", "-nostats", copy.to_str().unwrap()];
    let exported = run("ffmpeg", &export);
    let said = String::from_utf8_lossy(&exported.stderr).into_owned();
    assert!(exported.status.success() && said.contains("out_time_us=") && said.contains("progress=end"), "{said}");
    assert!(!said.contains("camshaft"), "{said}");
    let missing = ["-i", "/nonexistent.mp4", "-f", "null", "-"];
    let real = Command::new("ffmpeg").args(missing).output().unwrap().status.code();
    assert_eq!((run("ffmpeg", &missing).status.code(), real.is_some_and(|code| code != 0)), (real, true));
}

#[test]
fn a_stand_in_in_the_place_of_the_real_one_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("ffmpeg");
    fs::copy(StandIn::path("ffmpeg"), &copy).unwrap();
    let output =
        StandIn::command("ffmpeg", "unix:///nonexistent").env("CAMSHAFT_FFMPEG", &copy).arg("-version").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("CAMSHAFT_FFMPEG"), "{output:?}");
}
