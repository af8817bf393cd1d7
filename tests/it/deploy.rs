//! What is shipped for containers and Kubernetes, checked offline: manifests, chart, Dockerfile, alerts, dashboard, and
//! several nodes behind HAProxy.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Camshaft, Clip, Coding, command_output, eventually, ffprobe_packets};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CAMSHAFT: &str = env!("CARGO_BIN_EXE_camshaft");

fn at_root(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(at_root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a program at the root and gives what it prints; panics with that if it fails.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(ROOT).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {out}{err}");
    out.into_owned()
}

/// Does one of the checks of `manifests.py`.
fn manifests(arguments: &[&str]) -> String {
    run("deploy/tools.sh", &[]);
    let script = at_root("tests/support/manifests.py");
    let arguments = [&[script.to_str().unwrap()], arguments].concat();
    run(at_root("target/tools/bin/python").to_str().unwrap(), &arguments)
}

#[test]
fn every_manifest_fits_the_schemas_of_two_kubernetes() {
    manifests(&["schemas"]);
}

#[test]
fn every_pod_is_restricted_but_the_one_that_is_marked() {
    manifests(&["security"]);
}

#[test]
fn objects_of_the_prometheus_operator_are_as_it_wants_them() {
    manifests(&["models"]);
}

#[test]
fn the_chart_makes_what_kustomize_makes() {
    manifests(&["chart"]);
}

#[test]
fn compose_mounts_what_there_is_and_hardens_its_containers() {
    manifests(&["compose"]);
}

#[test]
fn the_job_for_recordings_makes_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for folder in ["recordings", "out"] {
        std::fs::create_dir(at(folder)).unwrap();
    }
    let clip = Clip::make(Coding { size: (1280, 960), frames: 25, ..Coding::default() });
    std::fs::copy(&clip.path, at("recordings/03.mp4")).unwrap();
    let job: serde_json::Value = serde_saphyr::from_str(&read("deploy/jobs/transcode.yaml")).unwrap();
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let words = |key: &str| container[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
    let folder = dir.path().to_str().unwrap();
    let command: Vec<String> = words("command")
        .chain(words("args"))
        .map(|word| {
            let here = |name: &str| format!("{folder}/{name}/");
            word.replace("/recordings/", &here("recordings")).replace("/out/", &here("out"))
        })
        .collect();
    let programs = Path::new(CAMSHAFT).parent().unwrap().to_str().unwrap();
    let done = Command::new(&command[0])
        .args(&command[1..])
        .env("JOB_COMPLETION_INDEX", "3")
        .env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let made = at("out/03.mp4");
    let made = made.to_str().unwrap();
    let entries = ["-v", "error", "-show_entries", "stream=codec_name,height", "-of", "csv=p=0", made];
    assert_eq!(String::from_utf8(command_output("ffprobe", &entries)).unwrap().trim(), "h264,720");
    assert_eq!(ffprobe_packets(made, "v:0").len(), 25);
}

#[test]
fn every_expression_of_dashboard_and_alerts_is_of_metrics_that_there_are() {
    // A family shows with its first series only, so the table that registers all of them is asked.
    let table = read("src/metrics.rs");
    let made = table.split("table.").skip(1).filter_map(|made| made.split('"').nth(1));
    let names: String = made.chain(["streams"]).map(|name| format!("# TYPE camshaft_{name} untyped\n")).collect();
    assert!(names.contains("camshaft_stream_state ") && names.contains("camshaft_build_info "), "{names}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("metrics.txt");
    std::fs::write(&file, names).unwrap();
    manifests(&["dashboard", file.to_str().unwrap()]);
}

#[test]
fn alerts_fire_when_they_should_and_not_for_idle_streams() {
    let folder = "deploy/kustomize/components/monitoring";
    run("promtool", &["check", "rules", &format!("{folder}/alerts.yaml")]);
    run("promtool", &["test", "rules", &format!("{folder}/alerts.test.yaml")]);
    // A test that cannot fail proves nothing: without the exception for idle streams it must.
    let dir = tempfile::tempdir().unwrap();
    let rules = read(&format!("{folder}/alerts.yaml")).replace("connecting|reconnecting|failed", "idle|reconnecting");
    std::fs::write(dir.path().join("alerts.yaml"), rules).unwrap();
    let tests = dir.path().join("alerts.test.yaml");
    std::fs::write(&tests, read(&format!("{folder}/alerts.test.yaml"))).unwrap();
    let status = Command::new("promtool")
        .args(["test", "rules"])
        .arg(tests)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(!status.unwrap().success());
}

#[test]
fn prometheus_scrapes_what_is_lint_free_and_bounded() {
    let server = Camshaft::start("  yard: { source: 'test:?width=320&height=180&fps=10', on_demand: true }");
    server.get("/v1/streams/yard/frame.jpg?width=160");
    for ext in ["ts", "mp4"] {
        use std::io::Read;
        server.open(&format!("/v1/streams/yard/live.{ext}")).read_exact(&mut [0; 500]).unwrap();
    }
    server.open("/v1/streams/yard/live.y4m?width=160&fps=5");
    let text = server.admin("/metrics").text();
    let series = text.lines().filter(|line| line.contains("stream=\"yard\"")).count();
    assert!((20..=80).contains(&series), "{series} series a stream");

    let dir = tempfile::tempdir().unwrap();
    let metrics = dir.path().join("metrics.txt");
    std::fs::write(&metrics, &text).unwrap();
    let lint =
        Command::new("promtool").args(["check", "metrics"]).stdin(std::fs::File::open(&metrics).unwrap()).output();
    let lint = lint.expect("promtool runs: `make test` installs it");
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stderr));

    let target = server.admin_url("").replace("http://", "");
    let config = dir.path().join("prometheus.yml");
    let rules = at_root("deploy/kustomize/components/monitoring/alerts.yaml");
    std::fs::write(
        &config,
        format!(
            "global: {{ scrape_interval: 1s }}\nrule_files: [{}]\nscrape_configs:\n  - job_name: camshaft\n    \
             static_configs: [{{ targets: ['{target}'] }}]\n",
            rules.display()
        ),
    )
    .unwrap();
    run("promtool", &["check", "config", config.to_str().unwrap()]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // It ends with this test's thread, however that ends.
    let mut prometheus = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "prometheus"])
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus runs: `make test` installs it");
    let query = |expression: &str| {
        let url = format!("http://127.0.0.1:{port}/api/v1/query");
        let expression = format!("query={expression}");
        let answer = Command::new("curl").args(["-sG", &url, "--data-urlencode", &expression]).output().unwrap().stdout;
        serde_json::from_slice::<serde_json::Value>(&answer).ok()?["data"]["result"][0]["value"][1]
            .as_str()
            .map(str::to_owned)
    };
    let pause = || std::thread::sleep(Duration::from_millis(200));
    let up = eventually("Prometheus has scraped", pause, || query("camshaft_streams{job=\"camshaft\"}"));
    let _ = prometheus.kill();
    let _ = prometheus.wait();
    assert_eq!(up, "1");
}

#[test]
fn the_dockerfile_is_sound_and_copies_what_there_is() {
    run("deploy/tools.sh", &[]);
    // Versions of Debian's packages are the archive's business, and `FROM` names a release on purpose.
    run("target/tools/bin/hadolint", &["--ignore", "DL3008", "Dockerfile"]);
    let (dockerfile, ignored) = (read("Dockerfile"), read(".dockerignore"));
    let copies = dockerfile.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from"));
    let sources: Vec<&str> = copies
        .flat_map(|line| {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            words[..words.len() - 1].to_vec()
        })
        .collect();
    assert!(sources.len() > 5);
    for source in &sources {
        assert!(at_root(source).exists(), "{source} is copied and is not there");
        assert!(ignored.lines().any(|line| line == format!("!{source}")), "{source} is not let through .dockerignore");
    }
    // What Cargo must have to read the workspace, and what the programs take in as they are compiled.
    let workspace = read("Cargo.toml");
    let members = workspace.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    for member in members.split(',').map(|member| member.trim().trim_matches('"')).filter(|member| *member != ".") {
        assert!(sources.contains(&member), "{member} is a member of the workspace and not copied");
    }
    let grep = Command::new("grep")
        .args(["-roE", r#"include_(str|bytes)!\("(\.\./)+(deploy|docs|tests)[^"]*"#, "src", "engine/src", "shim/src"])
        .current_dir(ROOT)
        .output();
    let production = String::from_utf8(grep.unwrap().stdout).unwrap();
    let is_missing = |line: &&str| {
        let (file, taken) = line.split_once(':').expect("a file and what it takes in");
        let taken = taken.rsplit("../").next().unwrap();
        !file.contains("tests") && !sources.contains(&taken)
    };
    let outside: Vec<&str> = production.lines().filter(is_missing).collect();
    assert_eq!(outside, Vec::<&str>::new(), "these take in files that the image is not built with");
}

#[test]
fn the_images_own_configuration_is_right() {
    let path = at_root("deploy/image/camshaft.yaml");
    let output = Command::new(CAMSHAFT).args(["check", "--json", "--config"]).arg(path).output().unwrap();
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&findings[0]["subject"], &findings[0]["level"]),
        (&"configuration".into(), &"ok".into()),
        "{findings:#}"
    );
}

/// Runs one case of `nodes.py`.
fn nodes(case: &str) -> String {
    run("deploy/tools.sh", &["haproxy"]);
    run("tests/support/nodes.py", &[CAMSHAFT, case])
}

#[test]
fn a_lost_nodes_cameras_are_elsewhere_within_two_seconds_and_no_other_moves() {
    println!("{}", nodes("lost"));
}

#[test]
fn a_node_without_room_passes_requests_on() {
    println!("{}", nodes("refuses"));
}
