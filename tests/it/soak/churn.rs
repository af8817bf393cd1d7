//! Readers that come and go, and what happens to the service meanwhile.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::report::Sample;
use crate::support::{Camera, Camshaft, Clip, Coding, RtspClient, SharedReader, Y4m, children, eventually_within};

/// Readers at a time.
const AT_ONCE: usize = 6;
/// How long it may take until all is quiet again: threads of the runtime stay for ten seconds.
const QUIET: Duration = Duration::from_secs(45);

/// Every output, by its path and how many bytes are read of it; 0: all.
const OUTPUTS: [(&str, usize); 15] = [
    ("live.ts", 40_000),
    ("live.mp4", 40_000),
    ("live.h264", 20_000),
    ("live.y4m?width=160&height=90", 200_000),
    ("live.raw?width=160&height=90&format=gray&fps=10", 60_000),
    ("live.frames?width=160&height=90&format=nv12&fps=10", 60_000),
    ("live.mjpeg?width=160&fps=10", 20_000),
    ("live.ts?codec=h264&height=90&bitrate=200k", 20_000),
    ("live.mp4?codec=h264&height=90&bitrate=200k", 10_000),
    ("frame.jpg", 0),
    ("frame.jpg?at=-1s&width=160", 0),
    ("rtsp", 20),
    ("shm", 0),
    ("", 0),
    // A session of HLS ends ten seconds after its last request: short rounds do without.
    ("live.m3u8", 0),
];

/// How much of what.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Of all chance.
    pub seed: u64,
    /// Rounds with a pause behind each.
    pub rounds: usize,
    /// Readers a round.
    pub connects: usize,
    /// Workers killed a round.
    pub kills: usize,
    /// Reloads a round.
    pub reloads: usize,
    /// Restarts of a camera a round.
    pub cameras: usize,
    /// No round begins after this.
    pub limit: Duration,
}

/// A service to whom all this happens.
pub struct Churn {
    plan: Plan,
    random: fastrand::Rng,
    server: Camshaft,
    clip: Clip,
    camera: Option<Camera>,
    port: u16,
    started: Instant,
    rounds: usize,
    kills: usize,
    answers: Mutex<BTreeMap<String, usize>>,
}

#[derive(Clone, Copy)]
enum Step {
    Read(usize),
    Kill,
    Reload,
    RestartCamera,
}

const LIMITS: &str = "limits: { pixels_linger: 0ms, backoff_max: 500ms, hold: 5s }\n";

impl Churn {
    /// A camera, a clock and a service.
    pub fn start(plan: Plan) -> Self {
        let clip = Clip::make(Coding::default());
        let camera = Camera::start(&clip, &[]);
        let port = camera.port();
        let server = Camshaft::start_with(LIMITS, &streams(port, 0));
        server.wait_live("cam");
        server.wait_live("clock");
        let (random, started) = (fastrand::Rng::with_seed(plan.seed), Instant::now());
        let (camera, answers) = (Some(camera), Mutex::default());
        Self { plan, random, server, clip, camera, port, started, rounds: 0, kills: 0, answers }
    }

    /// Whether all rounds, or all time, are over.
    pub fn is_over(&self) -> bool {
        self.rounds == self.plan.rounds || self.started.elapsed() >= self.plan.limit
    }

    /// One round: its steps in an order of chance, readers side by side.
    pub fn round(&mut self) {
        let Plan { connects, kills, reloads, cameras, .. } = self.plan;
        let mut steps: Vec<Step> = (0..connects).map(|number| Step::Read(number % (2 * OUTPUTS.len()))).collect();
        steps.extend(std::iter::repeat_n(Step::Kill, kills));
        steps.extend(std::iter::repeat_n(Step::Reload, reloads));
        steps.extend(std::iter::repeat_n(Step::RestartCamera, cameras));
        self.random.shuffle(&mut steps);
        let (reads, others): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(|step| matches!(step, Step::Read(_)));
        let reads = Mutex::new(reads);
        let (server, answers, pace) = (&self.server, &self.answers, connects.div_ceil(others.len().max(1)));
        let left = || reads.lock().unwrap().len();
        let (random, camera, clip, port) = (&mut self.random, &mut self.camera, &self.clip, self.port);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(Step::Read(number)) = { reads.lock().unwrap().pop() } {
                        let answer = read(server, number);
                        *answers.lock().unwrap().entry(answer).or_default() += 1;
                    }
                });
            }
            // Evenly among the readers.
            for (done, step) in others.into_iter().enumerate() {
                while left() > connects.saturating_sub((done + 1) * pace) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                match step {
                    Step::Read(_) => {}
                    Step::Kill => kill_one(server, random),
                    Step::Reload => reload(server, port, random.usize(0..4)),
                    Step::RestartCamera => {
                        drop(camera.take());
                        *camera = Some(Camera::start_on(port, clip, &[]));
                    }
                }
            }
        });
        self.kills += kills;
        self.rounds += 1;
    }

    /// Waits until all is as at the beginning, and takes what the service has then.
    pub fn settle(&mut self) -> Sample {
        reload(&self.server, self.port, 0);
        let pause = || std::thread::sleep(Duration::from_millis(200));
        let quiet = || {
            let list = self.server.get("/v1/streams").json();
            let list = list.as_array()?;
            let idle = |stream: &serde_json::Value| {
                stream["state"] == "live" && stream["consumers"] == 0 && stream["workers"]["pixels"].is_null()
            };
            // Two ingest workers and the spare engine; the clock's ingest worker is an engine as well.
            let workers = children(self.server.pid()).len();
            if workers == 2 {
                // The spare one was killed. The next one comes once a worker has been asked for.
                self.server.get("/v1/streams/clock/frame.jpg?at=-1s");
            }
            (list.len() == 2 && list.iter().all(idle) && workers == 3).then_some(())
        };
        eventually_within(QUIET, "all is quiet", pause, quiet);
        // Connections that were closed a moment ago, and threads without work.
        let mut sample = Sample::take(self.server.pid(), self.rounds * self.plan.connects, self.kills);
        let deadline = Instant::now() + Duration::from_secs(12);
        while Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(500));
            let now = Sample::take(self.server.pid(), sample.connects, sample.kills);
            let fewer = now.threads < sample.threads || now.descriptors < sample.descriptors;
            sample = now;
            if !fewer && deadline - Instant::now() < Duration::from_secs(8) {
                break;
            }
        }
        sample
    }

    /// It answers, nothing has panicked, and pictures come.
    pub fn assert_undisturbed(&self) {
        let answers = self.answers.lock().unwrap();
        eprintln!("{answers:?}");
        let documented = |answer: &str| ["200", "503", "404", "409"].iter().any(|status| answer.ends_with(status));
        assert!(answers.keys().all(|answer| documented(answer)), "{answers:?}");
        let fine: usize = answers.iter().filter(|(answer, _)| answer.ends_with("200")).map(|(_, count)| count).sum();
        assert!(fine * 2 > answers.values().sum::<usize>(), "most are served: {answers:?}");
        assert_eq!(Y4m::new(self.server.open("/v1/streams/cam/live.y4m")).numbers(10).len(), 10);
        assert!(!self.server.log().text().contains("panicked"), "something panicked");
    }
}

/// The configuration, with so many more streams that nobody reads.
fn streams(port: u16, more: usize) -> String {
    let mut streams = format!(
        "  cam: {{ source: \"rtsp://127.0.0.1:{port}/cam\" }}\n  clock: {{ source: \"test:?width=320&height=180&fps=25&gop=25\" }}\n"
    );
    for number in 0..more {
        streams += &format!("  more-{number}: {{ source: \"test:?width=160&height=90&fps=5\" }}\n");
    }
    streams
}

fn reload(server: &Camshaft, port: u16, more: usize) {
    std::fs::write(server.config(), Camshaft::yaml(LIMITS, &streams(port, more))).unwrap();
}

fn kill_one(server: &Camshaft, random: &mut fastrand::Rng) {
    let workers = children(server.pid());
    if let Some((pid, _)) = random.choice(&workers) {
        // It may just have ended by itself.
        let _ = kill_process(Pid::from_raw(*pid as i32).unwrap(), Signal::KILL);
    }
}

/// Reads some of an output and leaves; what came of it.
fn read(server: &Camshaft, number: usize) -> String {
    let (path, bytes) = OUTPUTS[number % OUTPUTS.len()];
    let id = if number < OUTPUTS.len() { "cam" } else { "clock" };
    let status = match path {
        "rtsp" => read_rtsp(server, id, bytes),
        "shm" => read_shm(server),
        "" => server.get(&format!("/v1/streams/{id}")).status,
        _ => read_http(server, &format!("/v1/streams/{id}/{path}"), bytes),
    };
    format!("{path} {status}")
}

fn read_http(server: &Camshaft, path: &str, bytes: usize) -> u16 {
    let url = server.url(path);
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder().http_status_as_error(false).max_idle_connections(0).build(),
    );
    let Ok(answer) = agent.get(url).call() else { return 503 };
    let status = answer.status().as_u16();
    let limit = if bytes == 0 { u64::MAX } else { bytes as u64 };
    // A response whose source is killed may end early.
    let _ = std::io::copy(&mut answer.into_body().into_reader().take(limit), &mut std::io::sink());
    status
}

fn read_rtsp(server: &Camshaft, id: &str, packets: usize) -> u16 {
    let mut client = RtspClient::connect(server);
    let described = client.ask("DESCRIBE", &format!("/{id}"), &[]);
    if described.status != 200 {
        return described.status;
    }
    let set_up = client.ask("SETUP", &format!("/{id}/trackID=0"), &["Transport: RTP/AVP/TCP;unicast;interleaved=0-1"]);
    let played = if set_up.status == 200 { client.ask("PLAY", &format!("/{id}"), &[]).status } else { set_up.status };
    if played == 200 {
        (0..packets).for_each(|_| drop(client.interleaved()));
    }
    played
}

fn read_shm(server: &Camshaft) -> u16 {
    match SharedReader::open(server, "width=160&height=90") {
        Ok(_) => 200,
        Err(answer) => answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0),
    }
}
