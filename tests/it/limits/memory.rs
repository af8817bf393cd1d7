//! The memory's overload ladder, in a cgroup whose limit the test moves.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::CLOCK;
use crate::support::{Camshaft, Y4m, eventually};

const PLAIN: &str = r#"{ "source": "test:?width=160&height=90&fps=5", "on_demand": true }"#;
/// Far from what the kernel would end something for.
const THRESHOLDS: &str = "memory_refuse: 40, memory_shed: 50, memory_end: 60";

/// A memory cgroup; gone when dropped.
struct Group {
    path: PathBuf,
    limit: &'static str,
}

impl Group {
    /// Below this process's own; `None` where no such can be made.
    fn make() -> Option<Self> {
        let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = |controller: &str| {
            let line = membership.lines().find(|line| line.split(':').nth(1) == Some(controller))?;
            Some(line.splitn(3, ':').nth(2)?.trim_start_matches('/').to_owned())
        };
        let name = format!("camshaft-test-{}", std::process::id());
        let of_v1 = own("memory").map(|own| (Path::new("/sys/fs/cgroup/memory").join(own), "memory.limit_in_bytes"));
        let of_v2 = own("").map(|own| (Path::new("/sys/fs/cgroup").join(own), "memory.max"));
        of_v1.into_iter().chain(of_v2).find_map(|(parent, limit)| {
            let path = parent.join(&name);
            fs::create_dir(&path).ok()?;
            let group = Self { path, limit };
            group.path.join(limit).exists().then_some(group)
        })
    }

    fn set_limit(&self, bytes: u64) {
        // The kernel first lets go of cached files.
        let set = || fs::write(self.path.join(self.limit), bytes.to_string()).ok();
        eventually("the limit is set", || std::thread::sleep(std::time::Duration::from_millis(50)), set);
    }

    /// A program that runs its arguments in the group.
    fn wrapper(&self, dir: &Path) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join("in-group");
        let script = format!("#!/bin/sh\necho $$ >{}/cgroup.procs\nexec \"$@\"\n", self.path.display());
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let removed = || fs::remove_dir(&self.path).is_ok();
        // Workers need a moment to end.
        (0..100).any(|_| {
            removed() || {
                std::thread::sleep(std::time::Duration::from_millis(50));
                false
            }
        });
    }
}

fn given_up(what: &str) -> String {
    format!("camshaft_memory_given_up_total{{what=\"{what}\"}}")
}

#[test]
fn as_memory_runs_short_the_service_gives_up_one_thing_after_the_other() {
    let Some(group) = Group::make() else {
        return eprintln!("left out: it needs root and a memory cgroup of its own");
    };
    group.set_limit(8 << 30);
    let dir = tempfile::tempdir().unwrap();
    let limits = format!("limits: {{ {THRESHOLDS}, backoff_max: 500ms, stalled_consumer: 600s }}\n");
    let server = Camshaft::start_by(&group.wrapper(dir.path()), &limits, CLOCK);
    let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m"));
    raw.numbers(30);
    // It takes nothing, and is not ended for that.
    let stalled = server.open("/v1/streams/clock/live.raw?format=rgb24");
    let mut copy = server.open("/v1/streams/clock/live.ts");
    copy.read_exact(&mut [0; 10_000]).unwrap();
    let pressure = |step: f64| {
        let at = || (server.metric("camshaft_memory_pressure") == Some(step)).then_some(());
        eventually(&format!("pressure is {step}"), || server.log().pause(), at);
    };
    let used = || server.metric("camshaft_memory_used_bytes").unwrap();
    // What is in use changes with every worker that comes and goes, so that the limit follows it. Readers go on
    // meanwhile, so that nothing piles up.
    let squeeze = |percent: u64, read_a_second: &mut dyn FnMut()| {
        let even = (0..20).any(|_| {
            let before = used();
            read_a_second();
            (used() - before).abs() < before * 0.03
        });
        assert!(even, "use of memory goes on changing");
        let used = used() as u64;
        assert!(used > 16 << 20, "{used} bytes are too few to be true");
        group.set_limit(used * 100 / percent);
    };
    pressure(0.0);

    squeeze(45, &mut || drop(raw.numbers(30)));
    pressure(1.0);
    let refused = server.put("new", PLAIN);
    assert!(refused.status == 503 && refused.text().contains("limits.memory_refuse"), "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(server.post("/v1/transcode?format=mp4", "x").status, 503);
    assert_eq!(raw.numbers(20).len(), 20, "who is there stays");

    squeeze(55, &mut || drop(raw.numbers(30)));
    pressure(2.0);
    server.wait_metric(&given_up("reader"), 2.0);
    while raw.next().is_some() {}
    server.wait_metric(&given_up("ring"), 1.0);
    copy.read_exact(&mut [0; 10_000]).unwrap();

    squeeze(66, &mut || copy.read_exact(&mut [0; 8_000]).unwrap());
    server.wait_metric(&given_up("worker"), 1.0);
    server.log().wait("the end of the largest", |line| line.contains("the largest worker is ended"));
    assert_eq!(server.admin("/livez").status, 200);

    group.set_limit(16 << 30);
    pressure(0.0);
    server.wait_live("clock");
    assert_eq!(server.put("new", PLAIN).status, 201);
    assert_eq!(Y4m::new(server.open("/v1/streams/clock/live.y4m")).numbers(10).len(), 10);
    for what in ["stream", "job"] {
        assert_eq!(server.metric(&given_up(what)), Some(1.0), "{what}");
    }
    drop((raw, stalled, copy, server));
}

#[test]
fn a_limit_of_the_configuration_is_held_against_what_the_processes_hold() {
    let limits = "limits: { memory: 128M, memory_refuse: 1, memory_shed: 100, memory_end: 100 }\n";
    let server = Camshaft::start_with(limits, CLOCK);
    server.wait_metric("camshaft_memory_pressure", 1.0);
    assert_eq!(server.metric("camshaft_memory_limit_bytes"), Some(f64::from(128 << 20)));
    assert_eq!(server.put("new", PLAIN).status, 503);
    server.wait_live("clock");
    let refused = server.get("/v1/streams/clock/live.y4m");
    assert!(refused.status == 503 && refused.text().contains("limits.memory_refuse"), "{}", refused.text());
    server.open("/v1/streams/clock/live.ts").read_exact(&mut [0; 1000]).unwrap();
}
