//! `camshaft check` and `camshaft live`, as an init container and a health check run them.

use serde_json::Value;
use std::process::{Command, Output};

use crate::support::{Action, Call, Camshaft, Gpu};

const WITH_NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/with-render-node.sh");
const CAMSHAFT: &str = env!("CARGO_BIN_EXE_camshaft");

struct Checked {
    code: i32,
    findings: Vec<Value>,
}

impl Checked {
    /// Runs `camshaft check --json` by way of `command`, with a configuration of this text.
    fn run(mut command: Command, yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("camshaft.yaml");
        std::fs::write(&path, yaml).unwrap();
        let Output { status, stdout, stderr } =
            command.args(["check", "--json", "--config"]).arg(path).output().unwrap();
        let findings = serde_json::from_slice(&stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stderr)));
        Self { code: status.code().unwrap(), findings }
    }

    fn on_node(node: &str, yaml: &str) -> Self {
        let mut command = Command::new(WITH_NODE);
        command.arg(node).arg(CAMSHAFT).env_remove("LIBVA_DRIVERS_PATH").env_remove("LIBVA_DRIVER_NAME");
        Self::run(command, yaml)
    }

    /// Level and message of what was found about `subject`.
    fn about(&self, subject: &str) -> (&str, &str) {
        let text = |finding: &'static str, of: &'_ Value| of[finding].as_str().unwrap().to_owned();
        let finding = self.findings.iter().find(|finding| text("subject", finding) == subject);
        let finding = finding.unwrap_or_else(|| panic!("nothing about {subject}: {:#?}", self.findings));
        (finding["level"].as_str().unwrap(), finding["message"].as_str().unwrap())
    }
}

#[test]
fn a_machine_without_a_gpu_will_do_unless_one_is_required() {
    let checked = Checked::on_node("none", "streams: { clock: { source: 'test:' } }");
    assert_eq!(checked.code, 0, "{:#?}", checked.findings);
    for subject in ["memory", "/dev/shm", "user namespace", "clock", "sandbox"] {
        assert!(!checked.about(subject).1.contains('\n'));
    }
    let (level, message) = checked.about("configuration");
    assert!(level == "ok" && message.ends_with(": 1 stream"), "{message}");
    let (level, message) = checked.about("gpu");
    assert!(level == "warning" && message.contains("everything runs on the CPU"), "{message}");

    let required = Checked::on_node("none", "hardware: { policy: require-hardware }");
    assert_eq!((required.code, required.about("gpu").0), (1, "problem"));
    let unwanted = Checked::on_node("none", "hardware: { policy: software }");
    assert_eq!((unwanted.code, unwanted.about("gpu").0), (0, "ok"));
}

#[test]
fn every_gate_in_front_of_a_device_has_its_line() {
    for (node, remedy) in
        [("closed", "udev rule"), ("/dev/tty", "load i915 or xe"), ("/dev/null", "install i965-va-driver")]
    {
        let checked = Checked::on_node(node, "streams: {}");
        let (level, message) = checked.about("renderD128");
        assert!(level == "warning" && message.contains(remedy), "{node}: {level}: {message}");
        assert_eq!(checked.code, 0, "{node}");
    }
    let required = Checked::on_node("closed", "hardware: { policy: require-hardware }");
    assert_eq!((required.code, required.about("renderD128").0), (1, "problem"));
}

#[test]
fn a_device_is_judged_by_its_trials() {
    let gpu = Gpu::haswell();
    let checked = Checked::run(gpu.command(CAMSHAFT), "hardware: { policy: require-hardware }");
    let (level, message) = checked.about("renderD128");
    assert_eq!((checked.code, level), (0, "ok"), "{message}");
    assert!(message.contains("kernel driver i915") && message.contains("trials passed"), "{message}");

    let no_decoder = gpu.break_for_good(Call::EndDecode, 0, Action::Status(1));
    let half = Checked::run(gpu.command(CAMSHAFT), "hardware: { policy: require-hardware }");
    let (level, message) = half.about("renderD128");
    assert!((half.code, level) == (0, "warning") && message.contains("what failed runs on the CPU"), "{message}");

    gpu.mend(no_decoder);
    gpu.break_for_good(Call::CreateContext, 0, Action::Status(1));
    let broken = Checked::run(gpu.command(CAMSHAFT), "hardware: { policy: require-hardware }");
    assert_eq!((broken.code, broken.about("renderD128").0), (1, "problem"));
}

#[test]
fn every_mistake_of_the_configuration_is_a_line() {
    let checked = Checked::on_node("none", "server: { htttp: x }\nstreams: { a: { source: 'test:', priority: 11 } }");
    let mistakes: Vec<_> = checked.findings.iter().filter(|finding| finding["subject"] == "configuration").collect();
    assert_eq!((checked.code, mistakes.len()), (1, 2), "{mistakes:#?}");
    assert!(mistakes[0]["message"].as_str().unwrap().contains("did you mean 'http'?"));
    // The rest is looked at all the same.
    checked.about("memory");
}

#[test]
fn without_json_a_finding_is_a_line_for_people() {
    let output = Command::new(WITH_NODE).args(["none", CAMSHAFT, "check"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let levels = text.lines().map(|line| line.split_whitespace().next().unwrap());
    assert!(levels.eq(["ok", "ok", "warning", "ok", "ok", "warning"]), "{text}");
    let wrong = Command::new(CAMSHAFT).args(["check", "--nosuch"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn the_health_check_tells_a_living_service_from_none() {
    let server = Camshaft::start("");
    let address = server.admin_url("").replace("http://", "");
    let live = |address: &str| Command::new(CAMSHAFT).args(["live", "--admin", address]).output().unwrap();
    assert!(live(&address).status.success());
    drop(server);
    let output = live(&address);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no camshaft answers at http://127.0.0.1"));
}
