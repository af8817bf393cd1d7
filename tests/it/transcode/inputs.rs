//! What goes in.

use super::*;

#[test]
fn every_input_becomes_mp4() {
    let server = Camshaft::start("");
    let dir = tempfile::tempdir().unwrap();
    let inputs: [(&str, &[&str]); 13] = [
        ("plain.mp4", &["-c", "copy"]),
        ("front.mp4", &["-c", "copy", "-movflags", "+faststart"]),
        ("pieces.mp4", &["-c", "copy", "-movflags", "frag_keyframe+empty_moov"]),
        ("a.mov", &["-c", "copy"]),
        ("a.mkv", &["-c", "copy"]),
        ("a.ts", &["-c", "copy"]),
        ("a.flv", &["-c", "copy"]),
        ("a.avi", &["-c:v", "mpeg4", "-c:a", "mp3"]),
        ("a.h264", &["-c:v", "copy", "-an"]),
        ("a.hevc", &["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none", "-an"]),
        ("a.mjpeg", &["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-an"]),
        ("a.webm", &["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"]),
        ("a.y4m", &["-an", "-pix_fmt", "yuv420p"]),
    ];
    for (name, arguments) in inputs {
        let input = file(dir.path(), name, arguments);
        let answer = post(&server, "format=mp4&height=90", &input, &dir.path().join("out.mp4"));
        assert!(answer.whole && answer.status == "200", "{name}: {} {}", answer.status, said(&answer));
        assert_eq!(frames(&answer.path), FRAMES as usize, "{name}");
        let facts = probe(&answer.path, "stream=codec_name,width,height");
        assert!(facts.contains("codec_name=h264\nwidth=160\nheight=90"), "{name}: {facts}");
        let has_sound = !matches!(name, "a.h264" | "a.hevc" | "a.mjpeg" | "a.y4m");
        assert_eq!(
            facts.contains("codec_name=aac") || facts.contains("=mp3") || facts.contains("=opus"),
            has_sound,
            "{name}: {facts}"
        );
        let times = ffprobe_packets(answer.path.to_str().unwrap(), "v:0");
        for (number, packet) in times.iter().enumerate() {
            // ffmpeg leaves a gap behind the first picture of this file.
            let gap = usize::from(name == "a.avi" && number > 0);
            let due = (number + gap) as f64 / 25.0;
            assert!((packet.pts - times[0].pts - due).abs() < 0.0021, "{name}: picture {number} at {}", packet.pts);
        }
        assert!(answer.headers.to_lowercase().contains("x-camshaft-frames-out: 100"), "{name}: {}", answer.headers);
        command_output("ffmpeg", &["-v", "error", "-xerror", "-i", answer.path.to_str().unwrap(), "-f", "null", "-"]);
    }
}

#[test]
fn garbage_of_every_kind_is_refused_before_the_first_byte() {
    let server = Camshaft::start_with("limits: { job_spool: 1M }", "");
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(file(dir.path(), "whole.mp4", &["-c", "copy"])).unwrap();
    let noise: Vec<u8> = (0..200_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut long = whole.clone();
    long.splice(32..32, [&[0, 32, 0, 0][..], b"mdat", &vec![7; (2 << 20) - 8]].concat());
    let cases: [(&str, Vec<u8>); 7] = [
        ("nothing", vec![]),
        ("noise", noise.clone()),
        ("a playlist", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n".to_vec()),
        ("a concat script", b"ffconcat version 1.0\nfile /etc/passwd\n".to_vec()),
        ("an mp4 without its index", whole[..whole.len() / 2].to_vec()),
        ("a matroska of noise", [&[0x1a, 0x45, 0xdf, 0xa3][..], &noise].concat()),
        ("an mp4 that does not fit the spool", long),
    ];
    for (what, bytes) in cases {
        let path = dir.path().join("garbage");
        std::fs::write(&path, bytes).unwrap();
        let answer = post(&server, "format=mp4", &path, &dir.path().join("out"));
        assert_eq!(answer.status, "422", "{what}: {}", said(&answer));
        assert!(said(&answer).contains("\"kind\":\"impossible\""), "{what}: {}", said(&answer));
    }
    server.wait_metric("camshaft_jobs_total{result=\"impossible\"}", 7.0);
    assert_eq!(server.metric("camshaft_jobs_running"), Some(0.0));
}

#[test]
fn a_file_that_ends_early_gives_no_whole_answer() {
    let server = Camshaft::start("");
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(file(dir.path(), "front.mp4", &["-c", "copy", "-movflags", "+faststart"])).unwrap();
    let path = dir.path().join("cut.mp4");
    std::fs::write(&path, &whole[..whole.len() * 2 / 3]).unwrap();
    let answer = post(&server, "format=mp4", &path, &dir.path().join("out.mp4"));
    assert_eq!(answer.status, "200");
    assert!(!answer.whole, "a broken file ended like a whole one: {}", answer.headers);
    server.wait_metric("camshaft_jobs_total{result=\"broken\"}", 1.0);
}
