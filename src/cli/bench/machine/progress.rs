//! How far it is, and how long it will take: a bar on a terminal, else a line for each part.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// How far it is.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    is_shown: bool,
}

impl Progress {
    /// Nothing of `steps` is done.
    pub fn new(steps: usize) -> Self {
        let is_shown = std::io::stderr().is_terminal();
        if !is_shown {
            return Self { bar: ProgressBar::hidden(), is_shown };
        }
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} ETA {eta}\n{wide_msg}");
        let bar = ProgressBar::new(steps as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        // Some steps take seconds; the time left goes on meanwhile.
        bar.enable_steady_tick(std::time::Duration::from_millis(250));
        Self { bar, is_shown }
    }

    /// A part begins.
    pub fn part(&self, name: &str) {
        if !self.is_shown {
            eprintln!("{name}");
        }
        self.doing(name);
    }

    /// A step begins.
    pub fn doing(&self, name: &str) {
        self.bar.set_message(name.to_owned());
    }

    /// A step is done.
    pub fn done(&self) {
        self.bar.inc(1);
    }

    /// Another step has turned up.
    pub fn one_more(&self) {
        self.bar.inc_length(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
