//! What shells and their users need to know of the commands: `camshaft completions`, `camshaft man`.

use clap_complete::Shell;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::{Error, Result};

/// Print a script that completes commands and options.
///
/// Ends with 0, with 1 if nobody takes the output, 2 if it was called wrongly.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: camshaft completions bash >/etc/bash_completion.d/camshaft")]
pub struct Completions {
    /// For this shell
    shell: Shell,
}

/// Write manual pages, one a command.
///
/// Ends with 0, with 1 if the directory takes no files, 2 if it was called wrongly.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: camshaft man /usr/local/share/man/man1")]
pub struct Man {
    /// Into this directory
    directory: PathBuf,
}

/// Prints the script.
///
/// # Errors
/// If nobody takes it.
pub fn completions(args: &Completions, mut command: clap::Command) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "camshaft", &mut script);
    print(&script)
}

/// Writes the pages.
///
/// # Errors
/// If the directory cannot be written to.
pub fn man(args: &Man, command: clap::Command) -> Result<ExitCode> {
    clap_mangen::generate_to(command, &args.directory).map_err(|error| {
        let message =
            format!("no manual can be written to {}: name a directory that is there", args.directory.display());
        Error::unavailable(message).with_source(error)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Writes all of it to standard output.
///
/// # Errors
/// If nobody takes it.
pub(super) fn print(bytes: &[u8]) -> Result<ExitCode> {
    io::stdout().write_all(bytes).map_err(|error| Error::unavailable("nobody reads the output").with_source(error))?;
    Ok(ExitCode::SUCCESS)
}
