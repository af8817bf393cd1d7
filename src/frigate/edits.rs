//! Changes of a YAML text: each replaces a few bytes, all others stay.

use super::remark::Remark;
use super::yaml::{Anchor, Bytes, Document, Node};

/// Changes of one text, collected before any is made.
#[derive(Clone, Debug)]
pub struct Edits<'t> {
    text: &'t str,
    document: &'t Document,
    changes: Vec<(Bytes, String)>,
}

impl<'t> Edits<'t> {
    pub fn of(text: &'t str, document: &'t Document) -> Self {
        Self { text, document, changes: Vec::new() }
    }

    /// Adds those of `other`.
    pub fn append(&mut self, other: Self) {
        self.changes.extend(other.changes);
    }

    /// Gives `key` of a map this value. A key that is not there comes behind the key `behind`, or first.
    pub fn set(&mut self, map: &Node, key: &str, value: &Written, behind: Option<&str>) {
        let value = value.in_notation(map);
        if let Some(entry) = map.own(key) {
            let colon = self.text[entry.key_bytes.end..].find(':').unwrap_or_default() + entry.key_bytes.end + 1;
            match entry.node.bytes.is_empty() {
                true => self.change(colon..colon, format!(" {value}")),
                // What stood in lines of its own comes into that of its key.
                false if entry.node.is_block() => self.change(colon..entry.node.end(), format!(" {value}")),
                false => self.replace(&entry.node, value),
            }
            return;
        }
        let Some(first) = map.entries().first() else {
            self.change(map.bytes.clone(), format!("{{{key}: {value}}}"));
            return;
        };
        let place = behind.and_then(|behind| map.own(behind));
        if map.is_flow() {
            let start = first.key_bytes.start;
            match place {
                Some(entry) => self.change(entry.node.bytes.end..entry.node.bytes.end, format!(", {key}: {value}")),
                None => self.change(start..start, format!("{key}: {value}, ")),
            }
            return;
        }
        let (indent, newline) = (self.column(first.key_bytes.start), self.newline());
        match place {
            Some(entry) => {
                let end = self.line_end(entry.node.end());
                self.change(end..end, format!("{newline}{indent}{key}: {value}"));
            }
            None => {
                let start = first.key_bytes.start;
                self.change(start..start, format!("{key}: {value}{newline}{indent}"));
            }
        }
    }

    /// Gives an item of `list` this value.
    pub fn set_item(&mut self, list: &Node, item: &Node, value: &Written) {
        self.replace(item, value.in_notation(list));
    }

    /// Puts a new map into `list`, behind `item`.
    pub fn add_item(&mut self, list: &Node, item: &Node, fields: &[(&str, Written)]) {
        if list.is_flow() {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}: {}", value.in_notation(list))).collect();
            let end = item.bytes.end;
            self.change(end..end, format!(", {{ {} }}", fields.join(", ")));
            return;
        }
        let (indent, newline, end) = (self.dash(item), self.newline(), self.line_end(item.end()));
        let lines = fields.iter().enumerate().map(|(n, (key, value))| {
            let start = if n == 0 { '-' } else { ' ' };
            format!("{newline}{indent}{start} {key}: {}", value.in_notation(list))
        });
        self.change(end..end, lines.collect());
    }

    /// Takes an item out of a list of scalars that has others.
    pub fn remove_item(&mut self, list: &Node, item: &Node) {
        if !list.is_flow() {
            let start = self.text[..item.bytes.start].rfind('\n').map_or(0, |at| at + 1);
            let end = self.text[item.bytes.end..].find('\n').map_or(self.text.len(), |at| item.bytes.end + at + 1);
            self.change(start..end, String::new());
            return;
        }
        let rest = list.items().iter().filter(|other| other.bytes != item.bytes);
        let rest: Vec<&str> = rest.map(|other| &self.text[other.bytes.clone()]).collect();
        self.replace(list, format!("[{}]", rest.join(", ")));
    }

    /// The text with all changes made.
    pub fn apply(&self) -> String {
        let mut changes = self.changes.clone();
        changes.sort_by_key(|(bytes, _)| (bytes.start, bytes.end));
        changes.dedup();
        let (mut out, mut from) = (String::new(), 0);
        for (bytes, new) in changes {
            out.push_str(&self.text[from..bytes.start.max(from)]);
            out.push_str(&new);
            from = bytes.end.max(from);
        }
        out + &self.text[from..]
    }

    /// The first anchor that a change of `self` touches although somebody refers to it who stays, given all changes.
    pub fn shared(&self, all: &Self) -> Option<Remark> {
        let covered =
            |alias: &Bytes| all.changes.iter().any(|(bytes, _)| bytes.start <= alias.start && alias.end <= bytes.end);
        let touches = |anchor: &Anchor, bytes: &Bytes| bytes.start < anchor.bytes.end && bytes.end > anchor.bytes.start;
        let goes = |anchor: &Anchor, bytes: &Bytes| {
            bytes.start <= anchor.bytes.start && bytes.end >= anchor.bytes.end && anchor.aliases.iter().all(covered)
        };
        let anchor = self.document.anchors.iter().find(|anchor| {
            let mut changes = self.changes.iter().map(|(bytes, _)| bytes);
            !anchor.aliases.is_empty() && changes.any(|bytes| touches(anchor, bytes) && !goes(anchor, bytes))
        })?;
        let message = format!("'&{0}' is also used by '*{0}' elsewhere; write out what has to differ", anchor.name);
        Some(Remark::new(anchor.line, "", message))
    }

    fn replace(&mut self, node: &Node, value: String) {
        let anchored = self.document.anchors.iter().find(|anchor| {
            anchor.bytes.end == node.bytes.end && anchor.bytes.start < node.bytes.start && !node.is_block()
        });
        let start = anchored.map_or(node.bytes.start, |anchor| anchor.bytes.start);
        self.change(start..node.bytes.end, value);
    }

    fn change(&mut self, bytes: Bytes, new: String) {
        if self.text[bytes.clone()] != new {
            self.changes.push((bytes, new));
        }
    }

    /// Spaces up to a place in its line.
    fn column(&self, at: usize) -> String {
        let start = self.text[..at].rfind('\n').map_or(0, |at| at + 1);
        " ".repeat(self.text[start..at].chars().count())
    }

    /// Spaces up to the dash of an item.
    fn dash(&self, item: &Node) -> String {
        let before = &self.text[..item.bytes.start];
        let lines = before.rsplit('\n');
        let line = lines.into_iter().find(|line| line.trim_start().starts_with('-')).unwrap_or_default();
        " ".repeat(line.len() - line.trim_start().len())
    }

    /// The end of the line that `at` stands in.
    fn line_end(&self, at: usize) -> usize {
        let rest = &self.text[at..];
        at + rest.find('\n').map_or(rest.len(), |end| rest[..end].strip_suffix('\r').map_or(end, str::len))
    }

    fn newline(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }
}

/// A new value.
#[derive(Clone, Debug)]
pub enum Written {
    /// A scalar, quoted where it has to be.
    Text(String),
    /// YAML.
    Yaml(String),
}

impl Written {
    fn in_notation(&self, parent: &Node) -> String {
        match self {
            Self::Text(text) if parent.is_flow() => quoted(text),
            Self::Text(text) => scalar(text),
            Self::Yaml(yaml) => yaml.clone(),
        }
    }
}

/// `text` as a value in lines: plain if it cannot be taken for anything else.
pub fn scalar(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_-./:?&=%+,@${}[]~ ".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '$' | '/'))
        || text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    let is_plain = starts && text.chars().all(harmless) && !text.contains(": ") && !text.ends_with([':', ' ']);
    let is_word = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(&text.to_lowercase().as_str());
    let is_number = text.parse::<f64>().is_ok() || text.starts_with("0x") || text.starts_with("0o");
    if is_plain && !is_word && !is_number { text.to_owned() } else { quoted(text) }
}

/// `text` in double quotes (JSON, which is YAML).
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
