//! The workers' sandbox, by attempts to break out of it.

use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::json;
use std::process::Command;

use crate::support::{
    Action, Call, Camera, Camshaft, Clip, Coding, Escape, Gpu, Outcome, Y4m, children, command_output, eventually, kill,
};

const CLOCK: &str = "  clock: { source: \"test:?width=320&height=180&fps=25&gop=25\" }\n";

const WITHOUT_LANDLOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/without-landlock.py");

/// A field of `/proc/PID/status`, proc(5).
fn field(pid: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

fn limit(pid: u32, name: &str) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {limits}"));
    line.split_whitespace().next().unwrap().to_owned()
}

/// Whether a process has given up what a worker of its kind gives up.
pub(crate) fn assert_confined(pid: u32, who: &str) {
    assert_eq!((field(pid, "Seccomp"), field(pid, "NoNewPrivs")), ("2".into(), "1".into()), "{who}");
    let limits = ["Max core file size", "Max file size", "Max open files"].map(|name| limit(pid, name));
    assert_eq!(limits, ["0", "0", "64"], "{who}");
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let names = environment.split('\0').filter(|variable| !variable.is_empty() && !variable.starts_with("LIBVA_"));
    assert_eq!(names.count(), 0, "{who}: {environment}");
}

/// What a process has open, but for sockets, pipes and what the kernel makes for waiting.
pub(crate) fn open_files(pid: u32) -> Vec<String> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let names = files.filter_map(|file| Some(std::fs::read_link(file.path()).ok()?.to_string_lossy().into_owned()));
    names.filter(|name| name.starts_with('/')).collect()
}

#[test]
fn every_worker_is_confined_and_says_so() {
    let camera = Camera::start(&Clip::make(Coding::default()), &[]);
    let streams = format!("{CLOCK}  cam: {{ source: \"{}\", transport: udp }}\n", camera.url());
    // As a careless shell leaves it to whatever it starts.
    let inherited = std::fs::File::open("/etc/hostname").unwrap();
    fcntl_setfd(&inherited, FdFlags::empty()).unwrap();
    let gpu = Gpu::haswell();
    let server = Camshaft::start_on(&gpu, "", &streams);
    drop(inherited);
    assert!(open_files(server.pid()).contains(&"/etc/hostname".to_owned()), "the test leaves it to the service");
    for (id, accel) in [("cam", "hardware"), ("clock", "hardware")] {
        server.wait_live(id);
        let _viewer = Y4m::new(server.open(&format!("/v1/streams/{id}/live.y4m"))).numbers(3);
        let status = server.wait_status(id, "what holds both workers", |status| {
            ["ingest", "pixels"].iter().all(|role| status["workers"][role]["sandbox"].is_object())
        });
        assert_eq!(status["accel"]["decode"], accel, "{status:#}");
        for role in ["ingest", "pixels"] {
            let worker = &status["workers"][role];
            assert_eq!(worker["sandbox"]["state"], "enforced", "{status:#}");
            assert_confined(worker["pid"].as_u64().unwrap() as u32, &format!("{id} {role}"));
            let series = format!("camshaft_worker_sandboxed{{role=\"{role}\",stream=\"{id}\"}}");
            assert_eq!(server.metric(&series), Some(1.0), "{series}");
        }
    }
    let ingest = server.status("cam")["workers"]["ingest"]["pid"].as_u64().unwrap() as u32;
    assert_eq!(open_files(ingest), ["/dev/null"], "standard output");
}

#[test]
fn without_landlock_only_a_setting_lets_workers_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("camshaft.yaml");
    std::fs::write(&config, Camshaft::yaml("", CLOCK)).unwrap();
    let refused = Command::new(WITHOUT_LANDLOCK)
        .args([env!("CARGO_BIN_EXE_camshaft"), "serve", "--config"])
        .arg(&config)
        .output()
        .expect("python3 runs: `make test` installs it");
    let complaint = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{complaint}");
    assert!(complaint.contains("no Landlock") && complaint.contains("workers.sandbox to degrade"), "{complaint}");

    for (mode, state, missing) in [("degrade", "degraded", json!(["files", "network"])), ("off", "off", json!([]))] {
        let server = Camshaft::start_by(WITHOUT_LANDLOCK, &format!("workers: {{ sandbox: {mode} }}"), CLOCK);
        server.wait_live("clock");
        let status = server
            .wait_status("clock", "what holds the worker", |status| status["workers"]["ingest"]["sandbox"].is_object());
        let worker = &status["workers"]["ingest"];
        assert_eq!(worker["sandbox"], json!({ "state": state, "missing": missing }));
        assert_eq!(server.metric("camshaft_worker_sandboxed{role=\"ingest\",stream=\"clock\"}"), Some(0.0));
        // One filter is the test's own.
        let filters = field(worker["pid"].as_u64().unwrap() as u32, "Seccomp_filters");
        assert_eq!(filters, if mode == "off" { "1" } else { "5" }, "{mode}");
        assert!(server.log().text().contains("workers run without"), "{mode}");
    }
}

#[test]
fn what_asks_and_tries_a_device_is_confined() {
    let gpu = Gpu::haswell();
    let server = Camshaft::start_on(&gpu, "", "");
    for (call, who) in [(Call::QueryConfigProfiles, "probe"), (Call::EndDecode, "trial")] {
        let stuck = gpu.break_for_good(call, 0, Action::BlockForEver);
        std::thread::scope(|scope| {
            scope.spawn(|| server.post("/v1/devices/renderD128/trial", ""));
            let worker = eventually(
                &format!("the {who} is stuck"),
                || server.log().pause(),
                || {
                    let mut engines = children(server.pid()).into_iter().map(|(pid, _)| pid);
                    engines.find(|pid| gpu.hits(stuck) > 0 && field(*pid, "Seccomp") == "2")
                },
            );
            assert_confined(worker, who);
            gpu.mend(stuck);
            kill(worker);
        });
    }
}

#[test]
fn a_driver_cannot_break_out() {
    let gpu = Gpu::haswell();
    let server = Camshaft::start_on(&gpu, "", CLOCK);
    server.wait_live("clock");
    for escape in Escape::ALL {
        gpu.attempt(escape);
        // A worker of its own for each, since some attempts end it.
        let still = server.get("/v1/streams/clock/frame.jpg?at=-0ms");
        assert_eq!(still.status, 200, "{escape:?}: {}", still.text());
        let outcome = gpu.outcome(escape);
        let is_deadly = matches!(
            escape,
            Escape::Socket | Escape::Connect | Escape::Execute | Escape::Trace | Escape::Signal | Escape::ReadProcess
        );
        match outcome {
            Outcome::Killed => assert!(is_deadly, "{escape:?}: the process was killed"),
            Outcome::Refused(_) => assert!(!is_deadly, "{escape:?}: {outcome:?}"),
            Outcome::Allowed | Outcome::NotAttempted => panic!("{escape:?}: {outcome:?}"),
        }
    }
    let log = server.log().text();
    // From 2.41 on glibc lets no signal in around clone, not even the one that tells: it ends the worker all the same.
    let version = String::from_utf8(command_output("getconf", &["GNU_LIBC_VERSION"])).unwrap();
    let minor: u32 = version.trim().trim_start_matches("glibc 2.").parse().expect("glibc 2.N");
    let told = if minor < 41 { Some("clone") } else { None };
    for call in ["socket", "ptrace", "kill", "process_vm_readv"].into_iter().chain(told) {
        assert!(log.contains(&format!("the sandbox refused {call}")), "{call}");
    }
}

/// Whether decoding H.264 is proved, and why not.
fn decode_proof(server: &Camshaft) -> (Option<bool>, String) {
    let report = server.get("/v1/devices").json();
    let claims = report["devices"][0]["profiles"].as_array().unwrap().clone();
    let is_it = |claim: &&serde_json::Value| {
        claim["profile"].as_str().unwrap().ends_with("H264Main")
            && claim["entrypoint"].as_str().unwrap().ends_with("VLD")
    };
    let claim = claims.iter().find(is_it).expect("a claim").clone();
    (claim["proved"].as_bool(), claim["reason"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_trial_that_only_the_sandbox_fails_names_the_obstacle_and_the_setting() {
    for (need, obstacle, setting) in [
        (Action::NeedFile, "openat /etc/hostname", "workers.readable: \"/etc/hostname\""),
        (Action::NeedMemoryFile, "memfd_create", "workers.system_calls: \"memfd_create\""),
        (Action::NeedMemory(1200), "its limit on memory", "limits.pixels_memory"),
        (Action::NeedDescriptors(80), "its limit on open descriptors", "limits.worker_files"),
    ] {
        let gpu = Gpu::haswell();
        gpu.break_for_good(Call::EndDecode, 0, need);
        let server = Camshaft::start_on(&gpu, "", "");
        let (proved, reason) = decode_proof(&server);
        assert_eq!(proved, Some(false), "{need:?}: {reason}");
        assert!(reason.contains("without the sandbox"), "{need:?}: {reason}");
        assert!(reason.contains(obstacle) && reason.contains(setting), "{need:?}: {reason}");
    }
}

#[test]
fn the_settings_that_a_trial_names_make_it_pass() {
    for (need, sections) in [
        (Action::NeedFile, "workers: { readable: /etc/hostname }"),
        (Action::NeedMemoryFile, "workers: { system_calls: memfd_create }"),
        (Action::NeedMemory(1200), "limits: { pixels_memory: 3G }"),
        (Action::NeedDescriptors(80), "limits: { worker_files: 200 }"),
        (Action::NeedFile, "workers: { sandbox: off }"),
    ] {
        let gpu = Gpu::haswell();
        gpu.break_for_good(Call::EndDecode, 0, need);
        let server = Camshaft::start_on(&gpu, sections, "");
        assert_eq!(decode_proof(&server), (Some(true), String::new()), "{sections}");
    }
}

#[test]
fn what_a_setting_makes_readable_is_all_that_can_be_read() {
    let gpu = Gpu::haswell();
    let server = Camshaft::start_on(&gpu, "workers: { readable: /etc/hostname }", CLOCK);
    server.wait_live("clock");
    for escape in [Escape::OpenFile, Escape::WriteFile, Escape::OpenOtherNode] {
        gpu.attempt(escape);
        assert_eq!(server.get("/v1/streams/clock/frame.jpg?at=-0ms").status, 200);
        assert!(matches!(gpu.outcome(escape), Outcome::Refused(13)), "{escape:?}: {:?}", gpu.outcome(escape));
    }
}
