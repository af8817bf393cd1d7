//! The stand-in ffmpeg, run as Frigate runs its ffmpeg: no standard input, raw pictures on a pipe, text on standard error.

use rustix::process::Signal;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use camshaft::media::Geometry;

use super::log::Log;
use super::media::Picture;
use super::signal;

/// A running stand-in; killed when dropped.
pub struct StandIn {
    child: Child,
    /// Until its end is waited for.
    stdout: Option<ChildStdout>,
    log: Log,
}

impl StandIn {
    /// The path of the stand-in `name` (`ffmpeg` or `ffprobe`).
    pub fn path(name: &str) -> PathBuf {
        let path = Path::new(env!("CARGO_BIN_EXE_camshaft")).with_file_name(name);
        assert!(path.exists(), "{} is missing: cargo build -p camshaft-shim", path.display());
        path
    }

    /// A command that runs the stand-in `name` beside a camshaft at this URL.
    pub fn command(name: &str, url: &str) -> Command {
        let mut command = Command::new(Self::path(name));
        command.env("CAMSHAFT_URL", url).stdin(Stdio::null());
        command
    }

    /// Runs `arguments` as Frigate would.
    pub fn start(socket: &Path, arguments: &str) -> Self {
        Self::start_at(&format!("unix://{}", socket.display()), arguments)
    }

    /// The same with a camshaft at this URL.
    pub fn start_at(url: &str, arguments: &str) -> Self {
        let mut command = Self::command("ffmpeg", url);
        command.args(arguments.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the stand-in starts");
        let (stdout, log) = (child.stdout.take(), Log::collect(child.stderr.take().unwrap()));
        Self { child, stdout, log }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The next `count` pictures of `size`, with the longest wait for one of them.
    pub fn pictures(&mut self, size: (u32, u32), count: usize) -> (Vec<Picture>, Duration) {
        let size = Geometry::new(size.0, size.1);
        let mut longest = Duration::ZERO;
        let mut next = || {
            let mut data = vec![0; size.pixels() as usize * 3 / 2];
            let asked = Instant::now();
            self.stdout
                .as_mut()
                .unwrap()
                .read_exact(&mut data)
                .unwrap_or_else(|error| panic!("{error}:\n{}", self.log.text()));
            longest = longest.max(asked.elapsed());
            Picture { size, data }
        };
        let pictures = (0..count).map(|_| next()).collect();
        (pictures, longest)
    }

    /// Exactly so many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut bytes)
            .unwrap_or_else(|error| panic!("{error}:\n{}", self.log.text()));
        bytes
    }

    /// Reads to the end; gives the number of bytes.
    pub fn drain(&mut self) -> u64 {
        std::io::copy(self.stdout.as_mut().unwrap(), &mut std::io::sink()).unwrap()
    }

    /// Ends it as Frigate does, which reads on meanwhile and waits 30 s.
    pub fn terminate(mut self) -> ExitStatus {
        signal(self.pid(), Signal::TERM);
        let mut stdout = self.stdout.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        self.wait()
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + super::PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running:\n{}", self.log.text());
            self.log.pause();
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
