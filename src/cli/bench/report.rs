//! What was measured, and how it is printed.

use std::fs;
use std::process::Command;

use serde::Serialize;

use super::{Args, clip};
use crate::error::{Error, Result};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a terminal, with bars
    Table,
    /// For a README
    Markdown,
    /// For programs: every sample
    Json,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// CPU milliseconds per second of the stream.
    CpuPerSecond,
    /// Millions of instructions per second of the stream.
    Instructions,
    /// PSS in MB (10^6 bytes).
    Memory,
    /// CPU milliseconds for each picture made.
    CpuPerPicture,
    /// The most PSS seen, in MB (10^6 bytes).
    PeakMemory,
    /// Wall-clock milliseconds.
    Wait,
    /// Pictures made a second: here more is better, in all others less.
    PicturesPerSecond,
}

impl Unit {
    fn label(self) -> &'static str {
        match self {
            Self::CpuPerSecond => "CPU, ms per s",
            Self::Instructions => "million instr./s",
            Self::Memory => "memory (PSS), MB",
            Self::CpuPerPicture => "CPU, ms a picture",
            Self::PeakMemory => "peak memory, MB",
            Self::Wait => "wait, ms",
            Self::PicturesPerSecond => "pictures a s",
        }
    }

    /// On which side of a goal one is to be.
    fn goal(self) -> char {
        if self == Self::PicturesPerSecond { '≥' } else { '≤' }
    }

    fn reaches(self, value: f64, goal: f64) -> bool {
        if self == Self::PicturesPerSecond { value >= goal } else { value <= goal }
    }
}

/// A job that both sides do.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// The job's name.
    pub job: &'static str,
    /// What the samples count.
    pub unit: Unit,
    /// Who else does it.
    pub baseline: &'static str,
    /// The ratio, camshaft to baseline, that camshaft is built to stay within.
    pub reach: f64,
}

impl Comparison {
    /// The medians, and the median of the ratios of neighbouring runs.
    pub fn row(self, ours: &[f64], theirs: &[f64]) -> Row {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        let ratio = median(&ratios);
        let baseline = BaselineFigure { name: self.baseline, median: median(theirs), ratio, samples: theirs.to_vec() };
        Row {
            job: self.job,
            of: None,
            unit: self.unit,
            median: median(ours),
            samples: ours.to_vec(),
            baseline: Some(baseline),
            reach: self.reach,
            reached: self.unit.reaches(ratio, self.reach),
        }
    }
}

/// A job for which today's practice has nothing to compare.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// The job's name.
    pub job: &'static str,
    /// What the job is done with.
    pub of: &'static str,
    /// The most that camshaft is built to stay within.
    pub reach: f64,
    /// What the samples count.
    pub unit: Unit,
}

impl Promise {
    /// The median of `samples`.
    pub fn row(self, samples: &[f64]) -> Row {
        let median = median(samples);
        Row {
            job: self.job,
            of: Some(self.of),
            unit: self.unit,
            median,
            samples: samples.to_vec(),
            baseline: None,
            reach: self.reach,
            reached: self.unit.reaches(median, self.reach),
        }
    }
}

/// A line of the result.
#[derive(Debug, Serialize)]
pub struct Row {
    job: &'static str,
    of: Option<&'static str>,
    unit: Unit,
    median: f64,
    samples: Vec<f64>,
    baseline: Option<BaselineFigure>,
    reach: f64,
    reached: bool,
}

#[derive(Debug, Serialize)]
struct BaselineFigure {
    name: &'static str,
    median: f64,
    ratio: f64,
    samples: Vec<f64>,
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    ffmpeg: String,
    clip: &'static str,
    method: String,
    /// One for each figure.
    pub rows: Vec<Row>,
}

impl Report {
    /// A report without rows.
    pub fn of_this_machine(args: &Args) -> Result<Self> {
        Ok(Self {
            machine: machine(),
            ffmpeg: ffmpeg_version()?,
            clip: clip::DESCRIPTION,
            method: method(args),
            rows: vec![],
        })
    }

    /// The report as text.
    pub fn render(&self, format: Format) -> Result<String> {
        match format {
            Format::Table => Ok(self.table()),
            Format::Markdown => Ok(self.markdown()),
            Format::Json => serde_json::to_string_pretty(self)
                .map(|text| text + "\n")
                .map_err(|error| Error::internal("cannot write the report as JSON").with_source(error)),
        }
    }

    fn table(&self) -> String {
        let mut text = format!("\n{}; {}\n{}\n{}\n\n", self.machine, self.ffmpeg, self.clip, self.method);
        let header = ["job", "measured", "camshaft", "today", "", "ratio", "goal"];
        let mut line = |cells: [&str; 7], bar: &str| {
            let [job, unit, ours, theirs, name, ratio, goal] = cells;
            let line = format!("{job:<12} {unit:<17} {ours:>9} {theirs:>9}  {name:<25} {ratio:>5}  {goal:<14} {bar}");
            text.push_str(line.trim_end());
            text.push('\n');
        };
        line(header, "");
        for row in &self.rows {
            let cells = row.cells();
            line(cells.each_ref().map(String::as_str), &row.bar());
        }
        text
    }

    fn markdown(&self) -> String {
        let rows: Vec<String> = self.rows.iter().map(|row| format!("| {} |\n", row.cells().join(" | "))).collect();
        let Self { machine, ffmpeg, clip, .. } = self;
        format!(
            "| job | measured | camshaft | today | | ratio | goal |\n|---|---|--:|--:|---|--:|---|\n{}\n\
             {machine}; {ffmpeg}. Clip: {clip}. {}\n",
            rows.concat(),
            self.method.replace('\n', " ")
        )
    }
}

impl Row {
    fn cells(&self) -> [String; 7] {
        let verdict = if self.reached { "reached" } else { "missed" };
        let (theirs, name, ratio) = match &self.baseline {
            Some(figure) => (number(figure.median), figure.name.to_owned(), format!("{:.2}", figure.ratio)),
            None => (String::new(), self.of.unwrap_or_default().to_owned(), String::new()),
        };
        let side = self.unit.goal();
        let goal = match &self.baseline {
            Some(_) => format!("{side} {:.2} {verdict}", self.reach),
            None => format!("{side} {} {verdict}", self.reach),
        };
        [self.job.to_owned(), self.unit.label().to_owned(), number(self.median), theirs, name, ratio, goal]
    }

    /// Camshaft's share of the baseline, twenty characters for the whole.
    fn bar(&self) -> String {
        const WHOLE: usize = 20;
        let Some(figure) = &self.baseline else { return String::new() };
        let filled = (figure.ratio * WHOLE as f64).round().clamp(0.0, 2.0 * WHOLE as f64) as usize;
        format!("{}{}", "█".repeat(filled), "░".repeat(WHOLE.saturating_sub(filled)))
    }
}

fn number(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// The middle value; of an even count the mean of the middle two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (Some(upper), 0) => (sorted[middle - 1] + upper) / 2.0,
        (Some(value), _) => *value,
        (None, _) => f64::NAN,
    }
}

fn method(args: &Args) -> String {
    format!(
        "{} alternating pairs of {} s. Both sides read the same RTSP camera over TCP in real time.\n\
         CPU is user + system time of all processes of a side, memory the sum of their PSS 6 s in: for camshaft the \
         supervisor,\nits workers and the client that writes the recording. Readers of its other media are not counted; \
         ffmpeg writes to /dev/null.\nOf 'stand-in', 'frigate-y4m' and 'frigate-raw' it is only the process that Frigate \
         reads from.\n'transcode' and 'shrink' are whole files, as fast as they go: memory is the most that all processes but the \
         client had at once.",
        args.pairs, args.seconds
    )
}

/// The CPU, and what else it has to do.
fn machine() -> String {
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, name)| name);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{model}, {cpus} CPUs, load {load} before the start")
}

/// The first line of `ffmpeg -version`.
///
/// # Errors
/// If there is none.
fn ffmpeg_version() -> Result<String> {
    let output = Command::new("ffmpeg").arg("-version").output();
    let output = output.map_err(|error| Error::unavailable("cannot run ffmpeg").with_source(error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split(" Copyright").next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_pairs() {
        // The machine was half as fast in the second pair: each pair still says 0.5.
        let comparison = Comparison { job: "detect", unit: Unit::CpuPerSecond, baseline: "ffmpeg", reach: 0.49 };
        let row = comparison.row(&[100.0, 200.0], &[200.0, 400.0]);
        assert_eq!(row.baseline.as_ref().unwrap().ratio, 0.5);
        assert_eq!(row.median, 150.0);
        assert!(!row.reached);
        assert_eq!(row.bar(), "██████████░░░░░░░░░░");
    }

    #[test]
    fn more_pictures_are_better_and_less_of_anything_else() {
        let comparison = |unit| Comparison { job: "transcode", unit, baseline: "ffmpeg", reach: 0.95 };
        let row = comparison(Unit::PicturesPerSecond).row(&[96.0], &[100.0]);
        assert_eq!(row.cells()[6], "≥ 0.95 reached");
        assert_eq!(comparison(Unit::PicturesPerSecond).row(&[94.0], &[100.0]).cells()[6], "≥ 0.95 missed");
        assert_eq!(comparison(Unit::PeakMemory).row(&[96.0], &[100.0]).cells()[6], "≤ 0.95 missed");
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn every_format_shows_every_row() {
        let rows = vec![
            Promise { job: "join", of: "live.mp4, first byte", reach: 50.0, unit: Unit::Wait }.row(&[7.0]),
            Comparison { job: "four", unit: Unit::Memory, baseline: "four ffmpegs", reach: 0.6 }.row(&[60.0], &[175.0]),
        ];
        let report = Report { machine: "m".into(), ffmpeg: "f".into(), clip: "c", method: "one\ntwo".into(), rows };
        assert!(report.render(Format::Table).unwrap().contains("four         memory (PSS), MB         60       175"));
        let markdown = report.render(Format::Markdown).unwrap();
        assert!(markdown.contains("| join | wait, ms | 7.0 |  | live.mp4, first byte |  | ≤ 50 reached |\n"));
        assert!(markdown.contains("one two"));
        let json: serde_json::Value = serde_json::from_str(&report.render(Format::Json).unwrap()).unwrap();
        assert_eq!(json["rows"][1]["baseline"]["samples"][0], 175.0);
    }
}
