//! A plan as `GET /v1/plan` and `camshaft plan` show it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Backend, Candidate, Plan, Policy};

/// Every way to do a job.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PlanReport {
    /// The policy that was applied.
    #[schema(value_type = String, example = "prefer-hardware")]
    pub policy: Policy,
    /// Best first; empty if the policy excludes all.
    pub candidates: Vec<CandidateReport>,
    /// What was left out, and why.
    pub rejected: Vec<String>,
}

/// One way, stage by stage.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CandidateReport {
    /// Packets to pictures.
    pub decode: StageReport,
    /// Crop, scale and convert.
    pub scale: StageReport,
    /// Null unless `encode` was given.
    pub encode: Option<StageReport>,
    /// The entrypoint of a device's video encoder.
    #[schema(example = "VAEntrypointEncSliceLP")]
    pub entrypoint: Option<&'static str>,
    /// How a device's video encoder spends bits.
    #[schema(example = "VA_RC_CBR")]
    pub rate_control: Option<&'static str>,
}

/// Where a stage runs.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StageReport {
    /// `hardware` or `software`.
    pub accel: &'static str,
    /// Render node, for hardware.
    pub device: Option<String>,
}

impl PlanReport {
    /// `plan`, which was made under `policy`.
    pub fn new(plan: Plan, policy: Policy) -> Self {
        let candidates = plan.candidates.into_iter().map(CandidateReport::from).collect();
        Self { policy, candidates, rejected: plan.rejected }
    }
}

impl From<Candidate> for CandidateReport {
    fn from(candidate: Candidate) -> Self {
        Self {
            decode: candidate.decode.into(),
            scale: candidate.scale.into(),
            encode: candidate.encode.map(StageReport::from),
            entrypoint: candidate.mode.map(|mode| mode.entrypoint.name()),
            rate_control: candidate.mode.map(|mode| mode.rate_control.name()),
        }
    }
}

impl From<Backend> for StageReport {
    fn from(backend: Backend) -> Self {
        Self { accel: backend.accel(), device: backend.device().map(str::to_owned) }
    }
}
