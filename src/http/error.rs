//! Every answer that is an error has the same form: `{"error":{"kind":"…","message":"…"}}` with a fitting status.

use axum::BoxError;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;
use std::any::Any;
use std::time::Duration;
use utoipa::ToSchema;

use crate::error::{Error, ErrorKind};

/// `Retry-After` where whoever failed could not say better.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// An error as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    /// For machines.
    #[schema(example = "not_found")]
    kind: &'static str,
    /// For people: what is wrong, and the remedy.
    message: String,
}

/// An error on its way to the client.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    error: Error,
}

impl Failure {
    /// `error` with a status that is finer than its kind's.
    pub(super) fn with_status(status: StatusCode, error: Error) -> Self {
        Self { status, error }
    }

    fn retry_after(&self) -> Option<Duration> {
        let may_pass = matches!(self.error.kind(), ErrorKind::Unavailable | ErrorKind::Overloaded);
        self.error.retry_after().or(may_pass.then_some(RETRY_AFTER))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = StatusCode::from_u16(error.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error }
    }
}

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        Error::invalid(rejection.body_text()).into()
    }
}

impl From<BytesRejection> for Failure {
    fn from(rejection: BytesRejection) -> Self {
        let message = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than limits.control_body allows".to_owned(),
            _ => format!("the body could not be read: {}", rejection.body_text()),
        };
        Self::with_status(rejection.status(), Error::invalid(message))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let message = match self.error.kind() {
            ErrorKind::Internal => {
                tracing::error!(error = %self.error.chain(), "a request failed by a defect");
                self.error.message().to_owned()
            }
            _ => self.error.chain(),
        };
        let body = ErrorBody { error: ErrorDetail { kind: self.error.kind().name(), message } };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(after) = self.retry_after() {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The answer for a path that is none of the API's.
pub(super) async fn unknown_path(uri: Uri) -> Failure {
    let path: String = uri.path().chars().take(80).collect();
    Error::new(ErrorKind::NotFound, format!("there is no '{path}' here: GET / lists every call")).into()
}

/// The answer for a method that a path does not have. The router adds `Allow`.
pub(super) async fn unknown_method(method: Method, uri: Uri) -> Failure {
    let path: String = uri.path().chars().take(80).collect();
    let error = Error::invalid(format!("'{path}' takes no {method}: the Allow header lists what it takes"));
    Failure::with_status(StatusCode::METHOD_NOT_ALLOWED, error)
}

/// The answer when the layers around a control request give it up.
pub(super) async fn given_up(cause: BoxError) -> Failure {
    if cause.is::<tower::timeout::error::Elapsed>() {
        return Error::unavailable("the call took longer than limits.control_timeout allows").into();
    }
    if cause.is::<tower::load_shed::error::Overloaded>() {
        let message = "as many calls are being answered as limits.control_calls allows";
        return Error::new(ErrorKind::Overloaded, message).into();
    }
    Error::internal("the call could not be answered").with_source(cause).into()
}

/// The answer when a handler panics.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("(no text)"), "a request handler panicked");
    Failure::from(Error::internal("the call ran into a defect of camshaft; its log says more")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry_after(error: Error) -> Option<String> {
        let response = Failure::from(error).into_response();
        response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn retry_after_is_in_whole_seconds_and_never_too_early() {
        let away = || Error::unavailable("the camera is away");
        assert_eq!(retry_after(away()).as_deref(), Some("5"));
        assert_eq!(retry_after(away().with_retry_after(Duration::from_millis(1200))).as_deref(), Some("2"));
        assert_eq!(retry_after(Error::new(ErrorKind::Overloaded, "full")).as_deref(), Some("5"));
        let auth = Error::new(ErrorKind::AuthFailed, "bad password").with_retry_after(Duration::from_secs(30));
        assert_eq!(retry_after(auth).as_deref(), Some("30"));
        assert_eq!(retry_after(Error::invalid("no")), None);
    }
}
