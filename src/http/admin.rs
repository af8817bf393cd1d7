//! Probes and metrics, on a port of their own.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

use super::error;

/// What the probes tell. Cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    ready: watch::Receiver<bool>,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl AdminState {
    /// `ready` says whether requests are taken, and must not depend on cameras: else one of them would take everybody's
    /// streams out of service. `metrics` gives every metric in Prometheus's text format, version 0.0.4.
    pub fn new(ready: watch::Receiver<bool>, metrics: Arc<dyn Fn() -> String + Send + Sync>) -> Self {
        Self { ready, metrics }
    }
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").field("ready", &*self.ready.borrow()).finish_non_exhaustive()
    }
}

/// `GET /livez` (also `/healthz`), `/readyz` and `/metrics`.
pub fn admin(state: AdminState) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/healthz", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(error::unknown_path)
        .method_not_allowed_fallback(error::unknown_method)
        .with_state(state)
}

/// That this is answered at all is the proof of life.
async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(state): State<AdminState>) -> (StatusCode, &'static str) {
    if *state.ready.borrow() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (state.metrics)())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::{Answer, ask};

    async fn get(router: &Router, path: &str) -> Answer {
        ask(router, "GET", path, "").await
    }

    #[tokio::test]
    async fn probes_follow_the_service_and_metrics_are_passed_on() {
        let (ready, receiver) = watch::channel(false);
        let router = admin(AdminState::new(receiver, Arc::new(|| "camshaft_up 1\n".to_owned())));
        assert_eq!(get(&router, "/livez").await.status, 200);
        assert_eq!(get(&router, "/healthz").await.status, 200);
        assert_eq!(get(&router, "/readyz").await.status, 503);
        ready.send(true).unwrap();
        assert_eq!(get(&router, "/readyz").await.status, 200);
        let metrics = get(&router, "/metrics").await;
        assert_eq!((metrics.status, metrics.text.as_str()), (200, "camshaft_up 1\n"));
        assert_eq!(get(&router, "/nothing").await.json()["error"]["kind"], "not_found");
    }
}
