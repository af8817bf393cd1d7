//! What is built in: licences, sources and double versions, as `deny.toml` allows them (`tests/support/supply_chain.py`).

use serde_json::{Value, json};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Whether it passes, and what it says.
fn check(metadata: Option<&Value>) -> (bool, String) {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(format!("{ROOT}/tests/support/supply_chain.py")).arg(ROOT);
    let file = tempfile::NamedTempFile::new().unwrap();
    if let Some(metadata) = metadata {
        std::fs::write(file.path(), metadata.to_string()).unwrap();
        command.arg(file.path());
    }
    let output = command.output().expect("python3 runs: `make test` installs it");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn every_crate_is_of_crates_io_allowed_and_there_once() {
    let (passes, said) = check(None);
    assert!(passes, "{said}");
}

#[test]
fn what_may_not_be_built_in_is_named() {
    let package = |id: &str, name: &str, version: &str, license: &str, source: &str| json!({ "id": id, "name": name, "version": version, "license": license, "source": source });
    let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
    let metadata = json!({
        "packages": [
            package("a", "gpl", "1.0.0", "GPL-3.0-only", crates_io),
            package("b", "choice", "1.0.0", "(GPL-3.0-only OR MIT) AND ISC", crates_io),
            package("c", "elsewhere", "1.0.0", "MIT/Apache-2.0", "git+https://example.com/x"),
            package("d", "twice", "1.0.0", "MIT", crates_io),
            package("e", "twice", "2.0.0", "MIT", crates_io),
            package("f", "openssl-sys", "0.9.0", "MIT", crates_io),
            package("g", "ffmpeg-next", "9.0.0", "WTFPL", crates_io),
            package("h", "camshaft-engine", "0.1.0", "MIT", crates_io),
        ],
        "resolve": { "nodes": [
            { "id": "a", "dependencies": [] }, { "id": "b", "dependencies": ["f", "g"] }, { "id": "c", "dependencies": [] },
            { "id": "d", "dependencies": [] }, { "id": "e", "dependencies": [] }, { "id": "f", "dependencies": [] },
            { "id": "g", "dependencies": [] }, { "id": "h", "dependencies": ["g"] },
        ] },
    });
    let (passes, said) = check(Some(&metadata));
    let found: Vec<&str> = said.lines().filter(|line| !line.starts_with("deny.toml skips")).collect();
    assert!(!passes);
    assert_eq!(
        found,
        [
            "choice may not depend on ffmpeg-next: FFmpeg is the engine's",
            "choice may not depend on openssl-sys: TLS is rustls",
            "elsewhere 1.0.0 comes from git+https://example.com/x, not from crates.io",
            "gpl 1.0.0 is under GPL-3.0-only, which deny.toml does not allow",
            "twice is there in 1.0.0, 2.0.0: agree on one, or say in deny.toml (bans.skip) why not",
        ]
    );
}
