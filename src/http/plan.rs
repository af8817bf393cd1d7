//! `GET /v1/plan`: what would run where, and why not elsewhere.

use axum::extract::{RawQuery, State};
use axum::response::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use super::error::{ErrorBody, Failure};
use super::query::{Query, parse_policy};
use crate::error::Result;
use crate::media::query::{RenditionParams, parse_video_codec};
use crate::media::{Geometry, resolve_size};
use crate::plan::{Backend, Candidate, Capabilities, Job, Policy, plan};

/// What is to be planned, as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PlanRequest {
    job: Job,
    policy: Option<Policy>,
}

/// Every way to do a job.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct PlanReport {
    /// The policy that was applied.
    #[schema(value_type = String, example = "prefer-hardware")]
    policy: Policy,
    /// Best first; empty if the policy excludes all.
    candidates: Vec<CandidateReport>,
    /// What was left out, and why.
    rejected: Vec<String>,
}

/// One way, stage by stage.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct CandidateReport {
    decode: StageReport,
    scale: StageReport,
    /// Null unless `encode` was given.
    encode: Option<StageReport>,
}

/// Where a stage runs.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct StageReport {
    /// `hardware` or `software`.
    accel: &'static str,
    /// Render node, for hardware.
    device: Option<String>,
}

/// What would run where, and why not the rest.
#[utoipa::path(
    get, path = "/v1/plan", tag = "hardware",
    params(
        ("codec" = String, Query, description = "What comes in: h264 or hevc (h265)"),
        ("encode" = Option<String>, Query, description = "What goes out, if it is encoded: h264 or hevc (h265)"),
        ("width" = Option<u32>, Query, description = "Source width in pixels, with height; held to the limit"),
        ("height" = Option<u32>, Query, description = "Source height in pixels"),
        ("policy" = Option<String>, Query, description = "prefer-hardware, require-hardware or software; default: the configuration's"),
    ),
    responses(
        (status = 200, description = "Every way, best first", body = PlanReport),
        (status = 400, description = "A parameter is unknown, missing or malformed", body = ErrorBody),
        (status = 422, description = "The pictures are past the size limit", body = ErrorBody),
    )
)]
pub(super) async fn show(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Json<PlanReport>, Failure> {
    let request = PlanRequest::parse(query.as_deref())?;
    let policy = request.policy.unwrap_or_else(|| state.defaults.borrow().policy);
    Ok(Json(report(request.job, &state.capabilities, policy)))
}

impl PlanRequest {
    fn parse(query: Option<&str>) -> Result<Self> {
        let mut query = Query::read(query, &["codec", "encode", "width", "height", "policy"])?;
        let codec = query.require("codec", parse_video_codec);
        let encode = query.take("encode", parse_video_codec);
        let policy = query.take("policy", parse_policy);
        let RenditionParams { width, height, .. } = query.take_rendition();
        if width.is_some() != height.is_some() {
            query.refuse("width", "and 'height' go together: give both or none");
        }
        let request = query.finish(codec.map(|decode| Self { job: Job { decode, encode }, policy }))?;
        if let (Some(width), Some(height)) = (width, height) {
            resolve_size(Geometry::new(width, height), None, None, None)?;
        }
        Ok(request)
    }
}

fn report(job: Job, capabilities: &Capabilities, policy: Policy) -> PlanReport {
    let plan = plan(job, capabilities, policy);
    let candidates = plan.candidates.into_iter().map(CandidateReport::from).collect();
    PlanReport { policy, candidates, rejected: plan.rejected }
}

impl From<Candidate> for CandidateReport {
    fn from(candidate: Candidate) -> Self {
        Self {
            decode: candidate.decode.into(),
            scale: candidate.scale.into(),
            encode: candidate.encode.map(StageReport::from),
        }
    }
}

impl From<Backend> for StageReport {
    fn from(backend: Backend) -> Self {
        let accel = backend.accel();
        let device = match backend {
            Backend::Software => None,
            Backend::Vaapi { device } => Some(device),
        };
        Self { accel, device }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::VideoCodec;

    fn refused(query: &str) -> String {
        PlanRequest::parse(Some(query)).unwrap_err().to_string()
    }

    #[test]
    fn a_plan_is_asked_for_in_full() {
        let request =
            PlanRequest::parse(Some("codec=h265&encode=h264&width=1920&height=1080&policy=software")).unwrap();
        let job = Job { decode: VideoCodec::Hevc, encode: Some(VideoCodec::H264) };
        assert_eq!(request, PlanRequest { job, policy: Some(Policy::Software) });
        let report = report(job, &Capabilities::default(), Policy::Software);
        assert_eq!(report.candidates[0].encode, Some(StageReport { accel: "software", device: None }));
        assert_eq!(report.rejected.len(), 1);
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(refused(""), "parameter 'codec' is missing: must be h264 or hevc");
        assert!(
            refused("codec=vp9&policy=x").contains("'codec' must be h264 or hevc; parameter 'policy' must be one of")
        );
        assert!(refused("codec=h264&width=5").contains("give both or none"));
        assert!(refused("codec=h264&width=8192&height=8192").contains("limit"));
        assert!(refused("codec=h264&fps=5").contains("'fps' is not known here"));
    }
}
