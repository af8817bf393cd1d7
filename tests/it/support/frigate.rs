//! Frigate's side: the commands that it makes of its configuration, and its way to read pictures from them.

use serde_json::Value;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

use camshaft::media::Geometry;

use super::log::Log;
use super::media::Picture;

const GLOBAL: &str = "-hide_banner -loglevel warning -threads 2";

/// A camera of a Frigate configuration.
pub struct FrigateCamera {
    name: String,
    camera: Value,
}

impl FrigateCamera {
    /// The cameras of a file.
    pub fn all(text: &str) -> Vec<Self> {
        let file: Value = serde_saphyr::from_str(text).unwrap();
        let cameras = file["cameras"].as_object().unwrap().iter();
        cameras.map(|(name, camera)| Self { name: name.clone(), camera: camera.clone() }).collect()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it detects on: width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        let side = |name: &str| self.camera["detect"][name].as_u64().unwrap() as u32;
        (side("width"), side("height"))
    }

    fn input(&self, role: &str) -> &Value {
        let inputs = self.camera["ffmpeg"]["inputs"].as_array().unwrap();
        let has_role = |input: &&Value| input["roles"].as_array().unwrap().iter().any(|known| known == role);
        inputs.iter().find(has_role).unwrap_or_else(|| panic!("no input for {role}: {}", self.camera))
    }

    /// `input_args`, then `-i` and the path.
    fn source(&self, role: &str) -> String {
        let input = self.input(role);
        let arguments = match input["input_args"].as_str().unwrap() {
            "preset-rtsp-restream" => "-user_agent FFmpeg_Frigate/0.18.0 -rtsp_transport tcp -timeout 10000000",
            preset if preset.starts_with("preset-") => panic!("{preset}"),
            arguments => arguments,
        };
        format!("{arguments} -i {}", input["path"].as_str().unwrap())
    }

    /// The arguments of `detect`; hardware has no part in them.
    pub fn detect(&self) -> String {
        assert_eq!(self.camera["ffmpeg"]["hwaccel_args"], serde_json::json!([]));
        let ((width, height), fps) = (self.size(), self.camera["detect"]["fps"].as_u64().unwrap_or(5));
        format!(
            "{GLOBAL} {} -r {fps} -vf fps={fps},scale={width}:{height} -threads 2 -f rawvideo -pix_fmt yuv420p pipe:",
            self.source("detect")
        )
    }

    /// The arguments of `record`, which writes segments into `cache`.
    pub fn record(&self, cache: &Path) -> String {
        let segments = cache.join(format!("{}@%Y%m%d%H%M%S%z.mp4", self.name));
        format!(
            "{GLOBAL} {} -f segment -segment_time 10 -segment_format mp4 -reset_timestamps 1 -strftime 1 -c:v copy \
             -c:a aac {}",
            self.source("record"),
            segments.display()
        )
    }

    /// The arguments of `audio`.
    pub fn audio(&self) -> String {
        format!("-vn -threads 1 {GLOBAL} {} -threads 1 -f s16le -ar 16000 -ac 1 -y pipe:", self.source("audio"))
    }
}

/// An ffmpeg that is read as Frigate reads it (`tests/support/frigate_reader.py`).
pub struct FrigateReader {
    child: Child,
    stdin: Option<ChildStdin>,
    log: Log,
    complaints: Log,
    dir: TempDir,
    size: Geometry,
}

impl FrigateReader {
    /// Runs `ffmpeg`, which makes pictures of `size`.
    pub fn start(ffmpeg: &Command, size: (u32, u32)) -> Self {
        let (dir, size) = (tempfile::tempdir().unwrap(), Geometry::new(size.0, size.1));
        let mut command = Command::new("/usr/bin/python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/frigate_reader.py"));
        command.args(["--bytes", &(size.pixels() * 3 / 2).to_string(), "--frames"]).arg(dir.path().join("frames"));
        command.arg("--").arg(ffmpeg.get_program()).args(ffmpeg.get_args());
        command.envs(ffmpeg.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("python3 runs: `make test` installs it");
        let log = Log::collect(child.stdout.take().unwrap());
        let complaints = Log::collect(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        Self { child, stdin, log, complaints, dir, size }
    }

    /// Waits until there are so many pictures.
    pub fn wait(&self, pictures: usize) {
        let wanted = format!("FRAME {pictures} ");
        let mut from = 0;
        // One wait of the log is one gap between pictures, not all of them.
        for number in 1..=pictures {
            let line = format!("FRAME {number} ");
            let ended = |text: &str| text.starts_with("EXIT") || text.starts_with("SHORT");
            let (found, next) = self.log.wait_from(from, &line, |text| text.starts_with(&line) || ended(text));
            assert!(!ended(&found), "no {wanted}: {found}\n{}", self.complaints.text());
            from = next;
        }
    }

    /// Pictures so far.
    pub fn count(&self) -> usize {
        self.log.text().lines().filter(|line| line.starts_with("FRAME ")).count()
    }

    /// The longest wait for a picture but the first.
    pub fn longest_gap(&self) -> Duration {
        let text = self.log.text();
        let gaps = text.lines().filter_map(|line| line.strip_prefix("FRAME ")?.split_once(' ')?.1.parse().ok());
        Duration::from_millis(gaps.skip(1).max().expect("pictures"))
    }

    /// Ends it as Frigate does; gives the exit code (negative: the signal) and all pictures. None was short, none late.
    pub fn stop(mut self) -> (i32, Vec<Picture>) {
        drop(self.stdin.take());
        let exit = self.log.wait("the end", |line| line.starts_with("EXIT "));
        let text = self.log.text();
        assert!(!text.contains("SHORT") && !text.contains("WATCHDOG"), "{text}\n{}", self.complaints.text());
        let bytes = std::fs::read(self.dir.path().join("frames")).unwrap();
        let pictures = bytes.chunks_exact(self.size.pixels() as usize * 3 / 2);
        let picture = |data: &[u8]| Picture { size: self.size, data: data.to_vec() };
        (exit[5..].parse().unwrap(), pictures.map(picture).collect())
    }
}

impl Drop for FrigateReader {
    fn drop(&mut self) {
        // Its standard input closes as well, which ends ffmpeg.
        drop(self.stdin.take());
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while self.child.try_wait().unwrap().is_none() && std::time::Instant::now() < deadline {
            self.log.pause();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
