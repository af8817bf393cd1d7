//! The configuration: YAML text and environment handed in, validated settings or all mistakes out. No I/O here but for
//! [`watch`], which says when files change.

mod entry;
mod expand;
mod hardware;
mod limits;
mod mistake;
mod nodes;
mod overrides;
mod quantities;
mod schema;
mod section;
mod server;
mod settings;
mod source;
mod sources;
mod stream;
#[cfg(test)]
mod tests;
mod tree;
mod values;
mod watch;
mod workers;

pub use entry::StreamEntry;
pub use hardware::{Hardware, Recovery};
pub use limits::{Limits, PixelRate};
pub use mistake::{Mistake, Mistakes};
pub use schema::schema;
pub use settings::{Config, Credentials, DetectSource, Priority, Server, StreamDefaults, StreamSettings, TlsFiles};
pub(crate) use source::default_port;
pub use source::{CameraUrl, FileSource, HttpSource, RtspSource, Source};
pub use sources::Sources;
pub use watch::{Watcher, watch};
pub use workers::{SandboxMode, Workers};

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::media::StreamId;
use expand::{Variables, expand};
use mistake::{Place, Report};
use nodes::Nodes;
use section::{Key, Section, join, unique_entries};
use stream::{Base, Login, PasswordFiles};
use tree::{Entry, Node, Value};
use values::Quantity;

/// One YAML text of the configuration. Has no `Debug`: it may hold passwords.
#[derive(Clone)]
pub struct Document<'a> {
    /// The file's path, for messages.
    pub name: String,
    /// What it holds.
    pub text: &'a str,
}

/// What a configuration reads besides its documents.
pub struct Lookups<'a> {
    /// The value of an environment variable, for `${VAR}`.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a `password_file`. Should refuse files past a few KiB.
    pub file: &'a dyn Fn(&Path) -> io::Result<String>,
    /// Every environment variable whose name begins with `CAMSHAFT_`, as (name, value); those that the command line
    /// uses itself left out.
    pub env_overrides: &'a [(String, String)],
}

/// A section at the top of a document.
struct TopSection {
    name: &'static str,
    keys: &'static [Key],
}

const ROOT_KEYS: &[Key] = &[
    Key::map("server"),
    Key::map("defaults"),
    Key::map("hardware"),
    Key::map("limits"),
    Key::map("streams"),
    Key::map("sources"),
    Key::map("workers"),
];

/// The sections with fixed keys.
const SECTIONS: &[TopSection] = &[SERVER, DEFAULTS, HARDWARE, LIMITS, workers::WORKERS, sources::SOURCES];

const SERVER: TopSection = TopSection { name: "server", keys: server::KEYS };
const HARDWARE: TopSection = TopSection { name: "hardware", keys: hardware::KEYS };
const DEFAULTS: TopSection = TopSection { name: "defaults", keys: stream::DEFAULT_KEYS };
const LIMITS: TopSection = TopSection { name: "limits", keys: limits::KEYS };

/// Sections whose keys may stand in several documents, each in one.
const SHARED: [&str; 2] = ["limits", "streams"];

/// Reads the documents: the main file and those of `conf.d`. `streams:` and `limits:` of all are united, every other
/// section stands in one only. Variables `CAMSHAFT_<SECTION>_<KEY>` are stronger than the documents.
///
/// # Errors
/// All mistakes of all documents, each with its place.
pub fn load(documents: &[Document], lookups: &Lookups) -> Result<Config, Mistakes> {
    let mut report = Report::default();
    let mut root = Vec::new();
    for document in documents {
        if let Some(mut node) = tree::parse(&document.name, document.text, &mut report) {
            expand(&mut node, "", &Variables::From(lookups.env), &mut report);
            unite(&mut root, node, &mut report);
        }
    }
    overrides::apply(&mut root, lookups.env_overrides, &mut report);
    let config = read_config(root, lookups, &mut report);
    report.finish(config)
}

/// Reads the body of `PUT /v1/streams/{id}`: one entry of `streams:`, as JSON (which is YAML). It cannot make camshaft
/// read the environment or files, nor send the default credentials anywhere.
///
/// # Errors
/// All mistakes, each with its line.
pub fn stream_from_json(body: &[u8], defaults: &StreamDefaults) -> Result<StreamSettings, Mistakes> {
    from_json(body, stream::KEYS, |section, report| stream::read_stream(section, &request_base(defaults), report))
}

/// Reads the body of `POST /v1/streams`: the same with `ttl`, how long the stream outlives its last consumer.
///
/// # Errors
/// All mistakes, each with its line.
pub fn temporary_stream_from_json(
    body: &[u8],
    defaults: &StreamDefaults,
) -> Result<(StreamSettings, Duration), Mistakes> {
    let keys: Vec<Key> = stream::KEYS.iter().copied().chain([Key::scalar("ttl")]).collect();
    from_json(body, &keys, |section, report| {
        let settings = stream::read_stream(section, &request_base(defaults), report);
        if section.entry("ttl").is_none() {
            report.add(&section.place, "ttl", "is missing; give a duration, such as 60s");
        }
        let (shortest, longest) = (Duration::from_secs(1), Duration::from_secs(86_400));
        let ttl = section.parsed("ttl", report, |text| Duration::parse(text, shortest, longest));
        settings.zip(ttl)
    })
}

fn from_json<T>(
    body: &[u8],
    keys: &[Key],
    read: impl FnOnce(&Section, &mut Report) -> Option<T>,
) -> Result<T, Mistakes> {
    let mut report = Report::default();
    let Some(mut node) = parse_body(body, &mut report) else { return report.finish(None) };
    expand(&mut node, "", &Variables::Refused, &mut report);
    let section = Section::open(&node, "", keys, &mut report);
    let value = section.and_then(|section| read(&section, &mut report));
    report.finish(value)
}

fn parse_body(body: &[u8], report: &mut Report) -> Option<Node> {
    const NAME: &str = "request body";
    match std::str::from_utf8(body) {
        Ok(text) => tree::parse(NAME, text, report),
        Err(error) => {
            let place = Place { file: NAME.into(), line: 1, column: 1 };
            report.add(&place, "", format!("must be UTF-8, but byte {} is not", error.valid_up_to()));
            None
        }
    }
}

fn request_base(defaults: &StreamDefaults) -> Base<'_> {
    Base { defaults, login: Login::NONE, password_files: PasswordFiles::Refused, nodes: Nodes::Requested }
}

/// Adds a document's sections to those of the earlier ones. Sections that stand twice are found when the root is opened.
fn unite(root: &mut Vec<Entry>, document: Node, report: &mut Report) {
    let entries = match document.value {
        Value::Map(entries) => entries,
        Value::Null => return,
        Value::Scalar(_) | Value::List(_) => {
            let sections: Vec<&str> = ROOT_KEYS.iter().map(|key| key.name).collect();
            report.add(&document.place, "", format!("a configuration is a map with the keys {}", sections.join(", ")));
            return;
        }
    };
    let mut shared: Vec<_> = root.iter_mut().filter(|entry| SHARED.contains(&entry.key.as_str())).collect();
    let mut new = Vec::new();
    for mut entry in entries {
        // Taken, for a document has each once.
        let earlier = shared.iter().position(|earlier| earlier.key == entry.key).map(|at| shared.remove(at));
        match (earlier.map(|earlier| &mut earlier.node.value), &mut entry.node.value) {
            (Some(Value::Map(into)), Value::Map(from)) => into.append(from),
            (Some(Value::Map(_)), Value::Null) => {}
            (Some(into @ Value::Null), from) => *into = std::mem::replace(from, Value::Null),
            _ => new.push(entry),
        }
    }
    root.append(&mut new);
}

fn read_config(root: Vec<Entry>, lookups: &Lookups, report: &mut Report) -> Option<Config> {
    let nowhere = Place { file: "configuration".into(), line: 0, column: 0 };
    let root = Node { place: nowhere, value: Value::Map(root) };
    let root = Section::open(&root, "", ROOT_KEYS, report)?;
    let mut open = |section: &TopSection| {
        let entry = root.entry(section.name)?;
        Section::open(&entry.node, section.name, section.keys, report)
    };
    let (server, hardware, defaults, limits) = (open(&SERVER), open(&HARDWARE), open(&DEFAULTS), open(&LIMITS));
    let (workers, sources) = (open(&workers::WORKERS), open(&sources::SOURCES));

    let hardware = hardware.map(|section| hardware::read(&section, report)).unwrap_or_default();
    let limits = limits::read(limits.as_ref(), report);
    let workers = workers::read(workers.as_ref(), report);
    let password_files = PasswordFiles::From(lookups.file);
    let server = server.map(|section| server::read(&section, password_files, report)).unwrap_or_default();
    let nodes = server.node.as_deref().map_or(Nodes::One, |own| Nodes::Several { own });
    let sources = sources.map(|section| sources::read(&section, report)).unwrap_or_default();
    let on_demand = nodes.are_several();
    let unset = StreamDefaults { policy: hardware.policy, on_demand, sources, ..StreamDefaults::default() };
    let login =
        defaults.as_ref().map(|section| stream::read_login(section, &stream::CAMERA_LOGIN, password_files, report));
    let defaults = defaults.map_or(unset.clone(), |section| stream::read_defaults(&section, &unset, report));
    let base = Base { defaults: &defaults, login: login.as_ref().unwrap_or(Login::NONE), password_files, nodes };
    let streams = root.entry("streams").map(|entry| read_streams(&entry.node, &base, &limits, report));
    Some(Config { server, hardware, limits, streams: streams.unwrap_or_default(), defaults, workers })
}

fn read_streams(node: &Node, base: &Base, limits: &Limits, report: &mut Report) -> BTreeMap<StreamId, StreamSettings> {
    let entries = unique_entries(node, "streams", report).unwrap_or_default();
    if entries.len() as u64 > u64::from(limits.streams_max) {
        let message = format!("has {} streams; limits.streams_max allows {}", entries.len(), limits.streams_max);
        report.add(&node.place, "streams", message);
    }
    let mut streams = BTreeMap::new();
    for entry in entries {
        let path = join("streams", &entry.key);
        let id = entry.key.parse::<StreamId>();
        if id.is_err() {
            let message = "a stream's id has 1 to 63 letters, digits, '-' and '_', the first a letter or digit";
            report.add(&entry.place, &path, message);
        }
        let section = Section::open(&entry.node, &path, stream::KEYS, report);
        let settings = section.and_then(|section| stream::read_stream(&section, base, report));
        if let (Ok(id), Some(settings)) = (id, settings) {
            streams.insert(id, settings);
        }
    }
    streams
}
