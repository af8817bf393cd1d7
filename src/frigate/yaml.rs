//! A YAML document in which every key and value knows where it stands in the text, so that it can be changed there.

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::remark::Remark;

/// Bytes of the document.
pub type Bytes = Range<usize>;

/// A value.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value's own text; of a value behind an alias, `*name`. Empty where nothing is written.
    pub bytes: Bytes,
    /// Counted from 1.
    pub line: usize,
    /// What it holds; behind an alias what stands at its anchor.
    pub value: Rc<Value>,
    is_alias: bool,
}

/// What a node holds.
#[derive(Debug)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Text, a number or a boolean, all as text.
    Scalar(String),
    List(Vec<Node>, Notation),
    Map(Vec<Entry>, Notation),
}

/// How a list or a map is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// `[a, b]`, `{a: b}`
    Flow,
    /// In lines.
    Block,
}

/// A key and its value.
#[derive(Debug)]
pub struct Entry {
    pub key: String,
    pub key_bytes: Bytes,
    pub line: usize,
    pub node: Node,
}

/// An anchor, and who refers to it.
#[derive(Debug, Default)]
pub struct Anchor {
    pub name: String,
    /// From `&name` to the end of the value.
    pub bytes: Bytes,
    pub line: usize,
    /// The text `*name`, wherever it stands.
    pub aliases: Vec<Bytes>,
}

/// A document.
#[derive(Debug)]
pub struct Document {
    pub root: Node,
    pub anchors: Vec<Anchor>,
}

impl Node {
    /// The value of `key`: the node's own, else one that it merges (`<<`).
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.own(key).map(|entry| &entry.node).or_else(|| {
            let merged = &self.own("<<")?.node;
            match &*merged.value {
                Value::List(maps, _) => maps.iter().find_map(|map| map.get(key)),
                _ => merged.get(key),
            }
        })
    }

    /// The entry of `key` that stands in this map itself.
    pub fn own(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entries of a map; of anything else none.
    pub fn entries(&self) -> &[Entry] {
        if let Value::Map(entries, _) = &*self.value { entries } else { &[] }
    }

    /// The items of a list; of anything else none.
    pub fn items(&self) -> &[Node] {
        if let Value::List(items, _) = &*self.value { items } else { &[] }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        if let Value::Scalar(text) = &*self.value { Some(text) } else { None }
    }

    /// Whether it is written in brackets.
    pub fn is_flow(&self) -> bool {
        matches!(&*self.value, Value::List(_, Notation::Flow) | Value::Map(_, Notation::Flow))
    }

    /// Whether it is a list or a map in lines, and stands here itself.
    pub fn is_block(&self) -> bool {
        let notation = match &*self.value {
            Value::List(_, notation) | Value::Map(_, notation) => Some(*notation),
            Value::Null | Value::Scalar(_) => None,
        };
        notation == Some(Notation::Block) && !self.is_alias
    }

    /// Whether it is `*name`.
    pub fn is_alias(&self) -> bool {
        self.is_alias
    }

    /// Where the last of what it holds ends; without comments and blank lines, which follow.
    pub fn end(&self) -> usize {
        let last = match &*self.value {
            Value::List(items, Notation::Block) => items.last().map(Node::end),
            Value::Map(entries, Notation::Block) => {
                entries.last().map(|entry| entry.node.end().max(entry.key_bytes.end))
            }
            _ => None,
        };
        // What stands behind an alias ends elsewhere.
        last.filter(|end| *end >= self.bytes.start && !self.is_alias).unwrap_or(self.bytes.end)
    }
}

/// Reads `text`.
///
/// # Errors
/// Why it is no YAML, or has a key twice, with the line.
pub fn parse(text: &str) -> Result<Document, Remark> {
    let options = granit_parser::options! { emit_anchor_events: true, emit_comments: false };
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| {
            Remark::new(error.marker().line(), "", format!("this is no YAML that can be read: {error}"))
        })?;
        builder.take(event, span, text)?;
    }
    builder.finish()
}

/// A list or map that is not complete yet.
struct Open {
    start: usize,
    line: usize,
    notation: Notation,
    anchor: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    /// With the key whose value comes next.
    Map(Vec<Entry>, Option<(String, Bytes, usize)>),
}

/// Puts nodes together from what the parser says.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    /// By the parser's number.
    anchors: HashMap<usize, (Anchor, Option<Rc<Value>>)>,
    documents: usize,
}

impl Builder {
    fn take(&mut self, event: Event, span: Span, text: &str) -> Result<(), Remark> {
        let line = span.start.line();
        let bytes = span.byte_range().unwrap_or_default();
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Remark::new(line, "", "a second document starts here; Frigate reads one"));
                }
            }
            Event::Scalar(written, style, anchor, _) => {
                let is_null = style == ScalarStyle::Plain && matches!(&*written, "" | "~" | "null" | "Null" | "NULL");
                let value = if is_null { Value::Null } else { Value::Scalar(written.into_owned()) };
                let bytes = bytes.start..bytes.start + text[bytes.clone()].trim_end().len();
                return self.close(Node { bytes, line, value: Rc::new(value), is_alias: false }, anchor);
            }
            Event::SequenceStart(style, anchor, _) => {
                self.start(bytes.start, line, style, anchor, Items::List(Vec::new()));
            }
            Event::MappingStart(style, anchor, _) => {
                self.start(bytes.start, line, style, anchor, Items::Map(Vec::new(), None));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { start, line, notation, anchor, items }) = self.open.pop() else { return Ok(()) };
                let value = match items {
                    Items::List(items) => Value::List(items, notation),
                    Items::Map(entries, _) => Value::Map(entries, notation),
                };
                let end = if notation == Notation::Flow { bytes.end } else { start };
                let mut node = Node { bytes: start..end, line, value: Rc::new(value), is_alias: false };
                node.bytes.end = node.end();
                return self.close(node, anchor);
            }
            Event::Anchor(id, name) => {
                let anchor = Anchor { name: name.into_owned(), bytes, line, aliases: Vec::new() };
                let value = self.anchors.remove(&id).and_then(|(known, value)| Some((known.bytes.end, value?)));
                let end = value.as_ref().map_or(anchor.bytes.end, |(end, _)| *end);
                let anchor = Anchor { bytes: anchor.bytes.start..end, ..anchor };
                self.anchors.insert(id, (anchor, value.map(|(_, value)| value)));
            }
            Event::Alias(id) => {
                let Some((anchor, Some(value))) = self.anchors.get_mut(&id) else {
                    return Err(Remark::new(line, "", "this alias stands within its own anchor; write the value out"));
                };
                anchor.aliases.push(bytes.clone());
                let node = Node { bytes, line, value: value.clone(), is_alias: true };
                return self.close(node, 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, start: usize, line: usize, style: StructureStyle, anchor: usize, items: Items) {
        let notation = if style == StructureStyle::Flow { Notation::Flow } else { Notation::Block };
        self.open.push(Open { start, line, notation, anchor, items });
    }

    /// A node is complete: it is a key, a value, an item or the document.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Remark> {
        if anchor > 0 {
            // A scalar's own event comes before that of its anchor.
            let (known, value) = self.anchors.entry(anchor).or_default();
            (known.bytes.end, *value) = (node.bytes.end, Some(node.value.clone()));
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(node),
            Some(Items::List(items)) => items.push(node),
            Some(Items::Map(entries, key)) => match key.take() {
                Some((name, key_bytes, line)) => entries.push(Entry { key: name, key_bytes, line, node }),
                None => {
                    let name = node.text().unwrap_or_default().to_owned();
                    if name != "<<" && entries.iter().any(|entry| entry.key == name) {
                        return Err(Remark::new(node.line, &name, "stands here a second time; keep one of the two"));
                    }
                    *key = Some((name, node.bytes, node.line));
                }
            },
        }
        Ok(())
    }

    fn finish(self) -> Result<Document, Remark> {
        let root = self.root.ok_or_else(|| Remark::new(1, "", "the file is empty"))?;
        let mut anchors: Vec<Anchor> = self.anchors.into_values().map(|(anchor, _)| anchor).collect();
        anchors.sort_by_key(|anchor| anchor.bytes.start);
        Ok(Document { root, anchors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_where_they_stand() {
        let text = "a: &x 'ä'  # c\nb:\n  - k: v\n    l: [1, 2]\n\n# c\nc: *x\nd:\ne: {f: g}\n";
        let document = parse(text).unwrap();
        let root = &document.root;
        let written = |node: &Node| text[node.bytes.clone()].to_owned();
        assert_eq!(written(root.get("a").unwrap()), "'ä'");
        let item = &root.get("b").unwrap().items()[0];
        assert_eq!(written(item), "k: v\n    l: [1, 2]");
        assert_eq!(written(item.get("l").unwrap()), "[1, 2]");
        assert_eq!(written(root.get("c").unwrap()), "*x");
        assert_eq!(root.get("c").unwrap().text(), Some("ä"));
        assert_eq!(written(root.get("d").unwrap()), "");
        assert_eq!(written(root.get("e").unwrap()), "{f: g}");
        let anchor = &document.anchors[0];
        assert_eq!((anchor.name.as_str(), &text[anchor.bytes.clone()], anchor.aliases.len()), ("x", "&x 'ä'", 1));
    }

    #[test]
    fn maps_are_merged() {
        let document = parse("a: &a {k: 1, l: 2}\nb: &b {m: 3}\nc:\n  <<: [*a, *b]\n  l: 4\n").unwrap();
        let merged = document.root.get("c").unwrap();
        let values = ["k", "l", "m"].map(|key| merged.get(key).and_then(Node::text));
        assert_eq!(values, [Some("1"), Some("4"), Some("3")]);
        assert!(merged.own("k").is_none());
    }

    #[test]
    fn what_is_no_yaml_has_a_line() {
        for (text, line) in [("a: 1\na: 2\n", 2), ("a: [1\n", 1), ("", 1), ("a: 1\n---\nb: 1\n", 2), ("a: *b\n", 1)] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text:?}");
        }
    }
}
