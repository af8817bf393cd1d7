//! The listening side: how many connections there are, and how long a peer may take.

use axum::Router;
use axum::extract::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::listener::Connection;
use super::upload::{Upload, Watched};
use crate::metrics::Metrics;
use crate::tcp;

/// Bytes buffered for a connection in each direction: bounds a request's head, and how far a response runs ahead of the
/// socket.
const BUFFER_MAX: usize = 64 << 10;

/// Bounds on what clients can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Time for a request's head, and between two requests of a connection.
    pub head_timeout: Duration,
    /// A client that takes nothing for this long is stalled. Media responses give it up then; the connection is cut
    /// soon after.
    pub stalled_peer: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { connections_max: 1024, head_timeout: Duration::from_secs(10), stalled_peer: Duration::from_secs(10) }
    }
}

/// Counts a server's connections.
#[derive(Clone, Debug)]
pub struct Connections {
    metrics: Arc<Metrics>,
    server: &'static str,
}

/// One that is open, until dropped.
#[derive(Debug)]
struct Open(Connections);

impl Connections {
    /// Of `server`: `http`, `admin`, `unix`.
    pub fn new(metrics: Arc<Metrics>, server: &'static str) -> Self {
        metrics.connections.with_label_values(&[server]).set(0);
        Self { metrics, server }
    }

    fn open(&self) -> Open {
        self.metrics.connections.with_label_values(&[self.server]).inc();
        Open(self.clone())
    }

    fn note_limit(&self, setting: &str) {
        self.metrics.limits_reached.with_label_values(&[setting]).inc();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.connections.with_label_values(&[self.0.server]).dec();
    }
}

/// Serves `router` until `shutdown`; then stops accepting, lets every request under way finish, and returns. Dropping
/// the future cuts all connections. Every request has its [`super::Caller`] and an [`Upload`] as
/// extensions.
pub async fn serve<L>(
    mut listener: L,
    router: Router,
    options: ServerOptions,
    counted: Connections,
    shutdown: CancellationToken,
) where
    L: Listener<Io: Connection>,
{
    let places = Arc::new(Semaphore::new(options.connections_max));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(options.head_timeout).max_buf_size(BUFFER_MAX);
    let mut connections = JoinSet::new();
    loop {
        let (stream, place) = tokio::select! {
            accepted = accept(&mut listener, &places, &counted) => accepted,
            Some(_) = connections.join_next() => continue,
            () = shutdown.cancelled() => break,
        };
        if let Err(error) = stream.configure(options.stalled_peer) {
            tracing::debug!(%error, "the peer left before its connection was set up");
        }
        let (caller, upload) = (stream.caller(), Upload::default());
        let stream = Watched::new(stream, upload.clone(), tcp::cut_after(options.stalled_peer));
        let service = TowerToHyperService::new(router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(upload.clone());
            request
        }));
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let (shutdown, open, counted) = (shutdown.clone(), counted.open(), counted.clone());
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let end = tokio::select! {
                end = connection.as_mut() => end,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = end {
                if error.is_timeout() {
                    counted.note_limit("http_head");
                }
                tracing::debug!(%error, "a connection ended early");
            }
            drop((place, open));
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is a place for it.
async fn accept<L: Listener>(
    listener: &mut L,
    places: &Arc<Semaphore>,
    counted: &Connections,
) -> (L::Io, Option<OwnedSemaphorePermit>) {
    if places.available_permits() == 0 {
        counted.note_limit("http_connections");
    }
    // The semaphore is never closed, so there always is a permit.
    let place = places.clone().acquire_owned().await.ok();
    // axum's listener waits where the process is out of descriptors, instead of failing.
    let (stream, _) = listener.accept().await;
    (stream, place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    struct Running {
        address: std::net::SocketAddr,
        shutdown: CancellationToken,
        server: tokio::task::JoinHandle<()>,
    }

    async fn start(router: Router, options: ServerOptions) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let counted = Connections::new(Arc::new(Metrics::new()), "http");
        let server = tokio::spawn(serve(listener, router, options, counted, shutdown.clone()));
        Running { address, shutdown, server }
    }

    #[tokio::test]
    async fn shutdown_lets_a_request_finish() {
        let (entered, gate) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let handler = {
            let (entered, gate) = (entered.clone(), gate.clone());
            move || async move {
                entered.notify_one();
                gate.notified().await;
                "done"
            }
        };
        let running = start(Router::new().route("/", get(handler)), ServerOptions::default()).await;
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        entered.notified().await;
        running.shutdown.cancel();
        gate.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        running.server.await.unwrap();
        assert!(TcpStream::connect(running.address).await.is_err());
    }

    #[tokio::test]
    async fn a_silent_client_is_cut_off_and_gives_up_its_place() {
        let options =
            ServerOptions { connections_max: 1, head_timeout: Duration::from_millis(50), ..ServerOptions::default() };
        let running = start(Router::new().route("/", get(|| async { "served" })), options).await;
        let mut silent = TcpStream::connect(running.address).await.unwrap();
        silent.write_all(b"GET / HT").await.unwrap();
        let mut next = TcpStream::connect(running.address).await.unwrap();
        next.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        next.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("served"), "{answer}");
        let mut nothing = Vec::new();
        silent.read_to_end(&mut nothing).await.unwrap();
        running.shutdown.cancel();
        running.server.await.unwrap();
    }
}
