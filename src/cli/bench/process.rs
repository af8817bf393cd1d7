//! Child processes that end with their owner, and what they and their descendants use.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, Result};

/// A child process. Dropping it asks it to end, and kills it if it does not.
#[derive(Debug)]
pub struct OwnedChild {
    child: Child,
    name: String,
    log: PathBuf,
}

impl OwnedChild {
    /// Starts `command` with its standard error in `logs/NAME.log`. Its input stays empty and open: what watches it for
    /// its end also ends if this process is killed.
    pub fn start(mut command: Command, name: &str, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |error: io::Error| {
            let remedy = match error.kind() {
                io::ErrorKind::NotFound => "; `make bench` installs what the benchmarks need",
                _ => "",
            };
            Error::unavailable(format!("cannot start {program} for '{name}'{remedy}")).with_source(error)
        };
        let file = File::create(&log).map_err(failed)?;
        let child = command.stdin(Stdio::piped()).stderr(file).spawn().map_err(failed)?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child's standard output, if it was piped and not taken before.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// An error if the child has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.complain(&format!("ended early ({status})"))),
            Err(error) => Err(self.complain("cannot be waited for").with_source(error)),
        }
    }

    /// Whether the child has ended as it should; an error if it has failed.
    pub fn has_ended(&mut self) -> Result<bool> {
        match self.child.try_wait() {
            Ok(None) => Ok(false),
            Ok(Some(status)) if status.success() => Ok(true),
            Ok(Some(status)) => Err(self.complain(&format!("failed ({status})"))),
            Err(error) => Err(self.complain("cannot be waited for").with_source(error)),
        }
    }

    /// An error about this child that says where its log is.
    pub fn complain(&self, what: &str) -> Error {
        Error::unavailable(format!("'{}' {what}; its log is {}", self.name, self.log.display()))
    }

    /// Asks the child to end, waits, and kills it if it takes longer than a service may take to drain.
    pub fn end(&mut self) {
        const DRAIN: Duration = Duration::from_secs(22);
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
            && matches!(self.child.try_wait(), Ok(None))
        {
            // It can only fail if the child has just ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + DRAIN;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                eprintln!("'{}' did not end within {} s and is killed", self.name, DRAIN.as_secs());
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        self.end();
    }
}

/// User and system time so far of `roots`, all their living descendants, and every descendant they have waited for.
pub fn cpu_time(roots: &[u32]) -> Result<Duration> {
    let ticks: u64 = family(roots)?.iter().map(|process| process.cpu_ticks).sum();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Proportional set size in bytes of `roots` and all their living descendants.
pub fn proportional_set_size(roots: &[u32]) -> Result<u64> {
    let mut kilobytes = 0;
    for process in family(roots)? {
        let path = format!("/proc/{}/smaps_rollup", process.pid);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
                let value = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
                kilobytes += value.ok_or_else(|| Error::internal(format!("{path} has no 'Pss:' line")))?;
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let message = format!("{path} may not be read (the process hides itself): run as root");
                return Err(Error::unavailable(message).with_source(error));
            }
            Err(_) => {} // it has ended since it was listed
        }
    }
    Ok(kilobytes * 1024)
}

/// Bytes that process `pid` has handed to write calls so far.
pub fn bytes_written(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/io");
    let text = fs::read_to_string(&path)
        .map_err(|error| Error::unavailable(format!("cannot read {path}")).with_source(error))?;
    let value = text.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok());
    value.ok_or_else(|| Error::internal(format!("{path} has no 'wchar:' line")))
}

#[derive(Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    cpu_ticks: u64,
}

/// `roots` and everything below them in the process tree.
fn family(roots: &[u32]) -> Result<Vec<Process>> {
    let unreadable = |error| Error::unavailable("cannot list /proc").with_source(error);
    let mut by_parent: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut processes = HashMap::new();
    for entry in fs::read_dir("/proc").map_err(unreadable)?.flatten() {
        // Entries that are no process, or one that has just ended, have no such file.
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some(process) = parse_stat(&text) else { continue };
        by_parent.entry(process.parent).or_default().push(process.pid);
        processes.insert(process.pid, process);
    }
    let mut found = Vec::new();
    let mut pending = roots.to_vec();
    while let Some(pid) = pending.pop() {
        pending.extend(by_parent.remove(&pid).unwrap_or_default());
        found.extend(processes.remove(&pid));
    }
    Ok(found)
}

/// Reads `/proc/PID/stat` (proc(5)). The name in brackets may hold spaces and brackets.
fn parse_stat(text: &str) -> Option<Process> {
    let (pid, rest) = text.split_once(" (")?;
    let (_name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(1);
    let parent = fields.next()?.parse().ok()?;
    // utime, stime, cutime, cstime are nine fields further on.
    let ticks: Vec<u64> = fields.skip(9).take(4).map(|field| field.parse().ok()).collect::<Option<_>>()?;
    (ticks.len() == 4).then_some(())?;
    Some(Process { pid: pid.parse().ok()?, parent, cpu_ticks: ticks.iter().sum() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_brackets_and_spaces() {
        let text = "4711 (a) b (c)) S 42 4711 4711 0 -1 4194560 100 200 0 0 7 5 3 1 20 0 1 0 12345 1000 200";
        assert_eq!(parse_stat(text), Some(Process { pid: 4711, parent: 42, cpu_ticks: 16 }));
        assert_eq!(parse_stat("4711 (cut short) S 42 1 1 0 -1 0 0 0 0 0 7 5"), None);
    }

    #[test]
    fn a_child_is_counted_with_its_children_and_ends_with_its_owner() {
        let logs = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        command.args(["-c", &format!("sh -c '{busy}'; echo done; exec sleep 600")]).stdout(Stdio::piped());
        let mut child = OwnedChild::start(command, "busy", logs.path()).unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(child.take_stdout().unwrap()), &mut line).unwrap();
        assert_eq!(line, "done\n");
        assert!(cpu_time(&[child.pid()]).unwrap() >= Duration::from_millis(20));
        child.check_alive().unwrap();
        let pid = child.pid();
        drop(child);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn the_family_reaches_grandchildren() {
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'echo up; read x; true'; true"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(family(&[child.id()]).unwrap().len(), 2);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(family(&[child.id()]).unwrap(), []);
    }
}
