//! `source:`: where a stream comes from.

use percent_encoding::percent_decode_str;
use std::fmt;
use std::net::IpAddr;
use url::Url;

use super::mistake::suggestion;
use super::settings::Credentials;
use crate::media::query::{parse_bitrate, parse_fps, parse_video_codec, whole};
use crate::media::{
    AudioCodec, Container, FrameRate, Geometry, InputFormat, PatternSource, RtspClient, TlsTrust, VideoCodec,
};

/// Schemes of the contract whose sources do not work yet.
const UNBUILT: [&str; 5] = ["rtmp", "rtmps", "srt", "udp", "hls"];

/// What a source may be, for messages.
const KINDS: &str = "rtsp://host[:port]/path, rtsps://…, http://… or https://…, file:/path, push: for what a client sends, or test: \
                     for a synthetic camera";

/// The sound that a synthetic camera can have.
const PATTERN_SOUNDS: [(&str, AudioCodec); 4] = [
    ("aac", AudioCodec::Aac),
    ("pcmu", AudioCodec::PcmMulaw),
    ("pcma", AudioCodec::PcmAlaw),
    ("opus", AudioCodec::Opus),
];

/// Where a stream comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A camera that speaks RTSP.
    Rtsp(RtspSource),
    /// A camera or server that speaks HTTP.
    Http(HttpSource),
    /// A file, again and again.
    File(FileSource),
    /// What a client sends to `POST /v1/streams/{id}/ingest`.
    Push,
    /// A synthetic camera.
    Pattern(PatternSource),
}

/// A camera that speaks RTSP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtspSource {
    /// Where.
    pub url: CameraUrl,
    /// What speaks with it.
    pub client: RtspClient,
    /// Whether its certificate counts.
    pub tls: TlsTrust,
}

/// A camera or server that speaks HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSource {
    /// Where.
    pub url: CameraUrl,
    /// What it sends; `None`: what its answer says.
    pub input: Option<InputFormat>,
    /// How often a JPEG is asked for.
    pub rate: FrameRate,
    /// Whether its certificate counts.
    pub tls: TlsTrust,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// Where, absolute.
    pub path: String,
    /// What it is.
    pub container: Container,
}

impl fmt::Display for Source {
    /// As it is written in a configuration, with nothing secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtsp(camera) => camera.url.fmt(f),
            Self::Http(http) => http.url.fmt(f),
            Self::File(file) => write!(f, "file:{}", file.path),
            Self::Push => f.write_str("push:"),
            Self::Pattern(PatternSource { size, fps, codec, gop, bframes, bitrate, noise, audio }) => {
                write!(
                    f,
                    "test:?width={}&height={}&fps={fps}&codec={}&gop={gop}&bframes={bframes}&bitrate={bitrate}",
                    size.width,
                    size.height,
                    codec.name(),
                )?;
                if *noise > 0 {
                    write!(f, "&noise={noise}")?;
                }
                let named = PATTERN_SOUNDS.iter().find(|(_, codec)| audio.is_some_and(|audio| audio == *codec));
                named.map_or(Ok(()), |(name, _)| write!(f, "&audio={name}"))
            }
        }
    }
}

/// What stands beside a source and says how it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub input: Option<InputFormat>,
    pub rate: FrameRate,
    pub tls: TlsTrust,
    pub client: RtspClient,
}

impl Source {
    /// The source's host by its name, if it is one of the network.
    pub fn url(&self) -> Option<&CameraUrl> {
        match self {
            Self::Rtsp(camera) => Some(&camera.url),
            Self::Http(http) => Some(&http.url),
            Self::File(_) | Self::Push | Self::Pattern(_) => None,
        }
    }

    /// Reads a source; user name and password of a URL are split off.
    ///
    /// # Errors
    /// Everything that is wrong, without quoting the text, which may hold a password.
    pub(super) fn parse(text: &str, reading: Reading) -> Result<(Self, Option<Credentials>), Vec<String>> {
        const LONGEST: usize = 2048;
        if text.len() > LONGEST {
            return Err(vec![format!("must have at most {LONGEST} bytes")]);
        }
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
        let one = |problem| vec![problem];
        match scheme.as_str() {
            "test" => parse_pattern(text).map(|pattern| (Self::Pattern(pattern), None)),
            "rtsp" | "rtsps" => {
                let (url, login) = CameraUrl::parse(text).map_err(one)?;
                let Reading { client, tls, .. } = reading;
                if url.is_encrypted() && client != RtspClient::Libav {
                    return Err(one("is encrypted RTSP, which needs ingest: libav beside it".into()));
                }
                Ok((Self::Rtsp(RtspSource { url, client, tls }), login))
            }
            "http" | "https" => {
                let (url, login) = CameraUrl::parse(text).map_err(one)?;
                let Reading { input, rate, tls, .. } = reading;
                Ok((Self::Http(HttpSource { url, input, rate, tls }), login))
            }
            "file" => parse_file(text, reading).map(|file| (Self::File(file), None)).map_err(one),
            "push" if text.len() == "push:".len() => Ok((Self::Push, None)),
            "push" => Err(vec!["push: takes nothing behind it: who pushes names the format".into()]),
            scheme if UNBUILT.contains(&scheme) => {
                Err(vec![format!("'{scheme}' sources are not built yet; use {KINDS}")])
            }
            _ => Err(vec![format!("must be {KINDS}")]),
        }
    }
}

/// `file:/path` or `file:///path`, with an `input` where its name does not say what it is.
fn parse_file(text: &str, reading: Reading) -> Result<FileSource, String> {
    let hint = "expected is file:/absolute/path, in a directory that sources.files lists";
    let path = text.get("file:".len()..).unwrap_or_default();
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(format!("names no file; {hint}"));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(format!("must not go back by '..'; {hint}"));
    }
    match reading.input.or_else(|| InputFormat::of_file_name(path)) {
        Some(InputFormat::Container(container)) => Ok(FileSource { path: path.to_owned(), container }),
        Some(_) => Err("a file is a container: set input to ts, flv or mp4".into()),
        None => Err("does not say by its name what the file is: set input to ts, flv or mp4".into()),
    }
}

/// A camera's URL without user name and password (RFC 2326 §3.2, RFC 9110 §4.2). `Display` and `Debug` also hide what
/// looks like a password in path and query, where some cameras want it.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraUrl(Url);

impl CameraUrl {
    fn parse(text: &str) -> Result<(Self, Option<Credentials>), String> {
        let hint = "expected is scheme://host[:port]/path; a password with special characters goes into the key \
                    'password'";
        let mut url = Url::parse(text).map_err(|error| format!("is no URL ({error}); {hint}"))?;
        if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
            return Err(format!("names no host or port to connect to; {hint}"));
        }
        if url.fragment().is_some() {
            return Err(
                "'#' has no meaning in a camera's URL; if it belongs to the path or a password, write %23".into()
            );
        }
        let login = split_login(&mut url)?;
        if url.port() == Some(default_port(url.scheme())) {
            url.set_port(None).map_err(|()| hint.to_owned())?;
        }
        Ok((Self(url), login))
    }

    /// The host: a name, or an address (IPv6 in brackets).
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port().unwrap_or(default_port(self.0.scheme()))
    }

    /// Whether what is sent is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.0.scheme(), "https" | "rtsps")
    }

    /// Whether the host is, by its name, whatever machine asks: another one for each who says it.
    pub fn is_loopback(&self) -> bool {
        // A URL of RTSP's scheme keeps IPv4 addresses as text (WHATWG URL, opaque hosts).
        let host = self.host().trim_start_matches('[').trim_end_matches([']', '.']);
        let own = |address: IpAddr| address.to_canonical().is_loopback() || address.is_unspecified();
        host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(own)
    }

    /// Path and query. May hold secrets: for the worker that asks only.
    pub fn target(&self) -> &str {
        &self.0[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// The URL to ask the camera for. May hold secrets in path and query: for the ingest worker only.
    pub fn request_url(&self) -> &str {
        self.0.as_str()
    }
}

/// RFC 2326 §3.2, RFC 7826 §20.6, RFC 9110 §4.2.
pub(crate) fn default_port(scheme: &str) -> u16 {
    match scheme {
        "http" => 80,
        "https" => 443,
        "rtsps" => 322,
        _ => 554,
    }
}

impl fmt::Display for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.host())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        match self.0.path().split_once('=') {
            Some((start, _)) if looks_secret(self.0.path()) => write!(f, "{start}=…")?,
            _ => f.write_str(self.0.path())?,
        }
        for (n, pair) in self.0.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
            let separator = if n == 0 { '?' } else { '&' };
            match pair.split_once('=') {
                Some((name, _)) if looks_secret(pair) => write!(f, "{separator}{name}=…")?,
                _ => write!(f, "{separator}{pair}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether part of a URL may hold a secret. XM and Reolink cameras, for instance, take
/// `/user=admin_password=…_channel=1` and `?user=admin&password=…`.
fn looks_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["user", "pass", "pwd", "token", "secret", "auth", "key", "sig", "login"].iter().any(|word| text.contains(word))
}

fn split_login(url: &mut Url) -> Result<Option<Credentials>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decode = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        let decoded = decoded.map_err(|_| "user name or password is no UTF-8 after percent-decoding")?;
        check_login(&decoded).map(|()| decoded.into_owned())
    };
    let login =
        Credentials { username: decode(url.username())?, password: decode(url.password().unwrap_or_default())?.into() };
    let removed = url.set_username("").and_then(|()| url.set_password(None));
    removed.map_err(|()| "a user name needs a host")?;
    Ok(Some(login))
}

/// Whether `text` can be a user name or password: what goes into an RTSP header must stay on its line.
pub(super) fn check_login(text: &str) -> Result<(), String> {
    const LONGEST: usize = 1024;
    if text.len() <= LONGEST && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("user names and passwords have at most {LONGEST} bytes and no line breaks or other control characters"))
}

/// `test:?width=…&…`
fn parse_pattern(text: &str) -> Result<PatternSource, Vec<String>> {
    const KEYS: [&str; 9] = ["width", "height", "fps", "codec", "gop", "bframes", "bitrate", "noise", "audio"];
    let query = match text.get("test:".len()..) {
        Some("") => "",
        Some(rest) => {
            rest.strip_prefix('?').ok_or_else(|| vec!["test: takes '?' and parameters, such as test:?fps=25".into()])?
        }
        None => "",
    };
    let mut size = Geometry::new(1280, 720);
    let (mut fps, mut codec) = (FrameRate { num: 25, den: 1 }, VideoCodec::H264);
    let (mut gop, mut bframes, mut bitrate, mut noise, mut audio) = (None, 0, None, 0, None);
    let mut seen = Vec::new();
    let mut problems = Vec::new();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let read = match key.as_ref() {
            key if seen.iter().any(|seen| seen == key) => Err("is given twice".into()),
            "width" => side(&value).map(|side| size.width = side),
            "height" => side(&value).map(|side| size.height = side),
            "fps" => pattern_fps(&value).map(|rate| fps = rate),
            "codec" => parse_video_codec(&value).map(|named| codec = named),
            "gop" => whole(&value, 1, 1000).map(|frames| gop = Some(frames)),
            "bframes" => whole(&value, 0, 3).map(|frames| bframes = frames as u8),
            "bitrate" => parse_bitrate(&value).map(|bits| bitrate = Some(bits)),
            "noise" => whole(&value, 0, 10).map(|steps| noise = steps as u8),
            "audio" => pattern_audio(&value).map(|named| audio = Some(named)),
            unknown => Err(format!("is no parameter of test:; {}", suggestion(unknown, KEYS))),
        };
        let shown = super::mistake::shown(&key);
        problems.extend(read.err().map(|problem| format!("parameter '{shown}' {problem}")));
        seen.push(key);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let two_seconds = (fps.as_f64() * 2.0).round() as u32;
    Ok(PatternSource {
        size,
        fps,
        codec,
        gop: gop.unwrap_or(two_seconds.max(1)),
        bframes,
        bitrate: bitrate.unwrap_or_else(|| pattern_bitrate(size, fps)),
        noise,
        audio,
    })
}

fn side(text: &str) -> Result<u32, String> {
    let side = whole(text, 64, 4096).ok().filter(|side| side % 2 == 0);
    side.ok_or_else(|| "must be an even number from 64 to 4096".into())
}

fn pattern_fps(text: &str) -> Result<FrameRate, String> {
    let rate = parse_fps(text, 60).ok().filter(|rate| rate.num >= rate.den);
    rate.ok_or_else(|| "must be a frame rate from 1 to 60, such as 25 or 30000/1001".into())
}

fn pattern_audio(text: &str) -> Result<AudioCodec, String> {
    let named = PATTERN_SOUNDS.iter().find(|(name, _)| *name == text);
    named.map(|(_, codec)| *codec).ok_or_else(|| {
        let names = PATTERN_SOUNDS.map(|(name, _)| name).join(", ");
        format!("must be one of {names}; without it there is no sound")
    })
}

/// 0.08 bit a pixel, about what cameras send.
fn pattern_bitrate(size: Geometry, fps: FrameRate) -> u32 {
    (size.pixels() as f64 * fps.as_f64() * 0.08).clamp(100_000.0, 40_000_000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_its_name() {
        for (host, own) in [
            ("127.0.0.1:8554", true),
            ("LOCALHOST.", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]:554", true),
            ("0.0.0.0", true),
            ("192.168.1.7", false),
            ("127.0.0.1.example.org", false),
        ] {
            let (url, _) = CameraUrl::parse(&format!("rtsp://{host}/cam")).unwrap();
            assert_eq!(url.is_loopback(), own, "{host}");
        }
    }
}
