//! What an owner of a GPU pastes into an issue, so that `docs/tested-on.md` can name it.

use std::fs;
use std::time::Duration;

use serde::Serialize;

use super::report::{ffmpeg_version, machine};
use super::{Args, clip, gpu, stage};
use crate::cli::{print_json, probe};
use crate::error::{Error, Result};
use crate::hw::{DeviceReport, DevicesReport};
use crate::plan::DeviceChoice;

/// Facts of the machine, what its drivers have proved, and how fast it is. Nothing that names its owner, its cameras, or
/// where it is.
#[derive(Debug, Serialize)]
struct Issue {
    camshaft: &'static str,
    machine: String,
    kernel: String,
    system: String,
    ffmpeg: String,
    #[serde(flatten)]
    devices: DevicesReport,
    hardware: Vec<gpu::Line>,
}

/// Asks, tries, measures, and prints it.
///
/// # Errors
/// If there is no ffmpeg, or a worker cannot be started or fails.
pub fn run(args: &Args) -> Result<()> {
    let clip = clip::prepare(&stage::work(args.work.as_deref())?)?;
    let issue = Issue {
        camshaft: env!("CARGO_PKG_VERSION"),
        machine: machine(),
        kernel: line_of("/proc/sys/kernel/osrelease"),
        system: system_name(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
        ffmpeg: ffmpeg_version()?,
        devices: probe::look(DeviceChoice::Auto)?.report(),
        hardware: gpu::measure(&clip, Duration::from_secs(args.seconds))?,
    };
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
        let Self { camshaft, machine, kernel, system, ffmpeg, devices, hardware } = self;
        let devices: String = match devices.devices.as_slice() {
            [] => "No GPU is seen here.\n".to_owned(),
            devices => devices.iter().map(summary).collect(),
        };
        Ok(format!(
            "### Tested on\n\ncamshaft {camshaft}; {machine}; {system}, Linux {kernel}; {ffmpeg}\n\n{devices}\n{}\n\
             <details><summary>All of it, for docs/tested-on</summary>\n\n```json\n{json}\n```\n\n</details>\n",
            gpu::text(hardware)
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

/// A file of one line; empty if it cannot be read.
fn line_of(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// os-release(5).
fn system_name(release: &str) -> String {
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("unknown system", |name| name.trim_matches('"')).to_owned()
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
        let issue = Issue {
            camshaft: "0.1.0",
            machine: "some CPU, 4 CPUs".into(),
            kernel: "6.1".into(),
            system: system_name("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"),
            ffmpeg: "ffmpeg 5.1".into(),
            devices: DevicesReport { devices },
            hardware: vec![],
        };
        issue.markdown().unwrap()
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
            "camshaft 0.1.0; some CPU, 4 CPUs; Debian GNU/Linux 12, Linux 6.1; ffmpeg 5.1\n",
            "**Haswell, 8086:041a, i915, i965**\n- proved: H264Main VLD\n- failed: H264High EncSlice: packets of 0 bytes\n",
            "| hardware: work |",
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
