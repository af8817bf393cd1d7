//! `camshaft config`: what a configuration may say.

use std::process::ExitCode;

use super::shell::print;
use crate::error::Result;

const EXAMPLE: &str = include_str!("../../deploy/camshaft.example.yaml");

/// Print a configuration with every key, its default and its range.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: camshaft config example >camshaft.yaml")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The commented example, which is a valid configuration
    Example,
}

/// Prints the example.
///
/// # Errors
/// If nobody takes it.
pub fn run(args: &Args) -> Result<ExitCode> {
    match args.command {
        Command::Example => print(EXAMPLE.as_bytes()),
    }
}
