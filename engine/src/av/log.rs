//! FFmpeg's log lines, to standard error as `LEVEL message`.
//!
//! FFmpeg logs through one callback of the process that carries nothing of ours, so the line being built and the rate
//! limit are the one static of this program.

use ffmpeg_next::ffi;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines let through in each second; a damaged stream gives hundreds.
const LINES_A_SECOND: u32 = 20;
const LONGEST_LINE: usize = 1024;

static LOG: Mutex<Option<Log>> = Mutex::new(None);

struct Log {
    line: String,
    second: Instant,
    passed: u32,
    suppressed: u64,
}

/// Takes over FFmpeg's log.
pub fn install() {
    *lock() = Some(Log { line: String::new(), second: Instant::now(), passed: 0, suppressed: 0 });
    // SAFETY: the callback is a function with the signature that FFmpeg wants and may be called from any thread.
    unsafe { ffi::av_log_set_callback(Some(callback)) };
}

fn lock() -> std::sync::MutexGuard<'static, Option<Log>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `level` (`AV_LOG_…`) is called here; `None`: not worth a line. What x264 and others call information is our
/// debugging.
fn name(level: c_int) -> Option<&'static str> {
    match level {
        level if level <= ffi::AV_LOG_ERROR => Some("ERROR"),
        level if level <= ffi::AV_LOG_WARNING => Some("WARN"),
        level if level <= ffi::AV_LOG_INFO => Some("DEBUG"),
        _ => None,
    }
}

unsafe extern "C" fn callback(
    object: *mut c_void,
    level: c_int,
    format: *const c_char,
    arguments: *mut ffi::__va_list_tag,
) {
    // The upper bits of a level are a colour.
    let Some(name) = name(level & 0xff) else { return };
    let mut guard = lock();
    let Some(log) = guard.as_mut() else { return };
    let mut text = [0u8; LONGEST_LINE];
    let mut wants_prefix = c_int::from(log.line.is_empty());
    // SAFETY: FFmpeg hands over object, format and arguments that belong together; the buffer is as long as we say.
    unsafe {
        let (out, room) = (text.as_mut_ptr().cast(), LONGEST_LINE as c_int);
        ffi::av_log_format_line2(object, level, format, arguments, out, room, &mut wants_prefix)
    };
    if let Ok(text) = CStr::from_bytes_until_nul(&text) {
        log.add(name, &text.to_string_lossy(), Instant::now(), &mut std::io::stderr());
    }
}

impl Log {
    /// Adds `text`, a line or part of one; whole lines go to `out`, as many as the limit allows.
    fn add(&mut self, level: &str, text: &str, now: Instant, out: &mut impl Write) {
        if self.line.len() < LONGEST_LINE {
            self.line.push_str(text);
        }
        if !text.ends_with('\n') {
            return;
        }
        let line = std::mem::take(&mut self.line);
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            let suppressed = std::mem::take(&mut self.suppressed);
            (self.second, self.passed) = (now, 0);
            if suppressed > 0 {
                put(out, "WARN", &format!("{suppressed} more lines of FFmpeg's were left out"));
            }
        }
        if self.passed < LINES_A_SECOND {
            self.passed += 1;
            put(out, level, &without_credentials(line.trim()));
        } else {
            self.suppressed += 1;
        }
    }
}

fn put(out: &mut impl Write, level: &str, message: &str) {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(out, "{level} {message}");
}

/// `text` with `user:password@` taken out of every URL in it.
fn without_credentials(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let end = after.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(after.len());
        let host = after[..end].rfind('@').map_or(0, |at| at + 1);
        rest = &after[host..];
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_credentials() {
        let line = "opening rtsp://admin:p@ss:w@10.0.0.1:554/a@b and http://x/y@z failed";
        assert_eq!(without_credentials(line), "opening rtsp://10.0.0.1:554/a@b and http://x/y@z failed");
        assert_eq!(without_credentials("no url, me@home"), "no url, me@home");
        assert_eq!(without_credentials("rtsp://u:p@"), "rtsp://");
    }

    #[test]
    fn a_flood_is_counted_not_written() {
        let start = Instant::now();
        let mut log = Log { line: String::new(), second: start, passed: 0, suppressed: 0 };
        let mut out = Vec::new();
        log.add("WARN", "in two ", start, &mut out);
        log.add("WARN", "parts\n", start, &mut out);
        for _ in 0..100 {
            log.add("ERROR", "flood\n", start, &mut out);
        }
        log.add("ERROR", "later\n", start + Duration::from_secs(1), &mut out);
        let lines: Vec<_> = std::str::from_utf8(&out).unwrap().lines().collect();
        assert_eq!(lines.len(), LINES_A_SECOND as usize + 2);
        assert_eq!(lines[0], "WARN in two parts");
        assert_eq!(lines[20], "WARN 81 more lines of FFmpeg's were left out");
        assert_eq!(lines[21], "ERROR later");
    }

    #[test]
    fn levels_have_names() {
        assert_eq!(name(ffi::AV_LOG_PANIC), Some("ERROR"));
        assert_eq!(name(ffi::AV_LOG_WARNING), Some("WARN"));
        assert_eq!(name(ffi::AV_LOG_INFO), Some("DEBUG"));
        assert_eq!(name(ffi::AV_LOG_DEBUG), None);
    }
}
