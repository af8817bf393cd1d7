//! HLS: the playlist at `live.m3u8`, and the files that it names.

use axum::body::Body;
use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_LENGTH;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::request::Awaited;
use crate::error::{Error, ErrorKind, Result};
use crate::http::error::{ErrorBody, Failure};
use crate::http::{ApiState, media_headers, stream_id};
use crate::media::RenditionRequest;
use crate::output::hls::{Resource, Window, playlist};
use crate::plan::Policy;
use crate::stream::{HlsSession, HlsSource, SoundRequest, Stream};

/// The longest wait for the first segment; what holds it up says so itself before.
const FIRST: Duration = Duration::from_secs(30);
/// The longest wait for what was announced, in target durations (RFC 8216bis §6.2.5.2).
const TARGETS: u64 = 3;

/// The playlist of a copy.
///
/// # Errors
/// Those of [`Stream::copy`].
pub(super) async fn copy(
    stream: &Arc<Stream>,
    sound: Option<SoundRequest>,
    awaited: Option<Awaited>,
) -> Result<Response> {
    answer(&stream.hls(HlsSource::Copy(sound)), awaited).await
}

/// The playlist of an encode.
///
/// # Errors
/// Those of [`Stream::encoded`].
pub(super) async fn rendition(
    stream: &Arc<Stream>,
    request: RenditionRequest,
    policy: Policy,
    sound: Option<SoundRequest>,
    awaited: Option<Awaited>,
) -> Result<Response> {
    answer(&stream.hls(HlsSource::Rendition(request, policy, sound)), awaited).await
}

async fn answer(session: &HlsSession, awaited: Option<Awaited>) -> Result<Response> {
    let newest = session.wait(FIRST, |window| window.is_ready().then(|| window.newest())).await?;
    // The base is relative, so that proxies may move the API to another path.
    let base = format!("hls/{}/", session.number());
    let text = match awaited {
        None => session.wait(FIRST, |window| playlist(window, &base)).await?,
        Some(Awaited { segment, .. }) if segment > newest + 2 => {
            let message = format!("_HLS_msn={segment} is too far ahead: the newest segment is {newest}");
            return Err(Error::invalid(message));
        }
        Some(Awaited { segment, part }) => {
            let ready = |window: &Window| window.has_reached(segment, part).then(|| playlist(window, &base)).flatten();
            session.wait(patience(session).await?, ready).await?
        }
    };
    Ok(response("application/vnd.apple.mpegurl", vec![text.into()]))
}

async fn patience(session: &HlsSession) -> Result<Duration> {
    let target = session.wait(FIRST, |window| window.is_ready().then(|| window.target_seconds())).await?;
    Ok(Duration::from_secs(target * TARGETS))
}

/// A file of an HLS playlist: a header, a segment or a part. One that is announced is waited for.
#[utoipa::path(
    get, path = "/v1/streams/{id}/hls/{session}/{file}", tag = "media",
    params(
        ("id" = String, Path, description = "Stream id"),
        ("session" = u64, Path, description = "As the playlist has it"),
        ("file" = String, Path, description = "As the playlist has it"),
    ),
    responses(
        (status = 200, description = "Fragmented MP4", body = Vec<u8>, content_type = "video/mp4"),
        (status = 400, description = "No such kind of file", body = ErrorBody),
        (status = 404, description = "No such stream, or the file has left the playlist", body = ErrorBody),
        (status = 503, description = "What was announced did not come", body = ErrorBody),
    )
)]
pub(in crate::http) async fn segment(
    State(state): State<ApiState>,
    path: Result<Path<(String, u64, String)>, PathRejection>,
) -> Result<Response, Failure> {
    let Path((id, session, file)) = path?;
    let resource: Resource = file.parse().map_err(|problem: String| Error::invalid(problem))?;
    let session = state.streams.get(&stream_id(&id)?)?.hls_session(session)?;
    let read = |window: &Window| match window.read(resource) {
        None if window.will_have(resource) => None,
        pieces => Some(pieces),
    };
    let pieces = session.wait(patience(&session).await?, read).await?;
    let pieces = pieces.ok_or_else(|| Error::new(ErrorKind::NotFound, gone(resource)))?;
    Ok(response("video/mp4", pieces))
}

fn gone(resource: Resource) -> String {
    format!("'{}' has left the playlist, or was never in it: ask for live.m3u8 again", resource.file_name())
}

fn response(content_type: &str, pieces: Vec<Bytes>) -> Response {
    let length: usize = pieces.iter().map(Bytes::len).sum();
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
    let mut response = Response::new(body);
    media_headers(response.headers_mut(), content_type);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}
