//! curl as a client that stays.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::log::Log;
use super::{PATIENCE, eventually};

/// A running curl; killed when dropped.
pub struct Curl {
    child: std::cell::RefCell<Child>,
    log: Log,
}

impl Curl {
    /// Listens to server-sent events; returns once the answer's head has come, from which on nothing is missed.
    pub fn listen(url: &str, arguments: &[&str]) -> Self {
        let curl = Self::run(Command::new("curl").args(["-sNfD", "-"]).args(arguments).arg(url));
        curl.wait("content-type: text/event-stream");
        curl
    }

    /// Saves a response that does not end.
    pub fn save(url: &str, file: &Path) -> Self {
        Self::run(Command::new("curl").args(["-sNf", "-o"]).arg(file).arg(url))
    }

    fn run(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("curl runs: `make test` installs it");
        let log = Log::collect(child.stdout.take().unwrap());
        Self { child: child.into(), log }
    }

    /// Waits for a line with `part` in it.
    pub fn wait(&self, part: &str) -> String {
        self.log.wait(part, |line| line.contains(part))
    }

    /// What came so far.
    pub fn text(&self) -> String {
        self.log.text()
    }

    /// Waits until the response has ended as a whole.
    pub fn wait_end(&self) {
        let status = || self.child.borrow_mut().try_wait().unwrap();
        let status = eventually("curl ends", || self.log.pause(), status);
        assert!(status.success(), "curl says {status} within {PATIENCE:?}: {}", self.log.text());
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}
