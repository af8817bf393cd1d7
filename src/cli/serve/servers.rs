//! What listens: HTTP, probes and metrics, RTSP, each plain and some within TLS, and the Unix socket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Service, identity};
use crate::error::{Error, Result};
use crate::http::{
    self, About, AdminState, ApiState, Connections, ControlLimits, DeliveryOptions, PodListener, RequestObserver,
    ServerOptions, TlsListener,
};
use crate::metrics::Metrics;
use crate::rtsp;
use crate::shm::Pool;
use crate::tcp::{Identity, Inner, TlsAcceptor};

/// Where the servers listen.
pub(super) struct Bound {
    http: SocketAddr,
    https: Option<SocketAddr>,
    admin: SocketAddr,
    rtsp: Option<SocketAddr>,
    rtsps: Option<SocketAddr>,
}

impl Bound {
    /// The line that tells where to call.
    pub fn say_ready(&self) {
        let Self { http, https, admin, rtsp, rtsps } = self;
        let shown = |address: &Option<SocketAddr>| address.map(tracing::field::display);
        tracing::info!(%http, %admin, rtsp = shown(rtsp), https = shown(https), rtsps = shown(rtsps), "ready");
    }
}

impl Service {
    /// Opens every port and gives their addresses; port 0 of the configuration means any free one.
    pub(super) async fn open_servers(&self, ready: watch::Receiver<bool>) -> Result<Bound> {
        let server = &self.config.server;
        let identity = match &server.tls {
            Some(files) => Some(identity::follow(files, &self.metrics, &self.cancel, &self.tasks)?),
            None => None,
        };
        let (rtsp, rtsps) = self.open_rtsp(&identity).await?;
        let api = self.api(About::new(rtsp));
        if let Some(path) = &server.unix {
            self.open_socket(path, api.clone())?;
        }
        let https = match within_tls(server.https, &identity, Inner::Http)? {
            Some((address, acceptor)) => {
                let (listener, bound) = listen(address, "server.https").await?;
                self.serve_http(TlsListener::new(listener, acceptor), "https", api.clone());
                Some(bound)
            }
            None => None,
        };
        let (listener, http) = listen(server.http, "server.http").await?;
        self.serve_http(listener, "http", api);
        let (listener, admin) = listen(server.admin, "server.admin").await?;
        self.serve_http(listener, "admin", self.probes(ready));
        Ok(Bound { http, https, admin, rtsp, rtsps })
    }

    fn api(&self, about: About) -> axum::Router {
        let limits = &self.config.limits;
        let delivery = DeliveryOptions {
            stalled_consumer: limits.stalled_consumer,
            shutdown: self.cancel.clone(),
            shared_memory: Pool::new(limits.shm_readers, limits.shm_bytes),
        };
        let control = ControlLimits {
            body: limits.control_body as usize,
            calls: limits.control_calls as usize,
            timeout: limits.control_timeout,
        };
        http::api(ApiState::new(
            self.streams.clone(),
            self.defaults.subscribe(),
            self.devices.clone(),
            delivery,
            Arc::new(HttpMetrics(self.metrics.clone())),
            self.events.clone(),
            self.jobs.clone(),
            self.doors.clone(),
            about,
            control,
        ))
    }

    fn probes(&self, ready: watch::Receiver<bool>) -> axum::Router {
        let (metrics, devices) = (self.metrics.clone(), self.devices.clone());
        let text = move || {
            devices.show(&metrics);
            metrics.text()
        };
        http::admin(AdminState::new(ready, Arc::new(text)))
    }

    /// Opens the ports of RTSP, if there are to be any: plain and within TLS.
    async fn open_rtsp(
        &self,
        identity: &Option<watch::Receiver<Identity>>,
    ) -> Result<(Option<SocketAddr>, Option<SocketAddr>)> {
        let server = Arc::new(rtsp::Server {
            streams: self.streams.clone(),
            metrics: self.metrics.clone(),
            login: self.config.server.rtsp_login.clone(),
            access: self.doors.network.clone(),
            limits: self.config.limits.clone(),
        });
        let open = async |address, key, acceptor| -> Result<SocketAddr> {
            let (listener, bound) = listen(address, key).await?;
            self.tasks.spawn(server.clone().serve(listener, acceptor, self.cancel.clone()));
            Ok(bound)
        };
        let plain = match self.config.server.rtsp {
            Some(address) => Some(open(address, "server.rtsp", None).await?),
            None => None,
        };
        let tls = match within_tls(self.config.server.rtsps, identity, Inner::Rtsp)? {
            Some((address, acceptor)) => Some(open(address, "server.rtsps", Some(acceptor)).await?),
            None => None,
        };
        Ok((plain, tls))
    }

    fn open_socket(&self, path: &Path, router: axum::Router) -> Result<()> {
        let listener = PodListener::bind(path).map_err(|error| {
            let path = path.display();
            let message = format!("cannot listen at {path} (server.unix): its directory must exist and be writable");
            Error::unavailable(message).with_source(error)
        })?;
        self.serve_http(listener, "unix", router);
        tracing::info!(path = %path.display(), "listening on the Unix socket");
        Ok(())
    }

    /// Serves `router`; connections are counted under the server's `name`.
    fn serve_http<L>(&self, listener: L, name: &'static str, router: axum::Router)
    where
        L: axum::serve::Listener<Io: http::Connection>,
    {
        let limits = &self.config.limits;
        let options = ServerOptions {
            connections_max: limits.http_connections as usize,
            head_timeout: limits.http_head,
            stalled_peer: limits.stalled_consumer,
        };
        let counted = Connections::new(self.metrics.clone(), name);
        self.tasks.spawn(http::serve(listener, router, options, counted, self.cancel.clone()));
    }
}

/// The address and what makes TLS of its connections; both are there, or neither.
fn within_tls(
    address: Option<SocketAddr>,
    identity: &Option<watch::Receiver<Identity>>,
    inner: Inner,
) -> Result<Option<(SocketAddr, TlsAcceptor)>> {
    match (address, identity) {
        (Some(address), Some(identity)) => Ok(Some((address, TlsAcceptor::new(identity.clone(), inner)?))),
        _ => Ok(None),
    }
}

/// Counts HTTP requests.
struct HttpMetrics(Arc<Metrics>);

impl RequestObserver for HttpMetrics {
    fn observe(&self, method: &str, route: &str, status: u16, seconds: f64) {
        self.0.http_requests.with_label_values(&[method, route, &status.to_string()]).inc();
        self.0.http_seconds.with_label_values(&[route]).observe(seconds);
    }
}

/// Listens on the address that the setting `key` gives, and tells which it is.
async fn listen(address: SocketAddr, key: &str) -> Result<(TcpListener, SocketAddr)> {
    let refused = |error: std::io::Error| {
        let message = format!("cannot listen on {address} ({key}): choose another address or end its owner");
        Error::unavailable(message).with_source(error)
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}
