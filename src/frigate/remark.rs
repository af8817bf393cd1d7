//! What the user has to know about a line of their file.

use std::fmt;

/// One thing to know, or to see to by hand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Remark {
    /// Counted from 1.
    pub line: usize,
    /// Where it stands, such as `cameras.yard.ffmpeg.inputs`; empty where the file as a whole is meant.
    pub key: String,
    /// What it is about and what can be done. Has no secret in it.
    pub message: String,
}

impl Remark {
    pub(super) fn new(line: usize, key: &str, message: impl Into<String>) -> Self {
        Self { line, key: key.to_owned(), message: message.into() }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}
