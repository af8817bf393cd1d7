//! Devices as `GET /v1/devices` and `camshaft probe --json` show them.

use serde::Serialize;
use utoipa::ToSchema;

use super::remedy::Trouble;
use crate::plan::{Claim, Proof};

/// Every device of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct DevicesReport {
    /// Render nodes, and GPUs that have none.
    pub devices: Vec<DeviceReport>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeviceReport {
    /// The render node; null for a GPU that has none.
    #[schema(example = "/dev/dri/renderD128")]
    pub path: Option<String>,
    /// Its stable name.
    #[schema(example = "/dev/dri/by-path/pci-0000:00:02.0-render")]
    pub by_path: Option<String>,
    /// PCI address.
    #[schema(example = "0000:00:02.0")]
    pub pci: Option<String>,
    /// PCI vendor, four hexadecimal digits.
    #[schema(example = "8086")]
    pub vendor_id: Option<String>,
    /// PCI device, four hexadecimal digits.
    #[schema(example = "041a")]
    pub device_id: Option<String>,
    /// The GPU's generation, where it is known.
    #[schema(example = "Haswell")]
    pub generation: Option<String>,
    /// The kernel's driver.
    #[schema(example = "i915")]
    pub kernel_driver: Option<String>,
    /// The VA driver that libva loaded.
    #[schema(example = "i965")]
    pub va_driver: Option<String>,
    /// What the VA driver calls itself.
    pub vendor_string: Option<String>,
    /// What the VA driver says that it can do, and whether that is so.
    pub profiles: Vec<ProfileReport>,
    /// When its driver was asked and its claims were tried, RFC 3339; null for a GPU that has no render node.
    pub tried: Option<String>,
    /// `closed`; `open`: no work goes to the device until a canary trial goes well; `held`: until it is closed by hand.
    pub breaker: String,
    /// Why the device cannot be used.
    pub error: Option<Trouble>,
    /// Why the breaker is not closed.
    pub breaker_reason: Option<String>,
}

/// What a driver says about one profile and entrypoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProfileReport {
    /// As in `vainfo`.
    #[schema(example = "VAProfileH264Main")]
    pub profile: String,
    /// As in `vainfo`.
    #[schema(example = "VAEntrypointVLD")]
    pub entrypoint: String,
    /// Of encoders: CBR, VBR, CQP, …
    pub rate_control: Vec<String>,
    /// Pixels, if the driver says.
    pub max_width: Option<u32>,
    /// Pixels, if the driver says.
    pub max_height: Option<u32>,
    /// Whether a trial has proved it; null where there was none yet. Nothing else is used.
    pub proved: Option<bool>,
    /// Why it is not proved.
    pub reason: Option<String>,
}

impl From<&Claim> for ProfileReport {
    fn from(claim: &Claim) -> Self {
        let (proved, reason) = match &claim.proof {
            Proof::Untried => (None, Some("not tried yet".to_owned())),
            Proof::Proved => (Some(true), None),
            Proof::Failed { reason } => (Some(false), Some(reason.clone())),
        };
        let entry = &claim.entry;
        Self {
            profile: entry.profile.name().to_owned(),
            entrypoint: entry.entrypoint.name().to_owned(),
            rate_control: entry.rate_control.iter().map(|mode| mode.short_name().to_owned()).collect(),
            max_width: entry.max_size.map(|size| size.width),
            max_height: entry.max_size.map(|size| size.height),
            proved,
            reason,
        }
    }
}
