//! Every command line of Frigate 0.14 to 0.18 and its go2rtc with what becomes of it. In `commands/*.txt`, the lines after
//! a `$` line are the decision; this test writes each file anew and compares.

use camshaft_shim::camera::Reach;
use camshaft_shim::decision::{Decision, Plan, decide};
use std::fs;
use std::path::Path;

/// The lines that follow a command line.
fn verdict(command: &str) -> String {
    let words = shlex::split(command).unwrap_or_else(|| panic!("no shell splits {command}"));
    let words = &words[1..];
    let here = lines(&decide(words, Reach::Pod));
    let there = lines(&decide(words, Reach::Network));
    if here == there { here } else { format!("{here}network   {there}") }
}

fn lines(decision: &Decision) -> String {
    match decision {
        Decision::Delegate(reason) => format!("delegate  {reason}\n"),
        Decision::Serve(plan) => served(plan),
    }
}

fn served(plan: &Plan) -> String {
    let mut lines = format!("camera    {}\n", plan.camera.lease());
    if let Some(raw) = &plan.raw {
        lines += &format!("raw       {} {} bytes each\n", raw.request(), raw.bytes());
    }
    if let Some(local) = &plan.local {
        lines += &format!("packets   {}\nfed       {}\n", local.packets.request(), joined(&local.fed));
    }
    lines + &format!("software  {}\n", joined(&plan.software))
}

fn joined(words: &[String]) -> String {
    shlex::try_join(words.iter().map(String::as_str)).unwrap()
}

fn check(file: &Path) -> usize {
    let written = fs::read_to_string(file).unwrap();
    let (mut expected, mut commands) = (String::new(), 0);
    for line in written.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands += 1;
            expected += &format!("{line}\n{}", verdict(command));
        } else if line.is_empty() || line.starts_with('#') {
            expected += &format!("{line}\n");
        }
    }
    if written != expected {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file.file_name().unwrap());
        fs::write(&new, &expected).unwrap();
        let differing = written.lines().zip(expected.lines()).find(|(written, expected)| written != expected);
        let name = file.display();
        panic!("{name}: {differing:#?}\nThe decisions as they are now are in {}: compare", new.display());
    }
    commands
}

#[test]
fn every_known_command_line_has_its_decision() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let commands: usize = files.map(|file| check(&file)).sum();
    assert!(commands > 200, "only {commands} command lines");
}
