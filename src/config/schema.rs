//! The keys as JSON Schema (2020-12), for editors that complete and check YAML by one.

use serde_json::{Map, Value, json};

use super::section::{Key, KeyKind};
use super::{ROOT_KEYS, SECTIONS, stream};

/// The schema of a configuration file. It knows keys and their shapes; ranges and what goes together are checked by
/// [`super::load`], whose messages say more.
pub fn schema() -> Value {
    let section = |key: &Key| {
        let found = SECTIONS.iter().find(|section| section.name == key.name);
        let shape = found.map_or_else(|| named(keys(stream::KEYS)), |section| keys(section.keys));
        (key.name.to_owned(), shape)
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "camshaft",
        "type": "object",
        "properties": ROOT_KEYS.iter().map(section).collect::<Map<_, _>>(),
        "additionalProperties": false,
    })
}

/// A map with these keys and no other.
fn keys(keys: &[Key]) -> Value {
    let known = keys.iter().filter(|key| key.kind != KeyKind::Unbuilt);
    let properties: Map<_, _> = known.map(|key| (key.name.to_owned(), value(*key))).collect();
    json!({ "type": ["object", "null"], "properties": properties, "additionalProperties": false })
}

/// A map with free names.
fn named(each: Value) -> Value {
    json!({ "type": ["object", "null"], "additionalProperties": each })
}

fn value(key: Key) -> Value {
    let single = json!(["string", "number", "boolean"]);
    match key.kind {
        // The only map within a section.
        KeyKind::Map => named(keys(stream::RENDITION_KEYS)),
        KeyKind::List => json!({ "type": ["string", "number", "array"], "items": { "type": single } }),
        KeyKind::Scalar | KeyKind::Unbuilt => json!({ "type": single }),
    }
}
