//! The configuration is watched, and an invalid one changes nothing.

use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Camshaft, Y4m, eventually};

const ONE: &str = "  one: { source: \"test:?width=160&height=90&fps=25\" }\n";
const TWO: &str = "  two: { source: \"test:?width=160&height=90&fps=25\" }\n";

fn wait_streams(server: &Camshaft, expected: &[&str]) {
    let names = || {
        let list = server.get("/v1/streams").json();
        let list = list.as_array().unwrap();
        let names: Vec<_> = list.iter().map(|stream| stream["id"].as_str().unwrap().to_owned()).collect();
        (names == expected).then_some(())
    };
    eventually(&format!("the streams are {expected:?}"), || server.log().pause(), names);
}

#[test]
fn streams_come_and_go_without_touching_others() {
    let server = Camshaft::start(ONE);
    let mut raw = Y4m::new(server.open("/v1/streams/one/live.y4m"));
    let mut numbers = raw.numbers(10);
    let worker = server.pixels_pid("one");
    fs::write(server.config(), Camshaft::yaml("", &format!("{ONE}{TWO}"))).unwrap();
    wait_streams(&server, &["one", "two"]);
    server.wait_live("two");
    fs::write(server.config(), Camshaft::yaml("", ONE)).unwrap();
    wait_streams(&server, &["one"]);
    numbers.extend(raw.numbers(20));
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert_eq!(server.pixels_pid("one"), worker);
    // The list is without it as soon as it begins to end.
    let forgotten = || (!server.admin("/metrics").text().contains("stream=\"two\"")).then_some(());
    eventually("the metrics of 'two' go with it", || server.log().pause(), forgotten);
}

#[test]
fn an_invalid_file_changes_nothing_and_names_every_mistake() {
    let server = Camshaft::start(ONE);
    let bad = "  one: { source: \"test:?width=161\", transprot: tcp }\n  two: { source: \"ftp://x/y\", transport: carrier-pigeon }\n";
    let seen = server.log().len();
    fs::write(server.config(), Camshaft::yaml("", bad)).unwrap();
    let (line, _) = server.log().wait_from(seen, "that the file is refused", |line| line.contains("left as it was"));
    for word in ["transprot", "transport", "width", "carrier-pigeon", "rtsp://", "camshaft.yaml"] {
        assert!(line.contains(word), "'{word}' is not named in: {line}");
    }
    wait_streams(&server, &["one"]);
    server.wait_live("one");
    assert_eq!(server.metric("camshaft_config_loads_total{outcome=\"refused\"}"), Some(1.0));
}

#[test]
fn a_hangup_reloads() {
    let server = Camshaft::start(ONE);
    let directory = server.config().with_file_name("conf.d");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("more.yaml"), format!("streams:\n{TWO}")).unwrap();
    server.signal(Signal::HUP);
    wait_streams(&server, &["one", "two"]);
}

#[test]
fn a_configmap_is_followed_through_its_symlinks() {
    let dir = tempfile::tempdir().unwrap();
    let version = |name: &str, streams: &str| {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("camshaft.yaml"), Camshaft::yaml("", streams)).unwrap();
    };
    version("..2026_1", ONE);
    symlink("..2026_1", dir.path().join("..data")).unwrap();
    symlink("..data/camshaft.yaml", dir.path().join("camshaft.yaml")).unwrap();
    let path = dir.path().to_owned();
    let server = Camshaft::start_in(dir);
    wait_streams(&server, &["one"]);
    // As the kubelet does it: a new directory, a new link, renamed over the old one.
    fs::create_dir(path.join("..2026_2")).unwrap();
    fs::write(path.join("..2026_2/camshaft.yaml"), Camshaft::yaml("", TWO)).unwrap();
    symlink("..2026_2", path.join("..data_tmp")).unwrap();
    fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    wait_streams(&server, &["two"]);
}

#[test]
fn every_mistake_is_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "server: { http: nowhere }\nstreams:\n  a b: { source: \"test:\" }\n  c: { source: \"rtmp://x/\" }\n";
    fs::write(dir.path().join("camshaft.yaml"), yaml).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_camshaft"))
        .args(["serve", "--config"])
        .arg(dir.path().join("camshaft.yaml"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stderr);
    for part in [
        "camshaft.yaml:1:",
        "camshaft.yaml:3:",
        "camshaft.yaml:4:",
        "nowhere",
        "a b",
        "'rtmp'",
        "not built yet",
        "source",
    ] {
        assert!(complaint.contains(part), "'{part}' is missing in:\n{complaint}");
    }
}
