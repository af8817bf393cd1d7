//! The service under test, started as a user starts it.

use rustix::process::Signal;
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

use super::gpu::Gpu;
use super::log::Log;
use super::{PATIENCE, eventually, signal};

const CAMSHAFT: &str = env!("CARGO_BIN_EXE_camshaft");

/// A running service and its configuration directory.
pub struct Camshaft {
    child: Child,
    dir: TempDir,
    log: Log,
    api: String,
    admin: String,
    rtsp: String,
    https: String,
    rtsps: String,
    agent: ureq::Agent,
}

/// An HTTP answer, read whole.
pub struct Answer {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Camshaft {
    /// Starts the service with its API on `address`.
    pub fn start_at(address: &str, sections: &str, streams: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let yaml = Self::yaml(sections, streams).replacen(
            "127.0.0.1:0\"",
            &format!("{address}:0\", open_to_network: true"),
            1,
        );
        std::fs::write(dir.path().join("camshaft.yaml"), yaml).unwrap();
        Self::start_in(dir)
    }

    /// Starts the service with these streams (the part below `streams:`, indented by two) and waits until it is ready.
    pub fn start(streams: &str) -> Self {
        Self::start_with("", streams)
    }

    /// The same with further top-level sections in front.
    pub fn start_with(sections: &str, streams: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("camshaft.yaml"), Self::yaml(sections, streams)).unwrap();
        Self::start_in(dir)
    }

    /// The text of a configuration.
    pub fn yaml(sections: &str, streams: &str) -> String {
        // Cameras of tests live on this machine.
        let sources = if sections.contains("sources:") {
            ""
        } else {
            "sources: { allow: [\"127.0.0.0/8\", \"::1\", \"10.192.0.0/10\"] }\n"
        };
        let streams = if streams.trim().is_empty() { "streams: {}".to_owned() } else { format!("streams:\n{streams}") };
        format!(
            "server: {{ http: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", rtsp: \"127.0.0.1:0\" }}\n{sources}{sections}\n{streams}\n"
        )
    }

    /// Starts the service on a machine with a GPU.
    pub fn start_on(gpu: &Gpu, sections: &str, streams: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("camshaft.yaml"), Self::yaml(sections, streams)).unwrap();
        Self::run(gpu.command(CAMSHAFT), dir)
    }

    /// Starts the service by way of another program, whose last argument is camshaft's path.
    pub fn start_by(wrapper: &str, sections: &str, streams: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("camshaft.yaml"), Self::yaml(sections, streams)).unwrap();
        let mut command = Command::new(wrapper);
        command.arg(CAMSHAFT);
        Self::run(command, dir)
    }

    /// Starts the service on the `camshaft.yaml` in `dir`.
    pub fn start_in(dir: TempDir) -> Self {
        Self::run(Command::new(CAMSHAFT), dir)
    }

    /// Starts the service by a command that lacks nothing but its arguments, on the `camshaft.yaml` in `dir`.
    pub fn run(mut command: Command, dir: TempDir) -> Self {
        let mut child = command
            .args(["serve", "--log-format", "json", "--config"])
            .arg(dir.path().join("camshaft.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .env("RUST_LOG", "debug,hyper=info,mio=info")
            .env("CAMSHAFT_SERVER_UNIX", dir.path().join("camshaft.sock"))
            .spawn()
            .expect("the camshaft binary starts");
        let log = Log::collect(child.stderr.take().unwrap());
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder().http_status_as_error(false).max_idle_connections(0).build(),
        );
        let (api, admin, rtsp, https, rtsps) = Default::default();
        // Ends with the test from here on, even if it never gets ready.
        let mut service = Self { child, dir, log, api, admin, rtsp, https, rtsps, agent };
        let ready = service.log.wait("that it is ready", |line| line.contains("\"message\":\"ready\""));
        let fields: Value = serde_json::from_str(&ready).unwrap();
        let address = |name: &str| fields["fields"][name].as_str().unwrap_or_default();
        service.api = format!("http://{}", address("http"));
        service.admin = format!("http://{}", address("admin"));
        service.rtsp = address("rtsp").to_owned();
        service.https = address("https").to_owned();
        service.rtsps = address("rtsps").to_owned();
        service
    }

    /// The configuration's path.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("camshaft.yaml")
    }

    /// The path of its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("camshaft.sock")
    }

    /// The service's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logs.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The URL of a path of the API.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api)
    }

    /// The URL of a path of the admin port.
    pub fn admin_url(&self, path: &str) -> String {
        format!("{}{path}", self.admin)
    }

    /// The RTSP URL of a path.
    pub fn rtsp_url(&self, path: &str) -> String {
        format!("rtsp://{}{path}", self.rtsp)
    }

    /// Address and port of HTTP within TLS.
    pub fn https_address(&self) -> &str {
        &self.https
    }

    /// Address and port of RTSP within TLS.
    pub fn rtsps_address(&self) -> &str {
        &self.rtsps
    }

    /// Address and port of RTSP.
    pub fn rtsp_address(&self) -> &str {
        &self.rtsp
    }

    /// GET of a path of the API, read whole.
    pub fn get(&self, path: &str) -> Answer {
        answer(self.agent.get(self.url(path)).call())
    }

    /// GET of a path of the admin port.
    pub fn admin(&self, path: &str) -> Answer {
        answer(self.agent.get(self.admin_url(path)).call())
    }

    /// PUT of a stream.
    pub fn put(&self, id: &str, body: &str) -> Answer {
        answer(self.agent.put(self.url(&format!("/v1/streams/{id}"))).send(body))
    }

    /// PUT of anything.
    pub fn put_to(&self, path: &str, body: &str) -> Answer {
        answer(self.agent.put(self.url(path)).send(body))
    }

    /// POST of a lease.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        answer(self.agent.post(self.url(path)).send(body))
    }

    /// DELETE of a stream.
    pub fn delete(&self, id: &str) -> Answer {
        answer(self.agent.delete(self.url(&format!("/v1/streams/{id}"))).call())
    }

    /// A media response, read as it comes; panics unless the status is 200.
    pub fn open(&self, path: &str) -> impl Read + Send + use<> {
        let response = self.agent.get(self.url(path)).call().expect("an answer");
        let status = response.status();
        if status != 200 {
            panic!("{path}: {status}: {}", response.into_body().read_to_string().unwrap_or_default());
        }
        response.into_body().into_reader()
    }

    /// A stream's status.
    pub fn status(&self, id: &str) -> Value {
        self.get(&format!("/v1/streams/{id}")).json()
    }

    /// Waits until a stream's status satisfies `check`.
    pub fn wait_status(&self, id: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        let get = || Some(self.status(id)).filter(&check);
        eventually(&format!("the status of {id} says {what}"), || self.log.pause(), get)
    }

    /// Waits until a stream is live.
    pub fn wait_live(&self, id: &str) -> Value {
        self.wait_status(id, "live", |status| status["state"] == "live")
    }

    /// The value of a metric's series, if it is there.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = self.admin("/metrics").text();
        let line = text.lines().find(|line| line.starts_with(series))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    /// Waits until a metric's series is at least `least`.
    pub fn wait_metric(&self, series: &str, least: f64) -> f64 {
        let check = || self.metric(series).filter(|value| *value >= least);
        eventually(&format!("{series} reaches {least}"), || self.log.pause(), check)
    }

    /// The process id of a stream's pixels worker.
    pub fn pixels_pid(&self, id: &str) -> u32 {
        let status =
            self.wait_status(id, "that a pixels worker runs", |status| status["workers"]["pixels"].is_object());
        status["workers"]["pixels"]["pid"].as_u64().unwrap() as u32
    }

    /// Sends a signal to the service.
    pub fn signal(&self, name: Signal) {
        signal(self.pid(), name);
    }

    /// Waits for the end.
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within.min(PATIENCE);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running after {within:?}:\n{}", self.log.text());
            self.log.pause();
        }
    }
}

impl Drop for Camshaft {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let text = self.log.text();
            let start = text.len().saturating_sub(6000);
            eprintln!("--- the service's log ends with ---\n{}", String::from_utf8_lossy(&text.as_bytes()[start..]));
        }
    }
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let response = result.expect("an answer");
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned())).collect();
    let body = response.into_body().into_with_config().limit(1 << 30).read_to_vec().expect("a whole body");
    Answer { status, headers, body }
}
