//! `GET /v1/plan`: what would run where, and why not elsewhere.

use axum::extract::{RawQuery, State};
use axum::response::Json;

use super::ApiState;
use super::error::{ErrorBody, Failure};
use super::query::{Query, parse_policy};
use crate::error::Result;
use crate::media::query::RenditionParams;
use crate::media::{Geometry, resolve_size};
use crate::plan::{Codec, Input, Job, PlanReport, Policy, Rate, Scale, parse_bit_depth, parse_encode, plan};

/// What is to be planned, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PlanRequest {
    job: Job,
    policy: Option<Policy>,
}

/// What would run where, and why not the rest.
#[utoipa::path(
    get, path = "/v1/plan", tag = "hardware",
    params(
        ("codec" = String, Query, description = "What comes in: h264, hevc (h265), mjpeg, mpeg2, vp8, vp9 or av1"),
        ("profile" = Option<String>, Query, description = "Its profile: baseline, main, high, main10, …; default: any"),
        ("bit_depth" = Option<u8>, Query, description = "Its bits a sample: 8 or 10; default: 8"),
        ("encode" = Option<String>, Query, description = "What goes out, if it is encoded: h264, hevc (h265) or mjpeg"),
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
    let plan = plan(&request.job, &state.devices.capabilities(), policy);
    Ok(Json(PlanReport::new(plan, policy)))
}

impl PlanRequest {
    fn parse(query: Option<&str>) -> Result<Self> {
        let known = ["codec", "profile", "bit_depth", "encode", "width", "height", "policy"];
        let mut query = Query::read(query, &known)?;
        let codec = query.require("codec", str::parse::<Codec>);
        let profile = query.take("profile", |text| Ok(text.to_owned()));
        let bit_depth = query.take("bit_depth", parse_bit_depth).unwrap_or(8);
        let encode = query.take("encode", parse_encode);
        let policy = query.take("policy", parse_policy);
        let RenditionParams { width, height, .. } = query.take_rendition();
        if width.is_some() != height.is_some() {
            query.refuse("width", "and 'height' go together: give both or none");
        }
        let size = width.zip(height).map(|(width, height)| Geometry::new(width, height));
        let job = codec.map(|codec| {
            let input = Input { codec, profile, bit_depth, size };
            Job { input, scale: Scale::Needed, encode, rate: Rate::Bitrate }
        });
        let request = query.finish(job.map(|job| Self { job, policy }))?;
        if let Some(size) = size {
            resolve_size(size, None, None, None)?;
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str) -> String {
        PlanRequest::parse(Some(query)).unwrap_err().to_string()
    }

    #[test]
    fn a_plan_is_asked_for_in_full() {
        let request = PlanRequest::parse(Some(
            "codec=h265&profile=main10&bit_depth=10&encode=h264&width=1920&height=1080&policy=software",
        ));
        let input = Input {
            codec: Codec::Hevc,
            profile: Some("main10".into()),
            bit_depth: 10,
            size: Some(Geometry::new(1920, 1080)),
        };
        let job = Job { input, scale: Scale::Needed, encode: Some(Codec::H264), rate: Rate::Bitrate };
        assert_eq!(request.unwrap(), PlanRequest { job, policy: Some(Policy::Software) });
    }

    #[test]
    fn mistakes_are_named() {
        assert!(refused("").starts_with("parameter 'codec' is missing: must be one of h264, hevc"));
        let message = refused("codec=theora&policy=x&encode=vp9&bit_depth=12");
        for part in
            ["'codec' must be", "'policy' must be", "'encode' must be one of h264", "'bit_depth' must be 8 or 10"]
        {
            assert!(message.contains(part), "{part} in {message}");
        }
        assert!(refused("codec=h264&width=5").contains("give both or none"));
        assert!(refused("codec=h264&width=8192&height=8192").contains("limit"));
        assert!(refused("codec=h264&fps=5").contains("'fps' is not known here"));
    }
}
