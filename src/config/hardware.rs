//! `hardware:`: what may run where, and when hardware that failed is left and tried again.

use std::time::Duration;

use super::mistake::Report;
use super::quantities::{millis, quantities, secs};
use super::section::{Key, Section};
use super::values::parse_name;
use crate::plan::{DeviceChoice, Policy};

/// What may run where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// Of every stream that names none of its own.
    pub policy: Policy,
    /// Which device may be used.
    pub device: DeviceChoice,
    /// When hardware is left, checked, and tried again.
    pub recovery: Recovery,
}

quantities! {
    /// When hardware is left, checked, and tried again. `Default` holds the documented defaults.
    Recovery besides [Key::scalar("policy"), Key::scalar("device"), Key::unbuilt("driver_env")];

    /// How long a stream leaves a device alone after a failure on it.
    cool_down: Duration = secs(30), from millis(100), to secs(86_400);
    /// Failures of one stream on one device within `failure_window` that cost it the device for `rest`.
    failures: u32 = 3, from 1, to 1000;
    /// After this long a failure is forgiven.
    failure_window: Duration = secs(600), from secs(1), to secs(86_400);
    /// How long a stream that has failed too often leaves the device alone.
    rest: Duration = secs(1800), from secs(1), to secs(604_800);
    /// How often a decoded picture is looked at.
    sample_every: Duration = secs(1), from millis(100), to secs(3600);
    /// How often a picture of each hardware stream is compared with what the CPU makes of the same packets.
    verify_every: Duration = secs(600), from secs(1), to secs(86_400);
    /// Streams failing on one device within `breaker_window` that open its breaker.
    breaker_streams: u32 = 3, from 1, to 1000;
    /// See `breaker_streams`.
    breaker_window: Duration = secs(60), from secs(1), to secs(3600);
    /// How often a device whose breaker is open is tried.
    canary_every: Duration = secs(300), from secs(1), to secs(86_400);
}

/// Reads `hardware:`.
pub(super) fn read(section: &Section, report: &mut Report) -> Hardware {
    let device = section.parsed("device", report, str::parse);
    let policy = section.parsed("policy", report, |text| parse_name(text, &Policy::ALL));
    let recovery = read_each(section, report);
    Hardware { policy: policy.unwrap_or_default(), device: device.unwrap_or_default(), recovery }
}
