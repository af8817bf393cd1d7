//! The HTTP servers: the API with its media on one port, probes and metrics on another.

mod about;
mod access;
mod admin;
mod body;
mod dashboard;
mod devices;
mod error;
mod events;
mod frame;
mod ingest;
mod listener;
mod live;
mod openapi;
mod plan;
mod server;
mod streams;
#[cfg(test)]
mod tests;
mod transcode;
mod upload;

pub use about::About;
pub use admin::{AdminState, admin};
pub use body::DeliveryOptions;
pub use listener::{Caller, Connection, PodListener, TlsListener};
pub use server::{Connections, ServerOptions, serve};

use axum::error_handling::HandleErrorLayer;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;
use tracing::Span;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Doors;
use crate::config::StreamDefaults;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::hw::Devices;
use crate::job::Jobs;
use crate::media::StreamId;
use crate::query;
use crate::stream::Streams;

/// Bounds on requests of the control API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlLimits {
    /// Bytes of a body.
    pub body: usize,
    /// At a time; more are turned away.
    pub calls: usize,
    /// The longest that one may take.
    pub timeout: Duration,
}

/// Is told of every request that was answered.
pub trait RequestObserver: Send + Sync {
    /// `method` is one of HTTP's, or `other`; `route` is the pattern of the path, such as `/v1/streams/{id}`, or empty
    /// if there is none: both are bounded sets. `seconds` ends with the answer's head: media may go on for days.
    fn observe(&self, method: &str, route: &str, status: u16, seconds: f64);
}

/// What the API works on. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    streams: Arc<Streams>,
    defaults: watch::Receiver<StreamDefaults>,
    devices: Arc<Devices>,
    delivery: DeliveryOptions,
    observer: Arc<dyn RequestObserver>,
    events: Arc<Events>,
    jobs: Arc<Jobs>,
    doors: Doors,
    about: About,
    control: ControlLimits,
}

impl ApiState {
    /// `defaults` follow the configuration, and fill in what requests leave open.
    #[allow(clippy::too_many_arguments, reason = "each is a part of the service, and all differ in type")]
    pub fn new(
        streams: Arc<Streams>,
        defaults: watch::Receiver<StreamDefaults>,
        devices: Arc<Devices>,
        delivery: DeliveryOptions,
        observer: Arc<dyn RequestObserver>,
        events: Arc<Events>,
        jobs: Arc<Jobs>,
        doors: Doors,
        about: About,
        control: ControlLimits,
    ) -> Self {
        Self { streams, defaults, devices, delivery, observer, events, jobs, doors, about, control }
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

/// Every call of the API.
pub fn api(state: ApiState) -> Router {
    let (calls, document) = calls(state.control).split_for_parts();
    let outermost_first = ServiceBuilder::new()
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span)
                .on_request(())
                .on_response(|response: &Response, _: Duration, span: &Span| {
                    span.record("status", response.status().as_u16());
                    tracing::debug!("answered");
                })
                .on_failure(()),
        )
        .layer(middleware::from_fn_with_state(state.observer.clone(), observe))
        .layer(CatchPanicLayer::custom(error::panicked));
    calls
        .fallback(error::unknown_path)
        .method_not_allowed_fallback(error::unknown_method)
        .layer(Extension(openapi::Descriptions::new(&document)))
        .layer(Extension(state.doors.clone()))
        .layer(Extension(dashboard::Dashboard::new()))
        .layer(outermost_first)
        .with_state(state)
}

fn calls(control: ControlLimits) -> OpenApiRouter<ApiState> {
    let open = OpenApiRouter::new()
        .routes(routes!(openapi::index))
        .routes(routes!(openapi::document))
        .route(dashboard::PATH, get(dashboard::file));
    let streams = OpenApiRouter::new()
        .routes(routes!(about::about))
        .routes(routes!(streams::settings))
        .routes(routes!(plan::show))
        .routes(routes!(devices::list))
        .routes(routes!(streams::list, streams::lease))
        .routes(routes!(streams::status, streams::put, streams::delete));
    let breakers = OpenApiRouter::new().routes(routes!(devices::set_breaker));
    let trials = OpenApiRouter::new().routes(routes!(devices::try_again));
    let media = OpenApiRouter::new()
        .routes(routes!(live::live))
        .routes(routes!(live::hls::segment))
        .routes(routes!(live::shm::open))
        .routes(routes!(frame::frame))
        .routes(routes!(transcode::transcode));
    let unending = OpenApiRouter::new().routes(routes!(events::listen)).routes(routes!(ingest::ingest));
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(openapi::with_refusals(bounded(open, control), &openapi::BUSY))
        .merge(
            openapi::with_refusals(bounded(streams, control), &openapi::GUARDED)
                .layer(middleware::from_fn(access::streams)),
        )
        .merge(
            openapi::with_refusals(bounded(breakers, control).merge(trials), &openapi::GUARDED)
                .layer(middleware::from_fn(access::admin)),
        )
        .merge(openapi::with_refusals(unbounded(media), &openapi::GUARDED).layer(middleware::from_fn(access::media)))
        .merge(
            openapi::with_refusals(unbounded(unending), &openapi::GUARDED).layer(middleware::from_fn(access::streams)),
        )
}

/// Control requests end soon, are few, and are small; media waits for its camera, and is bounded by its consumers.
fn bounded<S: Clone + Send + Sync + 'static>(calls: OpenApiRouter<S>, limits: ControlLimits) -> OpenApiRouter<S> {
    calls.layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(error::given_up))
            .load_shed()
            .layer(GlobalConcurrencyLimitLayer::new(limits.calls))
            .timeout(limits.timeout)
            .layer(DefaultBodyLimit::max(limits.body)),
    )
}

/// Media comes for as long as it likes; no more of it is held than a few chunks.
fn unbounded<S: Clone + Send + Sync + 'static>(calls: OpenApiRouter<S>) -> OpenApiRouter<S> {
    calls.layer(DefaultBodyLimit::disable()).layer(middleware::from_fn(refuse_head))
}

/// Without the query, which is long, and might one day hold what must not be logged.
fn span(request: &Request) -> Span {
    let (method, path) = (request.method(), request.uri().path());
    tracing::info_span!("request", %method, path, status = tracing::field::Empty)
}

async fn observe(State(observer): State<Arc<dyn RequestObserver>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    observer.observe(method, route, response.status().as_u16(), started.elapsed().as_secs_f64());
    response
}

/// Clients may make up methods (RFC 9110 §16.1).
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The router would answer HEAD by a GET without its body: it would start a decoder only to say so.
async fn refuse_head(request: Request, next: Next) -> Response {
    if request.method() != Method::HEAD {
        return next.run(request).await;
    }
    let mut response = error::unknown_method(request.method().clone(), request.uri().clone()).await.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

/// # Errors
/// [`crate::error::ErrorKind::InvalidArgument`] with the rule that `text` breaks.
fn stream_id(text: &str) -> Result<StreamId> {
    text.parse().map_err(|problem: String| Error::invalid(problem))
}

/// Media is of its moment: nothing on the way may keep it.
fn media_headers(headers: &mut HeaderMap, content_type: &str) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(content_type) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
}
