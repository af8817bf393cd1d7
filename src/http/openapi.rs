//! The API's description of itself.

use axum::Extension;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use std::fmt::Write;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{Content, Ref, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;

use super::dashboard::{self, Dashboard};

/// What stands above the calls.
#[derive(OpenApi)]
#[openapi(
    info(title = "camshaft", description = "Pulls each camera once, decodes it once, and serves everyone."),
    tags(
        (name = "streams", description = "Cameras, and how they are doing"),
        (name = "media", description = "Live media and pictures"),
        (name = "hardware", description = "What runs where"),
        (name = "about", description = "The API itself"),
    )
)]
pub(super) struct Document;

/// How any call may be refused, by status.
type Refusals = [(&'static str, &'static str)];

/// Where there are more calls than may be answered at a time, or one takes too long.
pub(super) const BUSY: [(&str, &str); 1] =
    [("503", "Too much is asked for at a time, or something is away; `Retry-After` says when to ask again")];

/// Where callers show who they are, as well.
pub(super) const GUARDED: [(&str, &str); 3] = [
    BUSY[0],
    ("401", "No token, or a wrong one"),
    ("403", "The token is for other things, or a page of another origin asks"),
];

/// `router` with the refusals that layers around its calls make, in the description of each call that says nothing else.
pub(super) fn with_refusals<S>(mut router: OpenApiRouter<S>, refusals: &Refusals) -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    for item in router.get_openapi_mut().paths.paths.values_mut() {
        let all = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
        for operation in all.into_iter().flatten() {
            for (status, description) in refusals {
                let body = Content::new(Some(Ref::from_schema_name("ErrorBody")));
                let response = ResponseBuilder::new().description(*description).content("application/json", body);
                let known = &mut operation.responses.responses;
                known.entry((*status).to_owned()).or_insert_with(|| response.build().into());
            }
        }
    }
    router
}

/// Both descriptions, made once: the calls never change.
#[derive(Clone, Debug)]
pub(super) struct Descriptions {
    json: Bytes,
    text: Bytes,
}

impl Descriptions {
    /// Writes out `document`.
    pub fn new(document: &utoipa::openapi::OpenApi) -> Self {
        // A document of strings, numbers and maps with string keys has a JSON form.
        let json = serde_json::to_vec(document).unwrap_or_default();
        Self { json: json.into(), text: index_text(document).into() }
    }
}

/// This description, as OpenAPI.
#[utoipa::path(
    get, path = "/openapi.json", tag = "about",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub(super) async fn document(Extension(descriptions): Extension<Descriptions>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], descriptions.json)
}

/// Every call, as text; for browsers the dashboard.
#[utoipa::path(
    get, path = "/", tag = "about",
    responses((status = 200, description = "One call a line, or a page where `Accept` names text/html",
        content((String = "text/plain"), (String = "text/html"))))
)]
pub(super) async fn index(
    Extension(descriptions): Extension<Descriptions>,
    Extension(dashboard): Extension<Dashboard>,
    request: HeaderMap,
) -> Response {
    let mut response = if dashboard::is_asked_for(&request) {
        dashboard.page(&request)
    } else {
        ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], descriptions.text).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

fn index_text(document: &utoipa::openapi::OpenApi) -> String {
    let mut text = "camshaft: cameras for everyone.\n\n".to_owned();
    for (path, item) in &document.paths.paths {
        for (method, operation) in operations(item) {
            let summary = operation.summary.as_deref().unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{method:7}{path:34}{summary}");
        }
    }
    text
}

fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    let all = [("GET", &item.get), ("POST", &item.post), ("PUT", &item.put), ("DELETE", &item.delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}
