//! The command line beside the service: streams of a running one, completions, manual pages, the example.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use crate::support::{Camshaft, command_output};

const CAMSHAFT: &str = env!("CARGO_BIN_EXE_camshaft");

fn camshaft(arguments: &[&str]) -> Output {
    Command::new(CAMSHAFT).args(arguments).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn streams_of_a_running_service_are_listed_added_watched_and_removed() {
    let server = Camshaft::start("  clock: { source: \"test:?width=320&height=180&fps=25\" }\n");
    server.wait_live("clock");
    let url = server.url("");
    let streams = |rest: &[&str]| said(&camshaft(&[&["streams", "--url", &url], rest].concat()));

    let (code, list) = streams(&["list"]);
    assert!(code == Some(0) && list.contains("clock  live") && list.contains("h264 320x180"), "{list}");

    let mut watch = Command::new(CAMSHAFT);
    watch.args(["streams", "--url", &url, "watch"]).stdout(Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    let events = BufReader::new(watch.stdout.take().unwrap());
    let (code, added) = streams(&["add", "yard", "test:?width=160&height=90"]);
    assert!(code == Some(0) && added.contains("forgets"), "{added}");
    let live = events.lines().map_while(Result::ok).find(|line| line.contains("\"yard\"") && line.contains("live"));
    assert!(live.is_some_and(|line| line.starts_with("stream: ")), "a line of the new stream");
    watch.kill().unwrap();
    watch.wait().unwrap();

    server.wait_live("yard");
    let (code, status) = streams(&["status", "yard", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((code, &status["source"]["width"]), (Some(0), &160.into()));
    assert_eq!(streams(&["rm", "yard"]), (Some(0), String::new()));
    let (code, gone) = streams(&["status", "yard"]);
    assert!(code == Some(1) && gone.contains("there is no stream 'yard'"), "{gone}");
    let (code, refused) = streams(&["status", "yard/../clock"]);
    assert!(code == Some(2) && refused.contains("letters"), "{refused}");
    let (code, refused) = streams(&["add", "yard", "gopher://x"]);
    assert!(code == Some(1) && refused.contains("source") && refused.contains("rtsp://"), "{refused}");
}

#[test]
fn without_a_service_it_says_so() {
    let (code, text) = said(&camshaft(&["streams", "--url", "http://127.0.0.1:1", "list"]));
    assert!(code == Some(1) && text.contains("no camshaft answers at http://127.0.0.1:1"), "{text}");
}

#[test]
fn completions_and_manual_pages_are_of_all_commands() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("camshaft.bash");
    std::fs::write(&script, camshaft(&["completions", "bash"]).stdout).unwrap();
    let ask = "source \"$0\"; COMP_WORDS=(camshaft st); COMP_CWORD=1; _camshaft camshaft st camshaft; echo \"${COMPREPLY[@]}\"";
    let completed = command_output("bash", &["-c", ask, script.to_str().unwrap()]);
    assert_eq!(String::from_utf8(completed).unwrap().trim(), "streams");
    for shell in ["zsh", "fish"] {
        assert!(said(&camshaft(&["completions", shell])).1.contains("streams"), "{shell}");
    }

    let written = camshaft(&["man", dir.path().to_str().unwrap()]);
    assert!(written.status.success());
    for page in ["camshaft.1", "camshaft-serve.1", "camshaft-streams.1"] {
        let text = std::fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(text.contains(".TH camshaft"), "{page}");
    }
    let (code, text) = said(&camshaft(&["man", "/nowhere"]));
    assert!(code == Some(1) && text.contains("/nowhere"), "{text}");
}

#[test]
fn the_example_is_printed_as_it_is_shipped() {
    let shipped = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/camshaft.example.yaml")).unwrap();
    assert!(camshaft(&["config", "example"]).stdout == shipped);
}

#[test]
fn the_schema_knows_every_key_of_the_example_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("schema.json");
    std::fs::write(&schema, camshaft(&["config", "schema"]).stdout).unwrap();
    let example =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/camshaft.example.yaml")).unwrap();
    let check = "import json, sys, yaml, jsonschema\n\
        schema = json.load(open(sys.argv[1]))\n\
        jsonschema.Draft202012Validator.check_schema(schema)\n\
        jsonschema.validate(yaml.safe_load(open(sys.argv[2])), schema)";
    let validate = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let output = Command::new("/usr/bin/python3").args(["-c", check]).arg(&schema).arg(&file).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (fits, said) = validate("example.yaml", &example);
    assert!(fits, "{said}");
    let whole = "server: { token_file: /run/t, open_to_network: true }\nsources: { allow: [10.0.0.0/8] }\n\
        streams: { a: { source: 'test:', renditions: { d: { width: 640, fps: 5 } } } }\n";
    let (fits, said) = validate("whole.yaml", whole);
    assert!(fits, "{said}");
    for wrong in ["sever: {}", "server: { htttp: x }", "streams: { a: { sorce: x } }", "limits: { hold: [1] }"] {
        let (fits, said) = validate("wrong.yaml", wrong);
        assert!(!fits && said.contains("ValidationError"), "{wrong}: {said}");
    }
}
