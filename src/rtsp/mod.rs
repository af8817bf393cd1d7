//! The RTSP server (RFC 2326) over [`crate::stream`]: `rtsp://host/{id}` is a copy of the camera's packets, the query
//! parameters of the HTTP API make it a rendition.
//!
//! A connection is one task, which reads requests, and writes media as it comes. What the client does not take stays in
//! the stream's ring, where it can be skipped. Media goes only where the connection comes from.

mod auth;
mod connection;
mod feed;
mod presentation;
mod reply;
mod requests;
mod rtp;
mod session;
pub mod target;
mod transport;
pub mod wire;

use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::auth::Access;
use crate::config::{Credentials, Limits};
use crate::metrics::Metrics;
use crate::stream::Streams;
use crate::tcp::{Listener, TlsAcceptor};
use connection::{Connection, Wire};

/// What the server works with.
#[derive(Debug)]
pub struct Server {
    /// What there is to see.
    pub streams: Arc<Streams>,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// What clients must know, beside a token; `None` for nothing.
    pub login: Option<Credentials>,
    /// Whose tokens let them in.
    pub access: Access,
    /// What bounds clients.
    pub limits: Limits,
}

impl Server {
    /// Serves until `shutdown`, within TLS if there is `tls`; then says goodbye to every client and returns.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: Option<TlsAcceptor>, shutdown: CancellationToken) {
        let server = self;
        let limits = &server.limits;
        let mut listener = Listener::new(listener, limits.rtsp_connections as usize, limits.stalled_consumer);
        let mut connections = JoinSet::new();
        loop {
            let (stream, peer, place) = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = shutdown.cancelled() => break,
            };
            let (server, shutdown) = (server.clone(), shutdown.clone());
            let Some(wire) = Wire::new(stream, peer, tls.as_ref()) else { continue };
            let open = server.metrics.connections.with_label_values(&["rtsp"]);
            open.inc();
            if place.is_last() {
                server.metrics.limits_reached.with_label_values(&["rtsp_connections"]).inc();
            }
            connections.spawn(async move {
                Connection::new(server, wire).run(shutdown).await;
                drop(place);
                open.dec();
            });
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }
}
