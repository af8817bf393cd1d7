//! `camshaft config`: what a configuration may say.

use std::process::ExitCode;

use super::shell::print;
use crate::config;
use crate::error::Result;

const EXAMPLE: &str = include_str!("../../deploy/camshaft.example.yaml");

/// Print a configuration with every key, its default and its range.
///
/// Ends with 0, with 1 if nobody takes the output, 2 if it was called wrongly.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  camshaft config example >camshaft.yaml
  camshaft config schema >camshaft.schema.json
    with `# yaml-language-server: $schema=camshaft.schema.json` as the file's first line")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The commented example, which is a valid configuration
    Example,
    /// The keys as JSON Schema, for editors that complete and check YAML by one
    Schema,
}

/// Prints the example.
///
/// # Errors
/// If nobody takes it.
pub fn run(args: &Args) -> Result<ExitCode> {
    match args.command {
        Command::Example => print(EXAMPLE.as_bytes()),
        Command::Schema => print(format!("{:#}\n", config::schema()).as_bytes()),
    }
}
