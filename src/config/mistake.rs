//! Mistakes: collected, not thrown, so that one run shows them all.

use std::fmt;
use std::sync::Arc;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The document's name, or the environment variable's.
    pub file: Arc<str>,
    /// Counted from 1; 0 where there are no lines.
    pub line: u32,
    /// In characters, counted from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    place: Place,
    key: String,
    message: String,
}

impl Mistake {
    /// The document it stands in: a file's path, the request body, or an environment variable.
    pub fn file(&self) -> &str {
        &self.place.file
    }

    /// The line, counted from 1; 0 for an environment variable.
    pub fn line(&self) -> u32 {
        self.place.line
    }

    /// The column in characters, counted from 1; 0 for an environment variable.
    pub fn column(&self) -> u32 {
        self.place.column
    }

    /// The key, such as `streams.front-door.transport`; empty where a document as a whole is meant.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong, what is allowed, and the remedy.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong, in the order of files and lines. Never empty, never with a secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// One after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl From<Mistakes> for crate::error::Error {
    fn from(mistakes: Mistakes) -> Self {
        Self::invalid(mistakes.to_string())
    }
}

/// Collects mistakes while a configuration is read. A hostile request can hold thousands, so not all are kept.
#[derive(Default)]
pub(super) struct Report {
    mistakes: Vec<Mistake>,
    beyond: usize,
}

/// How many mistakes are kept.
const MOST: usize = 200;

impl Report {
    /// Notes that `message` holds of `key` at `place`.
    pub fn add(&mut self, place: &Place, key: &str, message: impl Into<String>) {
        if self.mistakes.len() == MOST {
            self.beyond += 1;
            return;
        }
        self.mistakes.push(Mistake { place: place.clone(), key: shown(key), message: message.into() });
    }

    /// `value`, if nothing at all was wrong.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Mistakes> {
        match value {
            Some(value) if self.mistakes.is_empty() => Ok(value),
            _ => {
                self.mistakes.sort_by(|a, b| a.place.cmp(&b.place));
                let last = self.mistakes.last().filter(|_| self.beyond > 0).map(|last| last.place.clone());
                let message = format!("{} more mistakes are not listed", self.beyond);
                self.mistakes.extend(last.map(|place| Mistake { place, key: String::new(), message }));
                Err(Mistakes(self.mistakes))
            }
        }
    }
}

/// `text` as it may stand in a message: on one line, short, and without what follows a URL's scheme, which may be a
/// password.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let (text, hidden) = match text.split_once("://") {
        Some((scheme, _)) => (scheme, "://…"),
        None => (text, ""),
    };
    let cut = if text.chars().nth(LONGEST).is_some() { "…" } else { "" };
    let start: String = text.chars().take(LONGEST).collect();
    let one_line: String = start
        .chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    format!("{one_line}{cut}{hidden}")
}

/// `; did you mean 'x'?` with the name nearest to `name`, or the list of all where none is near.
pub(super) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    // Comparing is quadratic in length, and no known name is long.
    let short: String = name.chars().take(64).collect();
    let nearest = known.iter().map(|known| (strsim::damerau_levenshtein(&short, known), *known)).min();
    match nearest {
        Some((distance, nearest)) if distance <= 1 + nearest.len() / 3 => format!("did you mean '{nearest}'?"),
        _ => format!("known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_and_hides_urls() {
        assert_eq!(shown("rtsp://user:hunter2@host/"), "rtsp://…");
        assert_eq!(shown("a\nb'"), "a\u{fffd}b'");
        assert_eq!(shown(&"ä".repeat(100)).chars().count(), 81);
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        assert_eq!(suggestion("trasnport", ["source", "transport"]), "did you mean 'transport'?");
        assert_eq!(suggestion("colour", ["source", "transport"]), "known are source, transport");
        assert_eq!(suggestion("x", []), "known are ");
    }
}
