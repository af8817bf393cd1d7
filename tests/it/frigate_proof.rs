//! The stand-in ffmpeg between a camera and a reader that does all that Frigate does (`tests/support/frigate_reader.py`): its
//! pipe, its session, its watchdog, its SIGTERM. Whatever dies behind it, no picture is late and none is short.

use std::time::Duration;

use crate::support::{
    Action, Call, Camera, Camshaft, Clip, Coding, Counter, FrigateReader, Gpu, Picture, StandIn, command_output, kill,
};

const SIZE: (u32, u32) = (320, 180);
/// What a reader of Frigate's may wait for, although camshaft loses a worker or its GPU.
const LONGEST_GAP: Duration = Duration::from_millis(6500);

/// Frigate 0.18's `detect` with `preset-vaapi`, behind global arguments and in front of the output.
const VAAPI: &str = "-hwaccel_flags allow_profile_mismatch -hwaccel vaapi -hwaccel_device /dev/dri/renderD128 \
    -hwaccel_output_format vaapi";
const GENERIC: &str = "-user_agent FFmpeg_Frigate/0.18.0 -avoid_negative_ts make_zero -fflags +genpts+discardcorrupt \
    -rtsp_transport tcp -timeout 10000000 -use_wallclock_as_timestamps 1";

fn detect(url: &str) -> Vec<String> {
    let (width, height) = SIZE;
    let line = format!(
        "-hide_banner -loglevel warning -threads 2 {VAAPI} {GENERIC} -i {url} -r 5 \
         -vf fps=5,scale_vaapi=w={width}:h={height},hwdownload,format=nv12 -threads 2 -f rawvideo -pix_fmt yuv420p pipe:"
    );
    line.split_whitespace().map(str::to_owned).collect()
}

/// The same as Frigate 0.18 has it without hardware.
fn detect_in_software(url: &str) -> Vec<String> {
    let (width, height) = SIZE;
    let line = format!(
        "-hide_banner -loglevel warning -threads 2 {GENERIC} -i {url} -r 5 -vf fps=5,scale={width}:{height} -threads 2 \
         -f rawvideo -pix_fmt yuv420p pipe:"
    );
    line.split_whitespace().map(str::to_owned).collect()
}

fn clip() -> Clip {
    Clip::make(Coding { size: (640, 360), gop: 25, frames: 1500, ..Coding::default() })
}

fn stand_in(server: &Camshaft, camera: &Camera) -> FrigateReader {
    let mut command = StandIn::command("ffmpeg", &format!("unix://{}", server.socket().display()));
    command.args(detect(&camera.url()));
    FrigateReader::start(&command, SIZE)
}

fn numbers(pictures: &[Picture]) -> Vec<u32> {
    pictures.iter().map(|picture| picture.number().expect("a number in the picture")).collect()
}

/// No picture twice, none back, none late, and the end that Frigate expects.
fn expect_whole(reader: FrigateReader) -> Vec<Picture> {
    let gap = reader.longest_gap();
    let (exit, pictures) = reader.stop();
    assert!(gap <= LONGEST_GAP, "{gap:?}");
    assert_eq!(exit, 255);
    let numbers = numbers(&pictures);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    pictures
}

fn lease(server: &Camshaft) -> String {
    server.get("/v1/streams").json()[0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn workers_die_while_frigate_reads() {
    let gpu = Gpu::haswell();
    for server in [Camshaft::start(""), Camshaft::start_on(&gpu, "", "")] {
        let camera = Camera::start(&clip(), &[]);
        let reader = stand_in(&server, &camera);
        for pictures in [10, 25] {
            reader.wait(pictures);
            kill(server.pixels_pid(&lease(&server)));
        }
        reader.wait(40);
        expect_whole(reader);
    }
    // Until the first death, for which the GPU is left alone for a while.
    assert!(gpu.count(Counter::H264Decoded) >= 40, "the second was not decoded on the GPU");
}

#[test]
fn the_gpu_fails_while_frigate_reads() {
    for action in [Action::Status(0x17), Action::BlockForEver, Action::Abort, Action::StatusAtSync(0x17)] {
        let gpu = Gpu::haswell();
        let camera = Camera::start(&clip(), &[]);
        let server = Camshaft::start_on(&gpu, "hardware: { cool_down: 1h }", "");
        let reader = stand_in(&server, &camera);
        reader.wait(15);
        let decoded = gpu.count(Counter::H264Decoded);
        assert!(decoded >= 50, "{decoded} pictures were decoded on the GPU");
        let fault = gpu.break_for_good(Call::EndDecode, 0, action);
        server.wait_status(&lease(&server), "that the CPU decodes", |status| status["accel"]["decode"] == "software");
        reader.wait(reader.count() + 15);
        assert!(gpu.hits(fault) > 0);
        expect_whole(reader);
    }
}

/// Mean over the planes' squares, in dB.
fn psnr(one: &[u8], two: &[u8]) -> f64 {
    let squares: f64 = one.iter().zip(two).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    if squares == 0.0 { 99.0 } else { 10.0 * (255.0f64.powi(2) * one.len() as f64 / squares).log10() }
}

#[test]
fn the_first_pictures_are_those_of_the_real_ffmpeg() {
    const PICTURES: usize = 40;
    let clip = clip();
    let camera = Camera::start(&clip, &[]);
    let mut real = std::process::Command::new("ffmpeg");
    real.args(detect_in_software(&camera.url()));
    let real = FrigateReader::start(&real, SIZE);
    real.wait(PICTURES);
    let (exit, mut reference) = real.stop();
    assert_eq!(exit, 255);
    reference.truncate(PICTURES);
    let scale = format!("scale={}:{}", SIZE.0, SIZE.1);
    let file = clip.path.to_str().unwrap();
    let options = ["-v", "error", "-i", file, "-frames:v", "400", "-vf", &scale, "-f", "rawvideo"];
    let raw = command_output("ffmpeg", &[&options[..], &["-pix_fmt", "yuv420p", "-"]].concat());
    let exact: Vec<&[u8]> = raw.chunks_exact(reference[0].data.len()).collect();
    let gpu = Gpu::haswell();
    for (server, same_scaler) in [(Camshaft::start(""), true), (Camshaft::start_on(&gpu, "", ""), false)] {
        let camera = Camera::start(&clip, &[]);
        let reader = stand_in(&server, &camera);
        reader.wait(PICTURES);
        let mut pictures = expect_whole(reader);
        pictures.truncate(PICTURES);
        // Equally many pictures for the same time of the camera, but for the phase of the grid at either end.
        let span = |pictures: &[Picture]| numbers(pictures).last().unwrap() - numbers(pictures)[0];
        let (ours, theirs) = (span(&pictures), span(&reference));
        assert!(ours.abs_diff(theirs) <= 10, "{PICTURES} pictures take {ours} of the camera's, ffmpeg's {theirs}");
        for picture in &pictures {
            let number = picture.number().unwrap();
            let decibels = psnr(&picture.data, exact[number as usize]);
            let least = if same_scaler { 40.0 } else { 35.0 };
            assert!(decibels >= least, "picture {number} has {decibels} dB");
        }
    }
    assert!(gpu.count(Counter::Scaled) >= PICTURES as u64, "the second was not scaled on the GPU");
}
