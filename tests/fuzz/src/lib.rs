#![forbid(unsafe_code)]
//! What is fuzzed, one function of bytes each: it panics where what must always hold does not. `fuzz/` drives them with
//! libFuzzer; `tests/bounded.rs` with what is checked in there and seeded mutations of it.

mod config;
mod link;
mod media;
mod nal;
mod query;
mod ring;
mod rtsp;
mod shim;
mod writers;

pub use config::config;
pub use link::link;
pub use nal::nal;
pub use query::query;
pub use ring::ring;
pub use rtsp::rtsp;
pub use shim::shim;
pub use writers::writers;

/// A target: it must return, whatever the bytes.
pub type Target = fn(&[u8]);

/// Every target with its name, which its corpus has as well.
pub const TARGETS: [(&str, Target); 8] = [
    ("config", config),
    ("link", link),
    ("nal", nal),
    ("query", query),
    ("ring", ring),
    ("rtsp", rtsp),
    ("shim", shim),
    ("writers", writers),
];
