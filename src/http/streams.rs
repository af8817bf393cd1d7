//! `/v1/streams`: what there is, and how it is doing.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ErrorBody, Failure};
use super::{ApiState, Caller, stream_id};
use crate::config::{CameraUrl, Source, StreamEntry, StreamSettings, stream_from_json, temporary_stream_from_json};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::{Maker, Put, status::Status};

/// Every stream with its status.
#[utoipa::path(
    get, path = "/v1/streams", tag = "streams",
    responses((status = 200, description = "Every stream, by name", body = Vec<Status>))
)]
pub(super) async fn list(State(state): State<ApiState>) -> Json<Vec<Status>> {
    Json(state.streams.list().iter().map(|stream| stream.status()).collect())
}

/// The stream with a given source.
///
/// It is made if need be, and is gone after `ttl` without consumers or another call like this one. Other keys are those
/// of PUT.
#[utoipa::path(
    post, path = "/v1/streams", tag = "streams",
    request_body(
        content = serde_json::Value, content_type = "application/json",
        description = "An entry of `streams:` with a `ttl`",
        example = json!({"source": "rtsp://192.168.1.10/stream1", "ttl": "60s"}),
    ),
    responses(
        (status = 200, description = "There was one already", body = Status),
        (status = 201, description = "Made; Location names it", body = Status),
        (status = 400, description = "Every mistake in the body", body = ErrorBody),
        (status = 413, description = "The body is larger than 64 KiB", body = ErrorBody),
        (status = 422, description = "A source on this very machine, asked for over the network", body = ErrorBody),
    )
)]
pub(super) async fn lease(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, Failure> {
    let (mut settings, ttl) = temporary_stream_from_json(&body?, &state.defaults.borrow()).map_err(Error::from)?;
    check_reach(&mut settings, caller)?;
    let (stream, created) = state.streams.lease(settings, ttl).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, format!("/v1/streams/{}", stream.id()))], Json(stream.status())))
}

/// A loopback address means the caller's own machine. It is camshaft's as well only for those who share its socket;
/// anybody else would reach services that were never meant for them.
fn check_reach(settings: &mut StreamSettings, caller: Caller) -> Result<()> {
    if settings.source == Source::Push {
        let message = "a push: source is somebody's own: PUT it under a name";
        return Err(Error::new(ErrorKind::Impossible, message));
    }
    if !settings.every_source().filter_map(Source::url).any(CameraUrl::is_loopback) {
        return Ok(());
    }
    if caller == Caller::Network {
        return Err(Error::new(
            ErrorKind::Impossible,
            "a source on a loopback address is taken over the Unix socket only (server.unix): ask there, or name the \
             source in the configuration",
        ));
    }
    settings.sources.reach = std::mem::take(&mut settings.sources.reach).with_loopback();
    Ok(())
}

/// A stream's status.
#[utoipa::path(
    get, path = "/v1/streams/{id}", tag = "streams",
    params(("id" = String, Path, description = "Stream id")),
    responses(
        (status = 200, description = "State, source, renditions, consumers, workers", body = Status),
        (status = 400, description = "No stream can have this id", body = ErrorBody),
        (status = 404, description = "No such stream", body = ErrorBody),
    )
)]
pub(super) async fn status(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Status>, Failure> {
    let id = stream_id(&path?)?;
    Ok(Json(state.streams.get(&id)?.status()))
}

/// How a stream is set up.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SettingsReport {
    /// Who made it.
    origin: Maker,
    /// What PUT takes to make it again, defaults filled in, without secrets.
    settings: StreamEntry,
    /// The keys of `settings` that hold a secret, which is not shown and is lost unless PUT gives it anew.
    hidden: Vec<&'static str>,
    /// The node that the files pin it to, where there are several. It stays: PUT is for the node it is sent to.
    #[schema(example = "gpu-1")]
    node: Option<String>,
}

/// A stream's settings, as PUT takes them.
#[utoipa::path(
    get, path = "/v1/streams/{id}/settings", tag = "streams",
    params(("id" = String, Path, description = "Stream id")),
    responses(
        (status = 200, description = "Settings without secrets, and who made the stream", body = SettingsReport),
        (status = 400, description = "No stream can have this id", body = ErrorBody),
        (status = 404, description = "No such stream", body = ErrorBody),
    )
)]
pub(super) async fn settings(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<SettingsReport>, Failure> {
    let id = stream_id(&path?)?;
    let (stream, origin) = (state.streams.get(&id)?, state.streams.maker(&id)?);
    let settings = stream.settings();
    let (hidden, node) = (StreamEntry::hidden(settings), settings.node.clone());
    Ok(Json(SettingsReport { origin, settings: StreamEntry::of(settings), hidden, node }))
}

/// Makes or replaces a stream.
#[utoipa::path(
    put, path = "/v1/streams/{id}", tag = "streams",
    params(("id" = String, Path, description = "Stream id: 1 to 63 letters, digits, '-' or '_'")),
    request_body(
        content = serde_json::Value, content_type = "application/json",
        description = "An entry of `streams:` of the configuration",
        example = json!({"source": "rtsp://192.168.1.10/stream1", "username": "viewer", "password": "…"}),
    ),
    responses(
        (status = 200, description = "Replaced, or the same as before", body = Status),
        (status = 201, description = "Made", body = Status),
        (status = 400, description = "Every mistake in the body", body = ErrorBody),
        (status = 413, description = "The body is larger than 64 KiB", body = ErrorBody),
    )
)]
pub(super) async fn put(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Status>), Failure> {
    let id = stream_id(&path?)?;
    let mut settings = stream_from_json(&body?, &state.defaults.borrow()).map_err(Error::from)?;
    settings.node = state.streams.get(&id).ok().and_then(|before| before.settings().node.clone());
    let status = match state.streams.put(id.clone(), settings).await? {
        Put::Created => StatusCode::CREATED,
        Put::Replaced | Put::Unchanged => StatusCode::OK,
    };
    Ok((status, Json(state.streams.get(&id)?.status())))
}

/// Stops and forgets a stream.
#[utoipa::path(
    delete, path = "/v1/streams/{id}", tag = "streams",
    params(("id" = String, Path, description = "Stream id")),
    responses(
        (status = 204, description = "Gone"),
        (status = 400, description = "No stream can have this id", body = ErrorBody),
        (status = 404, description = "No such stream", body = ErrorBody),
    )
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Failure> {
    let id = stream_id(&path?)?;
    state.streams.delete(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
