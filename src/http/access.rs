//! Who may make a call: a token as bearer (RFC 6750) or as the password of Basic (RFC 7617), for the scope of the call.

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::time::Duration;

use super::Caller;
use super::error::Failure;
use crate::auth::{Access, Scope, Verdict};
use crate::error::{Error, ErrorKind};

/// How long the answer to a wrong token takes at least; at most twice that. Guessing is slow then, and who guesses holds
/// connections, of which there are few.
const PAUSE: Duration = Duration::from_millis(500);

/// Media and pictures.
pub(super) async fn media(request: Request, next: Next) -> Response {
    admit(Scope::MediaRead, request, next).await
}

/// What is known, and changes to it.
pub(super) async fn streams(request: Request, next: Next) -> Response {
    let scope = if request.method().is_safe() { Scope::StreamsRead } else { Scope::StreamsWrite };
    admit(scope, request, next).await
}

/// What touches a device for all.
pub(super) async fn admin(request: Request, next: Next) -> Response {
    admit(Scope::Admin, request, next).await
}

async fn admit(scope: Scope, request: Request, next: Next) -> Response {
    if is_foreign(&request) {
        let message = "a page of another origin asks this: camshaft answers its own pages only";
        return Failure::from(Error::new(ErrorKind::Forbidden, message)).into_response();
    }
    // Whoever may enter the socket's directory may call.
    let pod = request.extensions().get::<Caller>() == Some(&Caller::Pod);
    let Some(access) = request.extensions().get::<Access>().filter(|_| !pod) else { return next.run(request).await };
    match access.judge(secret(request.headers()).as_deref(), scope) {
        Verdict::Welcome => next.run(request).await,
        Verdict::Forbidden => {
            let message = format!("this token is not for '{}': the token file says what each is for", scope.name());
            Failure::from(Error::new(ErrorKind::Forbidden, message)).into_response()
        }
        Verdict::Unknown => challenge(request.headers(), "a token is needed"),
        Verdict::Wrong => {
            tokio::time::sleep(PAUSE.mul_f64(1.0 + fastrand::f64())).await;
            challenge(request.headers(), "this is no token that is known here")
        }
    }
}

fn challenge(headers: &HeaderMap, what: &str) -> Response {
    let message =
        format!("{what}: send one as 'Authorization: Bearer TOKEN', or as the password of Basic; see docs/security.md");
    let mut response = Failure::from(Error::new(ErrorKind::Unauthenticated, message)).into_response();
    response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"camshaft\""));
    // To a script's call a browser would open its own login window over the page.
    let by_script = headers.get("sec-fetch-mode").is_some_and(|mode| mode != "navigate");
    if !by_script {
        response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"camshaft\""));
    }
    response
}

/// The token that a request shows.
fn secret(headers: &HeaderMap) -> Option<String> {
    let (scheme, value) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(value.trim().to_owned()),
        "basic" => {
            let text = String::from_utf8(BASE64_STANDARD.decode(value.trim()).ok()?).ok()?;
            text.split_once(':').map(|(_, password)| password.to_owned())
        }
        _ => None,
    }
}

/// Whether a browser makes the request for a page that is not camshaft's: any page may send a POST to an address that only
/// its reader's machine reaches.
fn is_foreign(request: &Request) -> bool {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return false;
    }
    let Some(origin) = request.headers().get(ORIGIN) else { return false };
    let of = |text: &HeaderValue| text.to_str().ok()?.parse::<Uri>().ok()?.authority().map(ToString::to_string);
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    of(origin).as_deref() != host
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn shown(authorization: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        secret(&headers)
    }

    #[test]
    fn a_token_is_found_in_both_schemes() {
        assert_eq!(shown("Bearer t0ken").as_deref(), Some("t0ken"));
        assert_eq!(shown("bearer  t0ken ").as_deref(), Some("t0ken"));
        assert_eq!(shown("Basic dmxjOnQwOmtlbg==").as_deref(), Some("t0:ken"));
        for nothing in ["Bearer", "Basic !", "Basic dmxj", "Digest username=\"x\"", ""] {
            assert_eq!(shown(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_page_of_elsewhere_changes_nothing() {
        let from = |method: &str, origin: &str| {
            let request = Request::builder().method(method).header(HOST, "127.0.0.1:8080").header(ORIGIN, origin);
            is_foreign(&request.body(Body::empty()).unwrap())
        };
        assert!(!from("POST", "http://127.0.0.1:8080"));
        assert!(from("POST", "http://evil.example") && from("DELETE", "null") && from("PUT", "http://127.0.0.1:8081"));
        assert!(!from("GET", "http://evil.example"), "what it reads it cannot see without CORS");
    }
}
