//! `POST /v1/streams/{id}/ingest`: a client that pushes a stream's media.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use tokio_stream::StreamExt;

use super::error::{ErrorBody, Failure};
use super::{ApiState, stream_id};
use crate::error::{Error, ErrorKind, Result};
use crate::media::InputFormat;

/// Pushes a stream's media.
///
/// For streams whose source is `push:`. The body is a live container, read as it comes; `Content-Type` names it, or
/// `input`. One client at a time. The answer comes at the body's end, or when it cannot be read.
#[utoipa::path(
    post, path = "/v1/streams/{id}/ingest", tag = "streams",
    params(
        ("id" = String, Path, description = "Stream id"),
        ("input" = Option<String>, Query, description = "ts, flv, mp4 or mjpeg: stronger than Content-Type"),
    ),
    request_body(content_type = "video/mp2t", description = "MPEG-TS, FLV, MP4 (fragmented), or JPEGs as multipart/x-mixed-replace"),
    responses(
        (status = 204, description = "The body was read to its end"),
        (status = 400, description = "No stream can have this id, or an unknown parameter", body = ErrorBody),
        (status = 404, description = "No such stream", body = ErrorBody),
        (status = 409, description = "Somebody else pushes, or the stream's source is another", body = ErrorBody),
        (status = 415, description = "The body is not what it is said to be", body = ErrorBody),
        (status = 422, description = "It is past a limit", body = ErrorBody),
        (status = 503, description = "No picture came of it in time, or the stream was stopped", body = ErrorBody),
    )
)]
pub(super) async fn ingest(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Failure> {
    let stream = state.streams.get(&stream_id(&path?)?)?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|text| text.to_str().ok()).unwrap_or_default();
    let push = stream.push(format(query.as_deref(), content_type)?, content_type)?;
    let mut body = body.into_data_stream();
    // A client that breaks off has come to its end as well.
    while let Some(Ok(bytes)) = body.next().await {
        if !push.send(bytes).await {
            break;
        }
    }
    push.end().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the body is, by the query or else by its type.
fn format(query: Option<&str>, content_type: &str) -> Result<InputFormat> {
    let mut named = None;
    for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let known = InputFormat::ALL.iter().find(|(name, _)| *name == value).map(|(_, format)| *format);
        match (key.as_ref(), known) {
            ("input", Some(format)) => named = Some(format),
            ("input", None) => return Err(Error::invalid("parameter 'input' must be ts, flv, mp4 or mjpeg")),
            _ => return Err(Error::invalid("the only parameter is 'input': ts, flv, mp4 or mjpeg")),
        }
    }
    match named.or_else(|| InputFormat::of_content_type(content_type)) {
        Some(InputFormat::Jpeg) => Err(Error::new(
            ErrorKind::UnsupportedMedia,
            "one JPEG is no stream: push many, as multipart/x-mixed-replace",
        )),
        Some(format) => Ok(format),
        None => Err(Error::new(
            ErrorKind::UnsupportedMedia,
            "the Content-Type does not say what is pushed: video/mp2t, video/x-flv, video/mp4 or \
             multipart/x-mixed-replace; or add ?input=ts, flv, mp4 or mjpeg",
        )),
    }
}
