//! What an owner of a GPU pastes into an issue, so that `docs/tested-on.md` can name it.

use serde::Serialize;

use super::machine::{Report, survey, table};
use super::{Args, stage};
use crate::cli::{print_json, probe};
use crate::error::{Error, Result};
use crate::hw::{DeviceReport, DevicesReport};
use crate::plan::DeviceChoice;

/// Facts of the machine, what its drivers have proved, and how fast it is. Nothing that names its owner, its cameras, or
/// where it is.
#[derive(Debug, Serialize)]
struct Issue {
    #[serde(flatten)]
    devices: DevicesReport,
    report: Report,
}

/// Asks, tries, measures, and prints it.
///
/// # Errors
/// If a worker cannot be started.
pub fn run(args: &Args) -> Result<()> {
    let devices = probe::look(DeviceChoice::Auto)?;
    let report = survey(&devices, &stage::work(args.work.as_deref())?)?;
    let issue = Issue { devices: devices.report(), report };
    if args.json {
        return print_json(&issue);
    }
    eprintln!("\nRead it, and paste everything below this line into an issue:\n");
    print!("{}", issue.markdown()?);
    Ok(())
}

impl Issue {
    fn markdown(&self) -> Result<String> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| Error::internal("the report has no JSON form").with_source(error))?;
        let Self { devices, report } = self;
        let devices: String = match devices.devices.as_slice() {
            [] => "No GPU is seen here.\n".to_owned(),
            devices => devices.iter().map(summary).collect(),
        };
        let (system, kernel) = (&report.machine.system, &report.machine.kernel);
        Ok(format!(
            "### Tested on\n\n{system}, Linux {kernel}\n\n{devices}\n```text\n{}```\n\n\
             <details><summary>All of it, for docs/tested-on</summary>\n\n```json\n{json}\n```\n\n</details>\n",
            table::text(report)
        ))
    }
}

/// A device in a few lines: what it is, what it proved, and what failed and why.
fn summary(device: &DeviceReport) -> String {
    let ids = || Some(format!("{}:{}", device.vendor_id.as_ref()?, device.device_id.as_ref()?));
    let drivers = [&device.kernel_driver, &device.va_driver, &device.vendor_string];
    let names = [device.generation.clone(), ids()].into_iter().flatten();
    let facts: Vec<String> = names.chain(drivers.into_iter().flatten().cloned()).collect();
    let of = |proved: bool| device.profiles.iter().filter(move |profile| profile.proved == Some(proved));
    let name = |profile: &crate::hw::ProfileReport| {
        let short = |text: &str, prefix: &str| text.strip_prefix(prefix).unwrap_or(text).to_owned();
        format!("{} {}", short(&profile.profile, "VAProfile"), short(&profile.entrypoint, "VAEntrypoint"))
    };
    let proved: Vec<String> = of(true).map(name).collect();
    let proved = if proved.is_empty() { "nothing".to_owned() } else { proved.join(", ") };
    let failed =
        of(false).map(|profile| format!("- failed: {}: {}\n", name(profile), profile.reason.as_deref().unwrap_or("?")));
    let trouble = device.error.iter().map(|trouble| format!("- not usable: {}\n", trouble.message));
    let rest: String = trouble.chain(failed).collect();
    format!("**{}**\n- proved: {proved}\n{rest}", facts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::ProfileReport;

    fn profile(profile: &str, entrypoint: &str, failure: Option<&str>) -> ProfileReport {
        ProfileReport {
            profile: profile.into(),
            entrypoint: entrypoint.into(),
            rate_control: vec![],
            max_width: None,
            max_height: None,
            proved: Some(failure.is_none()),
            reason: failure.map(str::to_owned),
        }
    }

    fn issue(devices: Vec<DeviceReport>) -> String {
        let devices = DevicesReport { devices };
        let report = Report::example(&devices);
        Issue { devices, report }.markdown().unwrap()
    }

    #[test]
    fn an_issue_says_what_was_proved_and_what_failed_and_holds_the_file() {
        let device = DeviceReport {
            path: Some("/dev/dri/renderD128".into()),
            by_path: None,
            pci: None,
            vendor_id: Some("8086".into()),
            device_id: Some("041a".into()),
            generation: Some("Haswell".into()),
            kernel_driver: Some("i915".into()),
            va_driver: Some("i965".into()),
            vendor_string: None,
            profiles: vec![
                profile("VAProfileH264Main", "VAEntrypointVLD", None),
                profile("VAProfileH264High", "VAEntrypointEncSlice", Some("packets of 0 bytes")),
            ],
            tried: None,
            breaker: "closed".into(),
            error: None,
            breaker_reason: None,
        };
        let text = issue(vec![device]);
        for part in [
            "### Tested on\n\nDebian GNU/Linux 12, Linux 6.1\n",
            "some CPU, 4 CPUs, Haswell; load 0 before the start\n",
            "**Haswell, 8086:041a, i915, i965**\n- proved: H264Main VLD\n- failed: H264High EncSlice: packets of 0 bytes\n",
            "h264 1920x1080  decode  renderD128",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let json = text.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
        let file: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(file["devices"][0]["generation"], "Haswell");
    }

    #[test]
    fn a_machine_without_a_gpu_says_so() {
        assert!(issue(vec![]).contains("No GPU is seen here."));
    }
}
