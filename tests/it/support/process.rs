//! Processes: signals, children, and programs run to their end.

use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;

/// Sends `signal` to process `pid`.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("a process id");
    kill_process(pid, signal).unwrap_or_else(|error| panic!("signalling {pid:?}: {error}"));
}

/// SIGKILL.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// The processes whose parent is `parent`, with their names.
pub fn children(parent: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_string_lossy().parse::<u32>().ok() else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(')') else { continue };
        let ppid = tail.split_whitespace().nth(1).and_then(|ppid| ppid.parse().ok());
        if ppid == Some(parent) {
            let name = head.split_once('(').map_or("", |(_, name)| name);
            found.push((pid, name.to_owned()));
        }
    }
    found
}

/// Runs a program to its end and gives its standard output; panics with its standard error if it fails.
pub fn command_output(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program} ({error}): `make test` installs it"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?} failed: {complaint}");
    output.stdout
}
