//! Clips whose every picture carries its number, encoded by the ffmpeg program.

use camshaft::media::Geometry;
use camshaft::media::pattern::Painter;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Two tests that want the same clip wait for one to make it.
static MAKING: Mutex<()> = Mutex::new(());

/// How a clip is coded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coding {
    /// `libx264`, `libx265`, `mjpeg` or `mpeg4`.
    pub encoder: &'static str,
    /// Width and height.
    pub size: (u32, u32),
    /// Frames from IDR to IDR.
    pub gop: u32,
    /// B frames in a row.
    pub bframes: u32,
    /// Frames; 25 a second.
    pub frames: u32,
    /// Further arguments for ffmpeg's encoder.
    pub extra: &'static [&'static str],
    /// Whether a sine tone comes along as AAC.
    pub audio: bool,
}

impl Default for Coding {
    fn default() -> Self {
        Self { encoder: "libx264", size: (320, 180), gop: 50, bframes: 0, frames: 1500, extra: &[], audio: false }
    }
}

/// A clip on disk.
pub struct Clip {
    /// The MP4 file.
    pub path: PathBuf,
    /// How it is coded.
    pub coding: Coding,
}

impl Clip {
    /// The clip coded so; made once, kept beside the build.
    pub fn make(coding: Coding) -> Self {
        let Coding { encoder, size, gop, bframes, frames, extra, audio } = coding;
        let extra = extra.concat();
        let name = format!("{encoder}-{}x{}-g{gop}-b{bframes}-{frames}-{audio}{extra}.mp4", size.0, size.1);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _guard = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !path.exists() {
            encode(&path, coding);
        }
        Self { path, coding }
    }

    /// `h264`, `h265`, `jpeg` or `mpeg4`, as the camera script names it.
    pub fn codec(&self) -> &'static str {
        match self.coding.encoder {
            "libx265" => "h265",
            "mjpeg" => "jpeg",
            "mpeg4" => "mpeg4",
            _ => "h264",
        }
    }
}

fn encode(path: &Path, coding: Coding) {
    let size = format!("{}x{}", coding.size.0, coding.size.1);
    let seconds = (f64::from(coding.frames) / 25.0).to_string();
    let (gop, bframes) = (coding.gop.to_string(), coding.bframes.to_string());
    let tone = format!("sine=frequency=440:duration={seconds}");
    let scratch = path.with_extension("part.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-r", "25", "-s", &size, "-i", "-"]);
    if coding.audio {
        command.args(["-f", "lavfi", "-i", &tone, "-c:a", "aac", "-b:a", "64k"]);
    }
    command.args(["-c:v", coding.encoder, "-g", &gop, "-bf", &bframes]);
    if !["mjpeg", "mpeg4"].contains(&coding.encoder) {
        command.args(["-preset", "ultrafast", "-pix_fmt", "yuv420p"]);
    }
    match coding.encoder {
        "libx265" => {
            let parameters = format!("keyint={gop}:min-keyint={gop}:scenecut=0:bframes={bframes}:log-level=error");
            command.args(["-x265-params", &parameters, "-tag:v", "hvc1"]);
        }
        // RTP carries the standard's own Huffman tables only (RFC 2435 §3.1.1), and rtpjpegpay wants a full range.
        "mpeg4" => drop(command.args(["-q:v", "3", "-pix_fmt", "yuv420p"])),
        "mjpeg" => drop(command.args(["-huffman", "default", "-q:v", "3", "-pix_fmt", "yuvj420p"])),
        _ => drop(command.args(["-profile:v", "main", "-sc_threshold", "0", "-keyint_min", &gop])),
    }
    let mut child = command
        .args(coding.extra)
        .arg(&scratch)
        .stdin(Stdio::piped())
        .spawn()
        .expect("ffmpeg runs: `make test` installs it");
    let painter = Painter::new(Geometry::new(coding.size.0, coding.size.1));
    let mut picture = Vec::new();
    let mut pipe = child.stdin.take().unwrap();
    for number in 0..coding.frames {
        painter.draw(number, &mut picture);
        pipe.write_all(&picture).expect("ffmpeg takes the pictures");
    }
    drop(pipe);
    assert!(child.wait().unwrap().success(), "ffmpeg could not make {path:?}");
    std::fs::rename(scratch, path).unwrap();
}
