//! `/v1/about`: what a client cannot know from the address that it calls.

use axum::extract::State;
use axum::response::Json;
use serde::Serialize;
use std::net::SocketAddr;
use utoipa::ToSchema;

use super::ApiState;

/// This camshaft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct About {
    /// Its version.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
    /// Where RTSP is served, on the host of this API; null if it is not (`server.rtsp: off`).
    pub rtsp: Option<RtspAbout>,
}

/// How RTSP is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RtspAbout {
    /// Its port.
    #[schema(example = 8554)]
    pub port: u16,
    /// The one address that it is at, such as 127.0.0.1; null if it is at all of the host's.
    #[schema(value_type = Option<String>, example = "127.0.0.1")]
    pub address: Option<std::net::IpAddr>,
}

impl About {
    /// This program, with RTSP at `rtsp`.
    pub fn new(rtsp: Option<SocketAddr>) -> Self {
        let rtsp = rtsp
            .map(|bound| RtspAbout { port: bound.port(), address: Some(bound.ip()).filter(|ip| !ip.is_unspecified()) });
        Self { version: env!("CARGO_PKG_VERSION"), rtsp }
    }
}

/// Its version, and where RTSP is.
#[utoipa::path(
    get, path = "/v1/about", tag = "about",
    responses((status = 200, description = "Version and RTSP's port", body = About))
)]
pub(super) async fn about(State(state): State<ApiState>) -> Json<About> {
    Json(state.about)
}
