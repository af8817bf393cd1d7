//! Every live output, judged by its pictures.

use std::io::Read;
use std::time::Instant;

use camshaft::media::pattern::read_number;
use camshaft::media::{Geometry, PixelFormat};

use crate::support::{Camshaft, Y4m, command_output, ffprobe_packets, numbers_in, psnr, whole_boxes};

fn clock(size: (u32, u32), more: &str) -> Camshaft {
    let (width, height) = size;
    Camshaft::start(&format!("  clock: {{ source: \"test:?width={width}&height={height}&fps=25{more}\" }}\n"))
}

#[test]
fn pictures_are_those_of_the_source_at_any_size() {
    let server = clock((640, 360), "&bitrate=4M");
    // Smaller, larger than the source, one side given, odd sides, of which some pictures are blurred a little more.
    for (query, size) in [
        ("", (640, 360)),
        ("?width=320", (320, 180)),
        ("?w=1280&h=720", (1280, 720)),
        ("?height=200", (356, 200)),
        ("?width=321&height=181", (321, 181)),
    ] {
        let mut raw = Y4m::new(server.open(&format!("/v1/streams/clock/live.y4m{query}")));
        let mut last = None;
        for _ in 0..6 {
            let picture = raw.next().unwrap();
            assert_eq!((picture.size.width, picture.size.height), size, "{query}");
            let number = picture.number().expect("a number");
            assert!(last.is_none_or(|last| number > last));
            last = Some(number);
            let least = if size.0 % 2 == 1 { 27.0 } else { 28.0 };
            let quality = psnr(&picture, number);
            assert!(quality > least, "{query}: {quality:.1} dB");
        }
    }
}

#[test]
fn fps_picks_on_a_grid_and_repeats_above_the_source() {
    let server = clock((320, 180), "");
    // The first picture is the one at hand, so that a viewer need not wait for the grid.
    let five = Y4m::new(server.open("/v1/streams/clock/live.y4m?fps=5")).numbers(7).split_off(1);
    assert!(five.windows(2).all(|pair| pair[1] - pair[0] == 5), "{five:?}");
    let mut fifty = Y4m::new(server.open("/v1/streams/clock/live.y4m?fps=50"));
    assert!(fifty.header.contains("F50:1"), "{}", fifty.header);
    let fifty = fifty.numbers(21);
    assert!((9..=11).contains(&(fifty[20] - fifty[0])), "{fifty:?}");
    assert!(fifty.windows(2).all(|pair| pair[1] - pair[0] <= 1), "{fifty:?}");
}

#[test]
fn equal_requests_share_one_rendition() {
    let server = clock((320, 180), "");
    let mut readers: Vec<_> =
        (0..4).map(|_| Y4m::new(server.open("/v1/streams/clock/live.y4m?width=160&fps=5"))).collect();
    let mut also = server.open("/v1/streams/clock/live.raw?w=160&fps=5&format=i420");
    also.read_exact(&mut [0; 100]).unwrap();
    for reader in &mut readers {
        reader.numbers(2);
    }
    let status = server.status("clock");
    assert_eq!(status["renditions"].as_array().unwrap().len(), 1, "{status}");
    assert_eq!(status["renditions"][0]["consumers"], 5);
    assert_eq!(status["accel"]["decode"], "software");
}

#[test]
fn raw_frames_come_in_every_format() {
    let server = clock((320, 180), "");
    let size = Geometry::new(320, 180);
    for (name, format) in PixelFormat::ALL {
        let path = format!("/v1/streams/clock/live.raw?format={name}");

        let mut body = server.open(&path);
        let mut frame = vec![0; format.frame_bytes(size)];
        for _ in 0..2 {
            body.read_exact(&mut frame).unwrap();
        }
        let luma: Vec<u8> = match format {
            PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Gray => frame[..320 * 180].to_vec(),
            // The code's blocks are grey: any of the three channels tells black from white.
            PixelFormat::Rgb24 | PixelFormat::Bgr24 => frame.chunks_exact(3).map(|pixel| pixel[1]).collect(),
        };
        assert!(read_number(&luma, size, 320).is_some(), "{name}");
    }
}

#[test]
fn raw_names_its_shape_in_headers_and_frames_in_every_part() {
    let server = clock((320, 180), "");
    let mut child = std::process::Command::new("curl")
        .args(["-sSN", "-D", "-", "-m", "10", &server.url("/v1/streams/clock/live.frames?format=jpeg&width=160&fps=5")])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = Vec::new();
    let mut pipe = child.stdout.take().unwrap();
    let mut chunk = [0; 4096];
    while text.windows(10).filter(|window| window.eq_ignore_ascii_case(b"x-sequence")).count() < 3 {
        let count = pipe.read(&mut chunk).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&chunk[..count]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let text = String::from_utf8_lossy(&text).to_lowercase();
    for header in
        ["multipart/x-mixed-replace", "content-length:", "x-sequence:", "x-pts:", "x-wall-clock:", "x-dropped:"]
    {
        assert!(text.contains(header), "no {header} in {text}");
    }
    let answer = command_output(
        "sh",
        &[
            "-c",
            &format!(
                "curl -sSN -m 2 -D - -o /dev/null '{}' 2>/dev/null || true",
                server.url("/v1/streams/clock/live.raw?width=160&format=nv12")
            ),
        ],
    );
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    for header in
        ["x-video-size: 160x90", "x-video-format: nv12", "x-video-fps: 25", "content-type: application/octet-stream"]
    {
        assert!(answer.contains(header), "no {header} in {answer}");
    }
}

#[test]
fn a_crop_shows_that_part() {
    let server = clock((640, 360), "&bitrate=4M");
    // The left half of the code: sixteen columns, of which eight remain, each twice as wide after scaling back.
    let mut cropped = Y4m::new(server.open("/v1/streams/clock/live.y4m?crop=320:360:0:0"));
    let picture = cropped.next().unwrap();
    assert_eq!((picture.size.width, picture.size.height), (320, 360));
    let mut whole = Y4m::new(server.open("/v1/streams/clock/live.y4m"));
    let reference = whole.next().unwrap();
    // The still ground of both pictures is the same, wherever time has moved things.
    let row = 350;
    let crop_row = &picture.luma()[row * 320..][..320];
    let whole_row = &reference.luma()[row * 640..][..320];
    let difference: u32 = crop_row.iter().zip(whole_row).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    assert!(difference / 320 < 6, "mean difference {}", difference / 320);
    let outside = server.get("/v1/streams/clock/live.y4m?crop=640:360:2:0");
    assert_eq!(outside.status, 422, "{}", outside.text());
}

#[test]
fn encodes_carry_the_source_and_repeat_their_parameter_sets() {
    let server = clock((320, 180), "");
    let dir = tempfile::tempdir().unwrap();
    for (codec, extension) in
        [("h264", "mp4"), ("h264", "ts"), ("hevc", "mp4"), ("hevc", "ts"), ("h264", "h264"), ("hevc", "h265")]
    {
        let path = format!("/v1/streams/clock/live.{extension}?codec={codec}&width=320&height=180&gop=25&bitrate=1M");
        let file = dir.path().join(format!("{codec}.{extension}"));
        let mut data = vec![0; 250_000];
        server.open(&path).read_exact(&mut data).unwrap();
        if extension == "mp4" {
            data.truncate(whole_boxes(&data).len());
        }
        std::fs::write(&file, &data).unwrap();
        let file = file.to_str().unwrap();
        let decoded = command_output(
            "ffmpeg",
            &[
                "-v",
                "error",
                "-i",
                file,
                "-frames:v",
                "30",
                "-f",
                "rawvideo",
                "-pix_fmt",
                "gray",
                "-vsync",
                "passthrough",
                "-",
            ],
        );
        let size = Geometry::new(320, 180);
        let numbers: Vec<_> =
            decoded.chunks_exact(320 * 180).map(|luma| read_number(luma, size, 320).expect("a number")).collect();
        assert_eq!(numbers.len(), 30, "{path}");
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{path}: {numbers:?}");
        let stream = command_output(
            "ffprobe",
            &["-v", "error", "-show_entries", "stream=codec_name,codec_tag_string", "-of", "csv=p=0", file],
        );
        let stream = String::from_utf8(stream).unwrap();
        assert!(stream.starts_with(codec), "{path}: {stream}");
        if extension == "mp4" {
            let tag = if codec == "h264" { "avc3" } else { "hev1" };
            assert!(stream.contains(tag), "{path}: {stream}");
        }
    }
    let annexb = std::fs::read(dir.path().join("h264.h264")).unwrap();
    let units = camshaft::media::nal::annexb_units(&annexb);
    let count = |kind: u8| units.iter().filter(|unit| unit[0] & 0x1f == kind).count();
    assert!(count(5) >= 2 && count(7) >= count(5) && count(8) >= count(5), "{} IDR, {} SPS", count(5), count(7));
}

#[test]
fn a_new_viewer_of_an_encode_starts_with_an_idr_of_the_present() {
    let server = clock((320, 180), "&gop=250");
    let path = "/v1/streams/clock/live.ts?codec=h264&gop=1000&bitrate=1M";
    let mut first = server.open(path);
    first.read_exact(&mut [0; 100_000]).unwrap();
    let joined = Instant::now();
    let mut second = server.open(path);
    let mut data = vec![0; 30_000];
    second.read_exact(&mut data[..1]).unwrap();
    let waited = joined.elapsed();
    second.read_exact(&mut data[1..]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &data).unwrap();
    let packets = ffprobe_packets(file.path().to_str().unwrap(), "v:0");
    assert!(packets[0].key);
    assert!(waited.as_secs_f64() < 0.5, "{waited:?}");
}

#[test]
fn a_copy_joins_at_once_from_the_ring() {
    let server = clock((320, 180), "&gop=100");
    server.wait_status("clock", "two seconds in the ring", |status| status["ring"]["seconds"].as_f64().unwrap() > 2.0);
    let mut waits: Vec<_> = (0..9)
        .map(|_| {
            let start = Instant::now();
            server.open("/v1/streams/clock/live.mp4").read_exact(&mut [0]).unwrap();
            start.elapsed()
        })
        .collect();
    waits.sort();
    assert!(waits[4].as_millis() < 100, "median of {waits:?}");
}

#[test]
fn mjpeg_parts_are_jpegs_that_ffmpeg_reads() {
    let server = clock((320, 180), "");
    let url = server.url("/v1/streams/clock/live.mjpeg?fps=5&quality=90");
    let raw = command_output(
        "ffmpeg",
        &["-v", "error", "-f", "mpjpeg", "-i", &url, "-frames:v", "5", "-f", "rawvideo", "-pix_fmt", "gray", "-"],
    );
    let size = Geometry::new(320, 180);
    let numbers: Vec<_> = raw.chunks_exact(320 * 180).map(|luma| read_number(luma, size, 320).unwrap()).collect();
    assert_eq!(numbers.len(), 5);
    assert!(numbers[1..].windows(2).all(|pair| pair[1] - pair[0] == 5), "{numbers:?}");
}

/// The number in a JPEG, as ffmpeg decodes it.
fn number_of_jpeg(jpeg: &[u8], size: (u32, u32)) -> u32 {
    assert!(jpeg.starts_with(&[0xff, 0xd8, 0xff]), "no JPEG");
    let file = tempfile::Builder::new().suffix(".jpg").tempfile().unwrap();
    std::fs::write(file.path(), jpeg).unwrap();
    numbers_in(file.path().to_str().unwrap(), size)[0].expect("a number")
}

#[test]
fn stills_come_with_and_without_a_live_decoder_and_from_the_past() {
    let server = clock((640, 360), "&gop=50");
    server.wait_status("clock", "five seconds in the ring", |status| status["ring"]["seconds"].as_f64().unwrap() > 5.0);
    let cold = server.get("/v1/streams/clock/frame.jpg?width=320");
    assert_eq!((cold.status, cold.header("content-type")), (200, "image/jpeg"), "{}", cold.text());
    let cold = number_of_jpeg(&cold.body, (320, 180));
    assert!(server.status("clock")["workers"]["pixels"].is_null(), "a still starts no live decoder");
    let past = server.get("/v1/streams/clock/frame.jpg?at=-3s");
    let past = number_of_jpeg(&past.body, (640, 360));
    let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m?width=320"));
    raw.numbers(2);
    let warm = server.get("/v1/streams/clock/frame.jpeg?w=320&q=95");
    let warm = number_of_jpeg(&warm.body, (320, 180));
    assert!(warm > cold && cold > past, "{past} {cold} {warm}");
    let expected = cold.saturating_sub(75);
    assert!(past.abs_diff(expected) < 40, "3 s ago was {past}, expected about {expected}");
    assert!(server.metric("camshaft_stills_total{made_by=\"live_worker\",stream=\"clock\"}") == Some(1.0));
    let before = server.get("/v1/streams/clock/frame.jpg?at=-3600s");
    assert_eq!(before.status, 404, "{}", before.text());
}
