//! The configuration: a file, and a stream by request.

use camshaft::config::{self, Config, Document, Lookups, Mistakes, StreamDefaults};
use std::io;

/// Text is a configuration or mistakes, each with its place, and always the same; a request never reads a file or a
/// variable.
pub fn config(data: &[u8]) {
    let _ = config::stream_from_json(data, &StreamDefaults::default());
    let _ = config::temporary_stream_from_json(data, &StreamDefaults::default());
    let Ok(text) = std::str::from_utf8(data) else { return };
    match (load(text), load(text)) {
        (Ok(first), Ok(second)) => assert!(first == second, "read twice, two configurations"),
        (Err(first), Err(second)) => {
            let (first, second) = (first.to_string(), second.to_string());
            assert!(!first.is_empty() && first == second, "{first}\n\n{second}");
            assert!(first.len() < 1 << 20, "{} bytes of mistakes", first.len());
        }
        _ => panic!("right the one time, wrong the other"),
    }
}

fn load(text: &str) -> Result<Config, Mistakes> {
    let lookups = Lookups {
        env: &|name| (name.len() < 8).then(|| "value".to_owned()),
        file: &|_| Err(io::ErrorKind::NotFound.into()),
        env_overrides: &[],
    };
    config::load(&[Document { name: "c.yaml".into(), text }], &lookups)
}
