//! What the dashboard offers to copy, pasted where it is meant to go.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

use super::{DESKTOP, is_clean, open, visit, wait_text};
use crate::support::Camshaft;

/// A node of several, with one camera pinned to it.
fn server() -> Camshaft {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "server: { http: '127.0.0.1:0', admin: '127.0.0.1:0', rtsp: '127.0.0.1:0', node: gpu-1 }\n\
        streams:\n  clock: { source: 'test:?width=320&height=180&fps=10&gop=10', node: gpu-1, on_demand: false }\n";
    std::fs::write(dir.path().join("camshaft.yaml"), yaml).unwrap();
    Camshaft::start_in(dir)
}

fn shell(command: &str, folder: &Path) -> Output {
    Command::new("bash").args(["-euc", command]).current_dir(folder).output().unwrap()
}

fn works(command: &str, folder: &Path) -> String {
    let output = shell(command, folder);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_address_and_snippet_works_where_it_is_pasted() {
    let server = server();
    server.wait_live("clock");
    let folder = tempfile::tempdir().unwrap();
    let browser = open(&server, DESKTOP);
    browser.allow_clipboard();
    visit(&browser, "#/streams/clock", "clock");
    wait_text(&browser, ".copies strong", "RTSP");
    let names = browser.run("return [...document.querySelectorAll('.copies strong')].map((name) => name.innerText)");
    let names: Vec<String> = serde_json::from_value(names).unwrap();
    assert_eq!(names.len(), 6, "{names:?}");
    for (at, name) in (1..).zip(&names) {
        browser.click(&format!(".copies li:nth-child({at}) button"));
        wait_text(&browser, &format!(".copies li:nth-child({at}) button"), "Copied");
        let text = browser.clipboard();
        let probe = |url: &str| format!("ffprobe -v error -show_entries stream=codec_name -of csv=p=0 {url}");
        match name.split([':', ' ']).next().unwrap() {
            "Live" => assert!(works(&probe(&text), folder.path()).contains("h264"), "{text}"),
            "RTSP" => {
                assert!(text.starts_with(&server.rtsp_url("/clock")), "{text}");
                assert!(works(&probe(&format!("-rtsp_transport tcp {text}")), folder.path()).contains("h264"));
            }
            "curl" => {
                works(&text, folder.path());
                assert!(std::fs::read(folder.path().join("clock.jpg")).unwrap().starts_with(&[0xff, 0xd8]));
            }
            // It has no window here; ffprobe reads the same arguments.
            "ffplay" => _ = works(&text.replacen("ffplay", "ffprobe -v error", 1), folder.path()),
            "Frigate" => takes_as_frigate(&text, folder.path()),
            "Home" => {
                let fields: Value = serde_saphyr::from_str(&text).unwrap();
                let url = |field: &str| fields[field].as_str().unwrap().to_owned();
                works(&format!("curl -sf -o still.jpg '{}'", url("still_image_url")), folder.path());
                assert!(std::fs::read(folder.path().join("still.jpg")).unwrap().starts_with(&[0xff, 0xd8]));
                assert!(works(&probe(&format!("'{}'", url("stream_source"))), folder.path()).contains("h264"));
            }
            other => panic!("nothing is known of {other}: {text}"),
        }
    }

    // What only the files can say outlives an edit.
    wait_text(&browser, ".yaml", "node: gpu-1");
    browser.click(".bar .end button");
    browser.wait("the form is there", "return document.getElementById('field-priority')");
    wait_text(&browser, "dialog .note", "pins it to node gpu-1");
    browser.fill("#field-priority", "9");
    browser.click("dialog .end button");
    wait_text(&browser, "dialog .end button", "Copied");
    let yaml = browser.clipboard();
    assert!(yaml.contains("node: gpu-1") && yaml.contains("priority: 9"), "{yaml}");
    browser.click("dialog [type=submit]");
    wait_text(&browser, ".yaml", "priority: 9");
    wait_text(&browser, ".yaml", "node: gpu-1");
    assert_eq!(server.get("/v1/streams/clock/settings").json()["node"], json!("gpu-1"));
    browser.click(".yaml + p button");
    let copied = browser.clipboard();
    assert!(copied.contains("priority: 9") && copied.contains("node: gpu-1"), "{copied}");
    is_clean(&browser, &[]);
}

/// Each input with its arguments, as Frigate puts them to ffmpeg.
fn takes_as_frigate(yaml: &str, folder: &Path) {
    let file: Value = serde_saphyr::from_str(yaml).unwrap();
    let inputs = file["cameras"]["clock"]["ffmpeg"]["inputs"].as_array().unwrap().clone();
    assert_eq!(inputs.len(), 2);
    for input in inputs {
        let arguments = input["input_args"].as_str().unwrap_or_default();
        let path = input["path"].as_str().unwrap();
        works(&format!("ffmpeg -nostdin -v error {arguments} -i '{path}' -frames:v 2 -f null -"), folder);
    }
}
