//! `camshaft transcode`, and the commands of the document.

use std::process::Stdio;

use super::*;

#[test]
fn the_command_does_the_same_without_a_service() {
    let dir = tempfile::tempdir().unwrap();
    let input = file(dir.path(), "in.mp4", &["-c", "copy"]);
    let out = dir.path().join("out.mkv");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_camshaft"));
        command.arg("transcode").args(arguments).stdin(Stdio::null()).output().unwrap()
    };
    let done = run(&[input.to_str().unwrap(), out.to_str().unwrap(), "--height", "90", "--json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(frames(&out), FRAMES as usize);
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["frames_out"], FRAMES, "{report}");
    let garbage = dir.path().join("garbage.mp4");
    std::fs::write(&garbage, "nothing").unwrap();
    let nowhere = dir.path().join("nowhere.mp4");
    let failed = run(&[garbage.to_str().unwrap(), nowhere.to_str().unwrap()]);
    assert_eq!(failed.status.code(), Some(3), "{}", String::from_utf8_lossy(&failed.stderr));
    assert!(!nowhere.exists(), "a failed job left a piece of a file");
}

#[test]
fn a_terminal_sees_how_far_it_is_and_how_long_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let input = file(dir.path(), "in.mp4", &["-vf", "scale=1280:720", "-an"]);
    let out = dir.path().join("out.mp4");
    // util-linux's terminal.
    let command =
        format!("{} transcode {} {} --policy software", env!("CARGO_BIN_EXE_camshaft"), input.display(), out.display());
    let arguments = ["-q", "-e", "-c", &command, "/dev/null"];
    let shown = String::from_utf8_lossy(&command_output("script", &arguments)).into_owned();
    assert!(shown.contains("% ETA ") && shown.contains("frames in"), "{shown}");
    assert_eq!(frames(&out), FRAMES as usize);
}

#[test]
fn the_commands_of_the_document_work() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/transcode.md");
    let text = std::fs::read_to_string(document).unwrap();
    let commands: String = text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    let server = Camshaft::start("");
    let commands = commands.replace("http://127.0.0.1:8080", &server.url(""));
    let commands = commands.replace("camshaft transcode", &format!("{} transcode", env!("CARGO_BIN_EXE_camshaft")));
    let dir = tempfile::tempdir().unwrap();
    file(dir.path(), "recording.mp4", &["-c", "copy"]);
    let output = Command::new("bash").args(["-euc", &commands]).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, count) in
        [("small.mp4", 100), ("copy.ts", 100), ("still.jpg", 1), ("small.mkv", 100), ("pictures.y4m", 100)]
    {
        assert_eq!(frames(&dir.path().join(name)), count, "{name}");
    }
    assert!(probe(&dir.path().join("small.mkv"), "stream=width,height").contains("width=426\nheight=240"));
}
