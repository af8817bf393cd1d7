//! How long ffmpeg takes to show its first picture of a transport stream, with the options that it has by itself.

use std::time::{Duration, Instant};

use crate::support::{Camera, Camshaft, Clip, Coding, command_output};

/// Asks at moments spread over the camera's GOP of two seconds; what counts is the median.
fn median_wait(server: &Camshaft) -> Duration {
    server.wait_status("cam", "eight seconds in the ring", |status| status["ring"]["seconds"].as_f64() > Some(8.0));
    let url = server.url("/v1/streams/cam/live.ts");
    let wait = |_| {
        let start = Instant::now();
        command_output("ffmpeg", &["-v", "error", "-i", &url, "-frames:v", "1", "-f", "rawvideo", "-"]);
        start.elapsed()
    };
    let mut waits: Vec<Duration> = (0..5).map(wait).collect();
    waits.sort();
    println!("first picture after {waits:?}");
    waits[2]
}

#[test]
fn ffmpeg_shows_a_silent_camera_at_once() {
    let server = Camshaft::start("  cam: { source: \"test:?width=320&height=180&fps=25&gop=50&bitrate=500k\" }\n");
    let wait = median_wait(&server);
    assert!(wait < Duration::from_millis(1500), "{wait:?}");
}

#[test]
fn ffmpeg_shows_a_camera_with_sound_at_once() {
    let clip = Clip::make(Coding { audio: true, ..Coding::default() });
    let camera = Camera::start(&clip, &["--transport", "tcp", "--audio", "aac"]);
    let server = Camshaft::start(&format!("  cam: {{ source: \"{}\" }}\n", camera.url()));
    server.wait_status("cam", "that audio came", |status| status["source"]["audio"] == "aac");
    let wait = median_wait(&server);
    assert!(wait < Duration::from_millis(1500), "{wait:?}");
}
