//! A program that does not end by itself.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running program; killed when it goes out of scope.
pub struct Running(Child);

/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Waits for `condition`; fails if the program ends before that.
    pub fn wait_until(&mut self, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(self.is_running(), "the program has ended");
            assert!(start.elapsed() < PATIENCE, "nothing happened in {PATIENCE:?}");
            std::thread::yield_now();
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
}
