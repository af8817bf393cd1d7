//! Whether the machine is the service's alone: what a bystander misses is the fault's doing only if it is.

use std::time::Instant;

use crate::support::children;

/// How much of a CPU all others may use: the cameras and readers of the matrix take a part of that.
const OTHERS: f64 = 0.3;
/// Ticks a second of `/proc/stat` and `/proc/PID/stat` (proc(5)): 100 on every Linux of today.
const TICKS: f64 = 100.0;

/// Whether others use the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// The service and what reads it are alone.
    Quiet,
    /// Others take CPUs away.
    Loud,
}

/// What the machine did from a moment on.
pub struct Machine {
    server: u32,
    since: Instant,
    all: f64,
    own: f64,
}

impl Machine {
    /// From now on; the service is `server`.
    pub fn watch(server: u32) -> Self {
        Self { server, since: Instant::now(), all: all_busy(), own: own_busy(server) }
    }

    /// What it was since.
    pub fn noise(&self) -> Noise {
        let others = (all_busy() - self.all) - (own_busy(self.server) - self.own);
        let share = others / self.since.elapsed().as_secs_f64();
        eprintln!("others took {share:.2} CPUs");
        if share > OTHERS { Noise::Loud } else { Noise::Quiet }
    }
}

/// Seconds that all CPUs were not idle, those that a hypervisor took away included.
fn all_busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let fields: Vec<f64> =
        stat.lines().next().unwrap().split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
    // user nice system idle iowait irq softirq steal
    fields.iter().take(8).enumerate().filter(|(n, _)| ![3, 4].contains(n)).map(|(_, ticks)| ticks).sum::<f64>() / TICKS
}

/// Seconds that the service and its workers, the dead ones too, were at work.
fn own_busy(server: u32) -> f64 {
    let workers: f64 = children(server).iter().map(|(worker, _)| busy(*worker, 14..=15)).sum();
    workers + busy(server, 14..=17)
}

/// The sum of these fields of `/proc/PID/stat`, counted from 1; 14 to 17 are its own CPU time and that of children that
/// have been waited for.
fn busy(pid: u32, fields: std::ops::RangeInclusive<usize>) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything; behind it comes field 3.
    let behind = stat.rsplit_once(") ").map_or("", |(_, behind)| behind);
    let (skip, count) = (fields.start() - 3, fields.count());
    let ticks = behind.split_whitespace().skip(skip).take(count);
    ticks.filter_map(|text| text.parse::<f64>().ok()).sum::<f64>() / TICKS
}
