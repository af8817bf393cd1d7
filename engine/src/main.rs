//! camshaft's worker for media: the one program that links FFmpeg.
//!
//! It is started by `camshaft` with one end of a Unix stream socket as its standard input, learns its role from the
//! first message on it, and ends when the link does. See `camshaft::link` for the protocol.

// Nothing that comes from outside may end the process. Tests may.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

mod av;
mod roles;
mod sandbox;
mod va;

use camshaft::link::FromWorker;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::io::Write;
use std::process::ExitCode;

use roles::{End, Link};

fn main() -> ExitCode {
    // First of all, so that no worker outlives its supervisor. One that died before this shows as a closed link.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return give_up(&format!("cannot ask to end with the parent process: {error}"));
    }
    av::install_log();
    let mut link = match Link::from_stdin() {
        Ok(link) => link,
        Err(error) => return give_up(&format!("no link on standard input: {error}; camshaft starts this program")),
    };
    match roles::run(&mut link) {
        Ok(()) | Err(End::LinkClosed) => ExitCode::SUCCESS,
        Err(End::LinkBroken(error)) => give_up(&format!("the link broke: {error}")),
        Err(End::Failed { kind, message }) => {
            let code = give_up(&message);
            // The link may be gone as well; the exit code tells the rest.
            let _ = link.send(&FromWorker::Failed { kind, message }, &[]);
            code
        }
    }
}

fn give_up(message: &str) -> ExitCode {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(std::io::stderr(), "ERROR {message}");
    ExitCode::FAILURE
}
