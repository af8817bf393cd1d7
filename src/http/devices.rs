//! `/v1/devices`: the GPUs, what their drivers claim, and what they have proved.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::Json;
use serde::Deserialize;
use utoipa::ToSchema;

use super::ApiState;
use super::error::{ErrorBody, Failure};
use crate::error::Error;
use crate::hw::{DeviceReport, DevicesReport};
use crate::plan::Breaker;

/// The longest reason that is taken, in characters.
const LONGEST_REASON: usize = 200;

/// Every render node, and what it is good for.
#[utoipa::path(
    get, path = "/v1/devices", tag = "hardware",
    responses((status = 200, description = "Render nodes, and GPUs that have none", body = DevicesReport))
)]
pub(super) async fn list(State(state): State<ApiState>) -> Json<DevicesReport> {
    Json(state.devices.report())
}

/// Tries everything that a device claims again.
///
/// Answers when the trials are done, which takes some seconds.
#[utoipa::path(
    post, path = "/v1/devices/{node}/trial", tag = "hardware",
    params(("node" = String, Path, description = "renderD128, or a PCI address such as 0000:00:02.0")),
    responses(
        (status = 200, description = "What came of it", body = DeviceReport),
        (status = 404, description = "No such device", body = ErrorBody),
    )
)]
pub(super) async fn try_again(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<DeviceReport>, Failure> {
    let Path(node) = path?;
    Ok(Json(state.devices.try_again(&node).await?))
}

/// A breaker as somebody wants it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakerRequest {
    state: BreakerState,
    /// Why; shown wherever the breaker is. At most 200 characters.
    #[schema(example = "new firmware")]
    reason: Option<String>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum BreakerState {
    /// Work may go to the device.
    Closed,
    /// All leave the device, until a canary trial goes well.
    Open,
    /// All leave the device, until the breaker is closed by hand.
    Held,
}

impl TryFrom<BreakerRequest> for Breaker {
    type Error = Error;

    fn try_from(request: BreakerRequest) -> Result<Self, Error> {
        let reason = request.reason.unwrap_or_else(|| "set by hand".into());
        if reason.chars().count() > LONGEST_REASON || reason.chars().any(char::is_control) {
            return Err(Error::invalid(format!("reason: must be one line of at most {LONGEST_REASON} characters")));
        }
        Ok(match request.state {
            BreakerState::Closed => Self::Closed,
            BreakerState::Open => Self::Open { reason },
            BreakerState::Held => Self::Held { reason },
        })
    }
}

/// Opens or closes a device's breaker, for maintenance or a drill.
///
/// Streams leave the device for the CPU one after the other, within 10 s and without losing a picture.
#[utoipa::path(
    put, path = "/v1/devices/{node}/breaker", tag = "hardware",
    params(("node" = String, Path, description = "renderD128, or a PCI address such as 0000:00:02.0")),
    request_body = BreakerRequest,
    responses(
        (status = 200, description = "The device with its breaker as it is now", body = DeviceReport),
        (status = 400, description = "No such state, or a reason that is too long", body = ErrorBody),
        (status = 404, description = "No such device", body = ErrorBody),
    )
)]
pub(super) async fn set_breaker(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<DeviceReport>, Failure> {
    let Path(node) = path?;
    let request: BreakerRequest = serde_json::from_slice(&body?).map_err(|error| {
        let allowed = "give {\"state\": \"closed\", \"open\" or \"held\", \"reason\": \"…\"}";
        Error::invalid(format!("the body is no breaker ({error}): {allowed}"))
    })?;
    Ok(Json(state.devices.set_breaker(&node, request.try_into()?)?))
}
