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

/// The commands that a help lists, with those below them: each a path such as `streams list`.
fn commands_below(path: &[&str]) -> Vec<String> {
    let help = said(&camshaft(&[path, &["--help"]].concat())).1;
    let list = help.split("\nCommands:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap();
    let names = list.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let below = |name: &str| {
        let path = [path, &[name]].concat();
        [vec![path.join(" ")], commands_below(&path)].concat()
    };
    names.flat_map(below).collect()
}

#[test]
fn every_command_has_examples_and_exit_codes_and_a_form_for_scripts() {
    // They print nothing that a script would take apart, or are no JSON by their nature.
    const SILENT: [&str; 7] = ["serve", "live", "completions", "man", "streams rm", "config", "config example"];
    // Measured in bench.rs.
    const LONG: [&str; 2] = ["bench", "bench machine"];
    let server = Camshaft::start("  clock: { source: \"test:?width=320&height=180&fps=25\" }\n");
    server.wait_live("clock");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (clip, made, frigate) = (at("clip.ts"), at("made.mp4"), at("frigate.yml"));
    command_output("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", "testsrc=d=1:s=320x180", &clip]);
    let cameras = "cameras: { yard: { ffmpeg: { inputs: [ { path: 'rtsp://10.0.0.5/s', roles: [detect] } ] } } }\n";
    std::fs::write(&frigate, cameras).unwrap();
    let url = server.url("");
    let arguments = |command: &str| -> Vec<String> {
        let rest: &[&str] = match command {
            "transcode" => &[&clip, &made],
            "plan" => &["--codec", "h264"],
            "frigate-config" => &["--from", &frigate],
            "streams" => &["--url", &url, "list"],
            "streams list" | "streams watch" => &["--url", &url],
            "streams status" => &["clock", "--url", &url],
            "streams add" => &["yard", "test:?width=160&height=90", "--url", &url],
            "probe" | "check" => &[],
            // Prints nothing else.
            "config schema" => return vec!["config".into(), "schema".into()],
            other => panic!("no script could read what '{other}' prints: give it --json, and a line here"),
        };
        command.split(' ').chain(rest.iter().copied()).chain(["--json"]).map(str::to_owned).collect()
    };
    for command in commands_below(&[]) {
        let words: Vec<&str> = command.split(' ').collect();
        let help = said(&camshaft(&[&words[..], &["--help"]].concat())).1;
        if words.len() == 1 || command == "bench machine" {
            assert!(help.contains("Example") && help.contains("Ends with"), "{command}: {help}");
        }
        if SILENT.contains(&command.as_str()) {
            continue;
        }
        if LONG.contains(&command.as_str()) {
            assert!(help.contains("--json"), "{command}: {help}");
            continue;
        }
        let mut run = Command::new(CAMSHAFT);
        run.args(arguments(&command)).stdout(Stdio::piped());
        let mut child = run.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        if command == "streams watch" {
            server.put("shed", r#"{"source": "test:?width=160&height=90"}"#);
            output.read_line(&mut text).unwrap();
            child.kill().unwrap();
        } else {
            std::io::Read::read_to_string(&mut output, &mut text).unwrap();
        }
        child.wait().unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{command}: {error}: {text}"));
    }
}
