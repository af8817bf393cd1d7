//! `camshaft frigate-config`: what becomes of users' files, and that both sides take it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use camshaft::config::{Document, Lookups, load};
use camshaft::frigate::{Conversion, Service, convert};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/frigate");

/// Users' files.
fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(GOLDEN).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    assert!(files.len() >= 7, "{files:?}");
    files
}

fn converted(path: &Path, service: &Service) -> (String, Conversion) {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let conversion = convert(name, &text, service).unwrap_or_else(|remark| panic!("{name}: {remark}"));
    (text, conversion)
}

fn in_one_pod() -> Service {
    Service::new("http://127.0.0.1:8080", Some("rtsp://127.0.0.1:18554")).unwrap()
}

fn load_camshaft(text: &str) -> camshaft::config::Config {
    let documents = [Document { name: "camshaft.yaml".into(), text }];
    let lookups = Lookups {
        env: &|name| name.starts_with("FRIGATE_").then(|| "10.9.9.9".to_owned()),
        file: &|_| unreachable!("no password is in a file"),
        env_overrides: &[],
    };
    load(&documents, &lookups).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
}

#[test]
fn every_file_becomes_what_it_became_before() {
    for path in files() {
        let (_, conversion) = converted(&path, &in_one_pod());
        let lines = |kind: &str, remarks: &[camshaft::frigate::Remark]| -> String {
            remarks.iter().map(|remark| format!("{kind}: {remark}\n")).collect()
        };
        let (notes, refusals) = (lines("note", &conversion.notes), lines("not carried over", &conversion.refusals));
        let all = format!("{}---\n{}---\n{notes}{refusals}", conversion.camshaft, conversion.diff);
        let name = path.file_stem().unwrap().to_str().unwrap();
        insta::with_settings!({ snapshot_path => GOLDEN, prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, all);
        });
    }
}

#[test]
fn camshaft_loads_what_it_is_given() {
    for service in [in_one_pod(), Service::new("http://camshaft:8080", None).unwrap()] {
        for path in files() {
            let (_, conversion) = converted(&path, &service);
            let config = load_camshaft(&conversion.camshaft);
            assert!(!config.streams.is_empty(), "{}", path.display());
        }
    }
}

#[test]
fn what_is_not_changed_stays_byte_for_byte() {
    for path in files() {
        let (text, conversion) = converted(&path, &in_one_pod());
        serde_saphyr::from_str::<serde_json::Value>(&conversion.frigate)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), conversion.frigate));
        // Every line that the diff does not name is there, in its order, whatever ends it.
        let crlf = text.replace('\n', "\r\n");
        let again = convert("crlf", &crlf, &in_one_pod()).unwrap();
        assert_eq!(again.frigate, conversion.frigate.replace('\n', "\r\n"), "{}", path.display());
        let kept: Vec<&str> = conversion.frigate.lines().filter(|line| text.lines().any(|old| old == *line)).collect();
        let removed = conversion.diff.lines().skip(2).filter(|line| line.starts_with('-')).count();
        assert!(kept.len() + removed >= text.lines().count(), "{}", path.display());
    }
}

#[test]
fn a_second_run_changes_nothing_more() {
    for path in files() {
        let (_, first) = converted(&path, &in_one_pod());
        let again = convert("again", &first.frigate, &in_one_pod());
        let Ok(again) = again else { continue };
        assert_eq!(again.frigate, first.frigate, "{}", path.display());
    }
}

fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_camshaft")).arg("frigate-config").args(arguments).output().unwrap()
}

#[test]
fn the_command_prints_and_says_what_it_could_not_carry() {
    let file = |name: &str| format!("{GOLDEN}/{name}");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let fine = command(&["--from", &file("minimal.yml")]);
    assert_eq!(fine.status.code(), Some(0));
    let printed = text(&fine.stdout);
    assert!(printed.contains("source: rtsp://10.0.10.10:554/rtsp\n"), "{printed}");
    assert!(printed.contains("+        - path: http://127.0.0.1:8080/v1/streams/yard/live.ts"), "{printed}");
    let refused = command(&["--from", &file("refused.yml"), "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(json["refusals"].as_array().unwrap().len(), 12, "{json:#}");
    assert!(!json["refusals"].to_string().contains("hunter2"));
    for (arguments, word) in [
        (["--from", "/nonexistent.yml", "--url", "http://camshaft"], "/nonexistent.yml"),
        (["--from", &file("minimal.yml"), "--url", "camshaft:8080"], "--url"),
        (["--from", &file("minimal.yml"), "--rtsp", "rtsp://127.0.0.1:8554"], "18554"),
        (["--from", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "--url", "http://camshaft"], "line"),
    ] {
        let wrong = command(&arguments);
        assert_eq!(wrong.status.code(), Some(1), "{arguments:?}");
        assert!(wrong.stdout.is_empty() && text(&wrong.stderr).contains(word), "{}", text(&wrong.stderr));
    }
}

/// The YAML blocks of a document that begin with `# NAME`.
fn block(document: &str, name: &str) -> serde_json::Value {
    let start = document.find(&format!("# {name}\n")).unwrap_or_else(|| panic!("no {name}"));
    let rest = &document[start..];
    serde_saphyr::from_str(&rest[..rest.find("```").unwrap()]).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_docs_take_the_privileges_away_and_nothing_else() {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/frigate.md")).unwrap();
    let (mut before, after) = (block(&docs, "before.yaml"), block(&docs, "after.yaml"));
    let pod = before["spec"]["template"]["spec"].as_object_mut().unwrap();
    pod.remove("nodeSelector").unwrap();
    pod["volumes"].as_array_mut().unwrap().retain(|volume| volume["hostPath"].is_null());
    let frigate = pod["containers"][0].as_object_mut().unwrap();
    assert_eq!(frigate.remove("securityContext").unwrap()["privileged"], true);
    frigate["volumeMounts"].as_array_mut().unwrap().retain(|mount| mount["mountPath"] != "/dev/dri");
    assert_eq!(before, after);
    let openvino = block(&docs, "openvino.yaml");
    let limits = &openvino["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"];
    assert_eq!(limits["gpu.intel.com/i915"], 1);
    let component = &block(&docs, "kustomization.yaml")["components"][0];
    let path = component.as_str().unwrap().split_once("//").unwrap().1;
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).join("kustomization.yaml").exists());
}

#[test]
fn the_docs_commands_run() {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/frigate.md")).unwrap();
    let start = docs.find("```sh\n# look").unwrap() + "```sh\n".len();
    let script = &docs[start..start + docs[start..].find("```").unwrap()];
    let dir = tempfile::tempdir().unwrap();
    fs::copy(format!("{GOLDEN}/go2rtc.yml"), dir.path().join("frigate.yml")).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_camshaft")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    let ran = shell.args(["-ec", script]).current_dir(dir.path()).env("PATH", path).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let written = fs::read_to_string(dir.path().join("camshaft.yaml")).unwrap();
    assert_eq!(load_camshaft(&written).streams.len(), 5);
    assert!(dir.path().join("frigate.new.yml").exists());
}
