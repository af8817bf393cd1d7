//! The streams that camshaft gets, and their YAML.

use super::address::Address;
use super::arguments::Reading;
use super::edits::scalar;
use crate::media::StreamId;

/// Pictures for a detector: width and height in pixels if Frigate's file has them, pictures a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detect {
    pub size: Option<(u32, u32)>,
    pub fps: String,
}

/// A stream of camshaft's.
#[derive(Clone, Debug)]
struct Stream {
    id: StreamId,
    address: Address,
    reading: Reading,
    /// Requests a second of a JPEG.
    rate: Option<String>,
    detect: Vec<Detect>,
    is_on_demand: bool,
    /// Where it stands in Frigate's file.
    line: usize,
}

/// Who wants a stream.
pub struct Wish<'a> {
    /// What it should be called.
    pub name: &'a str,
    pub address: &'a Address,
    pub reading: Reading,
    pub rate: Option<&'a str>,
    /// When it is connected.
    pub connect: Connect,
    pub line: usize,
}

/// When a stream is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    Always,
    OnDemand,
}

/// All streams; a camera has one, whoever names it.
#[derive(Clone, Debug, Default)]
pub struct Streams(Vec<Stream>);

impl Streams {
    /// The stream of an address; makes it if it is not there yet.
    ///
    /// # Errors
    /// If another line wants the same address read differently.
    pub fn take(&mut self, wish: &Wish) -> Result<StreamId, String> {
        let same = |stream: &&mut Stream| {
            stream.address.url() == wish.address.url() && stream.address.login == wish.address.login
        };
        if let Some(stream) = self.0.iter_mut().find(same) {
            if wish.reading != Reading::default() && stream.reading != wish.reading {
                return Err(format!(
                    "reads the camera of line {} with other input_args than there; use the same",
                    stream.line
                ));
            }
            stream.is_on_demand &= wish.connect == Connect::OnDemand;
            return Ok(stream.id.clone());
        }
        let id = self.free(wish.name);
        self.0.push(Stream {
            id: id.clone(),
            address: wish.address.clone(),
            reading: wish.reading,
            rate: wish.rate.map(str::to_owned),
            detect: Vec::new(),
            is_on_demand: wish.connect == Connect::OnDemand,
            line: wish.line,
        });
        Ok(id)
    }

    /// Keeps pictures for a detector warm.
    pub fn detect(&mut self, id: &StreamId, detect: &Detect) {
        let stream = self.0.iter_mut().find(|stream| stream.id == *id);
        if let Some(stream) = stream.filter(|stream| !stream.is_on_demand && !stream.detect.contains(detect)) {
            stream.detect.push(detect.clone());
        }
    }

    /// A name that no other stream has, near to `wanted`.
    fn free(&self, wanted: &str) -> StreamId {
        let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
        let wanted: String = wanted.chars().map(legal).take(50).collect();
        let wanted = wanted.trim_start_matches(['_', '-']);
        let base = if wanted.is_empty() { "camera" } else { wanted };
        let (mut name, mut number) = (base.to_owned(), 1u64);
        loop {
            match name.parse::<StreamId>() {
                Ok(id) if self.0.iter().all(|stream| stream.id != id) => return id,
                _ => number += 1,
            }
            name = format!("{base}_{number}");
        }
    }

    /// `streams:` in YAML.
    pub fn yaml(&self) -> String {
        if self.0.is_empty() {
            return "streams: {}\n".into();
        }
        "streams:\n".to_owned() + &self.0.iter().map(Stream::yaml).collect::<String>()
    }
}

impl Stream {
    fn yaml(&self) -> String {
        let mut out = format!("  {}:   # line {}\n", scalar(self.id.as_str()), self.line);
        let mut line = |key: &str, value: &str| out += &format!("    {key}: {}\n", scalar(value));
        line("source", &self.address.url());
        if let Some((user, password)) = &self.address.login {
            line("username", user);
            line("password", password);
        }
        if let Some(input) = self.reading.input.filter(|_| self.address.scheme != "rtsp") {
            line("input", input);
        }
        if let Some(rate) = self.rate.as_ref().filter(|_| self.reading.input == Some("jpeg")) {
            out += &format!("    rate: {rate}\n");
        }
        if self.reading.udp {
            out += "    transport: udp\n";
        }
        if self.is_on_demand {
            out += "    on_demand: true\n";
        }
        if !self.detect.is_empty() {
            out += "    renditions:\n";
        }
        for (n, Detect { size, fps }) in self.detect.iter().enumerate() {
            let number = if n == 0 { String::new() } else { (n + 1).to_string() };
            let size = size.map(|(width, height)| format!("width: {width}, height: {height}, ")).unwrap_or_default();
            out += &format!("      detect{number}: {{ {size}fps: {fps} }}\n");
        }
        out
    }
}
