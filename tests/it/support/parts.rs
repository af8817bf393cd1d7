//! Reading `live.frames`: pictures one by one, with what is said of each.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

/// The parts of a response.
pub struct Parts<R> {
    reader: BufReader<R>,
}

/// One part.
pub struct Part {
    headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl<R: Read> Parts<R> {
    /// Those of a body.
    pub fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader) }
    }

    /// The next one; panics at the end.
    pub fn next(&mut self) -> Part {
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            assert!(self.reader.read_line(&mut line).unwrap() > 0, "another part");
            match line.trim_end().split_once(": ") {
                Some((name, value)) => drop(headers.insert(name.to_lowercase(), value.to_owned())),
                None if line.trim_end().is_empty() && !headers.is_empty() => break,
                None => {}
            }
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        self.reader.read_exact(&mut body).unwrap();
        Part { headers, body }
    }
}

impl Part {
    /// A header's value.
    pub fn header(&self, name: &str) -> &str {
        &self.headers[name]
    }
}
