//! A map of the tree as a set of known keys, read one by one.

use std::collections::HashMap;
use std::collections::hash_map::Entry as HashEntry;

use super::mistake::{Place, Report, shown, suggestion};
use super::tree::{Entry, Node, Scalar, Value};

/// A key that is known.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub name: &'static str,
    pub kind: KeyKind,
}

/// What stands behind a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Scalar,
    Map,
    /// Single values: a list, or a text with ',' between them.
    List,
    /// Part of the contract, refused until it works.
    Unbuilt,
}

impl Key {
    pub const fn scalar(name: &'static str) -> Self {
        Self { name, kind: KeyKind::Scalar }
    }

    pub const fn list(name: &'static str) -> Self {
        Self { name, kind: KeyKind::List }
    }

    pub const fn map(name: &'static str) -> Self {
        Self { name, kind: KeyKind::Map }
    }

    pub const fn unbuilt(name: &'static str) -> Self {
        Self { name, kind: KeyKind::Unbuilt }
    }
}

/// The entries of a map whose keys are known and stand once.
pub(super) struct Section<'n> {
    pub path: String,
    pub place: Place,
    entries: Vec<&'n Entry>,
}

impl<'n> Section<'n> {
    /// Opens `node`; reports unknown, unbuilt and double keys. `None` if it is no map.
    pub fn open(node: &'n Node, path: &str, keys: &[Key], report: &mut Report) -> Option<Self> {
        let mut entries = unique_entries(node, path, report)?;
        entries.retain(|entry| {
            let key_path = join(path, &entry.key);
            match keys.iter().find(|key| key.name == entry.key) {
                Some(Key { kind: KeyKind::Unbuilt, .. }) => {
                    report.add(&entry.place, &key_path, not_built(&entry.key));
                    false
                }
                Some(_) => true,
                None => {
                    let built = keys.iter().filter(|key| key.kind != KeyKind::Unbuilt).map(|key| key.name);
                    let message = format!("unknown key; {}", suggestion(&entry.key, built));
                    report.add(&entry.place, &key_path, message);
                    false
                }
            }
        });
        Some(Self { path: path.to_owned(), place: node.place.clone(), entries })
    }

    /// The entry of `key`.
    pub fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key).copied()
    }

    /// The first entry of one of `keys`.
    pub fn any_of(&self, keys: &[&str]) -> Option<&'n Entry> {
        keys.iter().find_map(|key| self.entry(key))
    }

    /// The value of `key`, which must be text, a number or a boolean.
    pub fn field(&self, key: &str, report: &mut Report) -> Option<Field<'n>> {
        let entry = self.entry(key)?;
        let path = self.path_of(key);
        match &entry.node.value {
            Value::Scalar(scalar) => Some(Field { path, place: &entry.node.place, scalar }),
            Value::Null => {
                report.add(&entry.place, &path, "has no value; give one or remove the key");
                None
            }
            Value::List(_) | Value::Map(_) => {
                report.add(&entry.place, &path, "must be a single value, not a list or a map");
                None
            }
        }
    }

    /// `key`'s value made into something by `parse`, whose error says what is allowed.
    pub fn parsed<T>(
        &self,
        key: &str,
        report: &mut Report,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.field(key, report)?.parsed(report, parse)
    }

    /// The values of a list made into something by `parse`, whose error says what is allowed. `None` if there is no such
    /// key, or a mistake in it.
    pub fn list<T>(&self, key: &str, report: &mut Report, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let entry = self.entry(key)?;
        let path = self.path_of(key);
        let Value::List(items) = &entry.node.value else {
            let parts =
                |text: &str| text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(&parse).collect();
            return self.field(key, report)?.parsed(report, parts);
        };
        let item = |node: &'n Node, report: &mut Report| match &node.value {
            Value::Scalar(scalar) => Field { path: path.clone(), place: &node.place, scalar }.parsed(report, &parse),
            Value::Null | Value::List(_) | Value::Map(_) => {
                report.add(&node.place, &path, "must be a list of single values");
                None
            }
        };
        // All of them are looked at, so that all mistakes show.
        let items: Vec<Option<T>> = items.iter().map(|node| item(node, report)).collect();
        items.into_iter().collect()
    }

    /// The full path of `key`.
    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

/// A single value at its place.
pub(super) struct Field<'n> {
    pub path: String,
    pub place: &'n Place,
    scalar: &'n Scalar,
}

impl<'n> Field<'n> {
    /// The text; `None` if a variable in it could not be expanded.
    pub fn text(&self) -> Option<&'n str> {
        self.scalar.text.as_deref()
    }

    /// The value made into something by `parse`, whose error says what is allowed; the value itself is quoted.
    pub fn parsed<T>(&self, report: &mut Report, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let problem = |problem: String| format!("{problem}, but it is '{}'", shown(&self.scalar.written));
        self.checked(report, |text| parse(text).map_err(problem))
    }

    /// The same for values that may hold a secret: the value is not quoted.
    pub fn checked<T>(&self, report: &mut Report, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        parse(self.text()?).map_err(|problem| report.add(self.place, &self.path, problem)).ok()
    }
}

/// The entries of a map with free names; reports double ones. `None` if it is no map.
pub(super) fn unique_entries<'n>(node: &'n Node, path: &str, report: &mut Report) -> Option<Vec<&'n Entry>> {
    let entries = match &node.value {
        Value::Map(entries) => entries,
        Value::Null => return Some(Vec::new()),
        Value::Scalar(_) | Value::List(_) => {
            report.add(&node.place, path, "must be a map of 'key: value' lines");
            return None;
        }
    };
    let mut first = HashMap::new();
    let mut unique = Vec::new();
    for entry in entries {
        match first.entry(entry.key.as_str()) {
            HashEntry::Vacant(vacant) => {
                vacant.insert(&entry.place);
                unique.push(entry);
            }
            HashEntry::Occupied(earlier) => {
                let message = format!("is given twice, first at {}; remove one", earlier.get());
                report.add(&entry.place, &join(path, &entry.key), message);
            }
        }
    }
    Some(unique)
}

/// The sentence for a key of the contract that does not work yet.
pub(super) fn not_built(key: &str) -> String {
    format!("'{key}' is not built yet; remove it")
}

/// `path.key`, or `key` at the top.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
