//! Cameras: Debian's gst-rtsp-server replaying a clip, and hostile ones.

use std::process::{Child, ChildStdin, Command, Stdio};

use super::clip::Clip;
use super::log::Log;
use super::netns::Network;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support");

/// A running camera; killed when dropped.
pub struct Camera {
    child: Child,
    /// The script ends when this closes.
    _stdin: ChildStdin,
    address: String,
    port: u16,
}

impl Camera {
    /// Replays `clip` in a loop to each client from its start; `arguments` as the script takes them.
    pub fn start(clip: &Clip, arguments: &[&str]) -> Self {
        Self::start_on(0, clip, arguments)
    }

    /// The same on a port of the caller's choice.
    pub fn start_on(port: u16, clip: &Clip, arguments: &[&str]) -> Self {
        let mut command = script("rtsp_camera.py");
        command.args(["--port", &port.to_string(), "--codec", clip.codec(), "--file"]).arg(&clip.path).args(arguments);
        Self::run(command)
    }

    /// The same on another network.
    pub fn start_in(network: &Network, clip: &Clip, arguments: &[&str]) -> Self {
        let mut command = network.command("/usr/bin/python3");
        command.arg(format!("{SCRIPTS}/rtsp_camera.py")).args(["--address", &network.peer()]);
        command.args(["--codec", clip.codec(), "--file"]).arg(&clip.path).args(arguments);
        let mut camera = Self::run(command);
        camera.address = network.peer();
        camera
    }

    fn run(mut command: Command) -> Self {
        command.env("CAMERA_USER", "viewer").env("CAMERA_PASSWORD", "s3cret-canary");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 runs: `make test` installs it");
        let log = Log::collect(child.stdout.take().unwrap());
        let ready = log.wait("READY", |line| line.starts_with("READY "));
        let port = ready.trim_start_matches("READY ").trim().parse().unwrap();
        let stdin = child.stdin.take().unwrap();
        Self { child, _stdin: stdin, address: "127.0.0.1".to_owned(), port }
    }

    /// `rtsp://…` without credentials.
    pub fn url(&self) -> String {
        format!("rtsp://{}:{}/cam", self.address, self.port)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The port it serves on.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A camera that misbehaves: `endless-header`, `endless-fragments`, `million-lines`, `million-tracks`, `silent`, `rst`, `redirect PORT`.
pub fn hostile_camera(mode: &str) -> Camera {
    let mut command = script("hostile_camera.py");
    command.args(mode.split(' '));
    Camera::run(command)
}

fn script(name: &str) -> Command {
    // Debian's own Python: it is the one that has gi.
    let mut command = Command::new("/usr/bin/python3");
    command.arg(format!("{SCRIPTS}/{name}"));
    command
}
