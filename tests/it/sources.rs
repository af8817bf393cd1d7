//! Sources that are no RTSP sessions, from servers that others wrote: nginx, ffmpeg listening, GStreamer's multipart, curl.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::support::{
    Apache, Camshaft, Clip, Coding, Counter, FfmpegServer, Gpu, Nginx, Y4m, access_units, command_output,
    ffprobe_packets, hostile_server, kill,
};
use camshaft::media::VideoCodec;

fn clip() -> Clip {
    Clip::make(Coding { audio: true, frames: 500, gop: 25, ..Coding::default() })
}

/// The clip in another container, copied by ffmpeg.
fn remux(clip: &Clip, file: &str, arguments: &[&str]) {
    let clip = clip.path.to_str().unwrap();
    let all = [&["-v", "error", "-y", "-i", clip, "-c", "copy"], arguments, &[file]].concat();
    command_output("ffmpeg", &all);
}

fn yaml(url: &str, more: &str) -> String {
    format!("  cam: {{ source: \"{url}\"{more} }}\n")
}

/// So many pictures in a row come out whole and in order. A source may begin with a burst, of which a reader of pictures
/// sees the newest.
pub fn expect_pictures(server: &Camshaft, id: &str, count: usize) {
    let mut raw = Y4m::new(server.open(&format!("/v1/streams/{id}/live.y4m")));
    let mut numbers = Vec::new();
    let is_run = |numbers: &[u32]| {
        numbers.len() >= count && numbers[numbers.len() - count..].windows(2).all(|pair| pair[0] + 1 == pair[1])
    };
    while !is_run(&numbers) {
        numbers.extend(raw.numbers(1));
        assert!(numbers.len() < 400, "never {count} in a row: {numbers:?}");
    }
}

/// The stream's failure, as its status tells it.
fn expect_reason(server: &Camshaft, part: &str) {
    server.wait_status("cam", part, |status| status["reason"].as_str().is_some_and(|reason| reason.contains(part)));
}

#[test]
fn nginx_serves_ts_flv_and_mp4_which_are_copied_bit_for_bit() {
    let (clip, nginx) = (clip(), Nginx::start());
    remux(&clip, &nginx.file("clip.ts"), &[]);
    remux(&clip, &nginx.file("clip.flv"), &[]);
    remux(&clip, &nginx.file("clip.mp4"), &["-movflags", "frag_keyframe+empty_moov+default_base_moof"]);
    std::fs::copy(nginx.file("clip.flv"), nginx.file("camera")).unwrap();
    let named =
        |name: &str, more: &str| format!("  {name}: {{ source: \"{}\"{more} }}\n", nginx.url(&format!("clip.{name}")));
    let streams = named("ts", "")
        + &named("flv", "")
        + &named("mp4", "")
        + &format!("  bare: {{ source: \"{}\", input: flv }}\n", nginx.url("camera"));
    let server = Camshaft::start(&streams);
    let own = command_output(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-i",
            clip.path.to_str().unwrap(),
            "-c",
            "copy",
            "-bsf:v",
            "h264_mp4toannexb",
            "-f",
            "h264",
            "-",
        ],
    );
    let own = access_units(&own, VideoCodec::H264);
    let dir = tempfile::tempdir().unwrap();
    for id in ["ts", "flv", "mp4", "bare"] {
        let status = server.wait_status(id, "audio", |status| status["source"]["audio"] == "aac");
        assert_eq!(status["source"]["codec"], "h264");
        assert_eq!((&status["source"]["width"], &status["source"]["height"]), (&320.into(), &180.into()), "{id}");
        let status =
            server.wait_status(id, "a sandboxed demuxer", |status| status["workers"]["demux"]["sandbox"].is_object());
        assert_eq!(status["workers"]["demux"]["sandbox"]["state"], "enforced", "{status}");
        expect_pictures(&server, id, 40);
        let file = dir.path().join(format!("{id}.mp4"));
        let file = file.to_str().unwrap();
        command_output(
            "ffmpeg",
            &[
                "-v",
                "error",
                "-y",
                "-t",
                "3",
                "-i",
                &server.url(&format!("/v1/streams/{id}/live.mp4")),
                "-c",
                "copy",
                file,
            ],
        );
        assert!(ffprobe_packets(file, "a:0").len() > 50, "{id} has sound");
        let copied = command_output(
            "ffmpeg",
            &["-v", "error", "-i", file, "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "-"],
        );
        let copied = access_units(&copied, VideoCodec::H264);
        let at = own.iter().position(|unit| Some(unit) == copied.first()).expect("it begins within the clip");
        // A reader that came late sees the clip's end, and its beginning again.
        let both = 50.min(own.len() - at);
        assert!(both >= 10 && copied.len() >= 50, "{id}: {both} of {} pictures", copied.len());
        assert_eq!(own[at..at + both], copied[..both], "{id}: every bit is the clip's");
    }
}

#[test]
fn ffmpeg_listening_is_a_live_camera() {
    let clip = clip();
    for format in ["mpegts", "flv"] {
        let input = if format == "mpegts" { "ts" } else { "flv" };
        let peer = FfmpegServer::start(&clip.path, format, &[]);
        let server = Camshaft::start(&yaml(&peer.url, &format!(", input: {input}")));
        server.wait_live("cam");
        expect_pictures(&server, "cam", 30);
        let status = server.status("cam");
        assert_eq!((&status["source"]["audio"], &status["state"]), (&"aac".into(), &"live".into()));
    }
}

#[test]
fn hevc_with_b_frames_comes_in_decoding_order() {
    let clip = Clip::make(Coding { encoder: "libx265", bframes: 2, frames: 500, gop: 25, ..Coding::default() });
    let nginx = Nginx::start();
    remux(&clip, &nginx.file("clip.ts"), &[]);
    remux(&clip, &nginx.file("clip.mp4"), &["-movflags", "+faststart"]);
    let server = Camshaft::start(&format!(
        "  ts: {{ source: \"{}\" }}\n  mp4: {{ source: \"{}\" }}\n",
        nginx.url("clip.ts"),
        nginx.url("clip.mp4")
    ));
    for id in ["ts", "mp4"] {
        server.wait_status(id, "hevc", |status| status["source"]["codec"] == "hevc");
        expect_pictures(&server, id, 40);
    }
}

#[test]
fn mjpeg_comes_as_multipart_and_as_a_polled_jpeg() {
    let clip = Clip::make(Coding { encoder: "mjpeg", frames: 250, ..Coding::default() });
    let nginx = Nginx::start();
    // GStreamer's multipart has a length for each part.
    let pipeline = format!(
        "filesrc location={} ! qtdemux ! multipartmux boundary=gst ! filesink location={}",
        clip.path.display(),
        nginx.file("clip.multipart")
    );
    let mut arguments = vec!["-q"];
    arguments.extend(pipeline.split(' '));
    command_output("gst-launch-1.0", &arguments);
    command_output(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-y",
            "-i",
            clip.path.to_str().unwrap(),
            "-frames:v",
            "1",
            "-c",
            "copy",
            "-f",
            "image2",
            &nginx.file("still.jpg"),
        ],
    );
    let peer = FfmpegServer::start(&clip.path, "mpjpeg", &["-boundary_tag", "x-y"]);
    let server = Camshaft::start(&format!(
        "  ffmpeg: {{ source: \"{}\", input: mjpeg }}\n  gst: {{ source: \"{}\" }}\n  still: {{ source: \"{}\", rate: 5 }}\n",
        peer.url,
        nginx.url("clip.multipart"),
        nginx.url("still.jpg")
    ));
    for id in ["ffmpeg", "gst", "still"] {
        let status = server.wait_status(id, "mjpeg", |status| status["source"]["codec"] == "mjpeg");
        assert_eq!((&status["source"]["width"], &status["source"]["height"]), (&320.into(), &180.into()), "{id}");
    }
    expect_pictures(&server, "ffmpeg", 20);
    let numbers = Y4m::new(server.open("/v1/streams/still/live.y4m")).numbers(6);
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    server.wait_status("still", "five a second", |status| {
        status["source"]["fps"].as_f64().is_some_and(|fps| (3.0..=5.5).contains(&fps))
    });
}

#[test]
fn mjpeg_over_http_is_decoded_on_the_gpu() {
    let gpu = Gpu::alderlake();
    let clip = Clip::make(Coding { encoder: "mjpeg", size: (320, 184), frames: 250, ..Coding::default() });
    let peer = FfmpegServer::start(&clip.path, "mpjpeg", &[]);
    let server = Camshaft::start_on(&gpu, "", &yaml(&peer.url, ", input: mjpeg"));
    let before = gpu.count(Counter::JpegDecoded);
    expect_pictures(&server, "cam", 20);
    let status = server.status("cam");
    assert_eq!(status["accel"]["decode"], "hardware", "{status}");
    assert!(gpu.count(Counter::JpegDecoded) >= before + 20);
}

#[test]
fn a_file_is_looped_in_real_time_on_one_timeline() {
    let clip = Clip::make(Coding { audio: true, frames: 50, gop: 25, ..Coding::default() });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("loop.ts");
    remux(&clip, file.to_str().unwrap(), &[]);
    let sources = format!("sources: {{ files: [{}] }}", dir.path().display());
    let server = Camshaft::start_with(&sources, &yaml(&format!("file:{}", file.display()), ""));
    server.wait_live("cam");
    // Two rounds and more: the numbers begin again, the times go on.
    let numbers = Y4m::new(server.open("/v1/streams/cam/live.y4m")).numbers(130);
    // A reader that this machine gives no time sees the newest.
    let follows = |pair: &[u32]| (1..=3).contains(&((pair[1] + 50 - pair[0]) % 50));
    assert!(numbers.windows(2).all(follows), "{numbers:?}");
    let status = server.status("cam");
    assert_eq!((&status["source"]["clock_jumps"], &status["source"]["reconnects"]), (&0.into(), &0.into()));
    let copy = dir.path().join("copy.ts");
    let copy = copy.to_str().unwrap();
    command_output(
        "ffmpeg",
        &["-v", "error", "-y", "-t", "5", "-i", &server.url("/v1/streams/cam/live.ts"), "-c", "copy", copy],
    );
    for track in ["v:0", "a:0"] {
        let packets = ffprobe_packets(copy, track);
        let steps = packets.windows(2).map(|pair| pair[1].dts - pair[0].dts);
        let odd: Vec<_> = steps.filter(|step| !(0.0..0.2).contains(step)).collect();
        assert!(packets.len() > 100 && odd.is_empty(), "{track}: {} packets, {odd:?}", packets.len());
    }
    let fps = server.wait_status("cam", "a rate", |status| status["source"]["fps"].is_f64())["source"]["fps"]
        .as_f64()
        .unwrap();
    assert!((15.0..35.0).contains(&fps), "{fps} pictures a second");
}

#[test]
fn files_outside_the_directories_are_never_read() {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("in");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(dir.path().join("secret.ts"), "secret").unwrap();
    std::os::unix::fs::symlink("../secret.ts", inside.join("link.ts")).unwrap();
    let sources = format!("sources: {{ files: [{}] }}", inside.display());
    let server = Camshaft::start_with(&sources, &yaml(&format!("file:{}/link.ts", inside.display()), ""));
    server.wait_status("cam", "failed", |status| status["state"] == "failed");
    expect_reason(&server, "leads out of the directory");
    for path in [format!("file:{}/secret.ts", dir.path().display()), format!("file:{}/../secret.ts", inside.display())]
    {
        let answer = server.put("other", &format!("{{\"source\": \"{path}\"}}"));
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
    }
}

#[test]
fn what_curl_pushes_is_a_stream() {
    let clip = clip();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clip.ts");
    remux(&clip, file.to_str().unwrap(), &["-t", "8"]);
    let server = Camshaft::start("  cam: { source: \"push:\" }\n  other: { source: \"test:\" }\n");
    server.wait_status("cam", "that it waits", |status| {
        status["reason"].as_str().is_some_and(|reason| reason.contains("POST"))
    });
    let url = server.url("/v1/streams/cam/ingest");
    // In real time, for as long as it likes.
    let mut camera = Command::new("ffmpeg")
        .args(["-v", "error", "-re", "-stream_loop", "-1", "-i"])
        .arg(&clip.path)
        .args(["-c", "copy", "-f", "mpegts", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = camera.stdout.take().unwrap();
    let mut curl = Command::new("curl")
        .args([
            "-sS",
            "-X",
            "POST",
            "-H",
            "Content-Type: video/mp2t",
            "-T",
            "-",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &url,
        ])
        .stdin(pipe)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    server.wait_live("cam");
    expect_pictures(&server, "cam", 30);
    let post = |url: &str, content_type: &str, file: &str| {
        let header = format!("Content-Type: {content_type}");
        let data = format!("@{file}");
        let out = command_output("curl", &["-sS", "-H", &header, "--data-binary", &data, "-w", "\n%{http_code}", url]);
        String::from_utf8(out).unwrap()
    };
    let file = file.to_str().unwrap();
    let second = post(&url, "video/mp2t", file);
    assert!(second.ends_with("409") && second.contains("one at a time"), "{second}");
    camera.kill().unwrap();
    camera.wait().unwrap();
    let output = {
        curl.wait().unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut curl.stdout.take().unwrap(), &mut text).unwrap();
        text
    };
    assert_eq!(output, "204", "the clean end");
    // The place is free again; a whole file at once is as good, as long as it is short.
    assert!(post(&url, "video/mp2t", file).ends_with("204"));
    let wrong = post(&url, "video/mp4", file);
    assert!(wrong.ends_with("415") && wrong.contains("MP4"), "{wrong}");
    assert!(post(&url, "text/plain", file).ends_with("415"));
    assert!(post(&(url.clone() + "?input=avi"), "video/mp2t", file).ends_with("400"));
    let elsewhere = post(&server.url("/v1/streams/other/ingest"), "video/mp2t", file);
    assert!(elsewhere.ends_with("409") && elsewhere.contains("push:"), "{elsewhere}");
}

#[test]
fn a_certificate_must_be_signed_by_who_is_trusted() {
    let (clip, nginx) = (clip(), Nginx::start());
    remux(&clip, &nginx.file("clip.ts"), &[]);
    let url = nginx.tls_url("clip.ts");
    let local = "allow: [127.0.0.0/8]";
    let server =
        Camshaft::start_with(&format!("sources: {{ {local}, ca_file: {} }}", nginx.certificate()), &yaml(&url, ""));
    server.wait_live("cam");
    expect_pictures(&server, "cam", 20);
    drop(server);
    let streams = yaml(&url, "") + &format!("  open: {{ source: \"{url}\", tls: insecure }}\n");
    let server = Camshaft::start(&streams);
    expect_reason(&server, "tls: insecure");
    server.wait_live("open");
}

#[test]
fn passwords_are_for_who_asks_and_redirects_for_nobody() {
    let (clip, nginx) = (clip(), Nginx::start());
    remux(&clip, &nginx.file("login/clip.ts"), &[]);
    let url = nginx.url("login/clip.ts");
    let server = Camshaft::start(&format!(
        "  cam: {{ source: \"{url}\", username: viewer, password: s3cret-canary }}\n  wrong: {{ source: \"{url}\", username: viewer, password: x }}\n  none: {{ source: \"{url}\" }}\n  moved: {{ source: \"{}\", input: ts }}\n",
        nginx.url("moved")
    ));
    server.wait_live("cam");
    for (id, part) in [
        ("wrong", "refuses the credentials"),
        ("none", "wants credentials"),
        ("moved", "redirects to http://127.0.0.1:1/elsewhere,"),
    ] {
        server.wait_status(id, part, |status| status["reason"].as_str().is_some_and(|reason| reason.contains(part)));
    }
    let all = server.get("/v1/streams").text() + &server.log().text();
    assert!(!all.contains("s3cret-canary"), "the password shows");
}

#[test]
fn a_digest_of_apaches_is_answered_for_streams_and_for_every_poll() {
    let (clip, apache) = (clip(), Apache::start());
    remux(&clip, &apache.file("clip.ts"), &[]);
    command_output(
        "ffmpeg",
        &["-v", "error", "-i", clip.path.to_str().unwrap(), "-frames:v", "1", &apache.file("a.jpg")],
    );
    let login = |password: &str| format!(", username: viewer, password: {password}");
    let named = |id: &str, file: &str, more: &str| yaml(&apache.url(file), more).replace("cam:", &format!("{id}:"));
    let server = Camshaft::start(
        &(named("cam", "clip.ts", &login("s3cret-canary"))
            + &named("still", "a.jpg", &(login("s3cret-canary") + ", rate: 5"))
            + &named("wrong", "clip.ts", &login("x"))
            + &named("none", "clip.ts", "")),
    );
    expect_pictures(&server, "cam", 30);
    // One login is good for one request here: each has a nonce count of its own.
    Y4m::new(server.open("/v1/streams/still/live.y4m")).numbers(6);
    assert_eq!(server.status("still")["source"]["reconnects"], 0);
    for (id, part) in [("wrong", "refuses the credentials"), ("none", "wants credentials")] {
        server.wait_status(id, part, |status| status["reason"].as_str().is_some_and(|reason| reason.contains(part)));
    }
    let all = server.get("/v1/streams").text() + &server.log().text();
    assert!(!all.contains("s3cret-canary"), "the password shows");
}

#[test]
fn impossible_sound_is_left_out_and_never_stalls_the_picture() {
    let (clip, nginx) = (clip(), Nginx::start());
    let fragmented = ["-movflags", "frag_keyframe+empty_moov+default_base_moof"];
    remux(
        &clip,
        &nginx.file("pcm.mov"),
        &[&["-c:a", "pcm_alaw", "-ar", "8000", "-f", "mov"], &fragmented[..]].concat(),
    );
    let mut file = std::fs::read(nginx.file("pcm.mov")).unwrap();
    // An AudioSampleEntry (ISO/IEC 14496-12 §12.2.3): channels behind 20 bytes, the rate behind 28.
    let entry = file.windows(4).position(|four| four == b"alaw").expect("a track in A-law");
    file[entry + 20..][..2].copy_from_slice(&255u16.to_be_bytes());
    file[entry + 28..][..4].copy_from_slice(&0u32.to_be_bytes());
    std::fs::write(nginx.file("impossible.mp4"), file).unwrap();
    // Every frame of sound, its ADTS header too, is noise.
    remux(&clip, &nginx.file("noise.ts"), &["-bsf:a", "noise=amount=1"]);
    remux(&clip, &nginx.file("noise.flv"), &["-bsf:a", "noise=amount=1"]);
    let named = |id: &str, file: &str| yaml(&nginx.url(file), "").replace("cam:", &format!("{id}:"));
    let server =
        Camshaft::start(&(named("mp4", "impossible.mp4") + &named("ts", "noise.ts") + &named("flv", "noise.flv")));
    let dir = tempfile::tempdir().unwrap();
    for id in ["mp4", "ts", "flv"] {
        expect_pictures(&server, id, 30);
        // With the sound made anew as well, where there seems to be some.
        let file = dir.path().join(format!("{id}.ts"));
        let file = file.to_str().unwrap();
        let url = server.url(&format!("/v1/streams/{id}/live.ts?audio=aac"));
        let url = if server.status(id)["source"]["audio"].is_null() { url.replace("?audio=aac", "") } else { url };
        command_output("ffmpeg", &["-v", "fatal", "-y", "-t", "4", "-i", &url, "-map", "0:v", "-c", "copy", file]);
        let video = ffprobe_packets(file, "v:0");
        assert!(video.len() > 80, "{id}: {} pictures", video.len());
        assert!(video.windows(2).all(|pair| (0.0..0.2).contains(&(pair[1].dts - pair[0].dts))), "{id} has gaps");
    }
    assert!(server.status("mp4")["source"]["audio"].is_null(), "{}", server.status("mp4"));
}

#[test]
fn pushed_multipart_is_a_stream_of_jpegs() {
    let clip = Clip::make(Coding { encoder: "mjpeg", size: (320, 184), frames: 250, ..Coding::default() });
    let server = Camshaft::start("  cam: { source: \"push:\" }\n");
    let clip = clip.path.to_str().unwrap();
    let push = format!(
        "ffmpeg -v error -re -stream_loop -1 -i {clip} -c copy -f mpjpeg -boundary_tag cam - |
         curl -sS -X POST -H 'Content-Type: multipart/x-mixed-replace; boundary=cam' -T - {}",
        server.url("/v1/streams/cam/ingest")
    );
    let mut pusher = Command::new("bash").args(["-c", &push]).process_group(0).spawn().unwrap();
    let status = server.wait_status("cam", "mjpeg", |status| status["source"]["codec"] == "mjpeg");
    assert_eq!((&status["source"]["width"], &status["source"]["height"]), (&320.into(), &184.into()));
    expect_pictures(&server, "cam", 30);
    command_output("kill", &["-TERM", "--", &format!("-{}", pusher.id())]);
    pusher.wait().unwrap();
    expect_reason(&server, "POST");
}

#[test]
fn sources_are_where_they_may_be() {
    let nginx = Nginx::start();
    let url = nginx.url("clip.ts");
    for (sources, part) in [
        ("sources: {}", "127.0.0.1, a loopback address that sources.allow does not list"),
        ("sources: { allow: [0.0.0.0/0] }", "sources.allow"),
        ("sources: { allow: [127.0.0.1], ports: [554] }", "sources.ports does not list"),
    ] {
        let server =
            Camshaft::start_with(sources, &(yaml(&url, "") + "  rtsp: { source: \"rtsp://127.0.0.1:8554/x\" }\n"));
        expect_reason(&server, part);
        server.wait_status("rtsp", "failed", |status| status["state"] == "failed");
    }
    let server = Camshaft::start_with(
        "sources: { allow: [169.254.0.0/16] }",
        &yaml("http://169.254.169.254/latest", ", input: ts"),
    );
    expect_reason(&server, "where clouds keep secrets");
}

#[test]
fn bad_input_is_named_and_costs_nobody_else() {
    const TS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n";
    const NULL_PACKET: &[u8] = &{
        let mut packet = [0xff; 188];
        [packet[0], packet[1], packet[2], packet[3]] = [0x47, 0x1f, 0xff, 0x10];
        packet
    };
    let (clip, nginx) = (clip(), Nginx::start());
    remux(&clip, &nginx.file("flv-really.ts"), &["-f", "flv"]);
    remux(&clip, &nginx.file("late-index.mp4"), &[]);
    std::fs::write(nginx.file("page.html"), "<html>log in</html>").unwrap();
    let cases = [
        (nginx.url("flv-really.ts"), "", "no MPEG-TS"),
        (nginx.url("late-index.mp4"), "", "faststart"),
        (nginx.url("page.html"), "", "'text/html', which says nothing about its format"),
        (nginx.url("page.html"), ", input: mjpeg", "multipart"),
        (nginx.url("page.html"), ", input: jpeg", "no JPEG"),
        (nginx.url("nowhere.ts"), "", "no such path"),
        (hostile_server(b"HTTP/1.1 200 OK\r\nX: ", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), "", "the answer's head has more than"),
        (hostile_server(b"RTSP/1.0 200 OK\r\n\r\n", b""), "", "does not speak HTTP"),
        (hostile_server(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace\r\n\r\n--x\r\nContent-Type: image/jpeg\r\n\r\n", b"xxxx"), "", "neither where a part ends"),
        (hostile_server(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n--x\r\n\r\n", &[b'x'; 4096]), "", "8 MiB"),
        (hostile_server(TS, NULL_PACKET), "", "no picture came"),
        (hostile_server(TS, b""), "", "nothing usable for"),
        (hostile_server(b"", b""), "", "did not answer in time"),
    ];
    let mut streams = "  good: { source: \"test:?width=320&height=180\" }\n".to_owned();
    for (index, (url, more, _)) in cases.iter().enumerate() {
        streams += &format!("  bad-{index}: {{ source: \"{url}\"{more} }}\n");
    }
    let limits = "limits: { connect_timeout: 5s, first_media_timeout: 3s, idle_timeout: 3s }";
    let server = Camshaft::start_with(limits, &streams);
    let mut good = Y4m::new(server.open("/v1/streams/good/live.y4m?fps=5"));
    for (index, (_, _, part)) in cases.iter().enumerate() {
        let id = format!("bad-{index}");
        let status = server
            .wait_status(&id, part, |status| status["reason"].as_str().is_some_and(|reason| reason.contains(part)));
        for worker in ["ingest", "demux"] {
            let rss = status["workers"][worker]["rss_bytes"].as_u64().unwrap_or(0);
            assert!(rss < 192 << 20, "{id}: {worker} takes {rss} bytes");
        }
    }
    assert_eq!(good.numbers(20).len(), 20);
    let status = server.status("good");
    assert_eq!((&status["state"], &status["source"]["reconnects"]), (&"live".into(), &0.into()));
}

#[test]
fn a_dead_demuxer_is_replaced_and_others_do_not_notice() {
    let (clip, nginx) = (clip(), Nginx::start());
    remux(&clip, &nginx.file("clip.ts"), &[]);
    let streams = yaml(&nginx.url("clip.ts"), "") + "  other: { source: \"test:?width=320&height=180\" }\n";
    // The clip ends by itself as well, and each end would double the wait.
    let server = Camshaft::start_with("limits: { backoff_max: 500ms }\n", &streams);
    server.wait_live("cam");
    let pid = server.wait_status("cam", "its demuxer", |status| status["workers"]["demux"]["pid"].is_u64())["workers"]
        ["demux"]["pid"]
        .as_u64()
        .unwrap();
    let sandbox = &server.status("cam")["workers"]["demux"]["sandbox"];
    assert_eq!(sandbox["state"], "enforced", "{sandbox}");
    kill(pid as u32);
    server.wait_status("cam", "it has come again", |status| {
        status["source"]["reconnects"].as_u64() >= Some(1) && status["state"] == "live"
    });
    // The first ones may be from before.
    assert_eq!(Y4m::new(server.open("/v1/streams/cam/live.y4m")).numbers(20).len(), 20);
    assert_eq!(server.status("other")["source"]["reconnects"], 0);
}

#[test]
fn the_commands_of_the_documentation_work() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sources.md")).unwrap();
    let commands: String = text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    let server = Camshaft::start("");
    let commands = commands.replace("http://127.0.0.1:8080", &server.url(""));
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", &commands]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status = server.status("app");
    assert_eq!((&status["source"]["codec"], &status["source"]["width"]), (&"h264".into(), &320.into()), "{status}");

    let yaml = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let lookups = camshaft::config::Lookups {
        env: &|_| Some("secret".to_owned()),
        file: &|path| std::fs::read_to_string(path),
        env_overrides: &[],
    };
    let document = camshaft::config::Document { name: "sources.md".into(), text: yaml };
    let config = camshaft::config::load(&[document], &lookups).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.streams.len(), 5);
}
