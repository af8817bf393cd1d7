//! Today's practice: the ffmpeg commands that Frigate and go2rtc run, word for word but for the input. There it is
//! the camera; the published figures were taken with `-re -i FILE`, and here both sides read the same RTSP stream.

use std::path::Path;
use std::process::{Command, Stdio};

use super::process::{OwnedChild, bytes_written};
use super::server::RAW_FRAME_BYTES;
use crate::error::Result;

/// Frigate's detect process.
pub const DETECT: &str = "-nostdin -hide_banner -loglevel warning -threads 2 -avoid_negative_ts make_zero \
    -fflags +genpts+discardcorrupt -rtsp_transport tcp -i URL -r 5 -vf fps=5,scale=1280:720 -threads 2 -f rawvideo \
    -pix_fmt yuv420p -y /dev/null";

/// Detect, go2rtc's H.264 template, a JPEG a second, Frigate's recorder: one process each.
pub const FOUR: [&str; 4] = [
    "-nostdin -hide_banner -loglevel error -threads 2 -rtsp_transport tcp -i URL -r 5 -vf fps=5,scale=1280:720 \
     -threads 2 -f rawvideo -pix_fmt yuv420p -y /dev/null",
    "-nostdin -hide_banner -loglevel error -flags low_delay -rtsp_transport tcp -i URL -vf scale=640:360 -c:v libx264 \
     -g 50 -profile:v high -level:v 4.1 -preset:v superfast -tune:v zerolatency -pix_fmt:v yuv420p -b:v 600k \
     -maxrate 600k -bufsize 600k -f h264 -y /dev/null",
    "-nostdin -hide_banner -loglevel error -rtsp_transport tcp -i URL -vf fps=1,scale=1280:720 -c:v mjpeg -q:v 4 \
     -update 1 -y WORK/still.jpg",
    "-nostdin -hide_banner -loglevel error -rtsp_transport tcp -i URL -c copy -f segment -segment_time 10 \
     -segment_format mp4 -reset_timestamps 1 -y WORK/segment%03d.mp4",
];

/// Which of the four is go2rtc's.
pub const LIVE: usize = 1;

/// The same four as outputs of one process.
pub const ONE: &str = "-nostdin -hide_banner -loglevel error -threads 2 -rtsp_transport tcp -i URL \
    -map 0:v -r 5 -vf fps=5,scale=1280:720 -f rawvideo -pix_fmt yuv420p -y /dev/null \
    -map 0:v -vf scale=640:360 -c:v libx264 -g 50 -profile:v high -level:v 4.1 -preset:v superfast \
    -tune:v zerolatency -pix_fmt:v yuv420p -b:v 600k -maxrate 600k -bufsize 600k -f h264 -y /dev/null \
    -map 0:v -vf fps=1,scale=1280:720 -c:v mjpeg -q:v 4 -update 1 -y WORK/still.jpg \
    -map 0:v -c copy -f segment -segment_time 10 -segment_format mp4 -reset_timestamps 1 -y WORK/segment%03d.mp4";

/// Frigate's arguments for an RTSP camera, with one raw frame to a pipe.
const FIRST_FRAME: &str = "-nostdin -v error -hide_banner -threads 2 -avoid_negative_ts make_zero \
    -fflags +genpts+discardcorrupt -timeout 10000000 -use_wallclock_as_timestamps 1 -rtsp_transport tcp -i URL \
    -frames:v 1 -r 5 -vf fps=5,scale=1280:720 -f rawvideo -pix_fmt yuv420p pipe:1";

/// The processes of one run of today's practice. The one that makes raw frames comes first.
#[derive(Debug)]
pub struct Baseline {
    processes: Vec<OwnedChild>,
}

impl Baseline {
    /// Frigate's detect process alone.
    pub fn detect(url: &str, work: &Path) -> Result<Self> {
        Self::start(&[DETECT], url, work)
    }

    /// Four processes with a job each.
    pub fn four(url: &str, work: &Path) -> Result<Self> {
        Self::start(&FOUR, url, work)
    }

    /// One process with the four jobs.
    pub fn one(url: &str, work: &Path) -> Result<Self> {
        Self::start(&[ONE], url, work)
    }

    fn start(commands: &[&str], url: &str, work: &Path) -> Result<Self> {
        let start = |(number, arguments): (usize, &&str)| {
            OwnedChild::start(ffmpeg(arguments, url, work), &format!("ffmpeg-{number}"), work)
        };
        Ok(Self { processes: commands.iter().enumerate().map(start).collect::<Result<_>>()? })
    }

    /// The processes that are counted.
    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(OwnedChild::pid).collect()
    }

    /// Raw frames made so far, by the bytes written. The other outputs of [`Baseline::one`] add a tenth.
    pub fn raw_frames(&self) -> Result<f64> {
        let written = self.processes.first().map_or(Ok(0), |process| bytes_written(process.pid()))?;
        Ok(written as f64 / RAW_FRAME_BYTES as f64)
    }

    /// An error if a process has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(OwnedChild::check_alive)
    }
}

/// Starts ffmpeg as Frigate does; the first frame comes on its standard output.
pub fn first_frame(url: &str, work: &Path) -> Result<OwnedChild> {
    let mut command = ffmpeg(FIRST_FRAME, url, work);
    command.stdout(Stdio::piped());
    OwnedChild::start(command, "ffmpeg-first-frame", work)
}

/// The command of `arguments`, which hold no spaces within; `URL` and `WORK` are filled in.
fn ffmpeg(arguments: &str, url: &str, work: &Path) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(words(arguments, url, work));
    command
}

/// The words of `arguments`, with `URL` and `WORK` filled in.
pub fn words(arguments: &str, url: &str, work: &Path) -> impl Iterator<Item = String> {
    let work = work.to_string_lossy();
    arguments.split_whitespace().map(move |word| word.replace("URL", url).replace("WORK", &work))
}
