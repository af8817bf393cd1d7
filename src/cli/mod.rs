//! The commands, one file each. Only this module reads arguments and environment.

#[allow(clippy::indexing_slicing, reason = "a tool for whoever owns the machine, which reads what it made itself")]
mod bench;
mod check;
mod config;
mod frigate_config;
mod live;
mod logs;
mod plan;
mod probe;
mod serve;
mod shell;
mod streams;
mod transcode;
mod worker;

use clap::{CommandFactory, Parser, Subcommand};
use serde::Serialize;
use std::process::ExitCode;

use crate::error::{Error, Result};

/// Owns the GPU so that camera applications don't have to: pulls each camera once, decodes once, serves everyone.
#[derive(Debug, Parser)]
#[command(
    name = "camshaft",
    version,
    after_help = "Ends with 0 if it was done, 1 if it could not be (standard error says why), 2 if it was called wrongly. Further \
    numbers stand in a command's own help. Colours are for terminals only; --json is for scripts."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What each does, and its exit codes, stands with its arguments.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Command {
    Serve(serve::Args),
    Transcode(transcode::Args),
    Probe(probe::Args),
    Check(check::Args),
    Live(live::Args),
    Plan(plan::Args),
    Streams(streams::Args),
    Config(config::Args),
    Completions(shell::Completions),
    Man(shell::Man),
    Bench(bench::Args),
    FrigateConfig(frigate_config::Args),
    /// Used by the service itself to start its processes.
    #[command(hide = true)]
    Worker(worker::Args),
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Transcode(args) => return transcode::run(args),
        Command::Probe(args) => return probe::run(args),
        Command::Check(args) => check::run(args),
        Command::Live(args) => live::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Streams(args) => streams::run(args),
        Command::Config(args) => config::run(&args),
        Command::Completions(args) => shell::completions(&args, Cli::command()),
        Command::Man(args) => shell::man(&args, Cli::command()),
        Command::Bench(args) => bench::run(args),
        Command::FrigateConfig(args) => frigate_config::run(args),
        Command::Worker(args) => return worker::run(args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("camshaft: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

/// Prints what programs read.
fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::internal("the result has no JSON form").with_source(error))?;
    println!("{text}");
    Ok(())
}
