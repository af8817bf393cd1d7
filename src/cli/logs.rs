//! Structured logs on standard error.

use clap::ValueEnum;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the service shows.
pub const SERVICE: &str = "info";
/// What commands show that print their findings themselves: workers' complaints.
pub const COMMAND: &str = "warn,camshaft::hw=error";

/// Starts logging; `RUST_LOG` chooses what is shown, `unset` without it.
pub fn start(format: Format, unset: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(unset));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => logs.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        Format::Json => logs.json().init(),
    }
}
