//! The validated configuration.

use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::hardware::Hardware;
use super::limits::Limits;
use super::source::Source;
use super::sources::Sources;
use super::workers::Workers;
use crate::auth::UserRule;
use crate::media::{RenditionRequest, StreamId, Transport};
use crate::plan::Policy;

/// Everything that is configured. Two equal ones behave the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Addresses to listen on.
    pub server: Server,
    /// What may run where.
    pub hardware: Hardware,
    /// What bounds cameras, consumers and workers.
    pub limits: Limits,
    /// What streams made by request get where their body leaves something open.
    pub defaults: StreamDefaults,
    /// The streams of all documents.
    pub streams: BTreeMap<StreamId, StreamSettings>,
    /// What confines workers.
    pub workers: Workers,
}

/// Addresses to listen on.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// API and media.
    pub http: SocketAddr,
    /// Probes and metrics.
    pub admin: SocketAddr,
    /// The same as `http` within TLS; `None` for none.
    pub https: Option<SocketAddr>,
    /// API and media over a Unix socket at this absolute path; `None`: over TCP only.
    pub unix: Option<PathBuf>,
    /// Who may call over that socket; `None`: whoever may enter its directory.
    pub unix_users: Option<Vec<UserRule>>,
    /// Media over RTSP; `None` for none.
    pub rtsp: Option<SocketAddr>,
    /// The same as `rtsp` within TLS; `None` for none.
    pub rtsps: Option<SocketAddr>,
    /// What `https` and `rtsps` show of themselves; is there if one of them is.
    pub tls: Option<TlsFiles>,
    /// What RTSP clients must know; `None` lets everybody in.
    pub rtsp_login: Option<Credentials>,
    /// This node's name, where there are several behind a balancer.
    pub node: Option<String>,
    /// The file with the tokens that callers show; `None` lets everybody in.
    pub token_file: Option<PathBuf>,
}

/// Absolute paths of a TLS server's PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// The key to the first of them.
    pub key: PathBuf,
}

impl Default for Server {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            http: local(8080),
            admin: local(8081),
            https: None,
            unix: None,
            unix_users: None,
            rtsp: Some(local(8554)),
            rtsps: None,
            tls: None,
            rtsp_login: None,
            node: None,
            token_file: None,
        }
    }
}

/// One stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSettings {
    /// Where it comes from.
    pub source: Source,
    /// The same camera's substream, which small pictures are made from.
    pub detect: Option<DetectSource>,
    /// What the camera asks for.
    pub credentials: Option<Credentials>,
    /// How RTP travels.
    pub transport: Transport,
    /// Connect when the first consumer comes, rather than at once.
    pub on_demand: bool,
    /// How much the hardware is wanted.
    pub policy: Policy,
    /// Renditions kept warm, by name (`[a-z0-9_-]{1,63}`).
    pub renditions: BTreeMap<String, RenditionRequest>,
    /// Which streams give way where not all can be served.
    pub priority: Priority,
    /// Where the source may be.
    pub sources: Sources,
    /// The one node that connects to it unasked, by the files of several.
    pub node: Option<String>,
}

/// A camera's substream. It is read as the stream's settings say of the main one.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectSource {
    /// Where it comes from.
    pub source: Source,
    /// What the camera asks for.
    pub credentials: Option<Credentials>,
}

impl StreamSettings {
    /// How the substream is read, if there is one: as a stream of its own that keeps nothing warm.
    pub fn of_detect(&self) -> Option<Self> {
        let DetectSource { source, credentials } = self.detect.clone()?;
        Some(Self { source, credentials, detect: None, renditions: BTreeMap::new(), ..self.clone() })
    }

    /// All that it connects to.
    pub fn every_source(&self) -> impl Iterator<Item = &Source> {
        std::iter::once(&self.source).chain(self.detect.as_ref().map(|detect| &detect.source))
    }
}

/// A stream's priority, 0 to 10: where not all can be served, the lowest gives way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(pub u8);

impl Priority {
    /// The highest there is.
    pub const MAX: Self = Self(10);
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

/// What `defaults:` and `hardware:` say about streams, without credentials: a request may name any host, and must not
/// make camshaft send it the cameras' password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamDefaults {
    /// See [`StreamSettings::transport`].
    pub transport: Transport,
    /// See [`StreamSettings::on_demand`].
    pub on_demand: bool,
    /// See [`StreamSettings::policy`].
    pub policy: Policy,
    /// See [`StreamSettings::renditions`].
    pub renditions: BTreeMap<String, RenditionRequest>,
    /// See [`StreamSettings::priority`].
    pub priority: Priority,
    /// See [`StreamSettings::sources`].
    pub sources: Sources,
}

/// A user name and password: a camera's, or those that clients must know. Can be compared, but not printed.
#[derive(Clone)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password; may be empty.
    pub password: SecretString,
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.username == other.username && self.password.expose_secret() == other.password.expose_secret()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}
