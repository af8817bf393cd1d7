//! A user's Frigate configuration into one for camshaft and one for Frigate beside it. Pure functions on text.
//!
//! Frigate's file is changed where it has to be and nowhere else: values are replaced at their places in the text, so that
//! comments, order and quotes stay. What cannot be taken over stays as it is, and is named.

mod address;
mod arguments;
mod cameras;
mod edits;
mod go2rtc;
mod remark;
mod rewrite;
mod service;
mod streams;
mod yaml;

pub use remark::Remark;
pub use service::Service;

use std::collections::{BTreeMap, BTreeSet};

use cameras::File;
use edits::{Edits, Written};
use go2rtc::Go2rtc;
use rewrite::Rewrite;
use streams::Streams;
use yaml::{Document, Entry, Node};

/// What became of a Frigate configuration.
#[derive(Debug, serde::Serialize)]
pub struct Conversion {
    /// camshaft's configuration.
    pub camshaft: String,
    /// Frigate's file, changed.
    pub frigate: String,
    /// The same as a unified diff.
    pub diff: String,
    /// What stays as it is and has to be seen to by hand.
    pub refusals: Vec<Remark>,
    /// What is carried over and should be known.
    pub notes: Vec<Remark>,
}

/// Converts `text`, the content of the file `name`.
///
/// # Errors
/// Why it is no Frigate configuration at all.
pub fn convert(name: &str, text: &str, service: &Service) -> Result<Conversion, Remark> {
    let document = yaml::parse(text)?;
    if document.root.get("cameras").is_none_or(|cameras| cameras.entries().is_empty()) {
        return Err(Remark::new(document.root.line, "cameras", "has no camera; is this a configuration of Frigate's?"));
    }
    let mut refused = BTreeMap::new();
    loop {
        let attempt = Attempt::make(text, &document, service, &mut refused);
        // A change of what others share is none; the rest is tried again without it.
        let all = attempt.all(text, &document);
        let shared = |(key, edits): &(String, Edits)| Some((key.clone(), edits.shared(&all)?));
        let Some((key, remark)) = attempt.units.iter().find_map(shared) else {
            return attempt.finish(name, text, &document, service, refused);
        };
        refused.insert(key.clone(), Remark { key, ..remark });
    }
}

/// All changes, each unit of them on its own: a camera, a stream of go2rtc's, a global setting.
struct Attempt<'t> {
    units: Vec<(String, Edits<'t>)>,
    streams: Streams,
    notes: Vec<Remark>,
}

impl<'t> Attempt<'t> {
    fn make(
        text: &'t str,
        document: &'t Document,
        service: &'t Service,
        refused: &mut BTreeMap<String, Remark>,
    ) -> Self {
        let mut attempt = Self { units: Vec::new(), streams: Streams::default(), notes: Vec::new() };
        let root = &document.root;
        let file = File { root, go2rtc: Go2rtc::of(root), service };
        let mut unit = |key: String, change: &mut dyn FnMut(&mut Rewrite) -> Result<(), Remark>| {
            if refused.contains_key(&key) {
                return;
            }
            let mut streams = attempt.streams.clone();
            let edits = Edits::of(text, document);
            let mut rewrite = Rewrite { service, streams: &mut streams, edits, notes: Vec::new() };
            match change(&mut rewrite) {
                Ok(()) => {
                    attempt.notes.append(&mut rewrite.notes);
                    attempt.units.push((key, rewrite.edits));
                    attempt.streams = streams;
                }
                Err(remark) => drop(refused.insert(key, remark)),
            }
        };
        for entry in entries(root.get("cameras")) {
            unit(format!("cameras.{}", entry.key), &mut |rewrite| rewrite.camera(&file.camera(entry)?));
        }
        if let Some(map) = file.go2rtc.streams() {
            for entry in map.entries() {
                let key = format!("go2rtc.streams.{}", entry.key);
                unit(key, &mut |rewrite| rewrite.go2rtc_stream(&file.go2rtc, map, entry));
            }
        }
        let all_carried = refused.is_empty();
        let ffmpeg = root.get("ffmpeg").filter(|ffmpeg| all_carried && ffmpeg.own("hwaccel_args").is_some());
        if let Some(ffmpeg) = ffmpeg {
            let mut edits = Edits::of(text, document);
            edits.set(ffmpeg, "hwaccel_args", &Written::Yaml("[]".into()), None);
            attempt.units.push(("ffmpeg".into(), edits));
        }
        attempt
    }

    fn all(&self, text: &'t str, document: &'t Document) -> Edits<'t> {
        let mut all = Edits::of(text, document);
        self.units.iter().for_each(|(_, edits)| all.append(edits.clone()));
        all
    }

    fn finish(
        self,
        name: &str,
        text: &str,
        document: &Document,
        service: &Service,
        refused: BTreeMap<String, Remark>,
    ) -> Result<Conversion, Remark> {
        let frigate = self.all(text, document).apply();
        let changed = yaml::parse(&frigate).map_err(|remark| {
            Remark::new(remark.line, "", format!("this layout of YAML is not understood; {}", remark.message))
        })?;
        let mut notes = self.notes;
        left_on_hardware(&changed.root, "", &mut notes);
        let streams = self.streams.yaml();
        let diff = similar::TextDiff::from_lines(text, &frigate);
        let diff = diff.unified_diff().header(name, &format!("{name} beside camshaft")).to_string();
        let mut refusals: Vec<Remark> = refused.into_values().collect();
        refusals.sort();
        notes.sort();
        Ok(Conversion {
            camshaft: format!("{}{}{streams}", head(name, &streams), service.yaml()),
            frigate,
            diff,
            refusals,
            notes,
        })
    }
}

fn entries(node: Option<&Node>) -> &[Entry] {
    node.map(Node::entries).unwrap_or_default()
}

/// Notes every `hwaccel_args` that is left.
fn left_on_hardware(node: &Node, path: &str, notes: &mut Vec<Remark>) {
    let own = |entry: &&Entry| entry.key != "<<" && !entry.key.starts_with("x-") && !entry.node.is_alias();
    for entry in node.entries().iter().filter(own) {
        let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        let is_empty = entry.node.items().is_empty() && entry.node.text().is_none();
        if entry.key == "hwaccel_args" && !is_empty {
            let message =
                "is left as it is (the line is that of the new file); without a GPU in Frigate's pod it must be []";
            notes.push(Remark::new(entry.line, &path, message));
        }
        if notes.len() < 1000 {
            left_on_hardware(&entry.node, &path, notes);
        }
    }
    for item in node.items() {
        left_on_hardware(item, path, notes);
    }
}

/// Comments at the top of camshaft's configuration.
fn head(name: &str, streams: &str) -> String {
    let mut head = format!("# Made of {name} by `camshaft frigate-config`; the lines are those of that file.\n");
    let variables = streams.split("${").skip(1).filter_map(|rest| rest.split('}').next());
    let variables: BTreeSet<&str> = variables.filter(|name| name.starts_with("FRIGATE_")).collect();
    if !variables.is_empty() {
        let names: Vec<&str> = variables.into_iter().collect();
        head += &format!("# Give it Frigate's own environment: {}\n", names.join(", "));
    }
    head
}
