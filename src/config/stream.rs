//! One entry of `streams:`, and `defaults:`.

use secrecy::SecretString;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::mistake::Report;
use super::nodes::Nodes;
use super::section::{Field, Key, Section, join, unique_entries};
use super::settings::{Credentials, DetectSource, Priority, StreamDefaults, StreamSettings};
use super::source::{Reading, Source, check_login};
use super::tree::Node;
use super::values::{Quantity, parse_name, parse_switch};
use crate::media::query::{OutputKind, ParamError, parse_fps, parse_params};
use crate::media::{FrameRate, InputFormat, RenditionRequest, RtspClient, TlsTrust, Transport};
use crate::plan::Policy;

/// What a stream takes; `source` and what speaks of it first, see [`DEFAULT_KEYS`].
pub(super) const KEYS: &[Key] = &[
    Key::scalar("source"),
    Key::scalar("detect_source"),
    Key::scalar("input"),
    Key::scalar("rate"),
    Key::scalar("tls"),
    Key::scalar("ingest"),
    Key::scalar("username"),
    Key::scalar("password"),
    Key::scalar("password_file"),
    Key::scalar("transport"),
    Key::scalar("on_demand"),
    Key::scalar("policy"),
    Key::map("renditions"),
    Key::scalar("priority"),
    Key::scalar("node"),
];

/// What `defaults:` takes: the same without a source and what speaks of it (first) and a node (last).
pub(super) const DEFAULT_KEYS: &[Key] = KEYS.split_at(6).1.split_at(KEYS.len() - 7).0;

pub(super) const RENDITION_KEYS: &[Key] = &[
    Key::scalar("width"),
    Key::scalar("height"),
    Key::scalar("fps"),
    Key::scalar("crop"),
    Key::scalar("format"),
    Key::scalar("codec"),
    Key::scalar("bitrate"),
    Key::scalar("quality"),
    Key::scalar("gop"),
];

/// A worker makes at most this many renditions.
const MAX_RENDITIONS: usize = 8;

/// What becomes of `password_file`.
#[derive(Clone, Copy)]
pub(super) enum PasswordFiles<'a> {
    /// Read.
    From(&'a dyn Fn(&Path) -> io::Result<String>),
    /// A mistake: the text comes from somebody who must not read files.
    Refused,
}

/// Halves of credentials; `defaults:` may give one and a stream the other.
pub(super) struct Login {
    pub username: Option<String>,
    pub password: Option<SecretString>,
}

/// The keys of a login.
pub(super) struct LoginKeys {
    pub username: &'static str,
    pub password: &'static str,
    pub password_file: &'static str,
}

/// What a camera asks for.
pub(super) const CAMERA_LOGIN: LoginKeys =
    LoginKeys { username: "username", password: "password", password_file: "password_file" };

impl Login {
    pub const NONE: &'static Self = &Self { username: None, password: None };

    /// A whole login, halves that are missing taken from `defaults`.
    fn over(&self, defaults: &Self) -> Option<Credentials> {
        let username = self.username.clone().or_else(|| defaults.username.clone())?;
        let password = self.password.clone().or_else(|| defaults.password.clone())?;
        Some(Credentials { username, password })
    }
}

/// What a stream's own keys stand on.
pub(super) struct Base<'a> {
    pub defaults: &'a StreamDefaults,
    pub login: &'a Login,
    pub password_files: PasswordFiles<'a>,
    pub nodes: Nodes<'a>,
}

/// Reads the keys that `defaults:` shares with streams; what is not given comes from `base`.
pub(super) fn read_defaults(section: &Section, base: &StreamDefaults, report: &mut Report) -> StreamDefaults {
    let transports = [("tcp", Transport::Tcp), ("udp", Transport::Udp), ("multicast", Transport::Multicast)];
    let transport = section.parsed("transport", report, |text| parse_name(text, &transports));
    let on_demand = section.parsed("on_demand", report, parse_switch);
    let policy = section.parsed("policy", report, |text| parse_name(text, &Policy::ALL));
    let renditions =
        section.entry("renditions").map(|entry| read_renditions(&entry.node, &section.path_of("renditions"), report));
    let priority = section.parsed("priority", report, |text| u32::parse(text, 0, Priority::MAX.0.into()));
    StreamDefaults {
        transport: transport.unwrap_or(base.transport),
        on_demand: on_demand.unwrap_or(base.on_demand),
        policy: policy.unwrap_or(base.policy),
        renditions: renditions.unwrap_or_else(|| base.renditions.clone()),
        priority: priority.and_then(|priority| priority.try_into().ok()).map_or(base.priority, Priority),
        sources: base.sources.clone(),
    }
}

/// Reads a stream; `None` if there is no telling where it comes from, which is reported.
pub(super) fn read_stream(section: &Section, base: &Base, report: &mut Report) -> Option<StreamSettings> {
    let shared = read_defaults(section, base.defaults, report);
    let login = read_login(section, &CAMERA_LOGIN, base.password_files, report);
    let detect = read_detect_source(section, report);
    let (source, url_login) = read_source(section, report)?;
    refuse_foreign_keys(section, &source, detect.as_ref().map(|(source, _)| source), report);
    let own = asks_for_login(&source).then(|| credentials(section, url_login, &login, base.login, report)).flatten();
    let detect = detect.map(|(detect, url_login)| {
        // What stands in neither URL is for both: they are one camera's.
        let shared = || {
            let asked = asks_for_login(&detect);
            asked.then(|| own.clone().or_else(|| login.over(base.login))).flatten()
        };
        DetectSource { credentials: url_login.or_else(shared), source: detect }
    });
    let both = [Some(&source), detect.as_ref().map(|detect| &detect.source)];
    refuse_multicast(section, shared.transport, both, report);
    let detect_file = detect.as_ref().map(|detect| ("detect_source", &detect.source));
    for (key, source) in [("source", &source)].into_iter().chain(detect_file) {
        if let (Source::File(file), Some(entry)) = (source, section.entry(key)) {
            shared.sources.check_file(&file.path).unwrap_or_else(|problem| {
                report.add(&entry.node.place, &section.path_of(key), problem);
            });
        }
    }
    let StreamDefaults { transport, on_demand, policy, renditions, priority, sources } = shared;
    let (on_demand, node) = base.nodes.place(on_demand, section, report);
    let credentials = own;
    Some(StreamSettings {
        source,
        detect,
        credentials,
        transport,
        on_demand,
        policy,
        renditions,
        priority,
        sources,
        node,
    })
}

/// The camera's substream; `input` and `rate` speak of the main one only.
fn read_detect_source(section: &Section, report: &mut Report) -> Option<(Source, Option<Credentials>)> {
    let reading =
        Reading { input: None, rate: FrameRate { num: 1, den: 1 }, ..read_reading(section, &mut Report::default()) };
    let field = section.field("detect_source", report)?;
    let problems = match Source::parse(field.text()?, reading) {
        Ok((Source::Push, _)) => vec!["cannot be push:, as what is pushed is the stream's own source".into()],
        Ok(parsed) => return Some(parsed),
        Err(problems) => problems,
    };
    problems.into_iter().for_each(|problem| report.add(field.place, &field.path, problem));
    None
}

fn asks_for_login(source: &Source) -> bool {
    matches!(source, Source::Rtsp(_) | Source::Http(_))
}

fn read_source(section: &Section, report: &mut Report) -> Option<(Source, Option<Credentials>)> {
    if section.entry("source").is_none() {
        let message = "is missing; every stream needs one: rtsp://host[:port]/path, or test: for a synthetic camera";
        report.add(&section.place, &section.path_of("source"), message);
    }
    let reading = read_reading(section, report);
    let field = section.field("source", report)?;
    let parsed = Source::parse(field.text()?, reading);
    parsed
        .map_err(|problems| problems.into_iter().for_each(|problem| report.add(field.place, &field.path, problem)))
        .ok()
}

fn read_reading(section: &Section, report: &mut Report) -> Reading {
    let trusts = [("verify", TlsTrust::Verify), ("insecure", TlsTrust::Insecure)];
    let input = section.parsed("input", report, |text| parse_name(text, &InputFormat::ALL));
    let rate = section.parsed("rate", report, poll_rate);
    let tls = section.parsed("tls", report, |text| parse_name(text, &trusts));
    let clients = [("native", RtspClient::Native), ("libav", RtspClient::Libav)];
    let client = section.parsed("ingest", report, |text| parse_name(text, &clients));
    let rate = rate.unwrap_or(FrameRate { num: 1, den: 1 });
    Reading { input, rate, tls: tls.unwrap_or_default(), client: client.unwrap_or_default() }
}

/// How often a JPEG is asked for.
fn poll_rate(text: &str) -> Result<FrameRate, String> {
    let rate = parse_fps(text, 30).ok().filter(|rate| rate.as_f64() >= 0.1);
    rate.ok_or_else(|| "must be requests a second from 0.1 to 30, such as 0.5, 1 or 5".into())
}

/// Keys that speak of one kind of source say nothing about another.
fn refuse_foreign_keys(section: &Section, source: &Source, detect: Option<&Source>, report: &mut Report) {
    const LOGIN: [&str; 3] = ["username", "password", "password_file"];
    let is_of_both = |key: &str, source: &Source| match source {
        Source::Rtsp(camera) => {
            ["transport", "ingest"].contains(&key) || LOGIN.contains(&key) || key == "tls" && camera.url.is_encrypted()
        }
        Source::Http(http) => LOGIN.contains(&key) || key == "tls" && http.url.is_encrypted(),
        Source::File(_) | Source::Push | Source::Pattern(_) => false,
    };
    let is_ours = |key: &str| {
        let own = match source {
            Source::Http(_) => key == "input" || key == "rate",
            Source::File(_) => key == "input",
            Source::Rtsp(_) | Source::Push | Source::Pattern(_) => false,
        };
        own || [Some(source), detect].into_iter().flatten().any(|source| is_of_both(key, source))
    };
    let kind = match source {
        Source::Rtsp(camera) if camera.url.is_encrypted() => "an rtsps:",
        Source::Rtsp(_) => "an rtsp:",
        Source::Http(http) if http.url.is_encrypted() => "an https:",
        Source::Http(_) => "an http:",
        Source::File(_) => "a file:",
        Source::Push => "a push:",
        Source::Pattern(_) => "a test:",
    };
    for key in LOGIN.into_iter().chain(["transport", "ingest", "input", "rate", "tls"]).filter(|key| !is_ours(key)) {
        if let Some(entry) = section.entry(key) {
            report.add(&entry.place, &section.path_of(key), format!("means nothing for {kind} source; remove it"));
        }
    }
}

/// Groups are joined by one client only.
fn refuse_multicast(section: &Section, transport: Transport, sources: [Option<&Source>; 2], report: &mut Report) {
    let is_native = |source: &&Source| matches!(source, Source::Rtsp(camera) if camera.client == RtspClient::Native);
    if transport == Transport::Multicast && sources.into_iter().flatten().any(|source| is_native(&source)) {
        let place = section.entry("transport").map_or(&section.place, |entry| &entry.place);
        report.add(place, &section.path_of("transport"), "multicast needs ingest: libav beside it");
    }
}

/// Reads a user name, and a password that stands there or in a file.
pub(super) fn read_login(section: &Section, keys: &LoginKeys, files: PasswordFiles, report: &mut Report) -> Login {
    let text = |text: &str| check_login(text).map(|()| text.to_owned());
    let username = section.field(keys.username, report).and_then(|field| field.checked(report, text));
    let password = section.field(keys.password, report).and_then(|field| field.checked(report, text));
    let file = section.field(keys.password_file, report);
    if let (Some(file), true) = (&file, section.entry(keys.password).is_some()) {
        report.add(file.place, &file.path, format!("stands beside '{}'; keep one of the two", keys.password));
        return Login { username, password: None };
    }
    let from_file = file.and_then(|field| read_password_file(&field, files, report));
    Login { username, password: password.or(from_file).map(SecretString::from) }
}

fn read_password_file(field: &Field, files: PasswordFiles, report: &mut Report) -> Option<String> {
    let PasswordFiles::From(read) = files else {
        report.add(field.place, &field.path, "is not read for a request; send 'password' instead");
        return None;
    };
    let path = field.parsed(report, |path| {
        let problem = "must be an absolute path, such as /run/secrets/camera";
        Some(Path::new(path)).filter(|path| path.is_absolute()).map(Path::to_owned).ok_or_else(|| problem.to_owned())
    })?;
    field.checked(report, |_| {
        let text = read(&path).map_err(|error| format!("the file cannot be read: {error}"))?;
        let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        if line.is_empty() {
            return Err("the file is empty; it must hold the password".into());
        }
        check_login(line).map(|()| line.to_owned())
    })
}

/// Joins what URL, stream and defaults say. Half a login in the stream is a mistake; half a login that only the
/// defaults give is for the streams that give the other half.
fn credentials(
    section: &Section,
    url: Option<Credentials>,
    own: &Login,
    defaults: &Login,
    report: &mut Report,
) -> Option<Credentials> {
    let own_key = section.any_of(&["username", "password", "password_file"]);
    if let Some(in_url) = url {
        if let Some(entry) = own_key {
            let message = "stands beside a user name or password in the source's URL; take those out of the URL";
            report.add(&entry.place, &section.path_of(&entry.key), message);
        }
        return Some(in_url);
    }
    let has_password = section.any_of(&["password", "password_file"]).is_some() || defaults.password.is_some();
    let has_username = section.entry("username").is_some() || defaults.username.is_some();
    if let (Some(entry), false) = (own_key, has_password && has_username) {
        let missing = if has_username { "'password' or 'password_file'" } else { "'username'" };
        report.add(&entry.place, &section.path_of(&entry.key), format!("needs {missing} beside it, or in 'defaults'"));
    }
    own.over(defaults)
}

fn read_renditions(node: &Node, path: &str, report: &mut Report) -> BTreeMap<String, RenditionRequest> {
    let entries = unique_entries(node, path, report).unwrap_or_default();
    if entries.len() > MAX_RENDITIONS {
        report.add(&node.place, path, format!("has {} renditions; allowed are {MAX_RENDITIONS}", entries.len()));
    }
    let mut renditions = BTreeMap::new();
    for entry in entries {
        let path = join(path, &entry.key);
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if entry.key.is_empty() || entry.key.len() > 63 || !entry.key.chars().all(legal) {
            report.add(&entry.place, &path, "a rendition's name has 1 to 63 of a-z, 0-9, '_' and '-'");
        }
        if let Some(request) = read_rendition(&entry.node, &path, report) {
            renditions.insert(entry.key.clone(), request);
        }
    }
    renditions
}

fn read_rendition(node: &Node, path: &str, report: &mut Report) -> Option<RenditionRequest> {
    let section = Section::open(node, path, RENDITION_KEYS, report)?;
    let fields: Vec<(&str, Field)> =
        RENDITION_KEYS.iter().filter_map(|key| Some((key.name, section.field(key.name, report)?))).collect();
    let with_field = |errors: Vec<ParamError>| {
        let field = |key: &str| fields.iter().find(|(name, _)| *name == key).map(|(_, field)| field);
        errors.into_iter().filter_map(move |error| Some((field(&error.key)?, error.problem)))
    };
    let pairs = fields.iter().filter_map(|(key, field)| Some((*key, field.text()?)));
    let params = parse_params(pairs).map_err(|errors| {
        for (field, problem) in with_field(errors) {
            field.parsed::<()>(report, |_| Err(problem));
        }
    });
    let request = params.ok()?.request(OutputKind::Any).map_err(|errors| {
        for (field, problem) in with_field(errors) {
            report.add(field.place, &field.path, problem);
        }
    });
    request.ok()
}
