//! What every run needs: the clip, a camera that plays it, and the program under test.

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::process::OwnedChild;
use super::{Args, clip};
use crate::error::{Error, Result};

/// Everything that stays the same over all runs.
#[derive(Debug)]
pub struct Stage {
    /// Clips, logs, recordings.
    pub work: PathBuf,
    /// The program under test.
    pub program: PathBuf,
    /// How often each side runs.
    pub pairs: u32,
    /// Length of the measured part of a run.
    pub steady: Duration,
    clip: PathBuf,
    camera: PathBuf,
}

impl Stage {
    /// Makes what is missing; the first time this takes a while.
    pub fn prepare(args: &Args) -> Result<Self> {
        if !args.camera.is_file() {
            return Err(Error::invalid(format!(
                "no camera at '{}': run this in the project's directory, or name the file with --camera",
                args.camera.display()
            )));
        }
        let work = work(args.work.as_deref())?;
        Ok(Self {
            program: copy_programs(&work)?,
            clip: clip::prepare(&work)?,
            camera: args.camera.clone(),
            pairs: args.pairs,
            steady: Duration::from_secs(args.seconds),
            work,
        })
    }

    /// The clip that cameras play.
    pub fn clip(&self) -> &Path {
        &self.clip
    }

    /// A camera of its own for one run, so that every run starts with the clip's first picture, a keyframe.
    pub fn camera(&self) -> Result<Camera> {
        Camera::start(&self.camera, &self.clip, &self.work)
    }
}

/// The directory for clips, logs and recordings; made if need be.
pub fn work(given: Option<&Path>) -> Result<PathBuf> {
    let work = given.map_or_else(|| std::env::temp_dir().join("camshaft-bench"), Path::to_owned);
    create_private(&work).map_err(|error| cannot("use", &work, error))?;
    // The service under test takes no relative paths.
    std::path::absolute(&work).map_err(|error| cannot("find", &work, error))
}

/// Creates `work`, or accepts it if it is this user's own: programs are run from it.
fn create_private(work: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(work)?;
    let found = fs::symlink_metadata(work)?;
    if found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(io::Error::other("it belongs to somebody else; name another directory with --work"))
}

/// Copies camshaft and its engine into `work` and returns the copy's path. This process runs from the original: the
/// pages of a shared file would be split between the two, and the program under test would look smaller than it is.
fn copy_programs(work: &Path) -> Result<PathBuf> {
    let camshaft = std::env::current_exe()
        .map_err(|error| Error::internal("cannot find this program's own file").with_source(error))?;
    let copies = work.join("bin");
    fs::create_dir_all(&copies).map_err(|error| cannot("create", &copies, error))?;
    for (name, original) in [("camshaft", &camshaft), ("camshaft-engine", &camshaft.with_file_name("camshaft-engine"))]
    {
        let copy = copies.join(name);
        // A new file, not new content in an old one that a stray process may still run.
        let _ = fs::remove_file(&copy);
        fs::copy(original, &copy).map_err(|error| cannot("copy", original, error))?;
    }
    Ok(copies.join("camshaft"))
}

fn cannot(verb: &str, path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot {verb} {}", path.display())).with_source(error)
}

/// A camera that plays the clip over RTSP in real time, to each client from its start. Its CPU time counts for nobody.
#[derive(Debug)]
pub struct Camera {
    /// Where it is, without credentials.
    pub url: String,
    _process: OwnedChild,
}

impl Camera {
    fn start(script: &Path, clip: &Path, logs: &Path) -> Result<Self> {
        let mut command = Command::new("/usr/bin/python3"); // Debian's own: only it finds Debian's gst-rtsp-server
        command.arg(script).args(["--port", "0", "--codec", "h264", "--transport", "tcp", "--file"]).arg(clip);
        command.stdout(Stdio::piped());
        let mut process = OwnedChild::start(command, "camera", logs)?;
        let port = read_port(&mut process)?;
        Ok(Self { url: format!("rtsp://127.0.0.1:{port}/cam"), _process: process })
    }
}

/// Waits for the line `READY PORT`, and goes on emptying the pipe after it.
fn read_port(process: &mut OwnedChild) -> Result<u16> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let stdout = process.take_stdout().ok_or_else(|| process.complain("has no standard output"))?;
    let (sender, receiver) = mpsc::channel();
    // Ends with the camera.
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
            if let Some(port) = line.strip_prefix("READY ").and_then(|port| port.trim().parse().ok()) {
                let _ = sender.send(port); // nobody listens after the first
            }
        }
    });
    receiver.recv_timeout(PATIENCE).map_err(|_| {
        let packages = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,bad,ugly}";
        process.complain(&format!("did not get ready; it needs {packages}"))
    })
}
