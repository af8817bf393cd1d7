//! `camshaft check`: whether this machine, container and configuration will do, one line for each question, with the
//! remedy. Fit for an init container: it changes nothing, and its exit code says whether the service should start.

mod finding;
mod hardware;
mod machine;
mod service;

use std::path::PathBuf;
use std::process::ExitCode;

use super::serve::Files;
use super::{logs, print_json, probe};
use crate::config::{Config, Hardware, Limits, Workers};
use crate::error::Result;
pub(super) use finding::{Finding, Level};
pub(super) use machine::Machine;

/// Find out whether this machine, container and configuration will do.
///
/// One line for each question: `ok`, `warning` (it works, but not as it could) or `problem` (it will not work), each with
/// its remedy. Ends with 0 if there is no problem, 1 if there is one, 2 if it was called wrongly.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  camshaft check --config camshaft.yaml
  camshaft check --json")]
pub struct Args {
    /// The configuration that `camshaft serve` is to have; without one the defaults are checked
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print a JSON array of findings
    #[arg(long)]
    json: bool,
}

/// Something stands in the way.
const PROBLEM: u8 = 1;

/// Prints what was found.
///
/// # Errors
/// If it has no JSON form.
pub fn run(args: Args) -> Result<ExitCode> {
    logs::start(logs::Format::Text, logs::COMMAND);
    let findings = find(args.config);
    if args.json {
        print_json(&findings)?;
    } else {
        findings.iter().for_each(|finding| println!("{finding}"));
    }
    let is_wrong = findings.iter().any(|finding| finding.level == Level::Problem);
    Ok(ExitCode::from(if is_wrong { PROBLEM } else { 0 }))
}

/// What is checked; a configuration with mistakes still leaves machine and devices to look at.
struct Wanted {
    hardware: Hardware,
    limits: Limits,
    workers: Workers,
    streams: usize,
}

impl From<&Config> for Wanted {
    fn from(config: &Config) -> Self {
        Self {
            hardware: config.hardware.clone(),
            limits: config.limits.clone(),
            workers: config.workers.clone(),
            streams: config.streams.len(),
        }
    }
}

fn find(path: Option<PathBuf>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let loaded = path.map(|path| (path.clone(), Files::new(path).load()));
    let config = loaded.and_then(|(path, loaded)| service::configuration(&path, loaded, &mut findings));
    let wanted = config.as_ref().map_or_else(
        || Wanted { hardware: Hardware::default(), limits: Limits::default(), workers: Workers::default(), streams: 0 },
        Wanted::from,
    );
    if let Some(config) = &config {
        findings.extend(service::certificate(config.server.tls.as_ref()));
        findings.extend(service::addresses(&config.server, std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()));
    }
    findings.extend(Machine::read().findings(&wanted.limits, wanted.streams));
    findings.push(service::sandbox(wanted.workers.sandbox));
    findings.extend(match probe::look(wanted.hardware.device.clone()) {
        Ok(devices) => hardware::findings(&devices.report(), &wanted.hardware),
        Err(error) => vec![Finding::problem("engine", error.chain())],
    });
    findings
}
