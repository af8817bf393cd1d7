//! Debian's Chromium without a window, driven by its chromedriver (W3C WebDriver).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::eventually;

/// A browser with one page; closed when dropped.
pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
}

impl Browser {
    /// Opens the page at `url`.
    pub fn open(url: &str) -> Self {
        // It takes a port of IPv4 that is free, and ends if the one of IPv6 is not.
        let (driver, port) = (0..3).find_map(|_| start_driver()).expect("chromedriver starts");
        let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
        let mut browser = Self { driver, agent, session: format!("http://127.0.0.1:{port}/session") };
        // Tests may run as root, where Chromium's own sandbox does not.
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--disable-dev-shm-usage"];
        let options = json!({ "goog:chromeOptions": { "args": arguments }, "goog:loggingPrefs": { "browser": "ALL" } });
        let opened = browser.post("", json!({ "capabilities": { "alwaysMatch": options } }));
        browser.session = format!("{}/{}", browser.session, opened["sessionId"].as_str().unwrap());
        browser.post("/timeouts", json!({ "script": 30_000 }));
        browser.go(url);
        browser
    }

    /// Goes to another page.
    pub fn go(&self, url: &str) {
        self.post("/url", json!({ "url": url }));
    }

    /// Runs `script` in the page, and gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Waits until `script` returns something that is true in JavaScript's eyes.
    pub fn wait(&self, what: &str, script: &str) -> Value {
        let is_there = |value: &Value| !matches!(value, Value::Null | Value::Bool(false)) && *value != json!(0);
        let pause = || std::thread::sleep(Duration::from_millis(100));
        eventually(what, pause, || Some(self.run(script)).filter(is_there))
    }

    /// Clicks on the element as a person does: it has to be in sight.
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), json!({}));
    }

    /// Types `text` into the element, in place of what stands there.
    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/clear"), json!({}));
        self.post(&format!("/element/{element}/value"), json!({ "text": text }));
    }

    /// Presses keys where the focus is.
    pub fn press(&self, keys: &str) {
        let stroke = |key: char| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        let actions: Vec<Value> = keys.chars().flat_map(stroke).collect();
        self.post("/actions", json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] }));
    }

    /// A page of this size in pixels, and with these colours: `light` or `dark`.
    pub fn look(&self, size: (u32, u32), scheme: &str) {
        let metrics = json!({ "width": size.0, "height": size.1, "deviceScaleFactor": 1, "mobile": size.0 < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics);
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// Runs `script` before anything of the pages to come.
    pub fn before_pages(&self, script: &str) {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
    }

    /// Lets pages, and [`Self::clipboard`], use the clipboard unasked.
    pub fn allow_clipboard(&self) {
        let permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"];
        self.devtools("Browser.grantPermissions", json!({ "permissions": permissions }));
    }

    /// The text in the clipboard.
    pub fn clipboard(&self) -> String {
        let script =
            "const [done] = arguments; navigator.clipboard.readText().then(done, (error) => done(`${error}`));";
        self.answer(script, json!([])).as_str().unwrap_or_default().to_owned()
    }

    /// What is in sight, as PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        let shown = self.get("/screenshot");
        BASE64_STANDARD.decode(shown.as_str().unwrap()).expect("base64")
    }

    /// What pages and browser have written to the console since the last call, with its level in front.
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({ "type": "browser" }));
        let line = |entry: &Value| format!("{}: {}", entry["level"].as_str().unwrap(), entry["message"]);
        entries.as_array().unwrap().iter().map(line).collect()
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("/element", json!({ "using": "css selector", "value": selector }));
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    fn devtools(&self, command: &str, parameters: Value) {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters }));
    }

    fn get(&self, path: &str) -> Value {
        read(self.agent.get(format!("{}{path}", self.session)).call(), path)
    }

    /// Runs `script`, whose last argument is called with the result.
    pub fn answer(&self, script: &str, arguments: Value) -> Value {
        self.post("/execute/async", json!({ "script": script, "args": arguments }))
    }

    fn post(&self, path: &str, body: Value) -> Value {
        read(self.agent.post(format!("{}{path}", self.session)).send(body.to_string()), path)
    }
}

/// Debian's chromedriver and its port; nothing if it ended.
fn start_driver() -> Option<(Child, u16)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .spawn()
        .expect("chromedriver runs: `make test` installs it");
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
    let Some(line) = lines.find(|line| line.contains("started successfully on port")) else {
        driver.wait().unwrap();
        return None;
    };
    std::thread::spawn(|| lines.for_each(drop));
    let port = line.rsplit_once(' ').unwrap().1.trim_end_matches('.').parse().unwrap();
    Some((driver, port))
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>, path: &str) -> Value {
    let mut answer = answer.expect("chromedriver answers");
    let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
    assert_eq!(answer.status(), 200, "{path}: {text}");
    serde_json::from_str::<Value>(&text).unwrap()["value"].clone()
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
