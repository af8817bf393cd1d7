//! What changes in Frigate's file: a camera's inputs, go2rtc's sources.

use std::net::IpAddr;

use super::address::Address;
use super::arguments::Reading;
use super::cameras::{Camera, Input, Role};
use super::edits::{Edits, Written};
use super::go2rtc::{Conversion, Go2rtc, Origin, Through, sources};
use super::remark::Remark;
use super::service::Service;
use super::streams::{Connect, Streams, Wish};
use super::yaml::{Entry, Node};
use crate::media::StreamId;

/// Where changes go, and what has to be said about them.
pub struct Rewrite<'a, 't> {
    pub service: &'a Service,
    pub streams: &'a mut Streams,
    pub edits: Edits<'t>,
    pub notes: Vec<Remark>,
}

impl Rewrite<'_, '_> {
    /// Has a camera's inputs come from camshaft.
    ///
    /// # Errors
    /// The first thing in the way.
    pub fn camera(&mut self, camera: &Camera) -> Result<(), Remark> {
        let key = format!("cameras.{}.ffmpeg", camera.name);
        for input in &camera.inputs {
            let id = self
                .stream(camera, input)
                .map_err(|message| Remark::new(input.node.line, &format!("{key}.inputs"), message))?;
            self.input(camera, input, &id);
            let notes =
                about(input).into_iter().map(|message| Remark::new(input.node.line, &format!("{key}.inputs"), message));
            self.notes.extend(notes);
        }
        self.edits.set(camera.ffmpeg, "hwaccel_args", &Written::Yaml("[]".into()), None);
        self.recording(camera, &key);
        if camera.detect.size.is_none() {
            let message = "names no width and height: pictures come in the camera's own size; name both to scale them in camshaft";
            self.notes.push(Remark::new(camera.ffmpeg.line, &format!("cameras.{}.detect", camera.name), message));
        }
        Ok(())
    }

    fn stream(&mut self, camera: &Camera, input: &Input) -> Result<StreamId, String> {
        let is_only = camera.inputs.iter().all(|other| other.address.url() == input.address.url());
        let name = match input.roles.as_slice() {
            _ if input.name.is_some() => input.name.clone().unwrap_or_default(),
            roles if is_only || roles.contains(&Role::Record) => camera.name.to_owned(),
            roles if roles.contains(&Role::Detect) => format!("{}_sub", camera.name),
            _ => format!("{}_audio", camera.name),
        };
        self.streams.take(&Wish {
            name: &name,
            address: &input.address,
            reading: input.reading,
            rate: Some(&camera.detect.fps),
            connect: camera.connect,
            line: input.node.line,
        })
    }

    fn input(&mut self, camera: &Camera, input: &Input, id: &StreamId) {
        let (service, item) = (self.service, input.node);
        let rest: Vec<Role> = input.roles.iter().copied().filter(|role| *role != Role::Detect).collect();
        let detects = rest.len() < input.roles.len();
        let pictures = Written::Text(service.pictures(id, &camera.detect));
        let arguments = Written::Text(service.picture_arguments().into());
        if detects {
            self.streams.detect(id, &camera.detect);
        }
        if item.own("hwaccel_args").is_some() {
            self.edits.set(item, "hwaccel_args", &Written::Yaml("[]".into()), None);
        }
        if rest.is_empty() {
            self.edits.set(item, "path", &pictures, None);
            self.edits.set(item, "input_args", &arguments, Some("path"));
            return;
        }
        self.edits.set(item, "path", &Written::Text(service.copy(id, &copy_query(input))), None);
        self.edits.set(item, "input_args", &Written::Text(service.copy_arguments().into()), Some("path"));
        if !detects {
            return;
        }
        self.roles(item, &rest);
        if let Some(list) = camera.ffmpeg.get("inputs") {
            let roles = Written::Yaml("[detect]".into());
            self.edits.add_item(list, item, &[("path", pictures), ("input_args", arguments), ("roles", roles)]);
        }
    }

    /// Leaves an input these roles.
    fn roles(&mut self, item: &Node, rest: &[Role]) {
        let own = item.own("roles").map(|entry| &entry.node);
        let detect = own.and_then(|own| own.items().iter().find(|role| role.text() == Some("detect")));
        match own.zip(detect) {
            Some((own, detect)) if own.items().len() == rest.len() + 1 => self.edits.remove_item(own, detect),
            _ => {
                let names: Vec<&str> = rest.iter().map(|role| role.name()).collect();
                self.edits.set(item, "roles", &Written::Yaml(format!("[{}]", names.join(", "))), Some("path"));
            }
        }
    }

    /// A camera that sends JPEGs is recorded as the H.264 that camshaft makes of them, so nothing is encoded again.
    fn recording(&mut self, camera: &Camera, key: &str) {
        let output = camera.ffmpeg.get("output_args");
        let record = output.and_then(|output| output.own("record"));
        if let (Some(output), Some(entry)) = (output, record)
            && entry.node.text().is_some_and(|text| matches!(text, "preset-record-mjpeg" | "preset-record-jpeg"))
        {
            self.edits.set(output, "record", &Written::Text("preset-record-generic".into()), None);
        } else if camera.inputs.iter().any(|input| is_jpeg(input.reading)) {
            let message = "is recorded as H.264 that camshaft encodes: where output_args.record is preset-record-mjpeg or \
                           preset-record-jpeg for all cameras, give this one preset-record-generic";
            self.notes.push(Remark::new(camera.ffmpeg.line, key, message));
        }
    }

    /// Has a stream of go2rtc's come from camshaft, as far as it comes from cameras.
    ///
    /// # Errors
    /// The first thing in the way.
    pub fn go2rtc_stream(&mut self, go2rtc: &Go2rtc, map: &Node, stream: &Entry) -> Result<(), Remark> {
        let key = format!("go2rtc.streams.{}", stream.key);
        let items: Vec<&Node> = sources(&stream.node).collect();
        for item in items {
            let Some(text) = item.text() else { continue };
            let new = match self.source(go2rtc, stream, item, text) {
                Ok(Some(new)) => Written::Text(new),
                Ok(None) => continue,
                Err(why) if text.contains("#hardware") => {
                    return Err(Remark::new(item.line, &key, format!("needs a GPU in Frigate's pod, and {why}")));
                }
                Err(why) => {
                    self.notes.push(Remark::new(item.line, &key, format!("stays as it is: it {why}")));
                    continue;
                }
            };
            match item.bytes == stream.node.bytes {
                true => self.edits.set(map, &stream.key, &new, None),
                false => self.edits.set_item(&stream.node, item, &new),
            }
        }
        Ok(())
    }

    /// A source's new text; `None` if it may stay.
    fn source(&mut self, go2rtc: &Go2rtc, stream: &Entry, item: &Node, text: &str) -> Result<Option<String>, String> {
        if self.service.serves(text) {
            return Ok(None);
        }
        let (address, conversion) = match go2rtc.origin(text)? {
            Origin::Camera(address) => {
                self.lost_parameters(stream, item, &address);
                let id = self.on_demand(&stream.key, &address, item)?;
                return Ok(Some(self.service.copy(&id, "")));
            }
            Origin::Ffmpeg(Through::Camera(address), conversion) => (address, conversion),
            Origin::Ffmpeg(Through::Name(name), conversion) if conversion.hardware && conversion.video.is_some() => {
                let resolved = go2rtc.resolve(&name)?;
                let id = self.on_demand(&resolved.name, &resolved.address, item)?;
                return Ok(Some(self.encode(&id, &conversion)));
            }
            Origin::Ffmpeg(Through::Name(_), _) => return Ok(None),
        };
        let id = self.on_demand(&stream.key, &address, item)?;
        if conversion.hardware && conversion.video.is_some() {
            return Ok(Some(self.encode(&id, &conversion)));
        }
        let parameters: String = address
            .parameters
            .iter()
            .filter(|name| !name.starts_with("hardware"))
            .map(|name| format!("#{name}"))
            .collect();
        Ok(Some(format!("ffmpeg:{}{parameters}", self.service.copy(&id, ""))))
    }

    /// An encode of camshaft's, its sound converted by go2rtc's ffmpeg where that was asked for.
    fn encode(&self, id: &StreamId, conversion: &Conversion) -> String {
        let url = self.service.copy(id, &conversion.query());
        if conversion.audio.is_empty() {
            return url;
        }
        let audio: String = conversion.audio.iter().map(|audio| format!("#audio={audio}")).collect();
        format!("ffmpeg:{url}#video=copy{audio}")
    }

    fn on_demand(&mut self, name: &str, address: &Address, item: &Node) -> Result<StreamId, String> {
        let (reading, connect, line) = (Reading::default(), Connect::OnDemand, item.line);
        self.streams.take(&Wish { name, address, reading, rate: None, connect, line })
    }

    /// What a copy through camshaft has no place for.
    fn lost_parameters(&mut self, stream: &Entry, item: &Node, address: &Address) {
        let key = format!("go2rtc.streams.{}", stream.key);
        if address.scheme == "rtsp" && !address.parameters.iter().any(|parameter| parameter == "backchannel=0") {
            let message = "two-way audio, if the camera has it, needs go2rtc's own connection: to keep it, leave this line as \
                           it was";
            self.notes.push(Remark::new(item.line, &key, message));
        }
        let others = address.parameters.iter().filter_map(|parameter| parameter.split('=').next());
        for name in others.filter(|name| !matches!(*name, "backchannel" | "timeout")) {
            let message = format!("'#{name}' is gone: it was about go2rtc's own connection to the camera");
            self.notes.push(Remark::new(item.line, &key, message));
        }
    }
}

/// What should be known of a camera's address.
fn about(input: &Input) -> Vec<&'static str> {
    let address = &input.address;
    let mut notes = Vec::new();
    if address.is_escaped {
        notes.push("the password has a '%': what follows it was read as an escape of a URL (%40 is '@')");
    }
    if input.name.is_some() && address.login.iter().any(|(user, password)| (user.clone() + password).contains("${")) {
        notes.push(
            "go2rtc wants user name and password percent-encoded (%40 for '@'), camshaft wants them plain: if the \
                    variables hold any '%', decode it",
        );
    }
    if address.host.parse().is_ok_and(|host| !is_private(host)) {
        notes.push(
            "the camera's address is not of a private network: add it to sources.allow in camshaft's configuration",
        );
    }
    notes
}

/// Whether camshaft connects to it by default.
fn is_private(host: IpAddr) -> bool {
    match host {
        IpAddr::V4(host) => host.is_private(),
        IpAddr::V6(host) => host.is_unique_local(),
    }
}

fn is_jpeg(reading: Reading) -> bool {
    matches!(reading.input, Some("mjpeg" | "jpeg"))
}

/// What a recorder's URL has to ask for.
fn copy_query(input: &Input) -> String {
    match input.conversion.query() {
        query if query.is_empty() && is_jpeg(input.reading) => "?codec=h264".into(),
        query => query,
    }
}
