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
#[command(name = "camshaft", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Command {
    /// Run the service.
    Serve(serve::Args),
    /// Transcode a file or a stream, without a service.
    Transcode(transcode::Args),
    /// Show the GPUs of this machine, and what they have proved.
    Probe(probe::Args),
    /// Find out whether this machine, container and configuration will do.
    Check(check::Args),
    /// Find out whether the service answers at its admin port.
    Live(live::Args),
    /// Show what would run where, and why not elsewhere.
    Plan(plan::Args),
    /// Show and change the streams of a running service.
    Streams(streams::Args),
    /// Print a configuration with every key.
    Config(config::Args),
    /// Print a script that completes commands and options.
    Completions(shell::Completions),
    /// Write manual pages.
    Man(shell::Man),
    /// Measure the service against the ffmpeg processes it replaces.
    Bench(bench::Args),
    /// Make camshaft's configuration of Frigate's, and change Frigate's to read from camshaft.
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
