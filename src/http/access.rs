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
use crate::auth::{self, Access, Doors, Scope, Users, Verdict};
use crate::error::{Error, ErrorKind};

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
        return forbidden("a page of another origin asks this: camshaft answers its own pages only".into()).response;
    }
    let Err(refusal) = judge(scope, &request) else { return next.run(request).await };
    tokio::time::sleep(refusal.after).await;
    refusal.response
}

/// An answer that lets nobody in, and how long it is kept back.
struct Refusal {
    after: Duration,
    response: Response,
}

impl From<Response> for Refusal {
    fn from(response: Response) -> Self {
        Self { after: Duration::ZERO, response }
    }
}

fn judge(scope: Scope, request: &Request) -> Result<(), Box<Refusal>> {
    let Some(doors) = request.extensions().get::<Doors>() else { return Ok(()) };
    let refused = match request.extensions().get::<Caller>() {
        Some(Caller::Pod { uid }) => judge_user(&doors.socket, *uid, scope),
        Some(Caller::Network) | None => judge_token(&doors.network, request.headers(), scope),
    };
    refused.map_or(Ok(()), |refusal| Err(Box::new(refusal)))
}

/// Somebody at the Unix socket.
fn judge_user(users: &Users, uid: Option<u32>, scope: Scope) -> Option<Refusal> {
    let who = uid.map_or_else(|| "a user that the kernel does not name".into(), |uid| format!("user {uid}"));
    match users.judge(uid, scope) {
        Verdict::Welcome => None,
        Verdict::Forbidden => {
            Some(forbidden(format!("{who} is not for '{}': server.unix_users says what each is for", scope.name())))
        }
        Verdict::Unknown | Verdict::Wrong => {
            Some(forbidden(format!("{who} may not call here: server.unix_users says who may")))
        }
    }
}

/// Somebody at a port.
fn judge_token(access: &Access, headers: &HeaderMap, scope: Scope) -> Option<Refusal> {
    match access.judge(secret(headers).as_deref(), scope) {
        Verdict::Welcome => None,
        Verdict::Forbidden => {
            Some(forbidden(format!("this token is not for '{}': the token file says what each is for", scope.name())))
        }
        Verdict::Unknown => Some(challenge(headers, "a token is needed").into()),
        Verdict::Wrong => {
            let response = challenge(headers, "this is no token that is known here");
            Some(Refusal { after: auth::pause(), response })
        }
    }
}

fn forbidden(message: String) -> Refusal {
    Failure::from(Error::new(ErrorKind::Forbidden, message)).into_response().into()
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
