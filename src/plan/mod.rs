//! What runs where: a pure function of what is asked, what the devices have proved, and the policy. No I/O.

mod candidates;
mod capabilities;
mod cost;
mod job;
mod report;
pub mod va;

use serde::{Deserialize, Serialize};
use std::str::FromStr;

pub use crate::media::VideoCodec as Codec;
pub use candidates::plan;
pub use capabilities::{
    Breaker, Capabilities, Claim, DeviceCapabilities, DeviceChoice, DeviceError, DeviceTable, PciAddress, Proof,
    TableEntry,
};
pub use cost::{Cost, Resource, Work};
pub use job::{Input, Job, Rate, Scale, parse_bit_depth, parse_encode};
pub use report::{CandidateReport, PlanReport, StageReport};

/// Where a stage of the work runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// On the CPU.
    Software,
    /// Through VA-API on the render node of this path.
    Vaapi {
        /// E.g. `/dev/dri/renderD128`.
        device: String,
    },
}

impl Backend {
    /// `hardware` or `software`, as in status, metrics and logs.
    pub fn accel(&self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Vaapi { .. } => "hardware",
        }
    }

    /// The render node's path, for hardware.
    pub fn device(&self) -> Option<&str> {
        match self {
            Self::Software => None,
            Self::Vaapi { device } => Some(device),
        }
    }
}

/// How much the hardware is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Hardware where it has proved itself, else software.
    #[default]
    PreferHardware,
    /// Hardware, or an error.
    RequireHardware,
    /// Never the hardware.
    Software,
}

impl Policy {
    /// Every policy with its name.
    pub const ALL: [(&'static str, Self); 3] = [
        ("prefer-hardware", Self::PreferHardware),
        ("require-hardware", Self::RequireHardware),
        ("software", Self::Software),
    ];
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, policy)| *policy)
            .ok_or_else(|| format!("'{text}' is no policy: allowed are {}", Self::ALL.map(|(name, _)| name).join(", ")))
    }
}

/// How a device's video encoder is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EncodeMode {
    /// [`va::Entrypoint::EncSlice`] or, in fixed hardware, [`va::Entrypoint::EncSliceLp`].
    pub entrypoint: va::Entrypoint,
    /// How it spends bits.
    pub rate_control: va::RateControlMode,
}

/// One way to do a job, stage by stage.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// Packets to pictures.
    pub decode: Backend,
    /// Crop, scale and convert.
    pub scale: Backend,
    /// Pictures to packets, where the job asks for packets.
    pub encode: Option<Backend>,
    /// How, where video is encoded on a device.
    pub mode: Option<EncodeMode>,
}

impl Candidate {
    /// The same with encoding, if there is any, on the CPU.
    pub fn encoding_in_software(self) -> Self {
        Self { encode: self.encode.map(|_| Backend::Software), mode: None, ..self }
    }
}

/// Every way to do a job, best first, and what was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Best first; empty only if the policy excludes all.
    pub candidates: Vec<Candidate>,
    /// What was left out and why, for people.
    pub rejected: Vec<String>,
}

#[cfg(test)]
mod tests;
