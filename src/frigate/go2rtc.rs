//! `go2rtc.streams`: which camera stands behind a name.

use super::address::{Address, Writer};
use super::yaml::{Node, Value};

/// go2rtc's RTSP port, if its configuration has no other.
const RTSP_PORT: &str = "8554";
/// go2rtc's HTTP port.
const HTTP_PORT: &str = "1984";
/// More names in a row are a circle.
const LONGEST_CHAIN: usize = 8;

/// go2rtc's part of a configuration.
pub struct Go2rtc<'d> {
    streams: Option<&'d Node>,
    rtsp_port: String,
}

/// What a source of go2rtc is.
pub enum Origin {
    /// A camera, reached by go2rtc itself.
    Camera(Address),
    /// Another name of go2rtc, or a camera, by way of ffmpeg.
    Ffmpeg(Through, Conversion),
}

/// Where go2rtc's ffmpeg reads.
pub enum Through {
    Name(String),
    Camera(Address),
}

/// What go2rtc's ffmpeg is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversion {
    /// `h264`, `h265` or `mjpeg`; `None`: a copy.
    pub video: Option<String>,
    pub width: Option<String>,
    pub height: Option<String>,
    pub audio: Vec<String>,
    pub hardware: bool,
}

impl Conversion {
    /// As parameters of a URL of camshaft; empty for a copy.
    pub fn query(&self) -> String {
        let Some(video) = &self.video else { return String::new() };
        let codec = if video == "h265" { "hevc" } else { video };
        let side = |name, value: &Option<String>| value.as_ref().map(|value| format!("&{name}={value}"));
        let (width, height) = (side("width", &self.width), side("height", &self.height));
        format!("?codec={codec}{}{}", width.unwrap_or_default(), height.unwrap_or_default())
    }
}

/// The camera behind a name.
pub struct Resolved {
    /// The name that has the camera.
    pub name: String,
    pub address: Address,
    /// What was made of it on the way.
    pub conversion: Conversion,
}

impl<'d> Go2rtc<'d> {
    pub fn of(root: &'d Node) -> Self {
        let section = root.get("go2rtc");
        let listen = section.and_then(|section| section.get("rtsp")).and_then(|rtsp| rtsp.get("listen"));
        let port = listen.and_then(Node::text).and_then(|listen| listen.rsplit_once(':')).map(|(_, port)| port);
        Self {
            streams: section.and_then(|section| section.get("streams")),
            rtsp_port: port.unwrap_or(RTSP_PORT).to_owned(),
        }
    }

    /// The map of streams.
    pub fn streams(&self) -> Option<&'d Node> {
        self.streams
    }

    /// The name that `address` asks go2rtc for, if it does.
    pub fn name_in(&self, address: &Address) -> Option<String> {
        let port = address.port.as_deref().unwrap_or_default();
        match address.scheme.as_str() {
            "rtsp" if address.is_loopback() && port == self.rtsp_port => Some(address.name().to_owned()),
            "http" if address.is_loopback() && port == HTTP_PORT => address.query("src").map(str::to_owned),
            _ => None,
        }
    }

    /// The camera behind `name`.
    ///
    /// # Errors
    /// Why there is none that camshaft could read.
    pub fn resolve(&self, name: &str) -> Result<Resolved, String> {
        let (mut name, mut conversion) = (name.to_owned(), Conversion::default());
        for _ in 0..LONGEST_CHAIN {
            let stream = self.streams.and_then(|streams| streams.get(&name));
            let stream = stream.ok_or_else(|| format!("go2rtc.streams has no '{name}'; add it, or name the camera"))?;
            let first = sources(stream).next();
            let text = first.and_then(Node::text).ok_or_else(|| format!("go2rtc's '{name}' has no source"))?;
            let in_go2rtc = |reason: String| format!("go2rtc's '{name}' (line {}) {reason}", stream.line);
            match self.origin(text).map_err(in_go2rtc)? {
                Origin::Camera(address) => return Ok(Resolved { name, address, conversion }),
                Origin::Ffmpeg(Through::Camera(address), own) => {
                    return Ok(Resolved {
                        name,
                        address,
                        conversion: if conversion.video.is_some() { conversion } else { own },
                    });
                }
                Origin::Ffmpeg(Through::Name(next), own) => {
                    conversion = if conversion.video.is_some() { conversion } else { own };
                    name = next;
                }
            }
        }
        Err(format!("go2rtc's '{name}' leads in a circle"))
    }

    /// Reads one source.
    ///
    /// # Errors
    /// Why camshaft cannot read it.
    pub fn origin(&self, text: &str) -> Result<Origin, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "rtsp" | "http" | "https" => {
                let address = Address::parse(text, Writer::Go2rtc)?;
                match self.name_in(&address) {
                    Some(name) => Ok(Origin::Ffmpeg(Through::Name(name), Conversion::default())),
                    None => Ok(Origin::Camera(address)),
                }
            }
            "ffmpeg" if !rest.contains("://") => {
                let mut parts = rest.split('#');
                let name = parts.next().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
                Ok(Origin::Ffmpeg(Through::Name(name), conversion(parts)?))
            }
            "ffmpeg" => {
                let address = Address::parse(rest, Writer::Go2rtc)?;
                let conversion = conversion(address.parameters.iter().map(String::as_str))?;
                match self.name_in(&address) {
                    Some(name) => Ok(Origin::Ffmpeg(Through::Name(name), conversion)),
                    None if ["rtsp", "http", "https"].contains(&address.scheme.as_str()) => {
                        Ok(Origin::Ffmpeg(Through::Camera(address), conversion))
                    }
                    None => Err(foreign(&address.scheme)),
                }
            }
            _ => Err(foreign(kind)),
        }
    }
}

fn foreign(kind: &str) -> String {
    let kind: String = kind.chars().filter(char::is_ascii_graphic).take(20).collect();
    format!(
        "is read by '{kind}', which camshaft does not speak: give the camera's rtsp:// or http:// address, or leave it to \
         Frigate as it is"
    )
}

/// The sources of a stream: one, or a list.
pub fn sources(stream: &Node) -> impl Iterator<Item = &Node> {
    let items = match &*stream.value {
        Value::List(items, _) => items.as_slice(),
        Value::Scalar(_) => std::slice::from_ref(stream),
        Value::Null | Value::Map(..) => &[],
    };
    items.iter()
}

fn conversion<'a>(parameters: impl Iterator<Item = &'a str>) -> Result<Conversion, String> {
    let mut conversion = Conversion::default();
    for parameter in parameters {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "video" if value == "copy" => {}
            "video" if ["h264", "h265", "mjpeg"].contains(&value) => conversion.video = Some(value.to_owned()),
            "width" => conversion.width = Some(value.to_owned()),
            "height" => conversion.height = Some(value.to_owned()),
            "audio" => conversion.audio.push(value.to_owned()),
            "hardware" => conversion.hardware = true,
            "timeout" | "backchannel" => {}
            _ => {
                return Err(format!(
                    "has '#{name}', which camshaft has no counterpart of; remove it, or leave the stream to Frigate"
                ));
            }
        }
    }
    Ok(conversion)
}
