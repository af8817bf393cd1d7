//! The guides' commands and configurations, as they stand there.

use std::path::Path;
use std::process::Command;

use crate::support::Camshaft;

const CAMSHAFT: &str = env!("CARGO_BIN_EXE_camshaft");

/// A page, and its fenced blocks of a language, in order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Runs a block in `folder`; `camshaft` is the program under test.
fn run(command: &mut Command, block: &str, folder: &Path) -> String {
    let output = command.current_dir(folder).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{block}\n{complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// Loads as the service does.
fn loads(yaml: &str) {
    let lookups = camshaft::config::Lookups {
        env: &|_| Some("secret".to_owned()),
        file: &|path| std::fs::read_to_string(path),
        env_overrides: &[],
    };
    let document = camshaft::config::Document { name: "the guide".into(), text: yaml };
    camshaft::config::load(&[document], &lookups).unwrap_or_else(|mistakes| panic!("{mistakes}\n{yaml}"));
}

/// Addresses of the demo's, and the camera's, are this server's.
fn here(block: &str, server: &Camshaft) -> String {
    block
        .replace("http://127.0.0.1:8080", &server.url(""))
        .replace("http://127.0.0.1:8081", &server.admin_url(""))
        .replace("rtsp://127.0.0.1:8554", &server.rtsp_url(""))
        .replace("rtsp://192.168.1.10/stream1", &server.rtsp_url("/camera"))
}

#[test]
fn both_sides_of_the_migration_work() {
    let camera = "test:?width=640&height=360&fps=25&gop=25&audio=aac";
    let server =
        Camshaft::start(&format!("  yard: {{ source: \"{camera}\" }}\n  camera: {{ source: \"{camera}\" }}\n"));
    server.wait_status("yard", "two seconds in the ring", |status| status["ring"]["seconds"].as_f64() > Some(2.0));
    server.wait_live("camera");
    let folder = tempfile::tempdir().unwrap();
    let commands = blocks("migration.md", "sh");
    assert_eq!(commands.len(), 11);
    for block in &commands {
        let block = format!("camshaft() {{ {CAMSHAFT} \"$@\"; }}\n{}", here(block, &server));
        run(Command::new("bash").args(["-euc", &block]), &block, folder.path());
    }
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}")).len();
    assert_eq!((size("before.yuv"), size("after.yuv")), (13_824_000, 13_824_000));
    for side in ["before", "after"] {
        for (name, least) in [(".jpg", 1500), ("-000.mp4", 20_000), (".ts", 50_000), ("-small.mp4", 20_000)] {
            assert!(size(&format!("{side}{name}")) >= least, "{side}{name}: {}", size(&format!("{side}{name}")));
        }
    }
    assert!(size("now.jpg") > 3000);

    let configurations = blocks("migration.md", "yaml");
    let ours = configurations.iter().filter(|yaml| yaml.starts_with("# camshaft.yaml"));
    assert_eq!(ours.inspect(|yaml| loads(yaml)).count(), 2);
    let theirs = configurations.iter().find(|yaml| yaml.starts_with("# go2rtc.yaml")).unwrap();
    let theirs: serde_json::Value = serde_saphyr::from_str(theirs).unwrap();
    assert_eq!(theirs["streams"].as_object().unwrap().len(), 3);
}

#[test]
fn the_guide_to_tuning_works() {
    let server = Camshaft::start("  yard: { source: \"test:?width=320&height=180\" }\n");
    server.wait_live("yard");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    std::fs::write(folder.path().join("camshaft.yaml"), Camshaft::yaml("", "")).unwrap();
    let commands = blocks("tuning.md", "sh");
    assert_eq!(commands.len(), 4);
    for block in &commands {
        // Short and small, and where the demo's addresses are. Cameras are added where something comes of it.
        let most = if block.contains("--calibrate") { 1 } else { 0 };
        let bench = format!(
            "camshaft bench machine --sizes 360p --codecs h264 --repeats 1 --seconds 1 --cameras {most} --no-ffmpeg --work work"
        );
        let block = here(block, &server).replace("camshaft bench machine", &bench);
        let block = format!("camshaft() {{ {CAMSHAFT} \"$@\"; }}\nexport CAMSHAFT_URL={}\n{block}", server.url(""));
        run(Command::new("bash").args(["-euc", &block]), &block, folder.path());
    }
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text("machine.json")).unwrap();
    assert_eq!(report["rates"].as_array().unwrap().len(), 4, "{report:#}");
    assert!(text("machine.html").contains("<svg"));
    loads(&text("conf.d/budgets.yaml"));
    blocks("tuning.md", "yaml").iter().for_each(|yaml| loads(yaml));
}

#[test]
fn what_kubernetes_mounts_is_a_configuration() {
    let configurations = blocks("kubernetes.md", "yaml");
    let of_server: Vec<_> = configurations.iter().filter(|yaml| yaml.starts_with("server:")).collect();
    assert_eq!(of_server.len(), 1);
    of_server.into_iter().for_each(|yaml| loads(yaml));
}
