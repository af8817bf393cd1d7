//! The service's one error: a kind for machines, a sentence for people, and the cause beneath.

use std::fmt;
use std::time::Duration;

/// What a caller can do about an error. Each kind has exactly one HTTP status, given by [`ErrorKind::status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A parameter, body or configuration value is malformed or out of its range.
    InvalidArgument,
    /// No stream, rendition or moment of that name.
    NotFound,
    /// The thing exists, but is in the wrong state for the call.
    Conflict,
    /// The input is in no codec or container that camshaft reads.
    UnsupportedMedia,
    /// Well formed, but cannot be done here: over a size limit, or excluded by the policy.
    Impossible,
    /// The caller has shown no token that is known.
    Unauthenticated,
    /// The caller's token is for other things.
    Forbidden,
    /// The camera refused the credentials.
    AuthFailed,
    /// The source, worker or device is away; the same call may succeed later.
    Unavailable,
    /// A limit of camshaft's own is reached; the same call may succeed later.
    Overloaded,
    /// Somebody asked to stop.
    Cancelled,
    /// A defect of camshaft's own.
    Internal,
}

impl ErrorKind {
    /// The HTTP status (RFC 9110 §15) that this kind is answered with.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidArgument => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::UnsupportedMedia => 415,
            Self::Impossible => 422,
            Self::AuthFailed | Self::Unavailable | Self::Overloaded | Self::Cancelled => 503,
            Self::Internal => 500,
        }
    }

    /// The name used in JSON, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::UnsupportedMedia => "unsupported_media",
            Self::Impossible => "impossible",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::AuthFailed => "auth_failed",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// An error that names what is wrong, where, and what to do about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Shorthand for results with the service's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` names what, where and the remedy.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None, source: None }
    }

    /// Shorthand for [`ErrorKind::InvalidArgument`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// Shorthand for [`ErrorKind::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Shorthand for [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds the cause beneath.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says when the same call is worth repeating (`Retry-After`).
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence for people, without its causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// When the same call is worth repeating, if known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// This error and every cause beneath it, outermost first, joined by `: `.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|cause| cause as _)
    }
}
