//! The dashboard: static files in `dashboard/`, built into the program, so that it works without a network.

use axum::Extension;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::error::Failure;
use crate::error::{Error, ErrorKind};

/// Where the files are, below the root.
pub(super) const PATH: &str = "/dashboard/{*file}";

/// Nothing from elsewhere, nothing inline, in nobody's frame (W3C Content Security Policy Level 3). Players feed `video`
/// and `img` from memory, hence `blob:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' blob:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! files {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/dashboard/", $name)).as_slice())),*]
    };
}

const PAGE: &str = "index.html";
const FILES: &[(&str, &[u8])] = &files! {
    "index.html" "icon.svg" "base.css" "wall.css" "pages.css"
    "app.js" "api.js" "dom.js" "shell.js" "store.js" "chart.js" "format.js"
    "wall.js" "player.js" "mse.js" "mjpeg.js" "still.js" "places.js"
    "stream.js" "addresses.js" "editor.js" "yaml.js" "devices.js" "events.js"
    "vendor/uplot/uPlot.iife.min.js" "vendor/uplot/uPlot.min.css" "vendor/uplot/LICENSE"
};

/// The files with what clients know them by. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Dashboard(Arc<[Asset]>);

#[derive(Debug)]
struct Asset {
    name: &'static str,
    bytes: &'static [u8],
    /// RFC 9110 §8.8.3.
    etag: HeaderValue,
}

impl Dashboard {
    /// All files of this program.
    pub fn new() -> Self {
        Self(FILES.iter().map(|(name, bytes)| Asset { name, bytes, etag: etag(bytes) }).collect())
    }

    /// The page itself.
    pub fn page(&self, request: &HeaderMap) -> Response {
        self.file(PAGE, request).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
    }

    /// A file, or that the client has it already.
    fn file(&self, name: &str, request: &HeaderMap) -> Option<Response> {
        let asset = self.0.iter().find(|asset| asset.name == name)?;
        let is_known = request.get(header::IF_NONE_MATCH).is_some_and(|known| known == asset.etag);
        let mut response =
            if is_known { StatusCode::NOT_MODIFIED.into_response() } else { asset.bytes.into_response() };
        let content_type = HeaderValue::from_static(content_type(name));
        for (name, value) in headers(content_type, asset.etag.clone()) {
            response.headers_mut().insert(name, value);
        }
        Some(response)
    }
}

/// Whether a browser asks for a page, rather than a program for the list of calls.
pub(super) fn is_asked_for(request: &HeaderMap) -> bool {
    let accept = request.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| range.split(';').next().is_some_and(|media_type| media_type.trim() == "text/html"))
}

/// One of the dashboard's files.
pub(super) async fn file(
    Extension(dashboard): Extension<Dashboard>,
    path: Result<Path<String>, PathRejection>,
    request: HeaderMap,
) -> Result<Response, Failure> {
    let Path(name) = path?;
    let missing = || Error::new(ErrorKind::NotFound, "the dashboard has no such file: it is at /");
    Ok(dashboard.file(&name, &request).ok_or_else(missing)?)
}

fn headers(content_type: HeaderValue, etag: HeaderValue) -> [(HeaderName, HeaderValue); 6] {
    let fixed = HeaderValue::from_static;
    [
        (header::CONTENT_TYPE, content_type),
        (header::ETAG, etag),
        // Names stay the same from version to version.
        (header::CACHE_CONTROL, fixed("no-cache")),
        (header::CONTENT_SECURITY_POLICY, fixed(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
    ]
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

fn etag(bytes: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    // Digits and quotes make a header.
    HeaderValue::from_str(&format!("\"{:016x}\"", hasher.finish())).unwrap_or(HeaderValue::from_static("\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboard");

    fn files_below(folder: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(format!("{FOLDER}/{folder}")).unwrap().map(Result::unwrap);
        let below = |entry: fs::DirEntry| {
            let name = format!("{folder}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() { files_below(&format!("{name}/")) } else { [name].into() }
        };
        entries.flat_map(below).collect()
    }

    #[test]
    fn every_file_of_the_folder_is_built_in_and_small() {
        let built_in: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut there = files_below("");
        there.remove("vendor/README.md");
        assert_eq!(there, built_in);
        let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
        for (name, bytes) in FILES.iter().filter(|(name, _)| !name.starts_with("vendor/")) {
            assert!(lines(bytes) < 280, "{name} has {} lines: split it", lines(bytes));
        }
        let size: usize = FILES.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(size < 200 << 10, "{size} bytes are a lot for a page without a build");
    }

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for (name, bytes) in FILES.iter().filter(|(name, _)| !name.starts_with("vendor/")) {
            let text = std::str::from_utf8(bytes).unwrap().replace("http://www.w3.org/2000/svg", "");
            for wrong in
                ["<script>", "<style", " style=\"", " onclick", "innerHTML", "//cdn", "src=\"http", "href=\"http"]
            {
                assert!(!text.contains(wrong), "{name} has {wrong}");
            }
        }
    }

    #[test]
    fn browsers_are_told_from_programs() {
        let asked = |accept: &'static str| {
            is_asked_for(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]))
        };
        assert!(
            asked("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8") && asked("a/b, text/html;q=1")
        );
        assert!(!asked("*/*") && !asked("text/plain") && !is_asked_for(&HeaderMap::new()));
    }

    #[test]
    fn what_a_browser_has_is_not_sent_again() {
        let dashboard = Dashboard::new();
        let first = dashboard.page(&HeaderMap::new());
        let etag = first.headers()[header::ETAG].clone();
        let again = dashboard.page(&HeaderMap::from_iter([(header::IF_NONE_MATCH, etag)]));
        assert_eq!((first.status(), again.status()), (StatusCode::OK, StatusCode::NOT_MODIFIED));
        assert!(dashboard.file("../Cargo.toml", &HeaderMap::new()).is_none());
    }
}
