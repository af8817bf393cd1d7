//! `camshaft probe`: the GPUs of this machine, what their drivers claim and what they have proved; or the lines that give
//! one to a container.

mod emit;
mod table;

use std::process::ExitCode;
use std::sync::Arc;

use super::serve::worker_environment;
use super::{logs, print_json};
use crate::config::{Limits, SandboxMode, Workers};
use crate::error::{Error, ErrorKind, Result};
use crate::hw::{BreakerSettings, Devices, DevicesReport, Node, Roots};
use crate::link::{Programs, Spawner};
use crate::plan::DeviceChoice;
use crate::sandbox::Confinements;
use emit::Target;

/// Show the GPUs of this machine, and what they have proved.
///
/// Ends with 0 if one is usable, 1 if there is none, 2 if there is one that is not usable, 3 if it could not be found out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  camshaft probe
  camshaft probe --device pci:0000:00:02.0 --json
  camshaft probe --emit compose >compose.override.yaml")]
pub struct Args {
    /// Print what GET /v1/devices answers
    #[arg(long, conflicts_with = "emit")]
    json: bool,
    /// Print the YAML that gives a container the render node; asks and tries nothing
    #[arg(long, value_enum, value_name = "WHERE")]
    emit: Option<Target>,
    /// Only this one: the path of a render node, or pci:0000:00:02.0
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

/// Something is usable.
const USABLE: u8 = 0;
/// There is no GPU.
const NO_HARDWARE: u8 = 1;
/// There is one, and it is not usable.
const UNUSABLE: u8 = 2;
/// It could not be found out.
const UNKNOWN: u8 = 3;

/// Prints what was found.
pub fn run(args: Args) -> ExitCode {
    logs::start(logs::Format::Text, logs::COMMAND);
    let code = match args.emit {
        Some(target) => print_emitted(target, &args.device),
        None => print_devices(&args),
    };
    ExitCode::from(code.unwrap_or_else(|error| {
        eprintln!("camshaft: {}", error.chain());
        if error.kind() == ErrorKind::NotFound { NO_HARDWARE } else { UNKNOWN }
    }))
}

/// Every device of this machine, asked and tried once.
///
/// # Errors
/// If the engine is missing or no process can be started.
pub(super) fn look(choice: DeviceChoice) -> Result<Arc<Devices>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal("cannot start the runtime").with_source(error))?;
    runtime.block_on(async {
        let devices = devices(&spawner()?, choice);
        devices.look().await;
        Ok(devices)
    })
}

/// Starts the processes of a command, which has no service.
///
/// # Errors
/// If the engine is missing or no process can be started.
pub(super) fn spawner() -> Result<Arc<Spawner>> {
    Spawner::start(Programs::find()?, worker_environment(), confinements())
}

/// The devices of this machine, not looked at yet.
pub(super) fn devices(spawner: &Arc<Spawner>, choice: DeviceChoice) -> Arc<Devices> {
    Devices::new(spawner.clone(), Roots::default(), choice, BreakerSettings::default(), Arc::default())
}

/// As far as the kernel goes: nobody has configured anything yet.
fn confinements() -> Confinements {
    Workers { sandbox: SandboxMode::Degrade, ..Workers::default() }.confinements(&Limits::default())
}

fn print_devices(args: &Args) -> Result<u8> {
    let devices = look(args.device.clone())?;
    let capabilities = devices.capabilities();
    let mut report = devices.report();
    let admitted = |path: &Option<String>| match path {
        Some(path) => capabilities.devices.iter().any(|d| d.path == *path && args.device.admits(d)),
        None => args.device == DeviceChoice::Auto,
    };
    report.devices.retain(|device| admitted(&device.path));
    if args.json {
        print_json(&report)?;
    } else {
        print!("{}", table::text(&report, &devices.nodes(), &capabilities));
    }
    Ok(code(&report))
}

fn code(report: &DevicesReport) -> u8 {
    let mut proofs = report.devices.iter().flat_map(|device| &device.profiles).map(|profile| profile.proved);
    match report.devices.is_empty() {
        true => NO_HARDWARE,
        false if proofs.any(|proved| proved == Some(true)) => USABLE,
        false => UNUSABLE,
    }
}

fn print_emitted(target: Target, choice: &DeviceChoice) -> Result<u8> {
    let node = choose(choice)?;
    print!("{}", emit::yaml(target, &node)?);
    Ok(USABLE)
}

/// The node of this choice; nobody is asked what it can do.
fn choose(choice: &DeviceChoice) -> Result<Node> {
    let path = match choice {
        DeviceChoice::Path(path) => Some(std::path::Path::new(path)),
        DeviceChoice::Auto | DeviceChoice::Pci(_) => None,
    };
    let found = Roots::default().discover(path);
    let is_it = |node: &Node| match choice {
        DeviceChoice::Auto => true,
        DeviceChoice::Path(path) => node.path.as_os_str() == path.as_str(),
        DeviceChoice::Pci(address) => node.gpu.pci.as_ref() == Some(address),
    };
    found.nodes.into_iter().find(is_it).ok_or_else(|| {
        let gpus: Vec<String> = found.without_node.iter().map(|gpu| gpu.describe()).collect();
        let gpus = if gpus.is_empty() { "PCI shows no GPU".into() } else { format!("PCI shows {}", gpus.join(", ")) };
        let message = format!("there is no render node ({choice}) on this machine, and {gpus}: run this on the host");
        Error::new(ErrorKind::NotFound, message)
    })
}
