//! The listening side of the servers: how many connections there are, how long a peer may take nothing, and TLS.

mod identity;
mod tls;

pub use identity::{Identity, IdentityError};
pub use tls::{Inner, TlsAcceptor, TlsStream};

use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that wait in a socket unsent (tcp(7), TCP_NOTSENT_LOWAT). What is late is kept where it can still be skipped,
/// not in the megabytes that the kernel would take; and a client that takes nothing is noticed at once.
const UNSENT_MAX: u32 = 32 << 10;

/// A stalled connection is cut this much later than its consumer is given up, which is how stalls are counted: streams
/// of 200 kbit/s and more fill what is buffered within this time.
const CUT_DELAY: Duration = Duration::from_secs(5);

/// Accepts connections as there are places for them; more wait in the kernel's queue.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    places: Arc<Semaphore>,
    stalled_peer: Duration,
}

/// A connection's place, free again when dropped.
#[derive(Debug)]
pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    last: bool,
}

impl Place {
    /// Whether it was the last: who comes next waits.
    pub fn is_last(&self) -> bool {
        self.last
    }
}

impl Listener {
    /// `connections_max` at a time; the kernel cuts a peer that takes nothing soon after `stalled_peer`.
    pub fn new(listener: TcpListener, connections_max: usize, stalled_peer: Duration) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections_max)), stalled_peer }
    }

    /// The next connection, once there is a place for it. Cancel-safe.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr, Place) {
        // The semaphore is never closed, so there always is a permit.
        let permit = self.places.clone().acquire_owned().await.ok();
        // axum's listener waits where the process is out of descriptors, instead of failing.
        let (stream, peer) = axum::serve::Listener::accept(&mut self.listener).await;
        if let Err(error) = configure(&stream, self.stalled_peer) {
            tracing::debug!(%error, "the peer left before its connection was set up");
        }
        (stream, peer, Place { _permit: permit, last: self.places.available_permits() == 0 })
    }
}

/// Small chunks leave at once, and a peer that takes nothing is cut off by the kernel soon after `stalled_peer`, even if it
/// still answers the probes of a closed window (tcp(7), TCP_USER_TIMEOUT).
///
/// # Errors
/// The peer is gone already.
pub fn configure(stream: &TcpStream, stalled_peer: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
    socket.set_tcp_user_timeout(Some(cut_after(stalled_peer)))
}

/// Leaves it to the connection's owner to notice a peer that takes nothing.
///
/// # Errors
/// The peer is gone already.
pub fn tolerate(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_tcp_user_timeout(None)
}

/// How long a peer may take nothing until its connection is cut.
pub fn cut_after(stalled_peer: Duration) -> Duration {
    stalled_peer + CUT_DELAY
}
