//! Answers: what every one of them carries, and which status an error has (RFC 2326 §7.1.1).

use rtsp_types::{HeaderName, Request, Response, ResponseBuilder, StatusCode, Version, headers};

use crate::error::{Error, ErrorKind};

/// What is served.
pub const METHODS: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN";

/// An answer that is not the one hoped for.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    message: String,
    headers: Vec<(HeaderName, String)>,
}

impl Refused {
    /// `message` says why, for people.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), headers: vec![] }
    }

    /// Adds a header.
    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The answer to `request`.
    pub fn into_response(self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        let mut builder =
            respond(self.status, Some(request)).header(headers::CONTENT_TYPE, "text/plain; charset=utf-8");
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        builder.build(self.message.into_bytes())
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::InvalidArgument => StatusCode::BadRequest,
            ErrorKind::Unauthenticated => StatusCode::Unauthorized,
            ErrorKind::Forbidden => StatusCode::Forbidden,
            ErrorKind::NotFound => StatusCode::NotFound,
            ErrorKind::Conflict => StatusCode::MethodNotValidInThisState,
            ErrorKind::UnsupportedMedia => StatusCode::UnsupportedMediaType,
            ErrorKind::Impossible => StatusCode::NotAcceptable,
            ErrorKind::AuthFailed | ErrorKind::Unavailable | ErrorKind::Overloaded | ErrorKind::Cancelled => {
                StatusCode::ServiceUnavailable
            }
            ErrorKind::Internal => StatusCode::InternalServerError,
        };
        let refused = Self::new(status, error.chain());
        match error.retry_after() {
            Some(after) => refused.with(headers::RETRY_AFTER, after.as_secs().max(1).to_string()),
            None => refused,
        }
    }
}

/// An answer to `request`, if there was one that could be read, so far with what all have.
pub fn respond(status: StatusCode, request: Option<&Request<Vec<u8>>>) -> ResponseBuilder {
    let builder = Response::builder(Version::V1_0, status).header(headers::SERVER, "camshaft");
    match request.and_then(|request| request.header(&headers::CSEQ)) {
        Some(number) => builder.header(headers::CSEQ, number.as_str()),
        None => builder,
    }
}
