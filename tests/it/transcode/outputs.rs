//! What comes out.

use super::*;
use crate::support::{Counter, Gpu};

#[test]
fn every_output_is_what_it_says() {
    let server = Camshaft::start("");
    let dir = tempfile::tempdir().unwrap();
    let input = file(dir.path(), "in.ts", &["-c", "copy"]);
    let outputs: [(&str, &str, usize, &str); 12] = [
        ("format=mp4&codec=copy", "o.mp4", 100, "codec_name=h264"),
        ("format=mkv&codec=copy", "o.mkv", 100, "codec_name=h264"),
        ("format=ts&codec=copy", "o.ts", 100, "codec_name=h264"),
        ("format=ts&height=90&audio=aac", "o.ts", 100, "codec_name=aac"),
        ("format=mkv&codec=hevc&height=90", "o.mkv", 100, "codec_name=hevc"),
        ("format=mp4&codec=mjpeg&audio=none", "o.mp4", 100, "codec_name=mjpeg"),
        ("format=mkv&codec=av1&w=160&duration=0.4", "o.mkv", 10, "codec_name=av1"),
        ("format=mp4&fps=5", "o.mp4", 20, "codec_name=h264"),
        ("format=mp4&start=1&duration=2", "o.mp4", 50, "codec_name=h264"),
        ("format=mjpeg&height=90&quality=60", "o.mjpeg", 100, "codec_name=mjpeg"),
        ("format=y4m&width=160&height=90", "o.y4m", 100, "codec_name=rawvideo"),
        ("format=jpg&at=2", "o.jpg", 1, "codec_name=mjpeg"),
    ];
    for (query, name, count, fact) in outputs {
        let answer = post(&server, query, &input, &dir.path().join(name));
        assert!(answer.whole && answer.status == "200", "{query}: {} {}", answer.status, said(&answer));
        assert_eq!(frames(&answer.path), count, "{query}");
        let facts = probe(&answer.path, "stream=codec_name");
        assert!(facts.contains(fact), "{query}: {facts}");
    }
    let raw = post(&server, "format=raw&pixels=gray&width=64&height=36&audio=none", &input, &dir.path().join("o.raw"));
    assert_eq!(std::fs::metadata(&raw.path).unwrap().len(), 100 * 64 * 36);
    let query = "input=raw&input_width=64&input_height=36&input_fps=25&input_format=gray";
    let back = post(&server, query, &raw.path, &dir.path().join("back.mp4"));
    assert_eq!((back.whole, frames(&back.path)), (true, 100), "{}", said(&back));
    let late = post(&server, "format=jpg&at=60", &input, &dir.path().join("late.jpg"));
    assert!(late.status == "422" && said(&late).contains("(at)"), "{} {}", late.status, said(&late));
}

#[test]
fn the_header_accept_names_the_format_where_the_query_does_not() {
    let server = Camshaft::start("");
    let dir = tempfile::tempdir().unwrap();
    let input = file(dir.path(), "in.ts", &["-c", "copy"]);
    let data = format!("@{}", input.display());
    for (accept, query, container) in [
        ("video/mp2t", "codec=copy", "mpegts"),
        ("text/html, video/x-matroska;q=0.9", "codec=copy", "matroska,webm"),
        ("video/mp2t", "format=mp4&codec=copy", "mov,mp4,m4a,3gp,3g2,mj2"),
        ("*/*", "codec=copy", "mov,mp4,m4a,3gp,3g2,mj2"),
    ] {
        let (url, accept) = (server.url(&format!("/v1/transcode?{query}")), format!("Accept: {accept}"));
        let made = dir.path().join("made");
        let body = command_output("curl", &["-sSf", "-H", &accept, "--data-binary", &data, &url]);
        std::fs::write(&made, body).unwrap();
        assert!(probe(&made, "format=format_name").contains(&format!("={container}\n")), "{accept} {query}");
    }
}

#[test]
fn hardware_does_the_work_where_it_can() {
    let gpu = Gpu::haswell();
    let server = Camshaft::start_on(&gpu, "", "");
    server.wait_metric("camshaft_device_usable{device=\"/dev/dri/renderD128\"}", 1.0);
    let dir = tempfile::tempdir().unwrap();
    let input = file(dir.path(), "in.ts", &["-c", "copy"]);
    let before = gpu.count(Counter::H264Decoded);
    let answer = post(&server, "format=mp4&height=90", &input, &dir.path().join("out.mp4"));
    assert!(answer.whole, "{} {}", answer.status, said(&answer));
    assert_eq!(frames(&answer.path), FRAMES as usize);
    let head = answer.headers.to_lowercase();
    assert!(head.contains("x-camshaft-decode: hardware") && head.contains("x-camshaft-encode: hardware"), "{head}");
    assert!(gpu.count(Counter::H264Decoded) >= before + u64::from(FRAMES), "the driver counted nothing");
    let software = post(&server, "format=mp4&policy=software", &input, &dir.path().join("soft.mp4"));
    assert!(software.headers.to_lowercase().contains("x-camshaft-decode: software"), "{}", software.headers);
}

#[test]
fn rotation_is_kept_where_it_can_be_said_and_made_where_it_cannot() {
    let server = Camshaft::start("");
    let dir = tempfile::tempdir().unwrap();
    let turned = dir.path().join("turned.mp4");
    let clip = clip();
    let path = turned.to_str().unwrap();
    let source = clip.path.to_str().unwrap();
    // FFmpeg 6 came to know the first way, and 7 no longer knows the second one.
    let display = ["-v", "error", "-y", "-display_rotation", "90", "-i", source, "-c", "copy", path];
    if !Command::new("ffmpeg").args(display).output().unwrap().status.success() {
        let metadata = ["-v", "error", "-y", "-i", source, "-c", "copy", "-metadata:s:v:0", "rotate=90", path];
        command_output("ffmpeg", &metadata);
    }
    let kept = post(&server, "format=mp4", &turned, &dir.path().join("kept.mp4"));
    let facts = probe(&kept.path, "stream=width,height:stream_side_data=rotation");
    assert!(facts.contains("width=320\nheight=180") && facts.contains("rotation="), "{facts}");
    let made = post(&server, "format=ts", &turned, &dir.path().join("made.ts"));
    assert!(probe(&made.path, "stream=width,height").contains("width=180\nheight=320"));
}

#[test]
fn colours_keep_their_meaning() {
    let server = Camshaft::start("");
    let dir = tempfile::tempdir().unwrap();
    // FFmpeg 5 writes the options, FFmpeg 7 what the pictures say.
    let tagged = "setparams=color_primaries=bt470bg:color_trc=smpte170m:colorspace=bt470bg";
    let colours = ["-color_primaries", "bt470bg", "-color_trc", "smpte170m", "-colorspace", "bt470bg", "-vf", tagged];
    let coded = ["-c:v", "libx264", "-preset", "ultrafast", "-an"];
    let limited = file(dir.path(), "limited.mp4", &[&coded[..], &colours, &["-color_range", "tv"]].concat());
    let full = file(dir.path(), "full.mkv", &[&coded[..], &colours, &["-pix_fmt", "yuvj420p"]].concat());
    let entries = "stream=color_range,color_space,color_transfer,color_primaries";
    for input in [&limited, &full] {
        for (query, name) in [
            ("format=mp4&height=90", "o.mp4"),
            ("format=mkv&codec=hevc&height=90", "o.mkv"),
            ("format=ts&height=90", "o.ts"),
            ("format=mp4&codec=copy", "copy.mp4"),
        ] {
            let answer = post(&server, query, input, &dir.path().join(name));
            assert!(answer.whole && answer.status == "200", "{query}: {}", said(&answer));
            let facts = probe(&answer.path, entries);
            let range = if name == "copy.mp4" && input == &full { "pc" } else { "tv" };
            let expected = format!(
                "color_range={range}\ncolor_space=bt470bg\ncolor_transfer=smpte170m\ncolor_primaries=bt470bg\n"
            );
            // Of a transport stream ffprobe lists a stream twice.
            assert!(facts.starts_with(&expected), "{query} of {input:?}: {facts}");
        }
    }
    // The same light, whichever range it is told in.
    let light = |path: &Path| -> f64 {
        let path = path.to_str().unwrap();
        let filter = "scale=1:1:flags=area:out_range=full,format=gray";
        let arguments = ["-v", "error", "-i", path, "-frames:v", "1", "-vf", filter, "-f", "rawvideo", "-"];
        command_output("ffmpeg", &arguments)[0].into()
    };
    let made = post(&server, "format=mp4&quality=90", &full, &dir.path().join("light.mp4"));
    let (before, after) = (light(&full), light(&made.path));
    assert!((before - after).abs() <= 2.0, "{before} became {after}");
}

#[test]
fn interlaced_pictures_are_deinterlaced() {
    let server = Camshaft::start("");
    let dir = tempfile::tempdir().unwrap();
    let input = interlaced(dir.path());
    let (woven, _) = fields_in(&input);
    assert!(woven > 80, "the input has {woven} pictures of two fields");
    for query in ["format=mp4&quality=90", "format=ts&fps=5&quality=90", "format=y4m"] {
        let answer = post(&server, query, &input, &dir.path().join("o"));
        assert!(answer.whole && answer.status == "200", "{query}: {}", said(&answer));
        let (woven, whole) = fields_in(&answer.path);
        assert!(whole > 3 * woven, "{query}: {woven} pictures of two fields, {whole} whole ones");
    }
}

#[test]
fn a_driver_that_cannot_deinterlace_leaves_it_to_the_cpu() {
    let gpu = Gpu::haswell();
    let server = Camshaft::start_on(&gpu, "", "");
    server.wait_metric("camshaft_device_usable{device=\"/dev/dri/renderD128\"}", 1.0);
    let dir = tempfile::tempdir().unwrap();
    let input = interlaced(dir.path());
    let answer = post(&server, "format=mp4&quality=90", &input, &dir.path().join("o.mp4"));
    assert!(answer.whole && answer.status == "200", "{}", said(&answer));
    assert!(answer.headers.to_lowercase().contains("x-camshaft-decode: software"), "{}", answer.headers);
    let (woven, whole) = fields_in(&answer.path);
    assert!(whole > 3 * woven, "{woven} pictures of two fields, {whole} whole ones");
}

/// Four seconds of woven fields.
fn interlaced(dir: &Path) -> PathBuf {
    let input = dir.join("fields.ts");
    let path = input.to_str().unwrap();
    let (source, fields) = ("testsrc2=size=320x180:rate=50:duration=4", "tinterlace=interleave_top,fieldorder=tff");
    let make = ["-v", "error", "-y", "-f", "lavfi", "-i", source, "-vf", fields, "-pix_fmt", "yuv420p"];
    let coding = ["-c:v", "libx264", "-preset", "ultrafast", "-flags", "+ilme+ildct", "-x264-params", "tff=1"];
    command_output("ffmpeg", &[&make[..], &coding, &[path]].concat());
    input
}

/// How many pictures ffmpeg's idet takes for two fields woven together, and how many for whole ones.
fn fields_in(path: &Path) -> (u32, u32) {
    let arguments = ["-hide_banner", "-nostats", "-i", path.to_str().unwrap(), "-vf", "idet", "-f", "null", "-"];
    let output = Command::new("ffmpeg").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().rfind(|line| line.contains("Multi frame detection")).unwrap_or_else(|| panic!("{text}"));
    let count = |kind: &str| -> u32 {
        let rest = line.split_once(kind).unwrap_or_else(|| panic!("{line}")).1;
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    (count("TFF:") + count("BFF:"), count("Progressive:"))
}
