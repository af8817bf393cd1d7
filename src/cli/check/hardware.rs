//! What stands between camshaft and the GPUs.

use super::{Finding, Level};
use crate::config::Hardware;
use crate::hw::{DeviceReport, DevicesReport};
use crate::plan::Policy;

/// One finding a device: the gate that refuses it, its driver, or what its trials came to.
pub fn findings(report: &DevicesReport, hardware: &Hardware) -> Vec<Finding> {
    if hardware.policy == Policy::Software {
        return vec![Finding::ok("gpu", "hardware.policy is software: no GPU is used")];
    }
    // A GPU that is not wanted at any price is missed, not required.
    let lacking = match hardware.policy {
        Policy::RequireHardware => Level::Problem,
        Policy::PreferHardware | Policy::Software => Level::Warning,
    };
    if report.devices.is_empty() {
        let message = format!(
            "there is no render node in /dev/dri and no GPU on PCI: {}; give the container a node (camshaft probe \
             --emit compose, on the host, shows how)",
            without_it(lacking)
        );
        return vec![Finding::new(lacking, "gpu", message)];
    }
    // One usable device is enough.
    let lacking = if report.devices.iter().any(is_usable) { Level::Warning } else { lacking };
    report.devices.iter().map(|device| finding(device, lacking)).collect()
}

fn without_it(lacking: Level) -> &'static str {
    match lacking {
        Level::Problem => "hardware.policy is require-hardware, so no stream will have pictures",
        Level::Ok | Level::Warning => "everything runs on the CPU",
    }
}

fn is_usable(device: &DeviceReport) -> bool {
    device.error.is_none() && device.profiles.iter().any(|profile| profile.proved == Some(true))
}

fn finding(device: &DeviceReport, lacking: Level) -> Finding {
    let subject = device.path.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or("gpu");
    if let Some(trouble) = &device.error {
        return Finding::new(lacking, subject, &trouble.message);
    }
    let driver = format!(
        "kernel driver {}, VA driver {}",
        device.kernel_driver.as_deref().unwrap_or("unknown"),
        device.va_driver.as_deref().unwrap_or("unknown"),
    );
    let (proved, failed): (Vec<_>, Vec<_>) = device
        .profiles
        .iter()
        .filter(|profile| profile.proved.is_some())
        .partition(|profile| profile.proved == Some(true));
    let total = proved.len() + failed.len();
    let reason = failed.iter().find_map(|profile| {
        let name = profile.profile.trim_start_matches("VAProfile");
        Some(format!("{name} {}: {}", profile.entrypoint.trim_start_matches("VAEntrypoint"), profile.reason.as_ref()?))
    });
    match (proved.len(), reason) {
        (0, reason) => {
            let reason = reason.unwrap_or_else(|| "the driver claims nothing that camshaft uses".into());
            Finding::new(lacking, subject, format!("{driver}; nothing is proved ({reason}): {}", without_it(lacking)))
        }
        (_, None) => Finding::ok(subject, format!("{driver}; all {total} trials passed")),
        (some, Some(reason)) => {
            let message = format!(
                "{driver}; {some} of {total} trials passed ({reason}): what failed runs on the CPU; camshaft probe has \
                 the table"
            );
            Finding::warning(subject, message)
        }
    }
}
