//! The API against its own description, by schemathesis: with a token and without one, no answer is a 5xx but a 503 that the
//! description has, and every answer is as it says.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Camshaft;

const SCHEMATHESIS: &str = "schemathesis==4.32.5";
const TOKEN: &str = "s3cret-canary-schemathesis";

/// schemathesis in a folder of its own beside the build, installed once.
fn schemathesis() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(SCHEMATHESIS.replace("==", "-"));
    let program = folder.join("bin/schemathesis");
    if !program.exists() {
        let run = |program: &Path, arguments: &[&str]| {
            let status =
                Command::new(program).args(arguments).status().expect("python3-venv is there: `make test` installs it");
            assert!(status.success(), "{} {arguments:?}", program.display());
        };
        run(Path::new("/usr/bin/python3"), &["-m", "venv", folder.to_str().unwrap()]);
        run(&folder.join("bin/pip"), &["install", "--quiet", SCHEMATHESIS]);
    }
    program
}

/// A service with a token, whose sources may be nowhere that exists.
fn service(folder: &Path) -> Camshaft {
    let tokens = folder.join("tokens");
    std::fs::write(&tokens, format!("{TOKEN}\n")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!(
        "server: {{ http: '127.0.0.1:0', admin: '127.0.0.1:0', rtsp: off, token_file: {} }}\n\
         sources: {{ allow: [192.0.2.0/24] }}\n\
         limits: {{ hold: 1s, streams_max: 64, connect_timeout: 500ms }}\n\
         streams:\n  clock: {{ source: 'test:?width=160&height=90&fps=5' }}\n",
        tokens.display()
    );
    std::fs::write(dir.path().join("camshaft.yaml"), yaml).unwrap();
    Camshaft::start_in(dir)
}

/// Runs it against the service with these further arguments; an error of its own is no finding of ours.
fn run(server: &Camshaft, arguments: &[&str]) {
    let examples = std::env::var("API_EXAMPLES").unwrap_or_else(|_| "60".into());
    let seed = std::env::var("API_SEED").unwrap_or_else(|_| "1".into());
    let status = Command::new(schemathesis())
        .args(["--config-file", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/schemathesis.toml")])
        .args(["run", &server.url("/openapi.json"), "--seed", &seed, "--max-examples", &examples])
        // Answers that never end, and bodies that it cannot make.
        .args(["--exclude-path", "/v1/events", "--exclude-path", "/v1/streams/{id}/ingest"])
        .args(["--request-timeout", "20", "--no-color", "--workers", "1", "--warnings", "off"])
        .args(arguments)
        .status()
        .expect("schemathesis runs");
    assert!(status.success(), "schemathesis found something: see above");
    assert!(!server.log().text().contains("panicked"), "something panicked");
}

#[test]
#[ignore = "installs from PyPI; make fuzz-api"]
fn with_a_token_the_api_answers_as_its_description_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = service(folder.path());
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                  unsupported_method,allow_header_conformance,use_after_free";
    run(&server, &["--checks", checks, "--header", &format!("Authorization: Bearer {TOKEN}")]);
}

#[test]
#[ignore = "installs from PyPI; make fuzz-api"]
fn without_a_token_every_refusal_is_as_the_description_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = service(folder.path());
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    run(&server, &["--checks", checks]);
}
