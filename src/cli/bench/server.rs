//! A camshaft server under test, and clients that take its media and throw it away.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::http::StatusCode;

use super::process::OwnedChild;
use crate::error::{Error, Result};

/// A raw 1280x720 picture in I420.
pub const RAW_FRAME_BYTES: usize = 1280 * 720 * 3 / 2;

/// How long anything may take to become ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a media response may be silent. The slowest one carries a picture a second.
const SILENCE: Duration = Duration::from_secs(15);

/// `camshaft serve` on free ports, with no streams at first.
#[derive(Debug)]
pub struct Server {
    process: OwnedChild,
    socket: PathBuf,
    http: String,
    agent: ureq::Agent,
}

impl Server {
    /// Starts `program` and waits until it is ready.
    pub fn start(program: &Path, work: &Path) -> Result<Self> {
        Self::start_with(program, work, "limits: {}")
    }

    /// The same with one more section of the configuration.
    pub fn start_with(program: &Path, work: &Path, section: &str) -> Result<Self> {
        let [http, admin] = free_addresses()?;
        let configuration = work.join("camshaft.yaml");
        let socket = work.join("camshaft.sock");
        let text = format!(
            "server: {{ http: '{http}', admin: '{admin}', rtsp: off, unix: '{}' }}\n\
             sources: {{ allow: [127.0.0.0/8], files: ['{}'] }}\n{section}\nstreams: {{}}\n",
            socket.display(),
            work.display()
        );
        fs::write(&configuration, text).map_err(|error| {
            Error::unavailable(format!("cannot write {}", configuration.display())).with_source(error)
        })?;
        let mut command = Command::new(program);
        command.args(["serve", "--config"]).arg(&configuration).stdout(Stdio::null());
        // What the user's own service is given is not for this one.
        let foreign = std::env::vars_os().map(|(name, _)| name);
        foreign
            .filter(|name| name.to_string_lossy().starts_with("CAMSHAFT_"))
            .for_each(|name| _ = command.env_remove(name));
        let process = OwnedChild::start(command, "camshaft", work)?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(SILENCE));
        let mut server = Self { process, socket, http: format!("http://{http}"), agent: config.build().into() };
        let ready = format!("http://{admin}/readyz");
        server.wait("did not get ready", |server| {
            Ok(server.agent.get(&ready).call().is_ok_and(|response| response.status().is_success()))
        })?;
        Ok(server)
    }

    /// The path of its Unix socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The supervisor's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// An error if the server has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        self.process.check_alive()
    }

    /// The URL of a transcode request.
    pub fn transcode_url(&self, query: &str) -> String {
        format!("{}/v1/transcode?{query}", self.http)
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        self.http.trim_start_matches("http://")
    }

    /// The URL of `path`, which starts with the stream's id.
    pub fn url(&self, path: &str) -> String {
        format!("{}/v1/streams/{path}", self.http)
    }

    /// Adds stream `id` that reads the camera at `source`, whether or not anybody wants it.
    pub fn add_stream(&self, id: &str, source: &str) -> Result<()> {
        self.put_stream(id, &json!({ "source": source, "transport": "tcp", "on_demand": false }))
    }

    /// Creates stream `id` by the API's own words.
    pub fn put_stream(&self, id: &str, settings: &Value) -> Result<()> {
        let request = self.agent.put(self.url(id)).content_type("application/json");
        refuse_errors(request.send(settings.to_string()).map_err(broken)?).map(drop)
    }

    /// Removes stream `id`.
    pub fn remove_stream(&self, id: &str) -> Result<()> {
        refuse_errors(self.agent.delete(self.url(id)).call().map_err(broken)?).map(drop)
    }

    /// Adds a stream and waits until it is live and its ring holds a whole GOP.
    pub fn add_live_stream(&mut self, id: &str, source: &str) -> Result<()> {
        const GOP_SECONDS: f64 = 2.0;
        self.add_stream(id, source)?;
        self.wait("did not go live", |server| {
            let status = server.status(id)?;
            let seconds = status.pointer("/ring/seconds").and_then(Value::as_f64).unwrap_or(0.0);
            Ok(status.get("state").is_some_and(|state| state == "live") && seconds >= GOP_SECONDS)
        })
    }

    /// Waits until stream `id` has no pixels worker.
    pub fn wait_until_nothing_decodes(&mut self, id: &str) -> Result<()> {
        self.wait("did not stop decoding a stream that nobody watches", |server| {
            Ok(server.status(id)?.pointer("/workers/pixels").is_none_or(Value::is_null))
        })
    }

    /// What the API says of stream `id`.
    pub fn status(&self, id: &str) -> Result<Value> {
        let body = self.agent.get(self.url(id)).call().map_err(broken)?;
        let text = refuse_errors(body)?.body_mut().read_to_string().map_err(broken)?;
        serde_json::from_str(&text).map_err(|error| Error::internal("camshaft's status is no JSON").with_source(error))
    }

    fn wait(&mut self, failure: &str, mut done: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self)? {
            self.check_alive()?;
            if Instant::now() > deadline {
                return Err(self.process.complain(&format!("{failure} within {} s", PATIENCE.as_secs())));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The media at `path`. Asks again while the answer is that the stream has nothing yet.
    pub fn media(&self, path: &str) -> Result<impl Read + Send + use<>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let response = self.agent.get(self.url(path)).call().map_err(broken)?;
            if response.status() != StatusCode::SERVICE_UNAVAILABLE || Instant::now() > deadline {
                return Ok(refuse_errors(response)?.into_body().into_reader());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts a client that takes the media at `path` until it is dropped.
    pub fn consume(&self, path: &str) -> Result<Consumer> {
        Ok(Consumer::start(self.media(path)?))
    }
}

/// The first picture of a y4m response: reads to its last byte.
pub fn read_y4m_frame(media: impl Read) -> Result<()> {
    const LONGEST_LINE: u64 = 512;
    let mut media = BufReader::new(media);
    let mut line = Vec::new();
    for start in [&b"YUV4MPEG2 "[..], &b"FRAME"[..]] {
        line.clear();
        media.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(interrupted)?;
        if !line.starts_with(start) {
            let expected = String::from_utf8_lossy(start).into_owned();
            return Err(Error::internal(format!("camshaft's y4m lacks its '{expected}' line")));
        }
    }
    read_raw_frame(media)
}

/// Reads one raw picture to its last byte.
pub fn read_raw_frame(mut media: impl Read) -> Result<()> {
    media.read_exact(&mut vec![0; RAW_FRAME_BYTES]).map_err(interrupted)
}

/// A client that reads and discards.
#[derive(Debug)]
pub struct Consumer {
    bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Consumer {
    /// Takes `media` from here on.
    pub fn start(mut media: impl Read + Send + 'static) -> Self {
        let (bytes, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (bytes.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while !stopped.load(Ordering::Relaxed) {
                match media.read(&mut buffer) {
                    Ok(0) | Err(_) => return, // whoever counts the bytes notices
                    Ok(read) => counted.fetch_add(read as u64, Ordering::Relaxed),
                };
            }
        });
        Self { bytes, stop, thread: Some(thread) }
    }

    /// Bytes taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// An error if the media has ended, or has not begun.
    pub fn check_alive(&self) -> Result<()> {
        if self.bytes() > 0 && self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        Err(Error::unavailable(format!("one of camshaft's responses ended after {} bytes", self.bytes())))
    }
}

impl Drop for Consumer {
    /// Hangs up after the next piece of media, or after [`SILENCE`].
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it cannot panic
        }
    }
}

fn free_addresses() -> Result<[String; 2]> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let pair = bind().and_then(|first| Ok([first.local_addr()?, bind()?.local_addr()?]));
    let addresses = pair.map_err(|error| Error::unavailable("no free port on 127.0.0.1").with_source(error))?;
    Ok(addresses.map(|address| address.to_string()))
}

fn refuse_errors(mut response: ureq::http::Response<ureq::Body>) -> Result<ureq::http::Response<ureq::Body>> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = response.body_mut().with_config().limit(4096).read_to_string().unwrap_or_default();
    Err(Error::unavailable(format!("camshaft answered {status}: {body}")))
}

fn broken(error: ureq::Error) -> Error {
    Error::unavailable("a request to the camshaft under test failed").with_source(error)
}

fn interrupted(error: io::Error) -> Error {
    Error::unavailable("the media ended before its first picture was complete").with_source(error)
}
