//! What the kinds of listeners differ in: the socket's own settings, and who may be at the other end.

use axum::serve::Listener;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::tcp::{self, TlsAcceptor, TlsStream};

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Over TCP, from anywhere.
    Network,
    /// Over the Unix socket: by somebody who shares its directory, as the containers of a pod do.
    Pod {
        /// The user's number, as the kernel says (unix(7), SO_PEERCRED).
        uid: Option<u32>,
    },
}

/// An accepted connection.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Sets the socket up; a peer that takes nothing for `stalled_peer` is to be noticed.
    ///
    /// # Errors
    /// The peer is gone already.
    fn configure(&self, stalled_peer: Duration) -> io::Result<()>;

    /// Has the kernel bear with a peer that takes nothing.
    ///
    /// # Errors
    /// The peer is gone already.
    fn tolerate(&self) -> io::Result<()>;

    /// Who is at the other end.
    fn caller(&self) -> Caller;
}

impl Connection for TcpStream {
    fn configure(&self, stalled_peer: Duration) -> io::Result<()> {
        tcp::configure(self, stalled_peer)
    }

    fn tolerate(&self) -> io::Result<()> {
        tcp::tolerate(self)
    }

    fn caller(&self) -> Caller {
        Caller::Network
    }
}

impl Connection for TlsStream {
    fn configure(&self, stalled_peer: Duration) -> io::Result<()> {
        self.socket().map_or(Ok(()), |socket| tcp::configure(socket, stalled_peer))
    }

    fn tolerate(&self) -> io::Result<()> {
        self.socket().map_or(Ok(()), tcp::tolerate)
    }

    fn caller(&self) -> Caller {
        Caller::Network
    }
}

impl Connection for UnixStream {
    /// A Unix socket holds little, and its peer cannot vanish without the kernel's knowing.
    fn configure(&self, _stalled_peer: Duration) -> io::Result<()> {
        let peer = self.peer_cred()?;
        tracing::debug!(uid = peer.uid(), gid = peer.gid(), pid = peer.pid(), "a connection over the Unix socket");
        Ok(())
    }

    fn tolerate(&self) -> io::Result<()> {
        Ok(())
    }

    fn caller(&self) -> Caller {
        Caller::Pod { uid: self.peer_cred().ok().map(|peer| peer.uid()) }
    }
}

/// Listens for connections within TLS.
#[derive(Debug)]
pub struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    /// Makes TLS of what `listener` accepts.
    pub fn new(listener: TcpListener, acceptor: TlsAcceptor) -> Self {
        Self { listener, acceptor }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        (self.acceptor.accept(stream), peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A listening Unix socket; its file goes when this is dropped.
#[derive(Debug)]
pub struct PodListener {
    listener: UnixListener,
    path: PathBuf,
}

impl PodListener {
    /// Listens at `path`. A file that a dead owner left there is replaced. Whoever may enter the directory may connect,
    /// whatever its user: the containers of a pod run as different ones.
    ///
    /// # Errors
    /// If the path cannot be used, or another process listens there.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            if StdUnixStream::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        Ok(Self { listener, path: path.to_owned() })
    }
}

impl Listener for PodListener {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        Listener::accept(&mut self.listener).await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl Drop for PodListener {
    fn drop(&mut self) {
        // Somebody else may have taken it away.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_left_over_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("camshaft.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = PodListener::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(PodListener::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());
        fs::write(&path, "a file of somebody's").unwrap();
        assert!(PodListener::bind(&path).is_err());
        assert!(path.exists());
    }
}
