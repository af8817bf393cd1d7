//! Requests and their answers (RFC 2326 §10).

use rtsp_types::{Method, Request, Response, StatusCode, Url, Version, headers};
use std::net::IpAddr;
use std::sync::Arc;

use super::Server;
use super::auth::Challenge;
use super::feed::Feed;
use super::presentation::{sdp, tracks};
use super::reply::{METHODS, Refused, respond};
use super::session::{Presentation, Session};
use super::target::{Target, aggregate_url};
use super::transport::{Asked, Carrier};
use crate::auth;

type Answer = Result<Response<Vec<u8>>, Refused>;

/// What one connection asks for, and what has come of it. A session lives and dies with its connection.
pub struct Requests {
    server: Arc<Server>,
    carrier: Carrier,
    local: IpAddr,
    peer: IpAddr,
    nonce: String,
    wrong_logins: u32,
    described: Option<Arc<Presentation>>,
    session: Option<Session>,
}

impl Requests {
    /// Of a client at `peer` who reached this host as `local`.
    pub fn new(server: Arc<Server>, carrier: Carrier, local: IpAddr, peer: IpAddr) -> Self {
        Self { server, carrier, local, peer, nonce: secret_name(), wrong_logins: 0, described: None, session: None }
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The client's address.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The session, if there is one.
    pub fn session(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// How often the client gave a wrong password.
    pub fn wrong_logins(&self) -> u32 {
        self.wrong_logins
    }

    /// The answer to a request; what it asks for has happened.
    pub async fn answer(&mut self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        match self.dispatch(request).await {
            Ok(response) => response,
            Err(refused) => refused.into_response(request),
        }
    }

    async fn dispatch(&mut self, request: &Request<Vec<u8>>) -> Answer {
        check_form(request)?;
        if *request.method() != Method::Options {
            self.check_login(request).await?;
        }
        self.check_session(request)?;
        match request.method() {
            Method::Options => {
                Ok(respond(StatusCode::Ok, Some(request)).header(headers::PUBLIC, METHODS).build(vec![]))
            }
            Method::Describe => self.describe(request).await,
            Method::Setup => self.set_up(request).await,
            Method::Play => self.play(request).await,
            Method::Pause => self.pause(request),
            Method::GetParameter | Method::SetParameter => self.parameter(request),
            Method::Teardown => self.tear_down(request),
            Method::Announce | Method::Record | Method::Redirect | Method::PlayNotify => {
                let refused = Refused::new(StatusCode::MethodNotAllowed, format!("this server takes {METHODS}"));
                Err(refused.with(headers::ALLOW, METHODS))
            }
            Method::Extension(_) => {
                Err(Refused::new(StatusCode::NotImplemented, format!("this server takes {METHODS}")))
            }
        }
    }

    async fn check_login(&mut self, request: &Request<Vec<u8>>) -> Result<(), Refused> {
        let Some(challenge) = Challenge::new(self.server.login.as_ref(), &self.server.access, &self.nonce) else {
            return Ok(());
        };
        let given = request.header(&headers::AUTHORIZATION);
        if given.is_some_and(|given| challenge.is_met(request.method().into(), given.as_str())) {
            return Ok(());
        }
        let header = challenge.header();
        if given.is_some() {
            self.wrong_logins += 1;
            tokio::time::sleep(auth::pause()).await;
        }
        let refused = Refused::new(
            StatusCode::Unauthorized,
            "a password is needed: server.rtsp_password, or a token with any user name",
        );
        Err(refused.with(headers::WWW_AUTHENTICATE, header))
    }

    /// A session that is named must be this connection's.
    fn check_session(&self, request: &Request<Vec<u8>>) -> Result<(), Refused> {
        let Some(named) = request.header(&headers::SESSION) else { return Ok(()) };
        let named = named.as_str().split(';').next().unwrap_or_default().trim();
        if self.session.as_ref().is_some_and(|session| session.id == named) {
            return Ok(());
        }
        Err(Refused::new(StatusCode::SessionNotFound, "this connection has no such session: SETUP makes one"))
    }

    async fn describe(&mut self, request: &Request<Vec<u8>>) -> Answer {
        let accepted = request.header(&headers::ACCEPT).map(|accept| accept.as_str().to_ascii_lowercase());
        if accepted
            .is_some_and(|accept| !["application/sdp", "application/*", "*/*"].iter().any(|ours| accept.contains(ours)))
        {
            return Err(Refused::new(StatusCode::NotAcceptable, "descriptions are application/sdp: accept it"));
        }
        let url = url_of(request)?;
        let presentation = self.look_at(url, Target { track: None, ..Target::parse(url)? }).await?;
        let text = sdp(presentation.target.id.as_str(), &presentation.url, self.local, &presentation.tracks)?;
        Ok(respond(StatusCode::Ok, Some(request))
            .header(headers::CONTENT_TYPE, "application/sdp")
            .header(headers::CONTENT_BASE, presentation.url.as_str())
            .build(text))
    }

    /// The presentation of `target`; that of the last request, if it is the same.
    async fn look_at(&mut self, url: &Url, target: Target) -> Result<Arc<Presentation>, Refused> {
        let stream = self.server.streams.get(&target.id)?;
        // Dropped again: the client decides when it plays. A decoder outlives this by `limits.pixels_linger`.
        let feed = Feed::open(&stream, &target.media, target.audio).await?;
        let url = aggregate_url(url, &target);
        let presentation = Arc::new(Presentation { url, stream, tracks: tracks(&feed)?, target });
        self.described = Some(presentation.clone());
        Ok(presentation)
    }

    async fn set_up(&mut self, request: &Request<Vec<u8>>) -> Answer {
        let url = url_of(request)?;
        let asked = Target::parse(url)?;
        let whole = Target { track: None, ..asked.clone() };
        let session = self.session.as_ref().map(|session| session.presentation.clone());
        let presentation = match (session, &self.described) {
            (Some(own), _) if own.target == whole => own,
            (Some(_), _) => {
                let message = "a session has the tracks of one URL: open another connection for another";
                return Err(Refused::new(StatusCode::AggregateOperationNotAllowed, message));
            }
            (None, Some(described)) if described.target == whole => described.clone(),
            (None, _) => self.look_at(url, whole).await?,
        };
        let index = match asked.track {
            Some(index) => index,
            None if presentation.tracks.len() == 1 => 0,
            None => {
                let message = "tracks are set up one by one: use the URLs of the description";
                return Err(Refused::new(StatusCode::AggregateOperationNotAllowed, message));
            }
        };
        let transport = request.header(&headers::TRANSPORT).map(|transport| transport.as_str());
        let Some(asked) = transport.and_then(|transport| Asked::choose(transport, self.carrier, self.peer)) else {
            let message = match self.carrier {
                Carrier::Plain => {
                    "served are RTP/AVP/TCP;interleaved=0-1 and RTP/AVP;unicast;client_port=N-M, from port 1024 on, to \
                     the client itself"
                }
                Carrier::Tls => "served is RTP/AVP/TCP;interleaved=0-1: datagrams would leave TLS",
            };
            return Err(Refused::new(StatusCode::UnsupportedTransport, message));
        };
        let mut session = self.session.take().unwrap_or_else(|| Session::new(secret_name(), presentation));
        let header = session.set_up(index, asked, self.local, self.peer).await;
        // A session that never got a track is none.
        self.session = Some(session).filter(|session| session.has_tracks());
        let builder = respond(StatusCode::Ok, Some(request)).header(headers::TRANSPORT, header?);
        Ok(builder.header(headers::SESSION, self.session_header()).build(vec![]))
    }

    async fn play(&mut self, request: &Request<Vec<u8>>) -> Answer {
        let Some(session) = &mut self.session else { return Err(nothing_is_set_up()) };
        let builder = respond(StatusCode::Ok, Some(request));
        let builder = match session.plays() {
            true => builder,
            false => {
                let info = session.play(&self.server.metrics).await?;
                let (stream, transport) = (session.presentation.target.id.as_str(), session.transport());
                tracing::info!(stream, transport, "an RTSP client plays");
                builder.header(headers::RTP_INFO, info)
            }
        };
        Ok(builder.header(headers::SESSION, self.session_header()).build(vec![]))
    }

    fn pause(&mut self, request: &Request<Vec<u8>>) -> Answer {
        let Some(session) = &mut self.session else { return Err(nothing_is_set_up()) };
        session.pause();
        Ok(respond(StatusCode::Ok, Some(request)).header(headers::SESSION, self.session_header()).build(vec![]))
    }

    /// Without parameters: a sign of life (RFC 2326 §10.8).
    fn parameter(&mut self, request: &Request<Vec<u8>>) -> Answer {
        if !request.body().is_empty() {
            return Err(Refused::new(StatusCode::ParameterNotUnderstood, "there are no parameters here"));
        }
        let builder = respond(StatusCode::Ok, Some(request));
        Ok(match self.session {
            Some(_) => builder.header(headers::SESSION, self.session_header()).build(vec![]),
            None => builder.build(vec![]),
        })
    }

    fn tear_down(&mut self, request: &Request<Vec<u8>>) -> Answer {
        let Some(session) = self.session.take() else { return Err(nothing_is_set_up()) };
        Ok(respond(StatusCode::Ok, Some(request)).header(headers::SESSION, session.id).build(vec![]))
    }

    fn session_header(&self) -> String {
        let id = self.session.as_ref().map_or("", |session| &session.id);
        format!("{id};timeout={}", self.server.limits.rtsp_session.as_secs().max(1))
    }
}

fn check_form(request: &Request<Vec<u8>>) -> Result<(), Refused> {
    if request.version() != Version::V1_0 {
        return Err(Refused::new(StatusCode::RTSPVersionNotSupported, "this server speaks RTSP/1.0"));
    }
    if request.header(&headers::CSEQ).is_none() {
        return Err(Refused::new(StatusCode::BadRequest, "every request has a CSeq header"));
    }
    match request.header(&headers::REQUIRE) {
        Some(options) => Err(Refused::new(StatusCode::OptionNotSupported, "no option is supported")
            .with(headers::UNSUPPORTED, options.as_str())),
        None => Ok(()),
    }
}

fn url_of(request: &Request<Vec<u8>>) -> Result<&Url, Refused> {
    let is_ours = |url: &&Url| ["rtsp", "rtsps"].contains(&url.scheme()) && url.has_host();
    let url = request.request_uri().filter(is_ours);
    url.ok_or_else(|| Refused::new(StatusCode::BadRequest, "a URL here is rtsp://host/STREAM"))
}

fn nothing_is_set_up() -> Refused {
    let message = "nothing is set up on this connection: SETUP a track first";
    Refused::new(StatusCode::MethodNotValidInThisState, message)
}

/// 128 bits that nobody can foresee, in hexadecimal.
fn secret_name() -> String {
    let mut bytes = [0; 16];
    // Fails only before the system has any randomness at all; such a name opens nothing by itself.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
