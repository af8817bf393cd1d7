//! A made-up machine with an Intel GPU, and programs that run on it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::control::{Action, ArmedFault, Call, ControlFile, Fault, Object, Times};

/// The GPU's node. ffmpeg 7 does not find it by itself: it asks the kernel for the version of its driver.
pub const NODE: &str = "/dev/dri/renderD128";

/// A machine of some generation.
pub struct Machine {
    personality: &'static str,
    pub control: ControlFile,
    directory: TempDir,
}

impl Machine {
    pub fn new(personality: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = ControlFile::create(&directory.path().join("control")).unwrap();
        Self { personality, control, directory }
    }

    /// A place for a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program on this machine.
    pub fn command(&self, program: &str) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../support/with-softva.sh");
        let tests = std::env::current_exe().unwrap();
        let mut command = Command::new(script);
        command.args([OsStr::new(self.personality), self.control.path().as_os_str(), OsStr::new(program)]);
        // Cargo puts the driver beside its tests.
        command.env("SOFTVA_DIR", tests.parent().unwrap()).stdin(Stdio::null());
        command
    }

    /// ffmpeg on this machine, quiet but for what went wrong.
    pub fn ffmpeg(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("ffmpeg");
        command.args(["-hide_banner", "-nostdin", "-v", "error", "-y"]).args(arguments);
        command
    }

    /// Arms a fault.
    pub fn arm(&self, call: Call, after: u64, times: Times, action: Action) -> ArmedFault {
        self.control.arm(&Fault { call, after, times, action }).unwrap()
    }

    /// Fails if a program ended the driver without giving everything back.
    pub fn assert_nothing_leaked(&self) {
        for object in Object::ALL {
            assert_eq!(self.control.leaked(object).unwrap(), 0, "leaked: {object:?}");
        }
    }
}

/// What a program wrote, if it ended well and complained of nothing.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = output(command);
    let complaints = String::from_utf8_lossy(&output.stderr);
    // libva from 2.20 on asks the kernel for a driver's name before it takes the one that it was told.
    let complaints: Vec<&str> = complaints.lines().filter(|line| !line.contains("vaGetDriverNames()")).collect();
    assert!(output.status.success() && complaints.is_empty(), "{command:?}: {}\n{complaints:#?}", output.status);
    output.stdout
}

/// What became of a program.
pub fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    const NO_MACHINE: i32 = 125;
    assert!(output.status.code() != Some(NO_MACHINE), "{}", String::from_utf8_lossy(&output.stderr));
    output
}
