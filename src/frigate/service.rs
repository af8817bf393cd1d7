//! Where Frigate reaches camshaft.

use url::Url;

use crate::error::{Error, Result};
use crate::media::StreamId;

use super::streams::Detect;

/// RTSP in a pod of Frigate's: go2rtc has 8554.
const GO2RTC_PORTS: [u16; 3] = [1984, 8554, 8555];
/// camshaft's own default.
const HTTP_PORT: u16 = 8080;

/// camshaft's addresses, as Frigate says them.
#[derive(Clone, Debug)]
pub struct Service {
    http: String,
    /// `None`: copies go by HTTP.
    rtsp: Option<String>,
    /// `server:` where camshaft's defaults would not answer there.
    server: String,
}

impl Service {
    /// `http` is a base such as `http://camshaft:8080`; `rtsp` one such as `rtsp://camshaft:18554`.
    ///
    /// # Errors
    /// What is wrong with an address.
    pub fn new(http: &str, rtsp: Option<&str>) -> Result<Self> {
        let (http, http_own) = base("--url", http, "http", HTTP_PORT)?;
        let rtsp = rtsp.map(|rtsp| base("--rtsp", rtsp, "rtsp", 8554)).transpose()?;
        let mut server = String::new();
        if let Some(port) = http_own.filter(|port| *port != HTTP_PORT) {
            server += &format!("  http: 127.0.0.1:{port}\n");
        }
        if let Some(port) = rtsp.as_ref().and_then(|(_, own)| *own) {
            server += &format!("  rtsp: 127.0.0.1:{port}\n");
        }
        let server = if server.is_empty() { server } else { format!("server:\n{server}") };
        Ok(Self { http, rtsp: rtsp.map(|(rtsp, _)| rtsp), server })
    }

    /// `server:` in YAML, or nothing.
    pub fn yaml(&self) -> &str {
        &self.server
    }

    /// Whether an address in Frigate's file is camshaft's.
    pub fn serves(&self, text: &str) -> bool {
        let text = text.strip_prefix("ffmpeg:").unwrap_or(text);
        let below = |base: &str| text.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
        below(&self.http) || self.rtsp.as_deref().is_some_and(below)
    }

    /// Raw pictures for a detector.
    pub fn pictures(&self, id: &StreamId, detect: &Detect) -> String {
        let size = detect.size.map(|(width, height)| format!("width={width}&height={height}&")).unwrap_or_default();
        format!("{}/v1/streams/{id}/live.y4m?{size}fps={}", self.http, detect.fps)
    }

    /// A copy with its sound, or an encode with such a query (`?codec=…`).
    pub fn copy(&self, id: &StreamId, query: &str) -> String {
        match &self.rtsp {
            Some(rtsp) => format!("{rtsp}/{id}{query}"),
            None => self.http_copy(id, query),
        }
    }

    /// The same over HTTP in any case.
    pub fn http_copy(&self, id: &StreamId, query: &str) -> String {
        format!("{}/v1/streams/{id}/live.ts{query}", self.http)
    }

    /// `input_args` for pictures.
    pub fn picture_arguments(&self) -> &'static str {
        "-rw_timeout 10000000"
    }

    /// `input_args` for a copy.
    pub fn copy_arguments(&self) -> &'static str {
        match &self.rtsp {
            Some(_) => "preset-rtsp-restream",
            None => "-analyzeduration 1000000 -rw_timeout 10000000",
        }
    }
}

/// The base without a slash at its end, and its port if it is in the same pod.
fn base(option: &str, text: &str, scheme: &str, port: u16) -> Result<(String, Option<u16>)> {
    let wrong = |problem: &str| Error::invalid(format!("{option} {problem}; expected is {scheme}://host:port"));
    let url = Url::parse(text).map_err(|error| wrong(&format!("is no URL ({error})")))?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("names no host"))?;
    if url.scheme() != scheme || !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must be scheme, host and port"));
    }
    if !url.username().is_empty() {
        return Err(wrong("must have no user name"));
    }
    let port = url.port().unwrap_or(if scheme == "http" { 80 } else { port });
    let is_own = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    if is_own && GO2RTC_PORTS.contains(&port) {
        return Err(Error::invalid(format!("{option}: port {port} is go2rtc's in Frigate's pod; take 18554 for RTSP")));
    }
    Ok((text.trim_end_matches('/').to_owned(), is_own.then_some(port)))
}
