//! `camshaft worker ingest`: the process that speaks to one camera. Everything it needs comes over the link.

use clap::ValueEnum;
use std::process::ExitCode;

/// Which worker to be.
#[derive(Debug, clap::Args)]
pub struct Args {
    role: Role,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Reads one camera.
    Ingest,
}

/// Runs the worker until its link closes.
pub fn run(args: Args) -> ExitCode {
    match args.role {
        Role::Ingest => crate::ingest::run(),
    }
}
