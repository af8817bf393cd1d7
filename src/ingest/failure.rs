//! Why a session ends, for machines and for people, from what retina says.

use std::io;

use crate::error::{Error, ErrorKind};
use crate::link::{FailureKind, FromWorker, IngestTask};
use crate::media::Transport;

/// The longest quotation of retina or the camera in a message, in characters.
const MAX_QUOTATION: usize = 200;

/// What ends a worker's work.
pub(super) enum End {
    /// The camera, or what it sends.
    Failed(Failure),
    /// The link to the supervisor.
    Link(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Link(error)
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// [`FromWorker::Failed`] in the making.
#[derive(Debug)]
pub(super) struct Failure {
    kind: FailureKind,
    message: String,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn is_of(&self, kind: FailureKind) -> bool {
        self.kind == kind
    }

    /// An error before PLAY was answered.
    pub(super) fn in_handshake(error: &retina::Error, task: &IngestTask) -> Self {
        match error.status_code() {
            // The camera says yes, but in a way that cannot be used.
            Some(200..=299) => Self::new(FailureKind::Protocol, quote(error)),
            Some(status) => Self::refused(status, task),
            None if is_connection_error(error) => Self::new(FailureKind::Connect, quote(error)),
            None => Self::new(FailureKind::Protocol, quote(error)),
        }
    }

    /// An error that ended the stream after PLAY.
    pub(super) fn in_stream(error: &retina::Error) -> Self {
        let kind = if is_connection_error(error) { FailureKind::Ended } else { FailureKind::Protocol };
        Self::new(kind, quote(error))
    }

    fn refused(status: u16, task: &IngestTask) -> Self {
        let (kind, message) = match status {
            401 | 403 if task.username.is_none() => {
                (FailureKind::Auth, "the camera wants credentials: give username and password".into())
            }
            401 | 403 => (FailureKind::Auth, "the camera refuses the credentials: check username and password".into()),
            404 => (FailureKind::Refused, "the camera has no such path: check the URL".into()),
            461 => {
                let other = match task.transport {
                    Transport::Tcp => "udp",
                    Transport::Udp | Transport::Multicast => "tcp",
                };
                (FailureKind::Refused, format!("the camera refuses this transport: try transport {other}"))
            }
            300..=399 => {
                (FailureKind::Refused, "the camera redirects, which is not followed: give the final URL".into())
            }
            _ => (FailureKind::Refused, "the camera refuses to play the stream".into()),
        };
        Self::new(kind, format!("{message} (RTSP status {status})"))
    }

    /// The message for the supervisor, without the camera's password even if the camera echoes it.
    pub(super) fn into_message(self, password: Option<&str>) -> FromWorker {
        let message = match password {
            Some(password) if !password.is_empty() => self.message.replace(password, "***"),
            _ => self.message,
        };
        FromWorker::Failed { kind: self.kind, message }
    }
}

/// Parameter sets that were refused.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Impossible => FailureKind::Limit,
            _ => FailureKind::Protocol,
        };
        Self::new(kind, error.chain())
    }
}

/// Whether `error` is about one RTP packet, so that the session may go on.
///
/// retina's errors are opaque but for their text, in which only those of RTP packets name an SSRC.
pub(super) fn is_packet_error(error: &retina::Error) -> bool {
    error.to_string().contains("\nssrc: ")
}

fn is_connection_error(error: &retina::Error) -> bool {
    let text = error.to_string();
    ["Unable to connect", "Error reading from RTSP peer", "Error writing to RTSP peer", "Error receiving UDP"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// The first paragraph of what retina says; the rest is for packet captures. Bounded and printable, since parts of it
/// may be the camera's own words.
pub(super) fn quote(error: &retina::Error) -> String {
    let text = error.to_string();
    quote_text(text.split("\n\n").next().unwrap_or_default())
}

/// Somebody else's words, bounded and printable.
pub(super) fn quote_text(text: &str) -> String {
    text.chars().flat_map(char::escape_default).take(MAX_QUOTATION).collect()
}
