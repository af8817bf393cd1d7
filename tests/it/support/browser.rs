//! Debian's Chromium without a window, driven by its chromedriver (W3C WebDriver).

use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};

use super::log::Log;

/// A browser with one page; closed when dropped.
pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
}

impl Browser {
    /// Opens the page at `url`.
    pub fn open(url: &str) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver runs: `make test` installs it");
        let log = Log::collect(driver.stdout.take().unwrap());
        let line = log.wait("its port", |line| line.contains("started successfully on port"));
        let port: u16 = line.rsplit_once(' ').unwrap().1.trim_end_matches('.').parse().unwrap();
        let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
        let mut browser = Self { driver, agent, session: format!("http://127.0.0.1:{port}/session") };
        // Tests may run as root, where Chromium's own sandbox does not.
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--disable-dev-shm-usage"];
        let options = json!({ "goog:chromeOptions": { "args": arguments } });
        let opened = browser.post("", json!({ "capabilities": { "alwaysMatch": options } }));
        browser.session = format!("{}/{}", browser.session, opened["sessionId"].as_str().unwrap());
        browser.post("/timeouts", json!({ "script": 30_000 }));
        browser.post("/url", json!({ "url": url }));
        browser
    }

    /// Runs `script` in the page.
    pub fn run(&self, script: &str) {
        self.post("/execute/sync", json!({ "script": script, "args": [] }));
    }

    /// Runs `script`, whose last argument is called with the result.
    pub fn answer(&self, script: &str, arguments: Value) -> Value {
        self.post("/execute/async", json!({ "script": script, "args": arguments }))
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let sent = self.agent.post(format!("{}{path}", self.session)).send(body.to_string());
        let mut answer = sent.expect("chromedriver answers");
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
        assert_eq!(answer.status(), 200, "{path}: {text}");
        serde_json::from_str::<Value>(&text).unwrap()["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
