//! Clock frequency and idle time of GPUs, where sysfs shows them: whole-GPU figures that need no privilege.

use std::fs;
use std::path::Path;

use crate::metrics::Metrics;

/// Where a driver shows its first GT, below the GPU's directory: i915 below its card (new and old layout), xe below its
/// tile (Linux `Documentation/ABI/testing/sysfs-driver-intel-i915` and `…-xe`).
const ACTUAL_MHZ: [&str; 3] = ["gt/gt0/rps_act_freq_mhz", "gt_act_freq_mhz", "tile0/gt0/freq0/act_freq"];
const IDLE_MS: [&str; 3] = ["gt/gt0/rc6_residency_ms", "power/rc6_residency_ms", "tile0/gt0/gtidle/idle_residency_ms"];

/// A GPU's clocks at one moment; `None` where the kernel does not say.
#[derive(Debug, PartialEq)]
pub(super) struct Clocks {
    hertz: Option<f64>,
    idle_seconds: Option<f64>,
}

impl Clocks {
    /// Reads below `gpu`, the GPU's directory in sysfs.
    pub fn read(gpu: &Path) -> Self {
        let cards = fs::read_dir(gpu.join("drm")).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_card = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("card"));
        let card = cards.into_iter().find(|path| is_card(path));
        let read = |files: &[&str]| {
            let places = card.iter().map(|card| card.as_path()).chain([gpu]);
            let mut files = places.flat_map(|place| files.iter().map(move |file| place.join(file)));
            files.find_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok())
        };
        Self {
            hertz: read(&ACTUAL_MHZ).map(|mhz| mhz as f64 * 1e6),
            idle_seconds: read(&IDLE_MS).map(|ms| ms as f64 / 1e3),
        }
    }

    /// Into the series of `device`; what is not known has none.
    pub fn show(&self, device: &str, metrics: &Metrics) {
        if let Some(hertz) = self.hertz {
            metrics.gpu_frequency.with_label_values(&[device]).set(hertz);
        }
        if let Some(seconds) = self.idle_seconds {
            let counter = metrics.gpu_idle_seconds.with_label_values(&[device]);
            // The kernel counts from its own start, and a counter cannot be set.
            counter.inc_by((seconds - counter.get()).max(0.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Clocks {
        let gpu = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = gpu.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Clocks::read(gpu.path())
    }

    #[test]
    fn every_drivers_layout_is_read() {
        let both = Clocks { hertz: Some(1.15e9), idle_seconds: Some(12.5) };
        let new = [("drm/card0/gt/gt0/rps_act_freq_mhz", "1150\n"), ("drm/card0/gt/gt0/rc6_residency_ms", "12500\n")];
        let old = [("drm/card1/gt_act_freq_mhz", "1150\n"), ("drm/card1/power/rc6_residency_ms", "12500\n")];
        let xe = [("tile0/gt0/freq0/act_freq", "1150\n"), ("tile0/gt0/gtidle/idle_residency_ms", "12500\n")];
        for files in [new, old, xe] {
            assert_eq!(read(&files), both);
        }
    }

    #[test]
    fn clocks_become_series() {
        let metrics = Metrics::new();
        Clocks { hertz: Some(3e8), idle_seconds: Some(10.0) }.show("/dev/dri/renderD128", &metrics);
        Clocks { hertz: None, idle_seconds: Some(12.5) }.show("/dev/dri/renderD128", &metrics);
        let text = metrics.text();
        let label = "{device=\"/dev/dri/renderD128\"}";
        assert!(text.contains(&format!("camshaft_gpu_frequency_hertz{label} 300000000")), "{text}");
        assert!(text.contains(&format!("camshaft_gpu_idle_seconds_total{label} 12.5")), "{text}");
    }

    #[test]
    fn what_is_not_there_is_not_zero() {
        assert_eq!(read(&[]), Clocks { hertz: None, idle_seconds: None });
        assert_eq!(read(&[("drm/card0/gt_act_freq_mhz", "nonsense")]).hertz, None);
    }
}
