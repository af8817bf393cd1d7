//! YAML text into a tree in which every key and value knows its place.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MessageFormatter, Spanned, UserMessageFormatter};
use std::fmt;
use std::sync::Arc;

use super::mistake::{Place, Report, shown};

/// The longest document that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Something at its place.
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

/// What a node holds.
pub(super) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// Text, a number or a boolean: all text until a key's type is known, so that `password: 0123` stays what it is.
pub(super) struct Scalar {
    /// As the document has it, with `${VAR}` unexpanded. The only form that messages quote.
    pub written: String,
    /// As it counts; `None` if that could not be found out, which is reported already.
    pub text: Option<String>,
}

/// A key and its value.
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

/// Reads `text`; `None` after a mistake of syntax, which hides all later ones.
pub(super) fn parse(name: &str, text: &str, report: &mut Report) -> Option<Node> {
    let file: Arc<str> = name.into();
    let whole = Place { file: file.clone(), line: 1, column: 1 };
    if text.len() > MAX_BYTES {
        report.add(&whole, "", format!("the document has {} bytes; allowed are {MAX_BYTES}", text.len()));
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = serde_saphyr::options! {
        // Duplicates are found later, in all documents at once.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        null_as_string: true,
        reject_unsupported_tags: true,
        ignore_binary_tag_for_string: true,
        with_snippet: false, // a snippet would show passwords
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000, max_replay_stack_depth: 16 },
        budget: serde_saphyr::budget! { max_depth: 32, max_nodes: 100_000, max_total_scalar_bytes: 4 * MAX_BYTES },
    };
    match serde_saphyr::from_str_with_options::<Option<Spanned<Raw>>>(text, options) {
        Ok(None) => Some(Node { place: whole, value: Value::Null }),
        Ok(Some(raw)) => Some(Tree { file, text }.node(raw)),
        Err(error) => {
            let place = error.location().map_or(whole, |location| place(&file, location));
            report.add(&place, "", syntax_message(&error));
            None
        }
    }
}

/// What the parser says, without any text of the document, which may be a password.
fn syntax_message(error: &serde_saphyr::Error) -> String {
    match innermost(error) {
        serde_saphyr::Error::UnsupportedTag { .. } => {
            "a value that starts with '!' is a YAML tag, which means nothing here; write the value in quotes".into()
        }
        serde_saphyr::Error::UnknownAnchor { .. } => {
            "a value that starts with '*' is a YAML alias, and its anchor is nowhere above; write the value in quotes"
                .into()
        }
        error => format!("this is no YAML that can be read: {}", shown(&UserMessageFormatter.format_message(error))),
    }
}

/// The error itself, out of what says where an alias stands.
fn innermost(mut error: &serde_saphyr::Error) -> &serde_saphyr::Error {
    while let serde_saphyr::Error::AliasError { error: inner, .. } = error {
        error = inner;
    }
    error
}

/// What the parser makes of a node. `Plain` is a number or boolean: its text is taken from the document, since `1e3`,
/// `007` or `yes` would come out changed.
enum Raw {
    Null,
    Plain,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("text, a number, a boolean, a list or a map")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

fn place(file: &Arc<str>, location: Location) -> Place {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Place { file: file.clone(), line: number(location.line()), column: number(location.column()) }
}

/// Turns what the parser made into nodes.
struct Tree<'a> {
    file: Arc<str>,
    text: &'a str,
}

impl Tree<'_> {
    fn node(&self, raw: Spanned<Raw>) -> Node {
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Plain => Value::Scalar(self.source_text(raw.defined).into()),
            Raw::Text(text) => Value::Scalar(text.into()),
            Raw::List(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            Raw::Map(entries) => {
                let entry = |(key, value): (Spanned<String>, _)| Entry {
                    place: place(&self.file, key.referenced),
                    key: key.value,
                    node: self.node(value),
                };
                Value::Map(entries.into_iter().map(entry).collect())
            }
        };
        Node { place: place(&self.file, raw.referenced), value }
    }

    fn source_text(&self, location: Location) -> String {
        let span = location.span();
        let bytes = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
            let start = usize::try_from(start).ok()?;
            self.text.get(start..start.checked_add(usize::try_from(length).ok()?)?)
        });
        bytes.unwrap_or_default().trim().to_owned()
    }
}

impl From<String> for Scalar {
    fn from(written: String) -> Self {
        Self { text: Some(written.clone()), written }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(node: &Node, path: &str, out: &mut Vec<String>) {
        let line = format!("{path}@{}:{}", node.place.line, node.place.column);
        match &node.value {
            Value::Null => out.push(format!("{line} null")),
            Value::Scalar(scalar) => out.push(format!("{line} <{}>", scalar.written)),
            Value::List(_) => out.push(format!("{line} list")),
            Value::Map(entries) => {
                for entry in entries {
                    flat(
                        &entry.node,
                        &format!("{path}.{}@{}:{}", entry.key, entry.place.line, entry.place.column),
                        out,
                    );
                }
            }
        }
    }

    fn read(text: &str) -> Result<Vec<String>, String> {
        let mut report = Report::default();
        let node = parse("f", text, &mut report);
        let node = report.finish(node).map_err(|mistakes| mistakes.to_string())?;
        let mut out = Vec::new();
        flat(&node, "", &mut out);
        Ok(out)
    }

    #[test]
    fn every_scalar_keeps_its_text_and_place() {
        let text = "a: 0123\nb: 1_000\nc: 1e3   # x\nd: yes\ne: 12.50\nf: 'x''y'\nh:\n007: [1]\n";
        let expected = [
            ".a@1:1@1:4 <0123>",
            ".b@2:1@2:4 <1_000>",
            ".c@3:1@3:4 <1e3>",
            ".d@4:1@4:4 <yes>",
            ".e@5:1@5:4 <12.50>",
            ".f@6:1@6:4 <x'y>",
            ".h@7:1@7:2 null",
            ".007@8:1@8:6 list",
        ];
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn byte_order_marks_line_ends_and_json() {
        assert_eq!(
            read("\u{feff}ä: 12\r\nb:\r\n  c: true\r\n").unwrap(),
            [".ä@1:1@1:4 <12>", ".b@2:1.c@3:3@3:6 <true>"]
        );
        let json = "{\n\t\"a\": 1.50,\n\t\"b\": {\"c\": \"\\/\\u00e4\"}\n}";
        assert_eq!(read(json).unwrap(), [".a@2:2@2:7 <1.50>", ".b@3:2.c@3:8@3:13 </ä>"]);
        assert_eq!(read("").unwrap(), ["@1:1 null"]);
        assert_eq!(read("# nothing\n").unwrap(), ["@1:1 null"]);
    }

    #[test]
    fn aliases_stand_where_they_are_used() {
        let text = "a: &x 05\nb: *x\nc: &m { k: 1, l: 2 }\nd: { <<: *m, l: 3 }\n";
        let expected = [
            ".a@1:1@1:7 <05>",
            ".b@2:1@2:4 <05>",
            ".c@3:1.k@3:9@3:12 <1>",
            ".c@3:1.l@3:15@3:18 <2>",
            ".d@4:1.l@4:14@4:17 <3>",
        ];
        assert_eq!(read(text).unwrap()[..5], expected);
    }

    #[test]
    fn syntax_mistakes_have_a_line_and_no_text_of_the_document() {
        for (text, start) in [
            ("a: 1\n\tb: 2\n", "f:1: this is no YAML that can be read: while scanning a plain scalar, found a tab"),
            ("a: 1\nb: [hunter2\n", "f:2: this is no YAML that can be read: unclosed bracket '['"),
            ("a: 1\nb: *hunter2\n", "f:2: a value that starts with '*'"),
            ("a: 1\nb: !hunter2\n", "f:2: a value that starts with '!'"),
            ("a: 1\n---\nb: hunter2\n", "f:3: this is no YAML that can be read: only single YAML document"),
            ("a: 1\nb: \"hunter2\n", "f:"),
            ("a: 1\nb: %hunter2: x\n", "f:2: "),
            ("a: 1\n? [hunter2]\n: b\n", "f:2: "),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(start), "{text:?}: {error}");
            assert!(!error.contains("hunter2"), "{text:?}: {error}");
        }
    }

    #[test]
    fn bombs_are_defused() {
        let mut nested = String::from("a0: &a0 {x: 1}\n");
        for n in 1..12 {
            let aliases: Vec<String> = (0..10).map(|key| format!("k{key}: *a{}", n - 1)).collect();
            nested += &format!("a{n}: &a{n} {{{}}}\n", aliases.join(", "));
        }
        let long = format!(
            "a: &a {}\nb: {{{}}}\n",
            "x".repeat(400_000),
            (0..99).map(|n| format!("k{n}: *a, ")).collect::<String>()
        );
        let deep = "[".repeat(100_000);
        let deep_maps = "{a: ".repeat(10_000);
        let wide = "- 1\n".repeat(200_000);
        let large = "# 1\n".repeat(300_000);
        for bomb in [&nested, &long, &deep, &deep_maps, &wide, &large] {
            assert!(read(bomb).is_err(), "{}", &bomb[..40]);
        }
    }
}
