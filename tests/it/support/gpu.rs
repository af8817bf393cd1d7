//! A GPU in software: `tests/softva` behind a render node that only the program under test sees.

use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

#[path = "../../softva/src/control.rs"]
mod control;

use control::ControlFile;
pub use control::{Action, ArmedFault, Call, Counter, Fault, Object, Times};

const WITH_SOFTVA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/with-softva.sh");

/// A machine with such a GPU.
pub struct Gpu {
    personality: &'static str,
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

    fn new(personality: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = ControlFile::create(&dir.path().join("control")).unwrap();
        Self { personality, control, _dir: dir }
    }

    /// A command that runs `program` on this machine.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(WITH_SOFTVA);
        command.arg(self.personality).arg(self.control.path()).arg(program);
        // `cargo test` leaves libraries below `deps` and, unlike `cargo build`, links none beside the programs.
        command.env("SOFTVA_DIR", Path::new(program).with_file_name("deps"));
        command
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

    /// The fault strikes no more.
    pub fn mend(&self, fault: ArmedFault) {
        self.control.disarm(fault).unwrap();
    }

    /// How often a fault has struck.
    pub fn hits(&self, fault: ArmedFault) -> u64 {
        self.control.hits(fault).unwrap()
    }
}
