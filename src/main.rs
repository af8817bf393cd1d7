//! The program: reads the command line and calls one function of [`camshaft::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    camshaft::cli::run()
}
