//! What a worker writes to its standard error: FFmpeg's, libva's and the drivers' last words. Read line by line,
//! bounded, rate-limited and stripped of credentials, then logged under the stream's name.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;

const LINES_A_SECOND: u32 = 20;
const LINE_BYTES: usize = 1024;
/// What a line begins with that says what the sandbox refused.
const REFUSAL: &str = "SANDBOX ";
/// Refusals that are kept.
const REFUSALS: usize = 32;

/// Whose lines they are; a spare engine gets its stream later.
#[derive(Clone, Debug)]
pub(super) struct Label(Arc<Mutex<Arc<str>>>);

impl Label {
    pub(super) fn new(label: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(Mutex::new(label.into())))
    }

    pub(super) fn set(&self, label: Arc<str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = label;
    }

    pub(super) fn get(&self) -> Arc<str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a worker's sandbox refused, as the worker itself says: `openat /etc/passwd`.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused(Arc<Mutex<Vec<String>>>);

impl Refused {
    fn note(&self, refusal: &str) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal: String = refusal.chars().filter(|character| !character.is_control()).collect();
        if refused.len() < REFUSALS && !refused.contains(&refusal) {
            refused.push(refusal);
        }
    }

    /// So far, each once.
    pub(super) fn get(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is heard from a worker beside its link.
#[derive(Debug)]
pub(super) struct Words {
    /// Ends with the pipe.
    pub lines: Option<JoinHandle<()>>,
    pub refused: Refused,
}

/// Logs what comes until the pipe closes.
pub(super) async fn log_lines(pipe: ChildStderr, pid: u32, label: Label, refused: Refused) {
    let mut lines = BufReader::with_capacity(LINE_BYTES, pipe);
    let mut window = Instant::now();
    let (mut logged, mut suppressed) = (0u32, 0u64);
    while let Some(line) = next_line(&mut lines).await {
        if let Some(refusal) = line.strip_prefix(REFUSAL) {
            refused.note(refusal);
        }
        if window.elapsed() >= Duration::from_secs(1) {
            if suppressed > 0 {
                tracing::warn!(stream = %label.get(), pid, suppressed, "a worker's log lines were left out");
            }
            (window, logged, suppressed) = (Instant::now(), 0, 0);
        }
        if logged >= LINES_A_SECOND {
            suppressed += 1;
            continue;
        }
        logged += 1;
        log(&redact(&line), pid, &label.get());
    }
}

/// The next line without its end, cut at [`LINE_BYTES`]; `None` at the end of the pipe.
async fn next_line(lines: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    loop {
        let available = lines.fill_buf().await.ok()?;
        if available.is_empty() {
            return (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned());
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(available.len());
        let room = LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(available.get(..taken.min(room)).unwrap_or_default());
        lines.consume(taken + usize::from(end.is_some()));
        if end.is_some() {
            return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    }
}

fn log(line: &str, pid: u32, stream: &str) {
    let (level, text) = line.split_once(' ').unwrap_or(("", line));
    match level {
        "ERROR" => tracing::error!(stream, pid, "worker: {text}"),
        "WARN" => tracing::warn!(stream, pid, "worker: {text}"),
        "INFO" => tracing::info!(stream, pid, "worker: {text}"),
        // Which driver libva tries, each time.
        "libva" if text.starts_with("info:") => tracing::debug!(stream, pid, "worker: {line}"),
        "SANDBOX" => tracing::warn!(stream, pid, "worker: the sandbox refused {text}"),
        "DEBUG" | "TRACE" => tracing::debug!(stream, pid, "worker: {text}"),
        _ => tracing::warn!(stream, pid, "worker: {line}"),
    }
}

/// The line with `user:password@` cut out of every URL in it.
fn redact(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let authority = after.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(after.len());
        let host = after[..authority].rfind('@').map_or(0, |at| at + 1);
        rest = &after[host..];
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_cut_out_of_urls() {
        assert_eq!(
            redact("open rtsp://admin:p@ss@cam/1 failed, http://x/y@z"),
            "open rtsp://cam/1 failed, http://x/y@z"
        );
        assert_eq!(redact("nothing here"), "nothing here");
    }

    #[tokio::test]
    async fn endless_lines_are_cut() {
        let long = vec![b'x'; 100_000];
        let text = [&long[..], b"\nnext\nlast"].concat();
        let mut lines = BufReader::new(&text[..]);
        assert_eq!(next_line(&mut lines).await.map(|line| line.len()), Some(LINE_BYTES));
        assert_eq!(next_line(&mut lines).await.as_deref(), Some("next"));
        assert_eq!(next_line(&mut lines).await.as_deref(), Some("last"));
        assert_eq!(next_line(&mut lines).await, None);
    }
}
