//! A GPU in software: `tests/softva` behind a render node that only the program under test sees.

use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

#[path = "../../softva/src/control.rs"]
mod control;

use super::Camshaft;
use control::ControlFile;
pub use control::{Action, ArmedFault, Call, Counter, Escape, Fault, Object, Outcome, Times};

const WITH_SOFTVA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/with-softva.sh");

/// A machine with such a GPU.
pub struct Gpu {
    personality: &'static str,
    nodes: u8,
    control: ControlFile,
    _dir: TempDir,
}

impl Gpu {
    /// A Haswell as i965 drives it: H.264 both ways, no HEVC, no JPEG encoder.
    pub fn haswell() -> Self {
        Self::new("haswell")
    }

    /// An Alder Lake N as iHD drives it: HEVC and JPEG as well.
    pub fn alderlake() -> Self {
        Self::new("alderlake")
    }

    /// A Skylake as the free iHD drives it: no video processing, and only the low-power encoder.
    pub fn skylake_free() -> Self {
        Self::new("skylake-free")
    }

    /// Two such GPUs, renderD128 and renderD129.
    pub fn twice(self) -> Self {
        Self { nodes: 2, ..self }
    }

    fn new(personality: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = ControlFile::create(&dir.path().join("control")).unwrap();
        Self { personality, nodes: 1, control, _dir: dir }
    }

    /// A command that runs `program` on this machine.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(WITH_SOFTVA);
        command.arg(self.personality).arg(self.control.path()).arg(program);
        // `cargo test` leaves libraries below `deps` and, unlike `cargo build`, links none beside the programs.
        command.env("SOFTVA_GPUS", self.nodes.to_string());
        command.env("SOFTVA_DIR", Path::new(program).with_file_name("deps"));
        command
    }

    /// The file that the driver is told by, and counts in.
    pub fn control_path(&self) -> &Path {
        self.control.path()
    }

    /// How often the driver did this.
    pub fn count(&self, counter: Counter) -> u64 {
        self.control.count(counter).unwrap()
    }

    /// Objects of every kind that are alive in living processes, or were not given back before the driver's end.
    pub fn objects(&self) -> u64 {
        let both = |object| self.control.live(object).unwrap() + self.control.leaked(object).unwrap();
        Object::ALL.map(both).iter().sum()
    }

    /// From now on `action` happens in each `call`, after `after` of them.
    pub fn break_for_good(&self, call: Call, after: u64, action: Action) -> ArmedFault {
        self.control.arm(&Fault { call, after, times: Times::Sticky, action }).unwrap()
    }

    /// `action` happens in the next call only.
    pub fn break_once(&self, call: Call, action: Action) -> ArmedFault {
        self.control.arm(&Fault { call, after: 0, times: Times::Count(1), action }).unwrap()
    }

    /// Takes the render node away from a running service.
    pub fn unplug(server: &Camshaft) {
        inside(server, &["umount", "--lazy", "/dev/dri/renderD128"]);
    }

    /// Gives it back.
    pub fn plug(server: &Camshaft) {
        inside(server, &["mount", "--bind", "/dev/null", "/dev/dri/renderD128"]);
    }

    /// Has the next worker that works on the GPU attempt to break out.
    pub fn attempt(&self, escape: Escape) {
        self.control.attempt(&[escape]).unwrap();
    }

    /// What became of that.
    pub fn outcome(&self, escape: Escape) -> Outcome {
        self.control.outcome(escape).unwrap()
    }

    /// Ends a fault; calls that it blocks for ever stay blocked.
    pub fn mend(&self, fault: ArmedFault) {
        self.control.disarm(fault).unwrap();
    }

    /// How often a fault has struck.
    pub fn hits(&self, fault: ArmedFault) -> u64 {
        self.control.hits(fault).unwrap()
    }
}

/// Runs a command among the mounts that the service sees.
fn inside(server: &Camshaft, arguments: &[&str]) {
    let mut command = Command::new("nsenter");
    command.args(["--target", &server.pid().to_string(), "--mount"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    assert!(command.args(arguments).status().unwrap().success(), "{arguments:?}");
}
