//! A report beside an earlier one of the same machine.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::report::{FORMAT, Figures, Machine, Report, VERSION};
use super::table::number;
use crate::error::{Error, Result};

/// Longer than any report.
const MAX_BYTES: u64 = 16 << 20;
/// Figures that are no further apart are the same, whatever their spread.
const SAME: f64 = 0.05;

/// An earlier report.
#[derive(Debug)]
pub struct Earlier {
    path: PathBuf,
    report: Report,
}

/// What became of an earlier report's figures.
#[derive(Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The file that the earlier ones are from.
    pub with: String,
    /// When those were taken.
    pub taken: String,
    /// camshaft's version then.
    pub camshaft: String,
    /// One for each figure that both have.
    pub changes: Vec<Change>,
}

/// One figure, then and now.
#[derive(Debug, Serialize, Deserialize)]
pub struct Change {
    /// What it is of.
    pub of: String,
    /// The median then.
    pub before: f64,
    /// The median now.
    pub now: f64,
    /// Whether that means anything.
    pub verdict: Verdict,
}

/// Whether a difference means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All runs now are better than all then.
    Better,
    /// All runs now are worse than all then.
    Worse,
    /// The runs overlap.
    Same,
}

impl Verdict {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
        }
    }

    /// Of figures of which more is better.
    fn of(before: &Figures, now: &Figures) -> Self {
        if now.min > before.max * (1.0 + SAME) {
            Self::Better
        } else if now.max < before.min * (1.0 - SAME) {
            Self::Worse
        } else {
            Self::Same
        }
    }
}

impl Earlier {
    /// Reads what `camshaft bench machine --json` printed.
    ///
    /// # Errors
    /// If `path` cannot be read or is something else.
    pub fn read(path: &Path) -> Result<Self> {
        let place = path.display();
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        read.map_err(|error| Error::invalid(format!("cannot read {place}, which --compare names")).with_source(error))?;
        let other =
            |what: String| Error::invalid(format!("{place} is no report of `camshaft bench machine --json`: {what}"));
        let value: Value = serde_json::from_str(&text).map_err(|error| other(format!("it is no JSON ({error})")))?;
        if value["format"] != FORMAT {
            return Err(other(format!("its format is {}, not \"{FORMAT}\"", value["format"])));
        }
        if value["version"] != VERSION {
            return Err(other(format!("it is of version {}, and this camshaft reads {VERSION}", value["version"])));
        }
        let report = serde_json::from_value(value).map_err(|error| other(error.to_string()))?;
        Ok(Self { path: path.to_owned(), report })
    }

    /// # Errors
    /// If it is of another machine than `here`.
    pub fn check_machine(&self, here: &Machine) -> Result<()> {
        match here.difference(&self.report.machine) {
            None => Ok(()),
            Some(difference) => Err(Error::invalid(format!(
                "{} is of another machine: {difference}. --other-machine compares them all the same",
                self.path.display()
            ))),
        }
    }

    /// What became of its figures.
    pub fn compare(&self, now: &Report) -> Comparison {
        let mut changes = Vec::new();
        for rate in &now.rates {
            let is_same =
                |old: &&super::report::Rate| (old.kind, old.work, &old.way) == (rate.kind, rate.work, &rate.way);
            let before = self.report.rates.iter().find(is_same).and_then(|old| old.fps.as_ref());
            if let (Some(before), Some(now)) = (before, &rate.fps) {
                let of = format!("{} {} on {}, fps", rate.kind, rate.work.name(), rate.way.short());
                changes.push(Change { of, before: before.median, now: now.median, verdict: Verdict::of(before, now) });
            }
        }
        for cameras in &now.cameras {
            let is_same = |old: &&super::report::Cameras| {
                (old.kind, &old.decoded_by) == (cameras.kind, &cameras.decoded_by)
                    && (old.is_bounded, cameras.is_bounded) == (false, false)
                    && (old.failure.is_none(), cameras.failure.is_none()) == (true, true)
            };
            if let Some(old) = self.report.cameras.iter().find(is_same) {
                let [before, now] = [old.fit, cameras.fit].map(f64::from);
                // The search itself is right to a tenth, and to one.
                let verdict = match now - before {
                    more if more > (before * 0.1).max(1.0) => Verdict::Better,
                    more if -more > (before * 0.1).max(1.0) => Verdict::Worse,
                    _ => Verdict::Same,
                };
                let of = format!("{} cameras that fit, {}", cameras.kind, cameras.decoded_by);
                changes.push(Change { of, before, now, verdict });
            }
        }
        Comparison {
            with: self.path.display().to_string(),
            taken: self.report.taken.clone(),
            camshaft: self.report.camshaft.clone(),
            changes,
        }
    }
}

impl Comparison {
    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("beside {} (camshaft {}, {}):\n", self.with, self.camshaft, self.taken);
        if self.changes.is_empty() {
            text += "  nothing was measured both times\n";
        }
        for Change { of, before, now, verdict } in &self.changes {
            let (before, now) = (number(Some(*before)), number(Some(*now)));
            text += &format!("  {:6} {of}: {before} before, {now} now\n", verdict.name());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_overlap_are_the_same() {
        let verdict =
            |before: &[f64], now: &[f64]| Verdict::of(&Figures::of(before).unwrap(), &Figures::of(now).unwrap());
        assert_eq!(verdict(&[100.0, 110.0, 120.0], &[119.0, 140.0, 150.0]), Verdict::Same);
        assert_eq!(verdict(&[100.0, 110.0, 120.0], &[130.0, 140.0, 150.0]), Verdict::Better);
        assert_eq!(verdict(&[100.0, 110.0, 120.0], &[60.0, 70.0, 94.0]), Verdict::Worse);
        assert_eq!(verdict(&[100.0], &[104.0]), Verdict::Same);
    }

    #[test]
    fn what_is_no_report_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let complaint = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Earlier::read(&path).unwrap_err().chain()
        };
        for (name, text, reason) in [
            ("text.json", "hello", "it is no JSON"),
            ("other.json", "{\"rows\": []}", "its format is null"),
            (
                "newer.json",
                "{\"format\":\"camshaft-bench-machine\",\"version\":2}",
                "version 2, and this camshaft reads 1",
            ),
            ("short.json", "{\"format\":\"camshaft-bench-machine\",\"version\":1}", "missing field"),
        ] {
            let complaint = complaint(name, text);
            assert!(complaint.contains(name) && complaint.contains(reason), "{complaint}");
        }
        let missing = Earlier::read(&folder.path().join("nothing.json")).unwrap_err().chain();
        assert!(missing.contains("nothing.json, which --compare names"), "{missing}");
    }
}
