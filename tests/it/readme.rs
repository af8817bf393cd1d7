//! The README's commands, run as they stand there.

use std::path::Path;
use std::process::Command;

use crate::support::Camshaft;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The shell lines of the README between two headings.
fn commands_between(from: &str, to: &str) -> String {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let start = readme.find(from).unwrap_or_else(|| panic!("no '{from}' in the README"));
    let end = start + readme[start..].find(to).unwrap_or_else(|| panic!("no '{to}' behind it"));
    let blocks = readme[start..end].split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn the_first_curls_work_on_the_demo() {
    let demo = std::fs::read_to_string(Path::new(ROOT).join("deploy/demo.yaml")).unwrap();
    let streams = &demo[demo.find("streams:\n").unwrap() + "streams:\n".len()..];
    let server = Camshaft::start(streams);
    server.wait_status("yard", "four seconds in the ring", |status| status["ring"]["seconds"].as_f64().unwrap() > 4.0);
    let commands = commands_between("## Your first curl", "## What it serves");
    assert!(commands.contains("frame.jpg") && commands.contains("live.mp4") && commands.contains("POST"));
    // The demo's fixed ports may be taken here by somebody else.
    let commands = commands
        .replace("http://127.0.0.1:8080", &server.url(""))
        .replace("http://127.0.0.1:8081", &server.admin_url(""))
        .replace("rtsp://127.0.0.1:8554", &server.rtsp_url(""));
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("bash").args(["-euc", &commands]).current_dir(dir.path()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{complaint}");
    for (file, least) in [
        ("now.jpg", 3000),
        ("then.jpg", 3000),
        ("copy.mp4", 20_000),
        ("rtsp.mp4", 20_000),
        ("raw.y4m", 400_000),
        ("small.ts", 20_000),
    ] {
        let size = std::fs::metadata(dir.path().join(file)).unwrap_or_else(|error| panic!("{file}: {error}")).len();
        assert!(size >= least, "{file} has {size} bytes only");
    }
}

#[test]
fn the_first_camera_is_a_valid_configuration() {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let yaml = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let lookups = camshaft::config::Lookups {
        env: &|name| (name == "FRONT_DOOR_PASSWORD").then(|| "secret".to_owned()),
        file: &|path| std::fs::read_to_string(path),
        env_overrides: &[],
    };
    let document = camshaft::config::Document { name: "README.md".into(), text: yaml };
    let config = camshaft::config::load(&[document], &lookups).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.streams.len(), 1);
}

#[test]
fn it_is_short_and_leads_to_every_page() {
    let root = Path::new(ROOT);
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.lines().count() <= 200, "{} lines", readme.lines().count());
    for page in std::fs::read_dir(root.join("docs")).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".md") || readme.contains(&format!("(docs/{name})")), "docs/{name} is not linked");
    }
    // dashboard.rs makes it, of the wall on a desktop.
    assert!(readme.contains("(docs/images/dashboard.png)"));
    let picture = std::fs::read(root.join("docs/images/dashboard.png")).unwrap();
    assert_eq!((&picture[1..4], &picture[16..20]), (&b"PNG"[..], &1280u32.to_be_bytes()[..]));
}

#[test]
fn the_third_party_notices_are_current() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/notices.sh");
    let output = Command::new(script).arg("--check").env("CARGO_NET_OFFLINE", "true").output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn what_was_tested_on_names_every_table_there_is() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/tested-on.md")).unwrap();
    for table in std::fs::read_dir(Path::new(ROOT).join("tests/golden/capabilities")).unwrap() {
        let name = table.unwrap().file_name().into_string().unwrap();
        assert!(page.contains(&name), "docs/tested-on.md does not say {name}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_camshaft")).args(["bench", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("--report-for-issue") && page.contains("camshaft bench --report-for-issue"));
}
