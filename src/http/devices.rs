//! `/v1/devices`: the GPUs, what their drivers claim, and what they have proved.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Json;

use super::ApiState;
use super::error::{ErrorBody, Failure};
use crate::hw::{DeviceReport, DevicesReport};

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
