//! camshaft's API over a Unix socket or TCP. HTTP/1.0, so that a body is simply what follows the head until the end.

use serde_json::Value;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::camera::Reach;

/// Where camshaft is if nothing is said.
const DEFAULT_URL: &str = "unix:///run/camshaft/camshaft.sock";
/// How long a connection over the network may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long camshaft may be silent: it waits for a camera for 10 s, and Frigate for a picture for 20 s.
pub const SILENCE: Duration = Duration::from_secs(15);
/// Bytes of an answer's head, and of a message in it.
const HEAD_MAX: usize = 16 << 10;
/// RFC 9110 §15.2.2
const SWITCHING: u16 = 101;

/// Why there is no answer to work with.
#[derive(Debug)]
pub enum Failure {
    /// camshaft is not there.
    Away(io::Error),
    /// It said no.
    Refused {
        /// HTTP's.
        status: u16,
        /// camshaft's kind of error, such as `unavailable`.
        kind: String,
        /// Its sentence.
        message: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(error) => write!(f, "camshaft is away ({error})"),
            Self::Refused { status, message, .. } => write!(f, "camshaft says {status}: {message}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Away(error)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
}

/// A camshaft and how to call it. Has no `Debug`: the token is a secret.
pub struct Client {
    address: Address,
    token: Option<String>,
}

impl Client {
    /// `url` is `unix:///path` or `http://host:port`, by default the pod's own socket; `token_file` holds what camshaft
    /// wants to see as a bearer.
    ///
    /// # Errors
    /// What is wrong with either, and what is allowed.
    pub fn new(url: Option<&str>, token_file: Option<&str>) -> Result<Self, String> {
        let url = url.unwrap_or(DEFAULT_URL);
        let address = match (url.strip_prefix("unix://"), url.strip_prefix("http://")) {
            (Some(path), _) if path.starts_with('/') => Address::Unix(path.into()),
            (_, Some(host)) => match host.trim_end_matches('/') {
                host if host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) => return Err(bad_url()),
                host if host.ends_with(']') || !host.contains(':') => Address::Tcp(format!("{host}:80")),
                host => Address::Tcp(host.to_owned()),
            },
            _ => return Err(bad_url()),
        };
        Ok(Self { address, token: token_file.map(read_token).transpose()? })
    }

    /// Which of our addresses camshaft shares.
    pub fn reach(&self) -> Reach {
        match self.address {
            Address::Unix(_) => Reach::Pod,
            Address::Tcp(_) => Reach::Network,
        }
    }

    /// Asks for the stream that `body` describes; gives its path. The answer may take as long as `within`.
    ///
    /// # Errors
    /// That camshaft is away, or its refusal.
    pub fn lease(&self, body: &Value, within: Duration) -> Result<String, Failure> {
        let body = body.to_string();
        let extra = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let answer = self.call("POST", "/v1/streams", &extra, &body, within)?;
        answer.location.ok_or_else(|| Failure::Away(io::Error::other("its answer names no stream")))
    }

    /// Media that goes on until either side ends it. It may take as long as `within` to begin.
    ///
    /// # Errors
    /// That camshaft is away, or its refusal.
    pub fn open(&self, path: &str, within: Duration) -> Result<Answer, Failure> {
        self.call("GET", path, "", "", within)
    }

    /// The Unix socket, once it speaks `protocol` (RFC 9110 §7.8). It may take as long as `within` to begin.
    ///
    /// # Errors
    /// That camshaft is away, or its refusal.
    pub fn upgrade(&self, path: &str, protocol: &str, within: Duration) -> Result<UnixStream, Failure> {
        let extra = format!("Connection: Upgrade, close\r\nUpgrade: {protocol}\r\n");
        let answer = self.ask(&format!("GET {path} HTTP/1.1"), &extra, "", within)?;
        // What is upgraded speaks second, so nothing of it can have come together with the head.
        match answer.socket {
            Socket::Unix(socket) if answer.status == SWITCHING => Ok(socket),
            _ => Err(Failure::Away(io::Error::other("it does not speak what was asked for"))),
        }
    }

    fn call(&self, method: &str, path: &str, extra: &str, body: &str, within: Duration) -> Result<Answer, Failure> {
        self.ask(&format!("{method} {path} HTTP/1.0"), extra, body, within)
    }

    fn ask(&self, line: &str, extra: &str, body: &str, within: Duration) -> Result<Answer, Failure> {
        let mut socket = Socket::connect(&self.address)?;
        socket.set_patience(within)?;
        let host = match &self.address {
            Address::Unix(_) => "localhost",
            Address::Tcp(host) => host,
        };
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!("{line}\r\nHost: {host}\r\n{token}{extra}\r\n{body}");
        socket.write_all(head.as_bytes())?;
        let answer = Answer::read(socket)?;
        answer.socket.set_patience(SILENCE)?;
        Ok(answer)
    }
}

fn bad_url() -> String {
    "CAMSHAFT_URL must be unix:///path/to/socket or http://host:port".into()
}

fn read_token(file: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("CAMSHAFT_TOKEN_FILE {file}: {error}"))?;
    let token = text.trim();
    let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if plain {
        Ok(token.to_owned())
    } else {
        Err(format!("CAMSHAFT_TOKEN_FILE {file} holds no token of ASCII letters"))
    }
}

/// A connection.
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Unix(path) => UnixStream::connect(path).map(Self::Unix),
            Address::Tcp(host) => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
                for address in host.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, CONNECT) {
                        Ok(stream) => return Ok(Self::Tcp(stream)),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    /// Bounds every read and write from now on.
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        match self {
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(patience)).and_then(|()| stream.set_write_timeout(Some(patience)))
            }
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(patience)).and_then(|()| stream.set_write_timeout(Some(patience)))
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        };
        // What a time-out on a socket is called (socket(7)) says nothing to people.
        let silent = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "it is silent"),
            _ => error,
        };
        read.map_err(silent)
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(buffer),
            Self::Tcp(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A good answer: its head, and its body still to be read.
pub struct Answer {
    socket: Socket,
    /// What came of the body together with the head.
    early: Vec<u8>,
    /// `Location`
    location: Option<String>,
    /// `X-Video-Size`
    pub video_size: Option<String>,
    status: u16,
}

impl Answer {
    fn read(mut socket: Socket) -> Result<Self, Failure> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let count = socket.read(&mut chunk)?;
            bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
            if let Some(head) = Head::parse(&bytes)? {
                bytes.drain(..head.length);
                let Head { status, location, video_size, .. } = head;
                let mut answer = Self { socket, early: bytes, location, video_size, status };
                return if status < 300 { Ok(answer) } else { Err(answer.refusal(status)) };
            }
            if count == 0 || bytes.len() > HEAD_MAX {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// camshaft's own words about an error.
    fn refusal(&mut self, status: u16) -> Failure {
        let mut body = Vec::new();
        // A cut-off message is as good as none.
        let _ = self.by_ref().take(HEAD_MAX as u64).read_to_end(&mut body);
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |name: &str| json.pointer(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Failure::Refused { status, kind: text("/error/kind"), message: text("/error/message") }
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.early.is_empty() {
            return self.socket.read(buffer);
        }
        let count = self.early.as_slice().read(buffer)?;
        self.early.drain(..count);
        Ok(count)
    }
}

struct Head {
    length: usize,
    status: u16,
    location: Option<String>,
    video_size: Option<String>,
}

impl Head {
    /// `None`: there is more to come.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let httparse::Status::Complete(length) = parsed else { return Ok(None) };
        let value = |name: &str| {
            let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            header.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::to_owned)
        };
        let status = response.code.unwrap_or_default();
        Ok(Some(Self { length, status, location: value("location"), video_size: value("x-video-size") }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let address = |url| Client::new(url, None).map(|client| client.address);
        assert_eq!(address(None), Ok(Address::Unix("/run/camshaft/camshaft.sock".into())));
        assert_eq!(address(Some("http://camshaft.video:8080/")), Ok(Address::Tcp("camshaft.video:8080".into())));
        assert_eq!(address(Some("http://camshaft")), Ok(Address::Tcp("camshaft:80".into())));
        assert_eq!(address(Some("http://[::1]")), Ok(Address::Tcp("[::1]:80".into())));
        for bad in ["", "unix://run", "https://camshaft", "http://", "http://u:p@host", "http://host/path"] {
            assert!(address(Some(bad)).is_err(), "{bad}");
        }
    }
}
