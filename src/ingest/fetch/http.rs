//! A client of HTTP/1.1 that connects to addresses that were checked before, follows no redirect, and believes nobody's
//! lengths.

use bytes::Bytes;
use http_auth::{PasswordClient, PasswordParams};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use url::{Position, Url};

use super::tls::{Roots, Tls};
use crate::ingest::failure::{Failure, quote_text};
use crate::link::{FailureKind, ServerOrigin};
use crate::media::MAX_ACCESS_UNIT;

/// The most bytes of an answer's head, and of what is read ahead of a body.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 100;

/// Asks one server for one URL.
pub(super) struct Client {
    url: Url,
    addresses: Vec<SocketAddr>,
    credentials: Option<(String, String)>,
    /// What the server's challenge made of them.
    login: Option<PasswordClient>,
    tls: Option<Tls>,
    sender: Option<SendRequest<Empty<Bytes>>>,
    /// What moves the connection's bytes.
    connection: JoinSet<()>,
}

/// An answer of success.
pub(super) struct Answer {
    /// Its `Content-Type`, or nothing.
    pub(super) content_type: String,
    /// What follows.
    pub(super) body: Body,
}

/// An answer's body.
pub(super) struct Body(Incoming);

impl Client {
    pub(super) fn new(origin: &ServerOrigin, addresses: Vec<SocketAddr>, roots: Roots) -> Result<Self, Failure> {
        let unreadable = |what: &str| Failure::new(FailureKind::Connect, format!("the source's URL {what}"));
        let url = Url::parse(&origin.url).map_err(|_| unreadable("cannot be read"))?;
        let host = url.host_str().ok_or_else(|| unreadable("has no host"))?;
        let tls = if url.scheme() == "https" { Some(Tls::new(host, roots)?) } else { None };
        let credentials = origin.username.clone().zip(origin.password.clone());
        Ok(Self { url, addresses, credentials, login: None, tls, sender: None, connection: JoinSet::new() })
    }

    /// Asks, and waits for the answer's head until `deadline`.
    pub(super) async fn get(&mut self, deadline: Instant) -> Result<Answer, Failure> {
        timeout_at(deadline, self.ask()).await.unwrap_or_else(|_| {
            Err(Failure::new(FailureKind::Connect, "the source did not answer in time (limits.connect_timeout)"))
        })
    }

    async fn ask(&mut self) -> Result<Answer, Failure> {
        let first = self.send().await?;
        // A login that was good for one answer may be stale for the next (RFC 7616 §3.3).
        let response = match self.credentials {
            Some(_) if first.status() == StatusCode::UNAUTHORIZED => {
                self.login = Some(challenge(first.headers())?);
                // What else the server says about it is not waited for.
                self.sender = None;
                self.send().await?
            }
            _ => first,
        };
        if !response.status().is_success() {
            return Err(self.refused(response.status(), response.headers()));
        }
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|text| text.to_str().ok()).unwrap_or_default().to_owned();
        Ok(Answer { content_type, body: Body(response.into_body()) })
    }

    async fn send(&mut self) -> Result<Response<Incoming>, Failure> {
        let request = self.request()?;
        let mut sender = match self.sender.take() {
            Some(mut sender) => match sender.ready().await {
                Ok(()) => sender,
                // The server kept it no longer.
                Err(_) => self.connect().await?,
            },
            None => self.connect().await?,
        };
        let response = sender.send_request(request).await.map_err(|error| unanswered(&error))?;
        self.sender = Some(sender);
        Ok(response)
    }

    fn request(&mut self) -> Result<Request<Empty<Bytes>>, Failure> {
        let target = &self.url[Position::BeforePath..Position::AfterQuery];
        let host = &self.url[Position::BeforeHost..Position::AfterPort];
        let mut request = Request::get(target)
            .header(header::HOST, host)
            .header(header::USER_AGENT, concat!("camshaft/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "*/*");
        if let (Some(login), Some((username, password))) = (&mut self.login, &self.credentials) {
            let params = PasswordParams { username, password, uri: target, method: "GET", body: Some(&[]) };
            let answer = login.respond(&params).map_err(unknown_challenge)?;
            let mut value = HeaderValue::try_from(answer).map_err(|error| unknown_challenge(error.to_string()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(Empty::new()).map_err(|error| Failure::new(FailureKind::Connect, format!("no request: {error}")))
    }

    async fn connect(&mut self) -> Result<SendRequest<Empty<Bytes>>, Failure> {
        let mut failure = Failure::new(FailureKind::Connect, "the source's name has no address");
        for address in &self.addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    self.connection.abort_all();
                    return match &self.tls {
                        Some(tls) => begin(tls.connect(stream).await?, &mut self.connection).await,
                        None => begin(stream, &mut self.connection).await,
                    };
                }
                Err(error) => {
                    failure = Failure::new(FailureKind::Connect, format!("cannot connect to the source: {error}"));
                }
            }
        }
        Err(failure)
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap) -> Failure {
        let (kind, message) = match status.as_u16() {
            401 | 403 if self.credentials.is_none() => {
                (FailureKind::Auth, "the source wants credentials: give username and password".to_owned())
            }
            401 | 403 => (FailureKind::Auth, "the source refuses the credentials: check username and password".into()),
            404 => (FailureKind::Refused, "the source has no such path: check the URL".into()),
            300..=399 => (FailureKind::Refused, redirect(headers)),
            _ => (FailureKind::Refused, "the source refuses".into()),
        };
        Failure::new(kind, format!("{message} (HTTP status {})", status.as_u16()))
    }
}

/// Where a redirect leads, without what may be secret in it.
fn redirect(headers: &HeaderMap) -> String {
    let location = headers.get(header::LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
    let location = location.split('?').next().unwrap_or_default();
    let has_login = location.contains('@');
    let to = if location.is_empty() || has_login { String::new() } else { format!(" to {}", quote_text(location)) };
    format!("the source redirects{to}, which is not followed: give the final URL")
}

/// What the server wants to know, of several ways the best.
fn challenge(headers: &HeaderMap) -> Result<PasswordClient, Failure> {
    let challenges = headers.get_all(header::WWW_AUTHENTICATE).into_iter().filter_map(|value| value.to_str().ok());
    challenges
        .fold(PasswordClient::builder(), |builder, text| builder.challenges(text))
        .build()
        .map_err(unknown_challenge)
}

fn unknown_challenge(error: String) -> Failure {
    let error = quote_text(&error);
    Failure::new(FailureKind::Auth, format!("the source wants a login that is neither basic nor digest: {error}"))
}

async fn begin(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connections: &mut JoinSet<()>,
) -> Result<SendRequest<Empty<Bytes>>, Failure> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| unanswered(&error))?;
    connections.spawn(async move {
        // Requests and bodies tell of its errors.
        let _ = connection.await;
    });
    Ok(sender)
}

fn unanswered(error: &hyper::Error) -> Failure {
    if error.is_parse_too_large() {
        let message = format!("the answer's head has more than {MAX_HEADERS} lines or {} KiB", MAX_HEAD >> 10);
        return Failure::new(FailureKind::Limit, message);
    }
    let text = quote_text(&chain(error));
    if error.is_parse() {
        return Failure::new(FailureKind::Protocol, format!("the source does not speak HTTP/1.1: {text}"));
    }
    Failure::new(FailureKind::Connect, format!("the source closed the connection before it answered: {text}"))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl Body {
    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self, deadline: Instant, patience: Duration) -> Result<Option<Bytes>, Failure> {
        loop {
            match timeout_at(deadline, self.0.frame()).await {
                Err(_) => {
                    let message = format!("the source sent nothing usable for {patience:?}");
                    return Err(Failure::new(FailureKind::Idle, message));
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    let text = quote_text(&chain(&error));
                    return Err(Failure::new(FailureKind::Ended, format!("the source broke off: {text}")));
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// All of it, which is one picture.
    pub(super) async fn whole(mut self, deadline: Instant) -> Result<Bytes, Failure> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let mut whole = Vec::new();
        while let Some(bytes) = self.next(deadline, patience).await? {
            if whole.len() + bytes.len() > MAX_ACCESS_UNIT {
                let message = format!("a picture is past the limit of {} MiB", MAX_ACCESS_UNIT >> 20);
                return Err(Failure::new(FailureKind::Limit, message));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.into())
    }
}
