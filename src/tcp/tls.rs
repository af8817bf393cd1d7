//! TLS by rustls in front of a TCP connection. Shaking hands is a part of the first reading and writing, so that whatever
//! bounds the time for a first request bounds it as well, and nobody waits for it but the connection itself.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::{Accept, server};

use super::UNSENT_MAX;
use super::identity::Identity;
use crate::error::{Error, Result};

/// What is spoken within TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// HTTP/1.1.
    Http,
    /// RTSP 1.0.
    Rtsp,
}

impl Inner {
    /// Names for ALPN (RFC 7301); a client that offers others only is refused. RTSP has none that clients use.
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http => vec![b"http/1.1".to_vec()],
            Self::Rtsp => vec![],
        }
    }

    /// What a client is told that speaks the protocol without TLS.
    fn answer_without_tls(self) -> &'static [u8] {
        match self {
            Self::Http => {
                b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
                  {\"error\":{\"kind\":\"invalid_argument\",\"message\":\"this port speaks HTTP within TLS: use https://\"}}"
            }
            Self::Rtsp => b"RTSP/1.0 400 This port speaks RTSP within TLS: use rtsps://\r\nConnection: close\r\n\r\n",
        }
    }
}

/// Makes TLS of connections. Cheap to clone.
#[derive(Clone)]
pub struct TlsAcceptor {
    inner: Inner,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl TlsAcceptor {
    /// Each new connection is shown what `identity` is then.
    ///
    /// # Errors
    /// None that could be helped: rustls would have to be without its own versions of TLS.
    pub fn new(identity: watch::Receiver<Identity>, inner: Inner) -> Result<Self> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal("rustls refuses its own defaults").with_source(error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Newest(identity)));
        config.alpn_protocols = inner.protocols();
        Ok(Self { inner, acceptor: Arc::new(config).into() })
    }

    /// `stream` within TLS; nothing is said before the first reading or writing.
    pub fn accept(&self, stream: TcpStream) -> TlsStream {
        TlsStream(State::New(stream, self.clone()))
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// Whatever the certificate is now.
#[derive(Debug)]
struct Newest(watch::Receiver<Identity>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().key().clone())
    }
}

/// A connection within TLS.
pub struct TlsStream(State);

enum State {
    New(TcpStream, TlsAcceptor),
    Shaking(Box<Accept<TcpStream>>),
    Open(Box<server::TlsStream<TcpStream>>),
    Failed,
}

impl TlsStream {
    /// The connection beneath; `None` once shaking hands has failed.
    pub fn socket(&self) -> Option<&TcpStream> {
        match &self.0 {
            State::New(socket, _) => Some(socket),
            State::Shaking(accept) => accept.get_ref(),
            State::Open(stream) => Some(stream.get_ref().0),
            State::Failed => None,
        }
    }

    /// What is spoken through, once both sides have shaken hands.
    fn open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut server::TlsStream<TcpStream>>>> {
        loop {
            match &mut self.0 {
                State::Open(_) => break,
                State::Failed => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                State::New(socket, acceptor) => {
                    let begun = ready!(begin(socket, acceptor.inner, context));
                    self.0 = match (std::mem::replace(&mut self.0, State::Failed), begun) {
                        (State::New(socket, acceptor), Ok(())) => {
                            // What is late waits where it can still be skipped.
                            let unsent = Some(UNSENT_MAX as usize);
                            let accept = acceptor.acceptor.accept_with(socket, |tls| tls.set_buffer_limit(unsent));
                            State::Shaking(Box::new(accept))
                        }
                        (_, Err(error)) => return Poll::Ready(Err(error)),
                        (other, Ok(())) => other,
                    };
                }
                State::Shaking(accept) => {
                    let shaken = ready!(Pin::new(accept.as_mut()).poll(context));
                    self.0 = State::Failed;
                    self.0 = State::Open(Box::new(shaken?));
                }
            }
        }
        match &mut self.0 {
            State::Open(stream) => Poll::Ready(Ok(Pin::new(stream.as_mut()))),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

/// Looks at the first byte, and leaves it where it is. A client that speaks without TLS is told so.
fn begin(socket: &TcpStream, inner: Inner, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut first = [0];
    let mut first = ReadBuf::new(&mut first);
    ready!(socket.poll_peek(context, &mut first))?;
    Poll::Ready(match first.filled() {
        [] => Err(io::ErrorKind::UnexpectedEof.into()),
        [letter] if letter.is_ascii_uppercase() => {
            // Both are best effort: unread bytes would have the kernel reset the connection, and the answer with it.
            let _ = socket.try_read(&mut [0; 4096]);
            let _ = socket.try_write(inner.answer_without_tls());
            Err(io::Error::new(io::ErrorKind::InvalidData, "the client speaks without TLS"))
        }
        // A handshake begins with byte 22 (RFC 8446 §5.1); rustls has the right alert for anything else.
        [..] => Ok(()),
    })
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("socket", &self.socket()).finish_non_exhaustive()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.open(context))?.poll_read(context, buffer)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.open(context))?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.open(context))?.poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Open(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            // Nothing was written yet.
            State::New(..) | State::Shaking(_) | State::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Open(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            State::New(..) | State::Shaking(_) | State::Failed => Poll::Ready(Ok(())),
        }
    }
}
