//! Memory, `/dev/shm`, user namespaces and the clock, as the kernel shows them to this process.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Finding;
use crate::config::Limits;
use crate::memory::Groups;

const MIB: u64 = 1 << 20;
/// The supervisor with one spare engine, as measured for the README's table of costs.
const SERVICE: u64 = 64 * MIB;
/// A stream's two workers with one 1080p decode; its ring comes on top.
const STREAM: u64 = 72 * MIB;
/// A year before camshaft existed: a clock below this was never set.
const PLAUSIBLE: u64 = 1_735_689_600; // 2025-01-01
/// The id that stands for those which a user namespace does not know (`/proc/sys/kernel/overflowgid`).
const OVERFLOW: &str = "65534";

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Bytes that this container or service may use; `None` for all of the machine's.
    pub memory: Option<u64>,
    /// Bytes of `/dev/shm`; `None` if it is not there.
    pub shm: Option<u64>,
    /// `/proc/self/uid_map`.
    pub uid_map: String,
    /// Seconds since 1970.
    pub now: u64,
    /// What the kernel tells the time by.
    pub clock_source: Option<String>,
}

impl Machine {
    /// As it is now.
    pub fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok();
        Self {
            memory: Groups::own().limit(),
            shm: rustix::fs::statvfs("/dev/shm").ok().map(|stat| stat.f_blocks * stat.f_frsize),
            uid_map: read("/proc/self/uid_map").unwrap_or_default(),
            now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
                .map(|name| name.trim().to_owned()),
        }
    }

    /// One finding for each question; `streams` are those of the configuration.
    pub fn findings(&self, limits: &Limits, streams: usize) -> Vec<Finding> {
        vec![self.memory(limits, streams as u64), self.shm(), self.user_namespace(), self.clock()]
    }

    fn memory(&self, limits: &Limits, streams: u64) -> Finding {
        const SUBJECT: &str = "memory";
        let Some(limit) = self.memory else {
            return Finding::ok(SUBJECT, "no cgroup limits it");
        };
        let likely = SERVICE + streams.max(1) * (STREAM + limits.ring_bytes);
        let (has, needs, worker) = (limit / MIB, likely.div_ceil(MIB), limits.pixels_memory / MIB);
        if limit < likely {
            let message = format!(
                "the cgroup allows {has} MiB, and {} may take {needs}: raise the container's limit to {needs}Mi, or \
                 lower limits.ring_bytes",
                if streams == 1 { "one stream".to_owned() } else { format!("{streams} streams") },
            );
            return Finding::warning(SUBJECT, message);
        }
        if limit <= limits.pixels_memory {
            let message = format!(
                "the cgroup allows {has} MiB, no more than limits.pixels_memory gives one worker ({worker} MiB): a \
                 worker that grows makes the kernel kill any process of the container; set limits.pixels_memory to \
                 {}M, or raise the container's limit",
                (has / 2).max(128)
            );
            return Finding::warning(SUBJECT, message);
        }
        Finding::ok(SUBJECT, format!("the cgroup allows {has} MiB, and about {needs} are likely to be used"))
    }

    /// camshaft needs none; a Frigate in the same pod does.
    fn shm(&self) -> Finding {
        const SUBJECT: &str = "/dev/shm";
        match self.shm {
            Some(bytes) => {
                Finding::ok(SUBJECT, format!("{} MiB; camshaft needs none, Frigate in the same pod does", bytes / MIB))
            }
            None => Finding::ok(SUBJECT, "is not there; camshaft needs none"),
        }
    }

    /// In a user namespace the render node's group may be one that nobody here can be a member of.
    fn user_namespace(&self) -> Finding {
        const SUBJECT: &str = "user namespace";
        let all: Vec<&str> = self.uid_map.split_whitespace().collect();
        if all.is_empty() || all == ["0", "0", "4294967295"] {
            return Finding::ok(SUBJECT, "the host's own: groups have the host's numbers");
        }
        let message = format!(
            "this is not the host's: a render node whose group shows as {OVERFLOW} belongs to a group from outside; \
             rootless Podman takes it along with --group-add keep-groups, Kubernetes needs hostUsers: true"
        );
        Finding::warning(SUBJECT, message)
    }

    fn clock(&self) -> Finding {
        const SUBJECT: &str = "clock";
        if self.now < PLAUSIBLE {
            let message = "is in the past: the times of pictures, RTSP's sender reports and logs will be wrong; run an \
                           NTP client on the host (chronyd, systemd-timesyncd)";
            return Finding::problem(SUBJECT, message);
        }
        match self.clock_source.as_deref() {
            Some(slow @ ("hpet" | "acpi_pm" | "jiffies")) => Finding::warning(
                SUBJECT,
                format!("the kernel reads {slow}, which is slow to ask: look in dmesg why it gave up the TSC"),
            ),
            Some(source) => Finding::ok(SUBJECT, format!("is set, and read from {source}")),
            None => Finding::ok(SUBJECT, "is set"),
        }
    }
}

#[cfg(test)]
mod tests;
