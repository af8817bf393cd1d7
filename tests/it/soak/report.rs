//! What the service takes after each round, and whether that grows.

use serde_json::{Value, json};
use std::fmt;
use std::path::Path;

use crate::support::children;

/// Taken when nothing goes on.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Readers that have come and gone so far.
    pub connects: usize,
    /// Workers killed so far.
    pub kills: usize,
    /// Of the supervisor.
    pub descriptors: usize,
    /// Of the supervisor.
    pub threads: usize,
    /// The supervisor's children.
    pub processes: usize,
    /// Bytes of the supervisor.
    pub memory: u64,
}

impl Sample {
    /// Now.
    pub fn take(pid: u32, connects: usize, kills: usize) -> Self {
        let count = |folder: &str| std::fs::read_dir(format!("/proc/{pid}/{folder}")).unwrap().count();
        let memory = camshaft::memory::private_bytes(pid).unwrap_or(0);
        let (descriptors, threads) = (count("fd"), count("task"));
        Self { connects, kills, descriptors, threads, processes: children(pid).len(), memory }
    }

    fn counts(&self) -> [(&'static str, f64); 4] {
        [
            ("descriptors", self.descriptors as f64),
            ("threads", self.threads as f64),
            ("processes", self.processes as f64),
            ("memory", self.memory as f64),
        ]
    }
}

/// A run.
pub struct Report {
    seed: u64,
    samples: Vec<Sample>,
}

impl Report {
    /// Nothing yet.
    pub fn new(seed: u64) -> Self {
        Self { seed, samples: Vec::new() }
    }

    /// One more round.
    pub fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// What each figure gains over 1 000 readers, by least squares; the first round warms up.
    fn slopes(&self) -> Vec<(&'static str, f64)> {
        let behind_warm_up = &self.samples[1..];
        let names = behind_warm_up[0].counts().map(|(name, _)| name);
        let each = names.into_iter().enumerate().map(|(index, name)| {
            let points: Vec<_> =
                behind_warm_up.iter().map(|sample| (sample.connects as f64, sample.counts()[index].1)).collect();
            (name, slope(&points) * 1000.0)
        });
        each.collect()
    }

    /// Fails if anything is left behind: a descriptor, thread or process more than after the first round, or `growth` bytes.
    pub fn assert_flat(&self, growth: u64) {
        let (first, last) = (self.samples[0], self.samples[self.samples.len() - 1]);
        assert!(self.samples.len() > 2, "{} rounds are too few to tell", self.samples.len());
        assert!(last.descriptors <= first.descriptors, "descriptors: {first:?} to {last:?}\n{self}");
        assert!(last.threads <= first.threads, "threads: {first:?} to {last:?}\n{self}");
        assert!(last.processes <= first.processes, "processes: {first:?} to {last:?}\n{self}");
        assert!(last.memory <= first.memory + growth, "memory: {first:?} to {last:?}\n{self}");
    }

    /// Writes it down beside the build.
    pub fn save(&self, name: &str) {
        let samples: Vec<Value> = self
            .samples
            .iter()
            .map(|sample| {
                let Sample { connects, kills, descriptors, threads, processes, memory } = sample;
                json!({
                    "connects": connects, "kills": kills, "descriptors": descriptors, "threads": threads,
                    "processes": processes, "memory_bytes": memory,
                })
            })
            .collect();
        let slopes: serde_json::Map<_, _> =
            self.slopes().into_iter().map(|(name, slope)| (name.to_owned(), slope.into())).collect();
        let report = json!({ "seed": self.seed, "samples": samples, "slope_per_1000_connects": slopes });
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, format!("{report:#}\n")).unwrap();
        eprintln!("{}", path.display());
    }
}

fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let across: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if across == 0.0 { 0.0 } else { points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / across }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}\n| readers | workers killed | descriptors | threads | processes | MiB |", self.seed)?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for sample in &self.samples {
            let Sample { connects, kills, descriptors, threads, processes, memory } = sample;
            let memory = *memory as f64 / f64::from(1 << 20);
            writeln!(f, "| {connects} | {kills} | {descriptors} | {threads} | {processes} | {memory:.1} |")?;
        }
        write!(f, "over 1000 readers:")?;
        for (name, slope) in self.slopes() {
            match name {
                "memory" => write!(f, " {name} {:+.2} MiB", slope / f64::from(1 << 20))?,
                _ => write!(f, " {name} {slope:+.2},")?,
            }
        }
        Ok(())
    }
}

#[test]
fn a_straight_line_has_its_slope() {
    assert_eq!(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), 2.0);
    assert_eq!(slope(&[(1.0, 4.0), (1.0, 9.0)]), 0.0);
}
