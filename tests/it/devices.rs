//! GPUs: `camshaft probe` and `camshaft plan` where one seems to be, and `/v1/devices`.

use serde_json::{Value, json};
use std::process::Command;

use crate::support::{Camshaft, Y4m};

const WITH_NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/with-render-node.sh");
const CAMSHAFT: &str = env!("CARGO_BIN_EXE_camshaft");

struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// Runs camshaft where the render node is what `node` says; see the script.
fn camshaft(node: &str, arguments: &[&str]) -> Run {
    run(Command::new(WITH_NODE).arg(node).arg(CAMSHAFT).args(arguments))
}

fn run(command: &mut Command) -> Run {
    for name in ["LIBVA_DRIVERS_PATH", "LIBVA_DRIVER_NAME"] {
        if !command.get_envs().any(|(known, _)| known == name) {
            command.env_remove(name);
        }
    }
    let output = command.output().expect("bash and util-linux are everywhere");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    Run { code: output.status.code().unwrap_or_else(|| panic!("{err}")), out, err }
}

/// What a probe says of the one device that cannot be used.
fn trouble(probe: &Run) -> (String, String) {
    assert_eq!(probe.code, 2, "{}{}", probe.out, probe.err);
    let report = probe.json();
    let devices = report["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 1, "{report:#}");
    let text = |name: &str| devices[0]["error"][name].as_str().unwrap().to_owned();
    (text("kind"), text("message"))
}

#[test]
fn a_machine_without_a_gpu_says_so() {
    let probe = camshaft("none", &["probe"]);
    assert_eq!(probe.code, 1, "{}", probe.err);
    assert!(probe.out.contains("No GPU"), "{}", probe.out);
    let probe = camshaft("none", &["probe", "--json"]);
    assert_eq!((probe.code, probe.json()), (1, json!({"devices": []})));
    let emitted = camshaft("none", &["probe", "--emit", "compose"]);
    assert_eq!(emitted.code, 1);
    assert!(emitted.err.contains("no render node"), "{}", emitted.err);
}

#[test]
fn a_gpu_without_a_render_node_is_named() {
    let (kind, message) = trouble(&camshaft("hidden", &["probe", "--json"]));
    assert_eq!(kind, "no_render_node");
    assert!(message.contains("Haswell (8086:041a) is driven by i915"), "{message}");
}

#[test]
fn every_gate_before_the_driver_is_told_apart() {
    for (node, kind, remedy) in [
        ("closed", "permission", "udev rule"),
        ("/dev/tty", "no_kernel_driver", "load i915 or xe"),
        ("/dev/null", "driver_missing", "install i965-va-driver"),
    ] {
        let probe = camshaft(node, &["probe", "--json"]);
        let (found, message) = trouble(&probe);
        assert_eq!(found, kind, "{node}: {message}");
        assert!(message.contains(remedy), "{node}: {message}");
    }
    let (kind, message) = trouble(&run(Command::new(WITH_NODE)
        .args(["/dev/null", CAMSHAFT, "probe", "--json"])
        .env("LIBVA_DRIVER_NAME", "nosuch")));
    assert_eq!(kind, "wrong_driver_forced");
    assert!(message.contains("LIBVA_DRIVER_NAME=nosuch") && message.contains("unset it"), "{message}");
}

#[test]
fn a_device_cgroup_is_told_from_permissions() {
    const WITH_CGROUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/with-device-cgroup.sh");
    let probe = run(Command::new(WITH_CGROUP).args(["/dev/full", WITH_NODE, "/dev/full", CAMSHAFT, "probe", "--json"]));
    if probe.code == 99 {
        return eprintln!("left out: {}", probe.err);
    }
    let (kind, message) = trouble(&probe);
    assert_eq!(kind, "device_cgroup", "{message}");
    assert!(message.contains("closed to this container by its device cgroup"), "{message}");
    assert!(
        message.contains("a bind mount or hostPath is not enough") && message.contains("device plugin"),
        "{message}"
    );
}

/// A VA driver in a folder of its own: `code` is C.
fn driver(code: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("driver.c");
    std::fs::write(&source, code).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(folder.path().join("odd_drv_video.so"))
        .arg(source)
        .status();
    assert!(built.expect("cc runs: `make test` installs it").success());
    folder
}

#[test]
fn a_driver_that_refuses_or_aborts_is_reported() {
    let probe = |code: &str| {
        let folder = driver(code);
        let probe = run(Command::new(WITH_NODE)
            .args(["/dev/null", CAMSHAFT, "probe", "--json"])
            .env("LIBVA_DRIVERS_PATH", folder.path())
            .env("LIBVA_DRIVER_NAME", "odd"));
        (trouble(&probe), probe.err)
    };
    let ((kind, message), _) = probe("int __vaDriverInit_1_0(void *context) { return 0x12; }");
    assert_eq!(kind, "wrong_driver_forced");
    assert!(message.contains("will not have Haswell (8086:041a)") && message.contains("unset it"), "{message}");
    let ((kind, message), log) = probe(
        "#include <stdlib.h>\n#include <stdio.h>\n\
         int __vaDriverInit_1_0(void *context) { fputs(\"its last words\\n\", stderr); abort(); }",
    );
    assert_eq!(kind, "driver_failed");
    assert!(message.contains("killed by signal 6 (ABORT)"), "{message}");
    assert!(log.contains("its last words"), "{log}");
}

#[test]
fn a_device_is_shown_with_all_its_facts() {
    let report = camshaft("/dev/null", &["probe", "--json"]).json();
    let device = report["devices"][0].as_object().unwrap();
    let keys: Vec<&str> = device.keys().map(String::as_str).collect();
    let expected = [
        "breaker",
        "breaker_reason",
        "by_path",
        "device_id",
        "error",
        "generation",
        "kernel_driver",
        "path",
        "pci",
        "profiles",
        "tried",
        "va_driver",
        "vendor_id",
        "vendor_string",
    ];
    assert_eq!(keys, expected);
    assert_eq!(device["path"], "/dev/dri/renderD128");
    assert_eq!(device["by_path"], "/dev/dri/by-path/pci-0000:00:02.0-render");
    assert_eq!((&device["pci"], &device["generation"]), (&json!("0000:00:02.0"), &json!("Haswell")));
    assert_eq!((&device["vendor_id"], &device["device_id"]), (&json!("8086"), &json!("041a")));
    assert_eq!(device["kernel_driver"], "i915");
    let table = camshaft("/dev/null", &["probe"]).out;
    for fact in ["/dev/dri/renderD128", "Haswell, 8086:041a", "i915", "mode 0666", "this process   user", "NOT USABLE"]
    {
        assert!(table.contains(fact), "'{fact}' is not in\n{table}");
    }
}

#[test]
fn the_lines_for_a_container_name_this_very_node() {
    for (target, line) in [
        ("compose", "/dev/dri/renderD128:/dev/dri/renderD128"),
        ("k8s", "gpu.intel.com/i915: 1"),
        ("lxc", "source: /dev/dri/renderD128"),
    ] {
        let emitted = camshaft("/dev/null", &["probe", "--emit", target]);
        assert_eq!(emitted.code, 0, "{}", emitted.err);
        assert!(emitted.out.contains(line) && emitted.out.contains("i965-va-driver"), "{}", emitted.out);
    }
    let other = camshaft("/dev/null", &["probe", "--emit", "compose", "--device", "pci:0000:03:00.0"]);
    assert_eq!(other.code, 1, "{}", other.out);
}

#[test]
fn a_plan_says_why_the_device_is_not_used() {
    let plan = camshaft("/dev/null", &["plan", "--codec", "h264", "--width", "1920", "--height", "1080"]);
    assert_eq!(plan.code, 0, "{}", plan.err);
    assert!(plan.out.starts_with("1. decode software, scale software\n"), "{}", plan.out);
    assert!(plan.out.contains("install i965-va-driver"), "{}", plan.out);
    let required = camshaft("/dev/null", &["plan", "--codec", "hevc", "--policy", "require-hardware", "--json"]);
    assert_eq!((required.code, required.json()["candidates"].clone()), (1, json!([])));
}

#[test]
fn a_configured_device_that_is_missing_is_reported_and_streams_go_on() {
    let server = Camshaft::start_with(
        "hardware: { device: /dev/dri/renderD250 }",
        "  clock: { source: \"test:?width=320&height=180&fps=25\" }\n",
    );
    let report = server.get("/v1/devices").json();
    let find = |report: &Value| {
        let devices = report["devices"].as_array().unwrap().clone();
        devices.into_iter().find(|device| device["path"] == "/dev/dri/renderD250").expect("the configured device")
    };
    let device = find(&report);
    assert_eq!((&device["error"]["kind"], &device["breaker"]), (&json!("not_mounted"), &json!("closed")));
    let again = server.post("/v1/devices/renderD250/trial", "");
    assert_eq!((again.status, again.json()), (200, device));
    let plan = server.get("/v1/plan?codec=h264").text();
    assert!(plan.contains("/dev/dri/renderD250 is not there"), "{plan}");
    assert_eq!(server.metric("camshaft_device_usable{device=\"/dev/dri/renderD250\"}"), Some(0.0));
    Y4m::new(server.open("/v1/streams/clock/live.y4m")).numbers(3);
    let accel = server.status("clock")["accel"].clone();
    assert_eq!(accel["decode"], "software");
    assert!(accel["reason"].as_str().unwrap().contains("renderD250"), "{accel}");
}
