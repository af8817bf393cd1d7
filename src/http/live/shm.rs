//! `GET /v1/streams/{id}/live.shm`: raw pictures in memory that is shared with the reader (`docs/shm.md`).

use axum::Extension;
use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tracing::Instrument;

use super::container::{Container, PictureContainer};
use super::named_rendition;
use super::request::LiveRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::http::error::{ErrorBody, Failure};
use crate::http::upload::Watched;
use crate::http::{ApiState, Caller, stream_id};
use crate::media::{OutputSpec, RenditionRequest};
use crate::plan::Policy;
use crate::query::Media;
use crate::shm::{Connection, PROTOCOL, SLOTS, Session, SessionOptions};
use crate::stream::Stream;

/// Raw pictures through shared memory, over the Unix socket only.
///
/// The request asks for an upgrade (RFC 9110 §7.8) to `camshaft-shm/1`; after the answer the connection speaks the protocol
/// of `docs/shm.md`. The parameters are those of `live.raw`, and `slots`.
#[utoipa::path(
    get, path = "/v1/streams/{id}/live.shm", tag = "media",
    params(
        ("id" = String, Path, description = "Stream id"),
        ("slots" = Option<u32>, Query, description = "Pictures that the reader may hold, 1 to 16; 3 by default"),
        ("format" = Option<String>, Query, description = "i420 (default), nv12, gray, rgb24, bgr24"),
        ("width" = Option<u32>, Query, description = "Pixels, 1 to 8192; short form w. One side keeps the aspect ratio"),
        ("height" = Option<u32>, Query, description = "Pixels, 1 to 8192; short form h"),
        ("fps" = Option<String>, Query, description = "Frames a second, such as 5, 12.5 or 30000/1001, or keyframes"),
        ("crop" = Option<String>, Query, description = "W:H:X:Y in source pixels, cut out before scaling"),
        ("policy" = Option<String>, Query, description = "prefer-hardware, require-hardware or software"),
        ("rendition" = Option<String>, Query, description = "A rendition of the configuration, in place of the above"),
        ("Upgrade" = String, Header, description = "camshaft-shm/1"),
    ),
    responses(
        (status = 101, description = "The protocol begins: the reader speaks first"),
        (status = 400, description = "A parameter is unknown, malformed, or does not fit", body = ErrorBody),
        (status = 404, description = "No such stream or rendition", body = ErrorBody),
        (status = 422, description = "Not over the Unix socket, or past a limit", body = ErrorBody),
        (status = 426, description = "No upgrade to a version that there is", body = ErrorBody),
        (status = 503, description = "The camera is away, or there is no room for the reader", body = ErrorBody),
    )
)]
pub(in crate::http) async fn open(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    Extension(caller): Extension<Caller>,
    upgrade: Option<Extension<OnUpgrade>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let Path(id) = path?;
    let id = stream_id(&id)?;
    let container = Container::Pictures(PictureContainer::Shm);
    let LiveRequest { media, slots, .. } = LiveRequest::parse(container.extension(), query.as_deref())?;
    if caller == Caller::Network {
        let message = "live.shm passes memory on, which works over the Unix socket (server.unix) only: ask there, or take \
                       live.raw here";
        return Err(Error::new(ErrorKind::Impossible, message).into());
    }
    let Some(Extension(upgrade)) = upgrade.filter(|_| asks_for_protocol(&headers)) else {
        return Ok(with_protocol(upgrade_required().into_response()));
    };
    let stream = state.streams.get(&id)?;
    let (request, policy) = rendition(&stream, media, container)?;
    let pictures = stream.pictures(request, policy).await?;
    let OutputSpec::Raw(format) = pictures.spec.output else {
        return Err(Error::internal("a rendition came in a form that was not asked for").into());
    };
    let delivery = &state.delivery;
    let session = Session::open(&delivery.shared_memory, pictures, format, slots.unwrap_or(SLOTS)).await?;
    let options = SessionOptions { stalled_consumer: delivery.stalled_consumer, shutdown: delivery.shutdown.clone() };
    tokio::spawn(serve(session, upgrade, options).in_current_span());
    Ok(with_protocol(StatusCode::SWITCHING_PROTOCOLS.into_response()))
}

fn rendition(stream: &Stream, media: Media, container: Container) -> Result<(RenditionRequest, Policy)> {
    let (request, policy) = match media {
        Media::Rendition(request, policy) => (request, policy),
        Media::Named(name, policy) => (named_rendition(stream, &name, container)?, policy),
        Media::Copy | Media::CamerasOr(_) => return Err(Error::internal("raw pictures were read as a copy")),
    };
    Ok((request, policy.unwrap_or_else(|| stream.policy())))
}

fn asks_for_protocol(headers: &HeaderMap) -> bool {
    let offered = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    offered.split(',').any(|protocol| protocol.trim().eq_ignore_ascii_case(PROTOCOL))
}

fn upgrade_required() -> Failure {
    let message = format!(
        "live.shm wants an HTTP/1.1 request with 'Connection: Upgrade' and 'Upgrade: {PROTOCOL}', the one version that \
         there is"
    );
    Failure::with_status(StatusCode::UPGRADE_REQUIRED, Error::invalid(message))
}

/// Both an upgrade and its refusal name what there is (RFC 9110 §15.2.2, §15.5.22).
fn with_protocol(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    response
}

async fn serve(session: Session, upgrade: OnUpgrade, options: SessionOptions) {
    match upgrade.await {
        Ok(upgraded) => match connection(upgraded) {
            Some(connection) => session.run(connection, options).await,
            None => tracing::error!("the Unix socket's connection is none over a Unix socket"),
        },
        Err(error) => tracing::debug!(%error, "the reader left before the protocol began"),
    }
}

fn connection(upgraded: Upgraded) -> Option<Connection> {
    let parts = upgraded.downcast::<TokioIo<Watched<UnixStream>>>().ok()?;
    Some(Connection::new(parts.io.into_inner().into_inner(), &parts.read_buf))
}
