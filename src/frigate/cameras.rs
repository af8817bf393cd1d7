//! `cameras:`: which input does what, as Frigate understands it.

use super::address::{Address, Writer};
use super::arguments::{self, Reading};
use super::go2rtc::{Conversion, Go2rtc};
use super::remark::Remark;
use super::service::Service;
use super::streams::{Connect, Detect};
use super::yaml::{Entry, Node};

/// Pictures a second that Frigate detects on, if its file has none.
const DETECT_FPS: &str = "5";

/// What an input is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Detect,
    Record,
    Audio,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Record => "record",
            Self::Audio => "audio",
        }
    }
}

/// An input, and the camera behind it.
pub struct Input<'d> {
    pub node: &'d Node,
    pub roles: Vec<Role>,
    pub address: Address,
    pub reading: Reading,
    /// go2rtc's name of the camera.
    pub name: Option<String>,
    /// What go2rtc would have made of it.
    pub conversion: Conversion,
}

/// A camera.
pub struct Camera<'d> {
    pub name: &'d str,
    pub ffmpeg: &'d Node,
    pub inputs: Vec<Input<'d>>,
    pub detect: Detect,
    pub connect: Connect,
}

/// The file as a whole, for what cameras do not say themselves.
pub struct File<'d> {
    pub root: &'d Node,
    pub go2rtc: Go2rtc<'d>,
    pub service: &'d Service,
}

impl<'d> File<'d> {
    /// `cameras.NAME.path…`, else the same at the top.
    fn value(&self, camera: &'d Node, path: &[&str]) -> Option<&'d Node> {
        let find = |start: &'d Node| path.iter().try_fold(start, |node, key| node.get(key));
        find(camera).or_else(|| find(self.root))
    }

    /// Reads a camera.
    ///
    /// # Errors
    /// The first thing in it that camshaft cannot take over.
    pub fn camera(&self, entry: &'d Entry) -> Result<Camera<'d>, Remark> {
        let path = format!("cameras.{}", entry.key);
        let refuse = |node: &Node, key: &str, message: &str| Remark::new(node.line, &format!("{path}.{key}"), message);
        let node = &entry.node;
        let missing = "is missing; Frigate needs a list of inputs";
        let ffmpeg = node.get("ffmpeg").ok_or_else(|| refuse(node, "ffmpeg", missing))?;
        let list = ffmpeg.get("inputs").ok_or_else(|| refuse(ffmpeg, "ffmpeg.inputs", missing))?;
        let items = list.items();
        if items.is_empty() {
            return Err(refuse(list, "ffmpeg.inputs", missing));
        }
        for role in ["detect", "record"] {
            if let Some(arguments) = self.value(node, &["ffmpeg", "output_args", role])
                && let Some(word) = arguments::hardware_in(arguments)
            {
                let message =
                    format!("'{word}' needs a GPU in Frigate; say it without, camshaft's pictures are in memory");
                return Err(refuse(arguments, &format!("ffmpeg.output_args.{role}"), &message));
            }
        }
        let inputs: Vec<Input> = items
            .iter()
            .map(|item| self.input(node, item, items.len()))
            .collect::<Result<_, _>>()
            .map_err(|remark| Remark { key: format!("{path}.ffmpeg.inputs{}", remark.key), ..remark })?;
        let detecting = inputs.iter().filter(|input| input.roles.contains(&Role::Detect)).count();
        if detecting != 1 {
            let message = format!("{detecting} inputs have the role detect; Frigate wants one");
            return Err(refuse(list, "ffmpeg.inputs", &message));
        }
        let is_off = node.get("enabled").and_then(Node::text).is_some_and(|text| text.eq_ignore_ascii_case("false"));
        let connect = if is_off { Connect::OnDemand } else { Connect::Always };
        let detect = self.detect(node).map_err(|(node, message)| refuse(node, "detect", &message))?;
        Ok(Camera { name: &entry.key, ffmpeg, inputs, detect, connect })
    }

    fn detect(&self, camera: &'d Node) -> Result<Detect, (&'d Node, String)> {
        let side = |name| match self.value(camera, &["detect", name]) {
            None => Ok(None),
            Some(node) => {
                let number =
                    node.text().and_then(|text| text.parse::<u32>().ok()).filter(|side| (1..=8192).contains(side));
                number.map(Some).ok_or_else(|| (node, format!("{name} must be a number of pixels")))
            }
        };
        let (width, height) = (side("width")?, side("height")?);
        let fps = self.value(camera, &["detect", "fps"]);
        let rate = fps.and_then(Node::text).unwrap_or(DETECT_FPS);
        if !rate.parse::<u32>().is_ok_and(|rate| (1..=60).contains(&rate)) {
            return Err((fps.unwrap_or(camera), "fps must be a whole number from 1 to 60".into()));
        }
        Ok(Detect { size: width.zip(height), fps: rate.to_owned() })
    }

    fn input(&self, camera: &'d Node, item: &'d Node, inputs: usize) -> Result<Input<'d>, Remark> {
        let path = item.get("path");
        let text = path.and_then(Node::text);
        let (Some(path), Some(text)) = (path, text) else {
            return Err(Remark::new(item.line, "", "an input has no path"));
        };
        let refuse = |node: &Node, key: &str, message: String| Remark::new(node.line, key, message);
        if self.service.serves(text) {
            let message = "is camshaft's already; convert the file that Frigate had before";
            return Err(refuse(path, ".path", message.into()));
        }
        let roles = roles(item, inputs).map_err(|message| refuse(item, ".roles", message))?;
        let arguments = item.get("input_args").or_else(|| self.value(camera, &["ffmpeg", "input_args"]));
        let address = Address::parse(text, Writer::Frigate).map_err(|why| refuse(path, ".path", why))?;
        if let Some(name) = self.go2rtc.name_in(&address) {
            let resolved = self.go2rtc.resolve(&name).map_err(|why| refuse(path, ".path", why))?;
            let (name, conversion) = (Some(resolved.name), resolved.conversion);
            return Ok(Input {
                node: item,
                roles,
                address: resolved.address,
                reading: Reading::default(),
                name,
                conversion,
            });
        }
        if !["rtsp", "http", "https"].contains(&address.scheme.as_str()) {
            let message =
                format!("camshaft does not read {}:// yet; give the camera's rtsp:// or http://", address.scheme);
            return Err(refuse(path, ".path", message));
        }
        if address.is_loopback() {
            let message = "is a service of Frigate's own pod, but no stream of go2rtc; camshaft cannot tell what it is";
            return Err(refuse(path, ".path", message.into()));
        }
        let reading =
            arguments::reading(arguments).map_err(|why| refuse(arguments.unwrap_or(item), ".input_args", why))?;
        Ok(Input { node: item, roles, address, reading, name: None, conversion: Conversion::default() })
    }
}

/// The roles of an input; the only one of a camera detects and records, whatever it says.
fn roles(item: &Node, inputs: usize) -> Result<Vec<Role>, String> {
    let known = [Role::Detect, Role::Record, Role::Audio];
    let named = item.get("roles").map(Node::items).unwrap_or_default().iter().filter_map(Node::text);
    let mut roles = Vec::new();
    for name in named {
        let role = known.into_iter().find(|role| role.name() == name);
        roles.push(role.ok_or_else(|| "a role is none of detect, record and audio".to_owned())?);
    }
    if inputs == 1 {
        let has_audio = roles.contains(&Role::Audio);
        return Ok(known.into_iter().filter(|role| *role != Role::Audio || has_audio).collect());
    }
    if roles.is_empty() {
        return Err("an input has no roles; with several inputs each needs its own".into());
    }
    Ok(roles)
}
