//! How long the GPU's engines worked for this process, from its own `/proc/self/fdinfo`, which takes no privilege.
//!
//! The keys are those of the kernel's `Documentation/gpu/drm-usage-stats.rst`: i915 counts nanoseconds
//! (`drm-engine-video`), xe counts cycles against all cycles of the same time (`drm-cycles-vcs`, `drm-total-cycles-vcs`).
//! i915 before Linux 5.19, and at any time on Haswell, says nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// More than any driver writes about one descriptor.
const LONGEST: usize = 16 << 10;

/// Descriptors of devices, and what their clients have used.
#[derive(Debug)]
pub struct GpuTime {
    files: Vec<File>,
    usage: Usage,
    read: Instant,
}

impl GpuTime {
    /// Opens the accounts of all devices that the process has open now. They stay readable in a sandbox.
    pub fn open() -> Self {
        let entries = std::fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| File::open(entry.path()).ok());
        let files = files.filter(|file| read(file).is_some_and(|text| text.contains("drm-driver:"))).collect();
        Self { files, usage: Usage::default(), read: Instant::now() }
    }

    /// Seconds that engines worked so far; `None` where the kernel does not say.
    pub fn seconds(&mut self) -> Option<f64> {
        let elapsed = std::mem::replace(&mut self.read, Instant::now()).elapsed();
        let mut counts = BTreeMap::new();
        for text in self.files.iter().filter_map(read) {
            counts.extend(parse(&text));
        }
        self.usage.add(counts, elapsed)
    }
}

fn read(file: &File) -> Option<String> {
    let mut bytes = vec![0; LONGEST];
    let length = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(length);
    String::from_utf8(bytes).ok()
}

/// A client of a device, and an engine. Duplicated descriptors share their client.
type Engine = (String, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Nanoseconds(u64),
    Cycles { busy: u64, total: u64 },
}

/// The engines' counts in the text of one descriptor.
fn parse(text: &str) -> BTreeMap<Engine, Count> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let fields: BTreeMap<&str, &str> = lines.map(|(key, value)| (key.trim(), value.trim())).collect();
    let field = |key: &str| fields.get(key).copied().unwrap_or_default();
    let number = |value: &str| value.split_whitespace().next()?.parse::<u64>().ok();
    let client = format!("{} {}", field("drm-pdev"), field("drm-client-id"));
    let count = |key: &str, value: &str| {
        if let Some(engine) = key.strip_prefix("drm-engine-").filter(|engine| !engine.starts_with("capacity-")) {
            return Some((engine.to_owned(), Count::Nanoseconds(number(value)?)));
        }
        let engine = key.strip_prefix("drm-cycles-")?;
        let total = number(field(&format!("drm-total-cycles-{engine}")))?;
        Some((engine.to_owned(), Count::Cycles { busy: number(value)?, total }))
    };
    let counts = fields.iter().filter_map(|(key, value)| count(key, value));
    counts.map(|(engine, count)| ((client.clone(), engine), count)).collect()
}

#[derive(Debug, Default)]
struct Usage {
    last: BTreeMap<Engine, Count>,
    seconds: f64,
}

impl Usage {
    /// Adds what was used in `elapsed`; `None` while there has never been a count.
    fn add(&mut self, counts: BTreeMap<Engine, Count>, elapsed: Duration) -> Option<f64> {
        for (engine, count) in counts {
            // Counts may step back for a moment: what was counted once is not counted again.
            match (self.last.get(&engine).copied(), count) {
                (last, Count::Nanoseconds(now)) => {
                    let before = if let Some(Count::Nanoseconds(before)) = last { before } else { 0 };
                    self.seconds += now.saturating_sub(before) as f64 / 1e9;
                    self.last.insert(engine, Count::Nanoseconds(now.max(before)));
                }
                (Some(Count::Cycles { busy: before, total: start }), Count::Cycles { busy, total }) => {
                    if busy >= before && total > start {
                        let share = (busy - before) as f64 / (total - start) as f64;
                        self.seconds += share * elapsed.as_secs_f64();
                        self.last.insert(engine, count);
                    }
                }
                (_, Count::Cycles { .. }) => _ = self.last.insert(engine, count),
            }
        }
        (!self.last.is_empty()).then_some(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const I915: &str = "pos:\t0\nflags:\t02100002\ndrm-driver:\ti915\ndrm-client-id:\t39\ndrm-pdev:\t0000:00:02.0\n\
        drm-engine-render:\t250000000 ns\ndrm-engine-video:\t1500000000 ns\ndrm-engine-capacity-video:\t2\n";

    fn xe(busy: u64, total: u64) -> String {
        format!(
            "drm-driver: xe\ndrm-client-id: 7\ndrm-pdev: 0000:03:00.0\ndrm-cycles-vcs: {busy}\n\
             drm-total-cycles-vcs: {total}\ndrm-cycles-rcs: 0\n"
        )
    }

    #[test]
    fn nanoseconds_of_all_engines_add_up_and_do_not_step_back() {
        let mut usage = Usage::default();
        let second = Duration::from_secs(1);
        assert_eq!(usage.add(parse(I915), second), Some(1.75));
        let later = I915.replace("1500000000", "2000000000");
        assert_eq!(usage.add(parse(&later), second), Some(2.25));
        assert_eq!(usage.add(parse(I915), second), Some(2.25));
        assert_eq!(usage.add(parse(&later), second), Some(2.25));
    }

    #[test]
    fn cycles_count_as_the_share_of_the_time_between_two_readings() {
        let mut usage = Usage::default();
        assert_eq!(usage.add(parse(&xe(1000, 50_000)), Duration::from_secs(9)), Some(0.0));
        assert_eq!(usage.add(parse(&xe(6000, 70_000)), Duration::from_secs(2)), Some(0.5));
        assert_eq!(usage.add(parse(&xe(6000, 70_000)), Duration::from_secs(2)), Some(0.5));
    }

    #[test]
    fn two_descriptors_of_one_client_count_once() {
        let mut counts = parse(I915);
        counts.extend(parse(I915));
        assert_eq!(Usage::default().add(counts, Duration::ZERO), Some(1.75));
    }

    #[test]
    fn a_kernel_that_says_nothing_is_not_zero() {
        for text in ["", "drm-driver:\ti915\ndrm-client-id:\t1\n", "drm-engine-video:\tmany\n", "drm-cycles-vcs: 1\n"] {
            assert_eq!(Usage::default().add(parse(text), Duration::ZERO), None, "{text}");
        }
        // No device is open here.
        assert_eq!(GpuTime::open().seconds(), None);
    }
}
