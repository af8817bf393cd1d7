//! A child's output, collected line by line; tests wait for lines instead of sleeping.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// The lines so far.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    closed: bool,
}

impl Log {
    /// Collects `pipe` until it closes.
    pub fn collect(pipe: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let shared = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                shared.0.0.lock().unwrap().lines.push(line);
                shared.0.1.notify_all();
            }
            shared.0.0.lock().unwrap().closed = true;
            shared.0.1.notify_all();
        });
        log
    }

    /// Waits for a line at or after `from` that `wanted` accepts; gives it and the index behind it.
    pub fn wait_from(&self, from: usize, what: &str, wanted: impl Fn(&str) -> bool) -> (String, usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut next = from;
        let mut lines = self.0.0.lock().unwrap();
        loop {
            while next < lines.lines.len() {
                next += 1;
                if wanted(&lines.lines[next - 1]) {
                    return (lines.lines[next - 1].clone(), next);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.closed {
                let said = lines.lines.join("\n");
                drop(lines);
                panic!("the log never said {what}; it said:\n{said}");
            }
            lines = self.0.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Waits for a line anywhere.
    pub fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.wait_from(0, what, wanted).0
    }

    /// Returns when there is a new line, or after a moment.
    pub fn pause(&self) {
        let lines = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout(lines, Duration::from_millis(30)).unwrap());
    }

    /// Lines so far.
    pub fn len(&self) -> usize {
        self.0.0.lock().unwrap().lines.len()
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        self.0.0.lock().unwrap().lines.join("\n")
    }
}
