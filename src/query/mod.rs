//! A URL's query, read parameter by parameter; every mistake is kept, so that one answer names them all.

mod media;
mod transcode;

pub use media::{Media, MediaParams};
pub use transcode::{TranscodeRequest, parse_format};

use url::form_urlencoded;

use crate::error::{Error, Result};
use crate::media::query::{ParamError, RenditionParams, parse_params};
use crate::plan::Policy;

/// More parameters than any call has.
const PARAMETERS_MAX: usize = 32;

/// Parameters that are not read yet, and the mistakes found so far.
#[derive(Debug)]
pub struct Query {
    pairs: Vec<(String, String)>,
    mistakes: Vec<ParamError>,
}

impl Query {
    /// Decodes `text` (WHATWG `application/x-www-form-urlencoded`). Parameters not in `known` are mistakes.
    ///
    /// # Errors
    /// More parameters than any call has.
    pub fn read(text: Option<&str>, known: &[&str]) -> Result<Self> {
        let text = text.unwrap_or_default();
        let pairs: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes())
            .take(PARAMETERS_MAX + 1)
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        if pairs.len() > PARAMETERS_MAX {
            return Err(Error::invalid(format!("the query has more than {PARAMETERS_MAX} parameters")));
        }
        let (pairs, unknown): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(key, _)| known.contains(&key.as_str()));
        let mistakes = unknown.into_iter().map(|(key, _)| ParamError { problem: unknown_problem(&key, known), key });
        Ok(Self { pairs, mistakes: mistakes.collect() })
    }

    /// Notes a mistake. `problem` continues a sentence that starts with the parameter's name.
    pub fn refuse(&mut self, key: &str, problem: impl Into<String>) {
        self.mistakes.push(ParamError { key: key.to_owned(), problem: problem.into() });
    }

    /// Takes `key` out and reads it with `parse`, whose error says what is allowed.
    pub fn take<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (own, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(name, _)| name == key);
        self.pairs = rest;
        let own: Vec<(String, String)> = own;
        if own.len() > 1 {
            self.refuse(key, "is given twice");
            return None;
        }
        match parse(&own.first()?.1) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.refuse(key, problem);
                None
            }
        }
    }

    /// The same for a parameter that must be there.
    pub fn require<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        if self.pairs.iter().all(|(name, _)| name != key) {
            let rule = parse("").err().unwrap_or_default();
            self.refuse(key, format!("is missing: {rule}"));
        }
        self.take(key, parse)
    }

    /// Reads all that is left as the parameters of a rendition.
    pub fn take_rendition(&mut self) -> RenditionParams {
        let pairs = std::mem::take(&mut self.pairs);
        let parsed = parse_params(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        self.settle(parsed).unwrap_or_default()
    }

    /// `result`'s value, its mistakes noted.
    pub fn settle<T>(&mut self, result: Result<T, Vec<ParamError>>) -> Option<T> {
        result.map_err(|mistakes| self.mistakes.extend(mistakes)).ok()
    }

    /// `value`, if there was no mistake.
    ///
    /// # Errors
    /// Every mistake, in one message.
    pub fn finish<T>(self, value: Option<T>) -> Result<T> {
        match value {
            Some(value) if self.mistakes.is_empty() => Ok(value),
            _ => Err(self.mistakes.into()),
        }
    }
}

/// `is not known`, and what may have been meant.
fn unknown_problem(key: &str, known: &[&str]) -> String {
    // The short forms are one letter away from too much to be meant.
    let names: Vec<&str> = known.iter().copied().filter(|name| name.len() > 1).collect();
    // Comparing is quadratic in length, and no known name is long.
    let start: String = key.chars().take(32).collect();
    let nearest = names.iter().map(|name| (strsim::damerau_levenshtein(&start, name), *name)).min();
    match nearest {
        Some((distance, name)) if distance <= 1 + name.len() / 3 => {
            format!("is not known here; did you mean '{name}'?")
        }
        _ => format!("is not known here; known are {}", names.join(", ")),
    }
}

/// `policy=`
///
/// # Errors
/// What is allowed.
pub fn parse_policy(text: &str) -> Result<Policy, String> {
    text.parse().map_err(|_: String| format!("must be one of {}", Policy::ALL.map(|(name, _)| name).join(", ")))
}
