//! The way of an engine to its camera, and to nothing else: a port of this machine's own on one side, the camera's address
//! that was checked before on the other. What is said in between is not looked at; where the camera wants TLS, it ends here.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::tls::{Roots, Tls};
use crate::ingest::failure::{End, Failure};
use crate::link::wire::send_async;
use crate::link::{FailureKind, FromWorker, ServerOrigin};

/// How long the engine may take to come.
const ENGINE: Duration = Duration::from_secs(10);

/// Where the engine will come in.
pub(super) struct Entrance(std::net::TcpListener);

impl Entrance {
    /// Takes a port of 127.0.0.1, which the sandbox forbids later.
    pub(super) fn open() -> Result<Self, Failure> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        listener.map(Self).map_err(|error| unusable(&error))
    }
}

fn unusable(error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Connect, format!("no port of 127.0.0.1 can be listened on: {error}"))
}

/// Leads to one camera.
pub(super) struct Tunnel {
    addresses: Vec<SocketAddr>,
    tls: Option<Tls>,
    entrance: Entrance,
}

impl Tunnel {
    pub(super) fn new(
        origin: &ServerOrigin,
        addresses: Vec<SocketAddr>,
        roots: Roots,
        entrance: Entrance,
    ) -> Result<Self, Failure> {
        let unreadable = |what: &str| Failure::new(FailureKind::Connect, format!("the camera's URL {what}"));
        let url = Url::parse(&origin.url).map_err(|_| unreadable("cannot be read"))?;
        let host = url.host_str().ok_or_else(|| unreadable("has no host"))?;
        let tls = if url.scheme() == "rtsps" { Some(Tls::new(host, roots)?) } else { None };
        Ok(Self { addresses, tls, entrance })
    }

    /// Connects to the camera until `deadline`, says so, lets one in, and carries what both say until one has ended.
    pub(super) async fn run(self, deadline: Instant, link: &mut OwnedWriteHalf) -> Result<(), End> {
        let connecting = async {
            let stream = connect(&self.addresses).await?;
            Ok(match &self.tls {
                Some(tls) => Camera::Encrypted(Box::new(tls.connect(stream).await?)),
                None => Camera::Plain(stream),
            })
        };
        let camera = timeout_at(deadline, connecting).await.unwrap_or_else(|_| {
            Err(Failure::new(FailureKind::Connect, "the camera did not answer in time (limits.connect_timeout)"))
        })?;
        let engine = let_in(self.entrance, link).await?;
        match camera {
            Camera::Plain(stream) => carry(engine, stream).await,
            Camera::Encrypted(stream) => carry(engine, stream).await,
        }
    }
}

enum Camera {
    Plain(TcpStream),
    Encrypted(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// The first who comes is the last.
async fn let_in(entrance: Entrance, link: &mut OwnedWriteHalf) -> Result<TcpStream, End> {
    let listener = TcpListener::from_std(entrance.0).map_err(|error| unusable(&error))?;
    let port = listener.local_addr().map_err(|error| unusable(&error))?.port();
    send_async(link, &FromWorker::Tunnel { port }, &[]).await?;
    match timeout(ENGINE, listener.accept()).await {
        Ok(Ok((engine, _))) => undelayed(engine).map_err(|error| unusable(&error).into()),
        Ok(Err(error)) => Err(unusable(&error).into()),
        Err(_) => Err(Failure::new(FailureKind::Connect, "no engine came to speak with the camera").into()),
    }
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut failure = Failure::new(FailureKind::Connect, "the camera's name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return undelayed(stream).map_err(|error| broken(&error)),
            Err(error) => {
                failure = Failure::new(FailureKind::Connect, format!("cannot connect to the camera: {error}"));
            }
        }
    }
    Err(failure)
}

/// Small packets must not wait for the answer to those before (RFC 896).
fn undelayed(stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true).map(|()| stream)
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Ended, format!("the connection to the camera broke: {error}"))
}

/// Why it ended is for the engine to tell, which hears of it last.
async fn carry(mut engine: TcpStream, mut camera: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), End> {
    match copy_bidirectional(&mut engine, &mut camera).await {
        Ok(_) => Ok(()),
        Err(error) => Err(broken(&error).into()),
    }
}
