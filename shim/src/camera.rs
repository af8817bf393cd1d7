//! The camera that a command names.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::net::IpAddr;

/// How camshaft is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Over a Unix socket, so it is in the same pod: its loopback is ours.
    Pod,
    /// Over the network.
    Network,
}

/// How long camshaft keeps a stream that came by a command and that nobody reads. Longer than the pause between a
/// command's end and its next start.
const TTL: &str = "60s";

/// A camera's URL, its login apart. Has no `Debug`: it may hold a password in path and query as well.
#[derive(Clone, PartialEq, Eq)]
pub struct Camera {
    url: String,
    host: String,
    login: Option<(String, String)>,
    transport: &'static str,
}

impl Camera {
    /// Reads an RTSP URL as ffmpeg does: the authority ends at the first of `/?#`, the login at its last `@`. `udp`: RTP
    /// over UDP.
    ///
    /// # Errors
    /// What it is instead.
    pub fn parse(url: &str, transport: &'static str) -> Result<Self, String> {
        let rest = url.strip_prefix("rtsp://").ok_or("the input is no rtsp:// camera")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login.split_once(':').unwrap_or((login, ""))), address),
            None => (None, authority),
        };
        let login = login.map(|(name, password)| Ok::<_, String>((decoded(name)?, decoded(password)?)));
        let host = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, _)) => host,
            None => address.split_once(':').map_or(address, |(host, _)| host),
        };
        let login = login.transpose()?;
        Ok(Self { url: format!("rtsp://{address}{path}"), host: host.to_ascii_lowercase(), login, transport })
    }

    /// Whether it is a service of this very pod or machine, which means another one to a camshaft elsewhere.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        let own = |address: IpAddr| address.to_canonical().is_loopback() || address.is_unspecified();
        self.host == "localhost" || address.is_ok_and(own)
    }

    /// The body of `POST /v1/streams`.
    pub fn lease(&self) -> Value {
        let mut body = json!({ "source": self.url, "transport": self.transport, "ttl": TTL });
        if let (Some((username, password)), Some(body)) = (&self.login, body.as_object_mut()) {
            body.insert("username".into(), json!(username));
            body.insert("password".into(), json!(password));
        }
        body
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| "the camera's login is no UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(url: &str) -> Value {
        Camera::parse(url, "tcp").ok().unwrap().lease()
    }

    #[test]
    fn the_login_leaves_the_url() {
        let body = lease("rtsp://me:p%40ss@x@cam.lan:8554/s?a=b@c");
        assert_eq!(body["source"], "rtsp://cam.lan:8554/s?a=b@c");
        assert_eq!((&body["username"], &body["password"]), (&json!("me"), &json!("p@ss@x")));
        assert!(lease("rtsp://cam.lan/s")["username"].is_null());
        assert!(Camera::parse("http://cam.lan/", "tcp").is_err());
    }

    #[test]
    fn the_pods_own_services_are_told_apart() {
        for (url, own) in [
            ("rtsp://127.0.0.1:8554/cam", true),
            ("rtsp://localhost:8554/cam", true),
            ("rtsp://u:p@[::1]:8554/cam", true),
            ("rtsp://0.0.0.0/cam", true),
            ("rtsp://[::ffff:127.0.0.1]/cam", true),
            ("rtsp://127.0.0.1.example.org/cam", false),
            ("rtsp://127.0.0.1@cam.lan/cam", false),
            ("rtsp://192.168.1.7/cam", false),
        ] {
            assert_eq!(Camera::parse(url, "tcp").ok().unwrap().is_loopback(), own, "{url}");
        }
    }
}
