//! One client's connection: its requests, and the media that it plays.

use bytes::BytesMut;
use rtsp_types::{Method, Request, Response, StatusCode, headers};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use super::Server;
use super::reply::respond;
use super::requests::Requests;
use super::rtp::is_rtcp;
use super::session::{Event, Session};
use super::transport::Carrier;
use super::wire::{Inbound, Incoming, Refusal};
use crate::error::Error;
use crate::tcp::TlsAcceptor;

/// Wrong passwords on one connection.
const WRONG_LOGINS_MAX: u32 = 3;
/// For a last word to a client that may not listen.
const FAREWELL: Duration = Duration::from_millis(200);

/// What a connection reads from.
type Reading = Box<dyn AsyncRead + Send + Unpin>;
/// What it writes to.
type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// An accepted connection, plain or within TLS.
pub struct Wire {
    read: Reading,
    write: Writing,
    carrier: Carrier,
    local: IpAddr,
    peer: IpAddr,
}

impl Wire {
    /// Takes over a connection; `None` if the client is gone already.
    pub fn new(stream: TcpStream, peer: SocketAddr, tls: Option<&TlsAcceptor>) -> Option<Self> {
        let (local, peer) = (stream.local_addr().ok()?.ip(), peer.ip());
        let (read, write, carrier): (Reading, Writing, _) = match tls {
            None => {
                let (read, write) = stream.into_split();
                (Box::new(read), Box::new(write), Carrier::Plain)
            }
            Some(tls) => {
                let (read, write) = tokio::io::split(tls.accept(stream));
                (Box::new(read), Box::new(write), Carrier::Tls)
            }
        };
        Some(Self { read, write, carrier, local, peer })
    }
}

/// A client's connection.
pub struct Connection {
    requests: Requests,
    incoming: Incoming<Reading>,
    outgoing: Writing,
    /// When the client last gave a sign of life.
    heard: Instant,
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client left.
    Gone,
    /// The stream has ended.
    Ended,
    /// The service stops.
    Shutdown,
    /// The media could not be sent.
    Failed(Error),
    /// The client's fault, as metrics and logs name it, with the answer that it deserves.
    Fault(&'static str, Option<StatusCode>),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Gone => Self::Gone,
            Refusal::TooLarge => Self::Fault("too_large", Some(StatusCode::RequestMessageBodyTooLarge)),
            Refusal::TooSlow => Self::Fault("too_slow", Some(StatusCode::RequestTimeout)),
            Refusal::Malformed => Self::Fault("malformed", Some(StatusCode::BadRequest)),
        }
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Connection {
    /// A client who has said nothing yet.
    pub fn new(server: Arc<Server>, wire: Wire) -> Self {
        let incoming = Incoming::new(wire.read, server.limits.rtsp_message as usize, server.limits.rtsp_head);
        let requests = Requests::new(server, wire.carrier, wire.local, wire.peer);
        Self { requests, incoming, outgoing: wire.write, heard: Instant::now() }
    }

    /// Serves the client until either side ends it, or `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let span = info_span!("rtsp", peer = %self.requests.peer());
        async {
            let end = tokio::select! {
                end = self.serve() => end,
                () = shutdown.cancelled() => End::Shutdown,
            };
            self.conclude(end).await;
        }
        .instrument(span)
        .await;
    }

    async fn serve(&mut self) -> End {
        loop {
            let deadline = self.deadline();
            let step = tokio::select! {
                biased;
                inbound = self.incoming.next() => match inbound {
                    Ok(inbound) => self.take(inbound).await,
                    Err(refusal) => Err(refusal.into()),
                },
                event = event(self.requests.session()) => self.follow(event).await,
                () = tokio::time::sleep_until(deadline) => Err(End::Fault("silent", None)),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// When the client counts as dead, if nothing is heard of it.
    fn deadline(&mut self) -> Instant {
        let reads = self.requests.session().is_some_and(|session| session.shows_life_by_reading());
        // A client that stops reading is noticed while writing to it.
        let heard = if reads { Instant::now() } else { self.heard };
        heard + self.requests.server().limits.rtsp_session
    }

    async fn take(&mut self, inbound: Inbound) -> Result<(), End> {
        match inbound {
            Inbound::Request(request) => {
                self.heard = Instant::now();
                let response = self.requests.answer(&request).await;
                self.count(&request, &response);
                let mut bytes = Vec::new();
                response.write(&mut bytes).map_err(|_| End::Fault("malformed", None))?;
                self.write(&bytes).await?;
                if self.requests.wrong_logins() >= WRONG_LOGINS_MAX {
                    return Err(End::Fault("unauthorized", None));
                }
            }
            Inbound::Data(data) if is_rtcp(&data) => self.heard = Instant::now(),
            Inbound::Data(_) | Inbound::Response => {}
        }
        Ok(())
    }

    fn count(&self, request: &Request<Vec<u8>>, response: &Response<Vec<u8>>) {
        let method = match request.method() {
            // Clients may make up methods.
            Method::Extension(_) => "other",
            method => method.into(),
        };
        let status = u16::from(response.status()).to_string();
        tracing::debug!(method, status, "answered");
        self.requests.server().metrics.rtsp_requests.with_label_values(&[method, &status]).inc();
    }

    async fn follow(&mut self, event: Event) -> Result<(), End> {
        let Some(session) = self.requests.session() else { return Ok(()) };
        let mut out = BytesMut::new();
        match event {
            Event::Unit(unit) => session.packets(&unit, &mut out)?,
            Event::ReportDue => session.reports(&mut out)?,
            Event::Alive => self.heard = Instant::now(),
            Event::Ended => return Err(End::Ended),
        }
        self.send(&out).await
    }

    /// Sends framed packets the way that the session travels.
    async fn send(&mut self, framed: &[u8]) -> Result<(), End> {
        match self.requests.session() {
            Some(session) if session.send_datagrams(framed).await => Ok(()),
            _ => self.write(framed).await,
        }
    }

    /// Writes all, as long as the client takes some.
    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        let stalled = self.requests.server().limits.stalled_consumer;
        while !bytes.is_empty() {
            match tokio::time::timeout(stalled, self.outgoing.write(bytes)).await {
                Ok(Ok(0) | Err(_)) => return Err(End::Gone),
                Ok(Ok(taken)) => bytes = bytes.get(taken..).unwrap_or_default(),
                Err(_) => return Err(self.stalled()),
            }
        }
        // TLS keeps what it has sealed until the client takes it.
        match tokio::time::timeout(stalled, self.outgoing.flush()).await {
            Ok(flushed) => flushed.map_err(|_| End::Gone),
            Err(_) => Err(self.stalled()),
        }
    }

    fn stalled(&mut self) -> End {
        if let Some(session) = self.requests.session() {
            session.note_stalled();
        }
        End::Fault("stalled", None)
    }

    /// Counts the end, and tells the client what can still be told.
    async fn conclude(mut self, end: End) {
        let mut farewell = BytesMut::new();
        match &end {
            End::Gone => {}
            End::Ended | End::Shutdown | End::Failed(_) => {
                if let Some(session) = self.requests.session() {
                    // Nothing hangs on a goodbye.
                    let _ = session.goodbyes(&mut farewell);
                }
            }
            End::Fault(reason, status) => {
                self.requests.server().metrics.rtsp_closed.with_label_values(&[reason]).inc();
                let answer = status.map(|status| respond(status, None).header(headers::CONNECTION, "close").empty());
                let mut bytes = Vec::new();
                if answer.is_some_and(|answer| answer.write(&mut bytes).is_ok()) {
                    farewell.extend_from_slice(&bytes);
                }
            }
        }
        match &end {
            End::Failed(error) => tracing::warn!(error = error.chain(), "an RTSP client was cut off"),
            end => tracing::debug!(?end, "an RTSP connection ended"),
        }
        // Who does not listen now has had its chance.
        let _ = tokio::time::timeout(FAREWELL, self.send(&farewell)).await;
    }
}

/// What happens in the session; nothing, if there is none.
async fn event(session: Option<&mut Session>) -> Event {
    match session {
        Some(session) => session.event().await,
        None => std::future::pending().await,
    }
}
