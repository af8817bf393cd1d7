//! The report for a terminal.

use super::cameras::{DETECT_FPS, detect_size};
use super::compare::Comparison;
use super::report::{Cameras, Figures, Rate, Report};

/// All of it.
pub fn text(report: &Report) -> String {
    let machine = &report.machine;
    let gpus: Vec<String> =
        machine.devices.iter().map(|gpu| gpu.generation.clone().unwrap_or(gpu.id.clone())).collect();
    let gpus = if gpus.is_empty() { "no GPU".to_owned() } else { gpus.join(", ") };
    let mut text = format!("{}, {} CPUs, {gpus}; load {} before the start\n", machine.cpu, machine.cpus, machine.load);
    text += &format!("camshaft {}; {}\n", report.camshaft, report.ffmpeg.as_deref().unwrap_or("no ffmpeg beside it"));
    text +=
        &format!("medians of {} runs of {} s; ± is half of what they differ by\n\n", report.repeats, report.seconds);
    text += &aligned(
        &[
            "camera",
            "work",
            "decode, scale, encode on",
            "fps",
            "±",
            "CPU ms/s",
            "GPU ms/s",
            "latency ms",
            "ffmpeg fps",
            "CPU ms/s",
        ],
        &report.rates.iter().map(rate).collect::<Vec<_>>(),
        3,
    );
    text.push('\n');
    text += &aligned(
        &["camera", "detector", "decoded by", "fit", "latency ms", "CPU ms/s each", "GPU ms/s each", "one more"],
        &report.cameras.iter().map(cameras).collect::<Vec<_>>(),
        3,
    );
    let failures = report.rates.iter().filter_map(|rate| {
        Some(format!(
            "failed: {} {} on {}: {}\n",
            rate.kind,
            rate.work.name(),
            rate.way.short(),
            rate.failure.as_ref()?
        ))
    });
    let missing = report.cameras.iter().filter_map(|cameras| {
        Some(format!("failed: {} cameras, {}: {}\n", cameras.kind, cameras.decoded_by, cameras.failure.as_ref()?))
    });
    text.push('\n');
    text.extend(failures.chain(missing));
    text.extend(report.noise.iter().map(|doubt| format!("warning: {doubt}\n")));
    text + &report.compared.as_ref().map(Comparison::text).unwrap_or_default()
}

/// A number with as many digits as mean something; a dash for none.
pub fn number(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value < 10.0 && value.fract() != 0.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

fn rate(rate: &Rate) -> Vec<String> {
    let median = |figures: &Option<Figures>| number(figures.as_ref().map(|figures| figures.median));
    let half = rate.fps.as_ref().map_or("–".to_owned(), |fps| format!("{:.0} %", fps.spread() * 50.0));
    let beside = rate.ffmpeg.as_ref();
    let [fps, cpu] = [beside.map(|beside| &beside.fps), beside.map(|beside| &beside.cpu_ms)];
    vec![
        rate.kind.to_string(),
        rate.work.name().to_owned(),
        rate.way.short(),
        median(&rate.fps),
        half,
        median(&rate.cpu_ms),
        median(&rate.gpu_ms),
        median(&rate.latency_ms),
        median(fps.unwrap_or(&None)),
        median(cpu.unwrap_or(&None)),
    ]
}

fn cameras(cameras: &Cameras) -> Vec<String> {
    let best = cameras.steps.iter().find(|step| step.cameras == cameras.fit && step.trouble.is_none());
    let trouble = cameras.steps.iter().filter(|step| step.trouble.is_some()).min_by_key(|step| step.cameras);
    let more = match (trouble.and_then(|step| step.trouble.clone().zip(Some(step.cameras))), cameras.is_bounded) {
        (Some((trouble, count)), _) => format!("with {count} {trouble}"),
        (None, true) => "was not tried".to_owned(),
        (None, false) => String::new(),
    };
    vec![
        cameras.kind.to_string(),
        format!("{} at {DETECT_FPS}/s", detect_size(cameras.kind)),
        cameras.decoded_by.clone(),
        format!("{}{}", if cameras.is_bounded { "≥ " } else { "" }, cameras.fit),
        number(best.and_then(|step| step.latency_ms)),
        number(best.map(|step| step.cpu_ms)),
        number(best.and_then(|step| step.gpu_ms)),
        more,
    ]
}

/// Columns; those from `numbers` on but the last stand at the right.
fn aligned(header: &[&str], rows: &[Vec<String>], numbers: usize) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let all = || std::iter::once(&header).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let cell = |(column, cell): (usize, &String)| {
        let width = widths[column];
        let is_number = column >= numbers && rows.iter().all(|row| row[column].chars().count() < 12);
        if is_number { format!("{cell:>width$}") } else { format!("{cell:width$}") }
    };
    let line = |row: &Vec<String>| {
        row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    all().map(line).collect()
}
