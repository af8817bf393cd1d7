//! The API through its front door, as far as no stream is needed.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::{Router, routing};
use std::sync::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;
use crate::auth::{Access, Users};
use crate::config::{Limits, Recovery};
use crate::hw::{BreakerSettings, Roots};
use crate::job::Jobs;
use crate::link::{Programs, Spawner};
use crate::memory::{Memory, Thresholds};
use crate::metrics::Metrics;
use crate::plan::DeviceChoice;
use crate::sandbox::Confinements;
use crate::shm::Pool;
use crate::stream::Context;

/// What came back.
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The error's kind and message.
    pub fn error(&self) -> (String, String) {
        let json = self.json();
        let field = |name: &str| json["error"][name].as_str().unwrap().to_owned();
        (field("kind"), field("message"))
    }
}

pub(super) async fn ask(router: &Router, method: &str, uri: &str, body: impl Into<Body>) -> Answer {
    let request = Request::builder().method(method).uri(uri).extension(Caller::Network).body(body.into()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

#[derive(Default)]
struct Observed(Mutex<Vec<String>>);

impl RequestObserver for Observed {
    fn observe(&self, method: &str, route: &str, status: u16, _seconds: f64) {
        self.0.lock().unwrap().push(format!("{method} {route} {status}"));
    }
}

const CONTROL: ControlLimits = ControlLimits { body: 64 << 10, calls: 256, timeout: Duration::from_secs(10) };

fn api_with(observer: Arc<Observed>) -> Router {
    let (_, defaults) = watch::channel(StreamDefaults::default());
    let (stalled_consumer, shutdown) = (Duration::from_secs(10), CancellationToken::new());
    let delivery = DeliveryOptions { stalled_consumer, shutdown, shared_memory: Pool::new(1, 1 << 20) };
    // No test gets as far as starting a worker.
    let programs = Programs { camshaft: "/nonexistent".into(), engine: "/nonexistent".into() };
    let spawner = Spawner::start(programs, vec![], Confinements::default()).unwrap();
    let (metrics, events): (_, Arc<Events>) = (Arc::new(Metrics::new()), Arc::default());
    let (roots, breaker) = (Roots::default(), BreakerSettings::default());
    let devices = Devices::new(spawner.clone(), roots, DeviceChoice::Auto, breaker, events.clone());
    let (limits, recovery) = (Limits::default(), Recovery::default());
    let memory = Memory::new(Thresholds::default(), metrics.clone());
    let context = Context::new(
        spawner.clone(),
        devices.clone(),
        events.clone(),
        metrics.clone(),
        memory,
        limits.clone(),
        recovery,
    );
    let jobs = Jobs::new(spawner, devices.clone(), context.admission.clone(), metrics, limits);
    let streams = Streams::new(Arc::new(context));
    let (doors, about) = (Doors { network: Access::Open, socket: Users::All }, About::new(None));
    api(ApiState::new(streams, defaults, devices, delivery, observer, events, jobs, doors, about, CONTROL))
}

fn new_api() -> Router {
    api_with(Arc::default())
}

#[tokio::test]
async fn every_refusal_has_the_same_form() {
    let cases = [
        ("GET", "/v2/streams", 404, "not_found", "GET / lists every call"),
        ("GET", "/v1/streams/a/live.mkv", 404, "not_found", "there are mp4, ts, h264"),
        ("GET", "/v1/streams/a/frame.png", 404, "not_found", "frame.jpg"),
        ("GET", "/v1/streams/a/live.shm", 422, "impossible", "over the Unix socket"),
        ("GET", "/v1/streams/nobody", 404, "not_found", "nobody"),
        ("DELETE", "/v1/streams/nobody", 404, "not_found", "nobody"),
        ("GET", "/v1/streams/nobody/settings", 404, "not_found", "nobody"),
        ("GET", "/dashboard/nothing.js", 404, "not_found", "it is at /"),
        ("GET", "/v1/streams/nobody/live.ts", 404, "not_found", "nobody"),
        ("GET", "/v1/streams/nobody/frame.jpg?at=-5s", 404, "not_found", "nobody"),
        ("GET", "/v1/streams/-a", 400, "invalid_argument", "the first a letter or digit"),
        ("GET", "/v1/streams/a%FFb", 400, "invalid_argument", ""),
        ("GET", "/v1/streams/a/live.mp4?widht=5", 400, "invalid_argument", "did you mean 'width'?"),
        ("GET", "/v1/streams/a/frame.jpg?at=noon", 400, "invalid_argument", "'at' must be"),
        ("POST", "/v1/devices/renderD200/trial", 404, "not_found", "no device 'renderD200'"),
        ("GET", "/v1/plan", 400, "invalid_argument", "'codec' is missing"),
        ("PUT", "/v1/streams/a", 400, "invalid_argument", "source: is missing"),
        ("POST", "/v1/streams", 400, "invalid_argument", "ttl: is missing"),
        ("PATCH", "/v1/streams", 405, "invalid_argument", "takes no PATCH"),
        ("HEAD", "/v1/streams/a/live.mp4", 405, "invalid_argument", ""),
    ];
    let api = new_api();
    for (method, uri, status, kind, message) in cases {
        let answer = ask(&api, method, uri, "{}").await;
        assert_eq!(answer.status, status, "{method} {uri}: {}", answer.text);
        if status == 405 {
            assert!(answer.headers.contains_key(header::ALLOW), "{method} {uri}");
        }
        if method != "HEAD" {
            let error = answer.error();
            assert_eq!(error.0, kind, "{method} {uri}");
            assert!(error.1.contains(message), "{method} {uri}: {}", error.1);
        }
    }
}

#[tokio::test]
async fn a_body_lists_all_its_mistakes_and_has_a_limit() {
    let api = new_api();
    let answer =
        ask(&api, "PUT", "/v1/streams/a", r#"{"source": "ftp://x/", "transport": "pigeon", "colour": 1}"#).await;
    let (_, message) = answer.error();
    for part in ["source", "transport", "colour"] {
        assert!(message.contains(part), "{message}");
    }
    let answer = ask(&api, "PUT", "/v1/streams/a", vec![b' '; CONTROL.body + 1]).await;
    assert_eq!(answer.status, 413);
    assert!(answer.error().1.contains("limits.control_body"), "{}", answer.text);
}

#[tokio::test]
async fn the_description_has_every_call() {
    let api = new_api();
    let document = ask(&api, "GET", "/openapi.json", "").await.json();
    let expected = [
        ("/", vec!["get"]),
        ("/openapi.json", vec!["get"]),
        ("/v1/about", vec!["get"]),
        ("/v1/devices", vec!["get"]),
        ("/v1/devices/{node}/trial", vec!["post"]),
        ("/v1/devices/{node}/breaker", vec!["put"]),
        ("/v1/events", vec!["get"]),
        ("/v1/plan", vec!["get"]),
        ("/v1/streams", vec!["get", "post"]),
        ("/v1/streams/{id}", vec!["delete", "get", "put"]),
        ("/v1/streams/{id}/frame.{ext}", vec!["get"]),
        ("/v1/streams/{id}/settings", vec!["get"]),
        ("/v1/streams/{id}/hls/{session}/{file}", vec!["get"]),
        ("/v1/streams/{id}/ingest", vec!["post"]),
        ("/v1/streams/{id}/live.shm", vec!["get"]),
        ("/v1/streams/{id}/live.{ext}", vec!["get"]),
        ("/v1/transcode", vec!["post"]),
    ];
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), expected.len());
    let index = ask(&api, "GET", "/", "").await.text;
    for (path, methods) in expected {
        let mut found: Vec<&str> = paths[path].as_object().unwrap().keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, methods, "{path}");
        assert!(index.contains(path), "{path} in\n{index}");
    }
    let live = &paths["/v1/streams/{id}/live.{ext}"]["get"];
    assert!(live["responses"]["200"]["content"]["video/mp4"].is_object(), "{live:#}");
    let parameters: Vec<&str> =
        live["parameters"].as_array().unwrap().iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    for (name, _) in crate::media::query::PARAMETERS {
        assert!(parameters.contains(&name), "{name}");
    }
    assert!(document["components"]["schemas"]["Status"].is_object());
}

#[tokio::test]
async fn browsers_get_the_dashboard_under_a_strict_policy() {
    let get =
        |uri: &str| Request::builder().uri(uri).header("accept", "text/html,*/*;q=0.8").body(Body::empty()).unwrap();
    let api = new_api();
    for (uri, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/dashboard/app.js", "text/javascript; charset=utf-8"),
        ("/dashboard/vendor/uplot/uPlot.min.css", "text/css; charset=utf-8"),
    ] {
        let response = api.clone().oneshot(get(uri)).await.unwrap();
        let all =
            |name| response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((response.status(), all(header::CONTENT_TYPE)), (StatusCode::OK, vec![content_type]), "{uri}");
        assert_eq!(all(header::X_CONTENT_TYPE_OPTIONS), ["nosniff"]);
        let policy = all(header::CONTENT_SECURITY_POLICY).join(" ");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; ") && !policy.contains("unsafe"),
            "{policy}"
        );
    }
}

#[tokio::test]
async fn a_plan_follows_the_configured_policy() {
    let answer = ask(&new_api(), "GET", "/v1/plan?codec=h264&encode=hevc&width=1920&height=1080", "").await;
    let plan = answer.json();
    assert_eq!(plan["policy"], "prefer-hardware");
    assert_eq!(plan["candidates"][0]["encode"]["accel"], "software");
}

#[tokio::test]
async fn devices_are_listed() {
    let answer = ask(&new_api(), "GET", "/v1/devices", "").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, r#"{"devices":[]}"#));
}

#[tokio::test]
async fn requests_are_observed_with_bounded_labels() {
    let observed = Arc::new(Observed::default());
    let api = api_with(observed.clone());
    for (method, uri) in [("GET", "/v1/streams/-"), ("GET", "/nowhere"), ("BREW", "/v1/plan"), ("GET", "/")] {
        ask(&api, method, uri, "").await;
    }
    let expected = ["GET /v1/streams/{id} 400", "GET  404", "other /v1/plan 405", "GET / 200"];
    assert_eq!(*observed.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_panic_is_answered() {
    let handler = || async { panic!("index out of range") as &'static str };
    let router = Router::new().route("/", routing::get(handler)).layer(CatchPanicLayer::custom(error::panicked));
    let answer = ask(&router, "GET", "/", "").await;
    assert_eq!((answer.status, answer.error().0.as_str()), (500, "internal"));
    assert!(!answer.text.contains("out of range"));
}

#[tokio::test(start_paused = true)]
async fn control_requests_are_bounded_in_time() {
    let router = bounded(OpenApiRouter::new().route("/", routing::get(std::future::pending::<()>)), CONTROL).into();
    let answer = ask(&router, "GET", "/", "").await;
    assert_eq!((answer.status, answer.headers[header::RETRY_AFTER].to_str().unwrap()), (503, "5"));
    assert_eq!(
        answer.error(),
        ("unavailable".into(), "the call took longer than limits.control_timeout allows".into())
    );
}

#[tokio::test]
async fn control_requests_past_the_limit_are_turned_away() {
    let (entered, mut entries) = mpsc::unbounded_channel();
    let handler = move || {
        let (release, released) = oneshot::channel::<()>();
        entered.send(release).unwrap();
        async move { released.await.map_err(|_| StatusCode::GONE) }
    };
    let router: Router = bounded(OpenApiRouter::new().route("/", routing::get(handler)), CONTROL).into();
    let mut releases = Vec::new();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..CONTROL.calls {
        let router = router.clone();
        calls.spawn(async move { ask(&router, "GET", "/", "").await.status });
        releases.push(entries.recv().await.unwrap());
    }
    let answer = ask(&router, "GET", "/", "").await;
    assert_eq!((answer.status, answer.error().0.as_str()), (503, "overloaded"));
    for release in releases {
        release.send(()).unwrap();
    }
    assert!(calls.join_all().await.iter().all(|status| *status == 200));
}
