//! The report as one page that needs nothing else: no script, no network, light and dark.

use std::fmt::Write;

use super::compare::Verdict;
use super::report::{Figures, Report};
use super::svg::{Bar, Series, chart};
use super::table;
use super::work::Work;
use crate::error::{Error, Result};

const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#fff;--text:#1a1d21;--faint:#5b636e;--line:#d5dae1;--hardware:#0b6bcb;--software:#1f8a4c;--ffmpeg:#8a6d1a}\
@media(prefers-color-scheme:dark){:root{--ground:#14171a;--text:#e6e9ee;--faint:#a0a8b3;--line:#363d46;--hardware:#5aa9f5;--software:#52c07f;--ffmpeg:#d5b455}}\
body{margin:2rem auto;max-width:60rem;padding:0 1rem;background:var(--ground);color:var(--text);font:1rem/1.5 system-ui,sans-serif}\
h1,h2{line-height:1.2}svg{display:block;width:100%;height:auto;margin:0 0 1.5rem}svg text{fill:var(--text);font-size:13px}\
.hardware{fill:var(--hardware)}.software{fill:var(--software)}.ffmpeg{fill:var(--ffmpeg)}\
.whisker{stroke:var(--text);stroke-width:1.5}.axis{stroke:var(--line)}.faint{color:var(--faint)}\
.warning{border-left:.3rem solid #c25e00;padding-left:.7rem}pre{overflow-x:auto;font-size:.8rem}\
.key span{display:inline-block;width:.8em;height:.8em;margin:0 .4em 0 1em}\
.key .hardware{background:var(--hardware)}.key .software{background:var(--software)}.key .ffmpeg{background:var(--ffmpeg)}\
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid var(--line)}";

/// The whole page.
///
/// # Errors
/// If the report has no JSON form.
pub fn page(report: &Report) -> Result<String> {
    let json = serde_json::to_string_pretty(report)
        .map_err(|error| Error::internal("the report has no JSON form").with_source(error))?;
    let body = [about(report), rates(report), latencies(report), cameras(report), compared(report)].concat();
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>What this machine can do: camshaft bench machine</title><style>{STYLE}</style></head>\n<body>{body}\
         <h2>As text</h2>\n<pre>{}</pre>\n<details><summary>Every sample, as JSON</summary><pre>{}</pre></details>\n</body></html>\n",
        escape(&table::text(report)),
        escape(&json)
    ))
}

/// Text between tags and in attributes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn about(report: &Report) -> String {
    let machine = &report.machine;
    let gpus = machine.devices.iter().map(|gpu| {
        let name = gpu.generation.clone().unwrap_or_else(|| "GPU".into());
        format!("{name} ({}), driver {}", gpu.id, gpu.driver.as_deref().unwrap_or("none"))
    });
    let gpus: Vec<String> = gpus.collect();
    let gpus = if gpus.is_empty() { "no GPU".to_owned() } else { gpus.join("; ") };
    let mut text = format!(
        "<h1>What this machine can do</h1>\n<p>{}, {} CPUs, {}; {}, Linux {}<br>camshaft {}; {}; {}</p>\n\
         <p class=\"faint\">Medians of {} runs of {} s; whiskers reach from the least to the most.</p>\n\
         <p class=\"key\"><span class=\"hardware\"></span>camshaft, on a GPU<span class=\"software\"></span>camshaft, \
         on the CPUs or mixed<span class=\"ffmpeg\"></span>ffmpeg, as many at once</p>\n",
        escape(&machine.cpu),
        machine.cpus,
        escape(&gpus),
        escape(&machine.system),
        escape(&machine.kernel),
        report.camshaft,
        escape(report.ffmpeg.as_deref().unwrap_or("no ffmpeg beside it")),
        report.taken,
        report.repeats,
        report.seconds,
    );
    for doubt in &report.noise {
        let _ = writeln!(text, "<p class=\"warning\">{}</p>", escape(doubt)); // a String takes everything
    }
    text
}

fn bar(label: String, figures: &Figures, series: Series) -> Bar {
    Bar { label, value: figures.median, from: figures.min, to: figures.max, series }
}

fn series(way: &super::report::Way) -> Series {
    let is_software = |place: &String| place == "software";
    let places = [&way.decode, &way.scale].into_iter().chain(&way.encode);
    if places.into_iter().any(is_software) { Series::Software } else { Series::Hardware }
}

/// A chart for each work, in which each kind of camera has its ways one below the other.
fn rates(report: &Report) -> String {
    let mut text = "<h2>Pictures a second</h2>\n".to_owned();
    for work in Work::ALL {
        let mut bars = Vec::new();
        for rate in report.rates.iter().filter(|rate| rate.work == work) {
            let label = format!("{}, {}", rate.kind, rate.way.short());
            bars.extend(rate.fps.as_ref().map(|fps| bar(label.clone(), fps, series(&rate.way))));
            let beside = rate.ffmpeg.as_ref().and_then(|beside| beside.fps.as_ref());
            bars.extend(beside.map(|fps| bar(format!("{}, ffmpeg", rate.kind), fps, Series::Ffmpeg)));
        }
        let title = match work {
            Work::Decode => "decode",
            Work::Scale => "scale: decode, and make raw pictures of half the width and height",
            Work::Encode => "encode: decode, and make H.264 of the same size",
            Work::Transcode => "transcode: decode, and make H.264 of half the width and height",
        };
        text += &chart(title, "fps", &bars);
    }
    text
}

fn latencies(report: &Report) -> String {
    let bars = report.rates.iter().filter_map(|rate| {
        let label = format!("{} {}, {}", rate.work.name(), rate.kind, rate.way.short());
        Some(bar(label, rate.latency_ms.as_ref()?, series(&rate.way)))
    });
    let bars: Vec<Bar> = bars.collect();
    chart("From a packet to what is made of it, one stream in real time", "ms", &bars)
}

fn cameras(report: &Report) -> String {
    let bars = report.cameras.iter().filter(|cameras| cameras.failure.is_none()).map(|cameras| {
        let more = if cameras.is_bounded { " (more were not tried)" } else { "" };
        let series = if cameras.decoded_by == "hardware" { Series::Hardware } else { Series::Software };
        let fit = f64::from(cameras.fit);
        let label = format!("{}, {}{more}", cameras.kind, cameras.decoded_by);
        Bar { label, value: fit, from: fit, to: fit, series }
    });
    let bars: Vec<Bar> = bars.collect();
    let heading = "<h2>Cameras</h2>\n";
    if bars.is_empty() {
        String::new()
    } else {
        heading.to_owned() + &chart("Cameras with a detector that fit", "", &bars)
    }
}

fn compared(report: &Report) -> String {
    let Some(comparison) = &report.compared else { return String::new() };
    let mut text = format!(
        "<h2>Beside {}</h2>\n<p>camshaft {}, {}</p>\n<table><tr><th>figure<th>before<th>now<th></tr>\n",
        escape(&comparison.with),
        escape(&comparison.camshaft),
        escape(&comparison.taken)
    );
    for change in &comparison.changes {
        let verdict = if change.verdict == Verdict::Same { "" } else { change.verdict.name() };
        let (before, now) = (table::number(Some(change.before)), table::number(Some(change.now)));
        let _ = writeln!(text, "<tr><td>{}<td>{before}<td>{now}<td>{verdict}</tr>", escape(&change.of));
    }
    text + "</table>\n"
}
