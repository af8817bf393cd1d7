//! One line of `camshaft check`.

use serde::Serialize;
use std::fmt;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but not as it could.
    Warning,
    /// It will not work.
    Problem,
}

/// What was found about one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What the question was about.
    pub subject: String,
    /// What was found, on one line, with the remedy where there is need of one.
    pub message: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Ok, subject, message)
    }

    /// It works, but not as it could.
    pub fn warning(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Warning, subject, message)
    }

    /// It will not work.
    pub fn problem(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Problem, subject, message)
    }

    /// A finding of this level.
    pub fn new(level: Level, subject: &str, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self { level, subject: subject.to_owned(), message: message.replace('\n', "; ") }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        };
        write!(f, "{level:<8} {:<14} {}", self.subject, self.message)
    }
}
