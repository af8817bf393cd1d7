//! What the stand-in says on standard error, as loud as `-loglevel` allows.

use std::io::Write;

/// ffmpeg's levels that are used here (libavutil/log.h), the loudest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing, or what ends the process; both are silence here.
    Fatal,
    /// What ends the command.
    Error,
    /// What goes otherwise than was asked.
    Warning,
    /// ffmpeg's default.
    Info,
    /// Everything.
    Verbose,
}

/// Standard error.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    level: Level,
}

impl Log {
    /// As loud as the command wants it; the last `-loglevel` counts.
    pub fn new(words: &[String]) -> Self {
        let options = words.iter().zip(words.iter().skip(1));
        let mut levels = options.filter(|(option, _)| *option == "-loglevel" || *option == "-v");
        Self { level: levels.next_back().map_or(Level::Info, |(_, name)| level(name)) }
    }

    /// A line, if it is not too quiet for the command. Never holds a URL.
    pub fn say(&self, level: Level, text: &str) {
        if level <= self.level {
            // A reader of standard error that is gone is no reason to end.
            let _ = writeln!(std::io::stderr(), "[camshaft] {text}");
        }
    }
}

/// `[flags+]level`, by name or number.
fn level(text: &str) -> Level {
    match text.rsplit('+').next().unwrap_or_default() {
        "quiet" | "panic" | "fatal" => Level::Fatal,
        "error" => Level::Error,
        "warning" => Level::Warning,
        "verbose" | "debug" | "trace" => Level::Verbose,
        number => match number.parse::<i32>() {
            Ok(..16) => Level::Fatal,
            Ok(16..24) => Level::Error,
            Ok(24..32) => Level::Warning,
            Ok(40..) => Level::Verbose,
            Ok(_) | Err(_) => Level::Info,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_ffmpeg_does() {
        for (line, level) in [
            ("-i x y", Level::Info),
            ("-loglevel warning -i x y", Level::Warning),
            ("-v error -i x -loglevel repeat+verbose y", Level::Verbose),
            ("-v 16", Level::Error),
            ("-v -8", Level::Fatal),
            ("-v quiet", Level::Fatal),
        ] {
            assert_eq!(Log::new(&shlex::split(line).unwrap()).level, level, "{line}");
        }
    }
}
