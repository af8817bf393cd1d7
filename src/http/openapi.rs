//! The API's description of itself.

use axum::Extension;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use std::fmt::Write;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};

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
