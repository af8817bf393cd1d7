//! What runs where: a pure function of what is asked, what the devices have proved, and the policy. No I/O.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

use crate::media::VideoCodec;

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

/// One way to do a job, stage by stage.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// Packets to pictures.
    pub decode: Backend,
    /// Crop, scale and convert.
    pub scale: Backend,
    /// Pictures to packets, where the job asks for packets.
    pub encode: Option<Backend>,
}

/// What is to be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// What comes in.
    pub decode: VideoCodec,
    /// What goes out, if it is encoded.
    pub encode: Option<VideoCodec>,
}

/// What the devices of this machine have proved they can do. None is known yet: discovery and trials fill this in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {}

/// Every way to do a job, best first, and what was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Best first; empty only if the policy excludes all.
    pub candidates: Vec<Candidate>,
    /// What was left out and why, for people.
    pub rejected: Vec<String>,
}

/// Every way to do `job`, best first.
pub fn plan(job: Job, capabilities: &Capabilities, policy: Policy) -> Plan {
    let Capabilities {} = capabilities;
    let software = Candidate {
        decode: Backend::Software,
        scale: Backend::Software,
        encode: job.encode.map(|_| Backend::Software),
    };
    match policy {
        Policy::PreferHardware => Plan {
            candidates: vec![software],
            rejected: vec!["hardware: no device has proved itself on this machine".into()],
        },
        Policy::Software => {
            Plan { candidates: vec![software], rejected: vec!["hardware: the policy is 'software'".into()] }
        }
        Policy::RequireHardware => Plan {
            candidates: vec![],
            rejected: vec![
                "hardware: no device has proved itself on this machine".into(),
                "software: the policy is 'require-hardware'".into(),
            ],
        },
    }
}

/// The candidate to try after `failed`; `None` when the list is at its end and `failed` itself is to be retried.
pub fn next_after<'a>(plan: &'a Plan, failed: &Candidate) -> Option<&'a Candidate> {
    let at = plan.candidates.iter().position(|candidate| candidate == failed)?;
    plan.candidates.get(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_is_the_last_candidate_unless_hardware_is_required() {
        let job = Job { decode: VideoCodec::H264, encode: Some(VideoCodec::Hevc) };
        let preferred = plan(job, &Capabilities::default(), Policy::PreferHardware);
        assert_eq!(preferred.candidates.last().unwrap().encode, Some(Backend::Software));
        assert_eq!(next_after(&preferred, preferred.candidates.last().unwrap()), None);
        let required = plan(job, &Capabilities::default(), Policy::RequireHardware);
        assert!(required.candidates.is_empty());
        assert!(required.rejected.iter().any(|reason| reason.contains("no device")));
    }
}
