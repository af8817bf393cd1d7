//! Horizontal bars with whiskers, as SVG in a page.

use std::fmt::Write;

use super::html::escape;
use super::table::number;

/// In units of the drawing, which is as wide as its page.
const WIDTH: f64 = 900.0;
const LABELS: f64 = 360.0;
const VALUES: f64 = 90.0;
const ROW: f64 = 24.0;
const THICKNESS: f64 = 14.0;

/// Whose a bar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// All on a GPU.
    Hardware,
    /// Some or all on the CPUs.
    Software,
    /// The ffmpeg program.
    Ffmpeg,
}

/// A figure.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it is of.
    pub label: String,
    /// Its length, from 0.
    pub value: f64,
    /// Where its whisker begins …
    pub from: f64,
    /// … and ends.
    pub to: f64,
    /// Its colour.
    pub series: Series,
}

/// A chart under its title, in `unit`; nothing if there are no bars.
pub fn chart(title: &str, unit: &str, bars: &[Bar]) -> String {
    if bars.is_empty() {
        return String::new();
    }
    let most = bars.iter().map(|bar| bar.to.max(bar.value)).fold(f64::MIN_POSITIVE, f64::max);
    let at = |value: f64| LABELS + value / most * (WIDTH - LABELS - VALUES);
    let height = ROW * bars.len() as f64 + ROW / 2.0;
    let title = escape(title);
    let mut svg = format!(
        "<h3>{title}</h3>\n<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\
         <line class=\"axis\" x1=\"{LABELS}\" x2=\"{LABELS}\" y1=\"0\" y2=\"{height}\"/>\n"
    );
    for (row, bar) in bars.iter().enumerate() {
        let top = ROW * row as f64 + (ROW - THICKNESS) / 2.0;
        let (middle, baseline) = (top + THICKNESS / 2.0, top + THICKNESS - 2.0);
        let class = match bar.series {
            Series::Hardware => "hardware",
            Series::Software => "software",
            Series::Ffmpeg => "ffmpeg",
        };
        let (label, value) = (escape(&bar.label), number(Some(bar.value)));
        let (end, length) = (at(bar.value), at(bar.value) - LABELS);
        let value_at = end.max(at(bar.to)) + 6.0;
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<g><title>{label}: {value} {unit}</title>\
             <text x=\"{:.1}\" y=\"{baseline:.1}\" text-anchor=\"end\">{label}</text>\
             <rect class=\"{class}\" x=\"{LABELS}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{THICKNESS}\"/>",
            LABELS - 8.0
        );
        if bar.to > bar.from {
            let (from, to) = (at(bar.from), at(bar.to));
            let _ = write!(
                svg,
                "<line class=\"whisker\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>"
            );
        }
        let _ = writeln!(svg, "<text x=\"{value_at:.1}\" y=\"{baseline:.1}\">{value} {unit}</text></g>");
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_leaves_room_for_its_value() {
        let bar = |label: &str, value, to| Bar { label: label.into(), value, from: value, to, series: Series::Ffmpeg };
        let svg = chart("a < b", "fps", &[bar("x", 50.0, 50.0), bar("y & z", 80.0, 100.0)]);
        assert!(svg.contains("<h3>a &lt; b</h3>") && svg.contains("y &amp; z: 80 fps"), "{svg}");
        assert!(svg.contains("width=\"225.0\"") && svg.contains("x2=\"810.0\""), "{svg}");
        assert_eq!(svg.matches("class=\"whisker\"").count(), 1);
        assert_eq!(chart("none", "fps", &[]), "");
    }
}
