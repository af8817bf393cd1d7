//! The dashboard in Debian's Chromium: pictures really play, what the API refuses is shown, nothing is in the way of a
//! keyboard or a screen reader. Screenshots are kept below the target directory, in `tmp/dashboard/`; the README's picture is
//! `wall-1280-light.png`.

mod copies;

use std::path::Path;

use camshaft::media::Geometry;
use camshaft::media::pattern::read_number;
use serde_json::{Value, json};

use crate::support::{Browser, Camshaft, Counter, Gpu};

const AXE: &str = include_str!("../support/axe-core/axe.min.js");

/// Notes what must not happen.
const WATCH: &str = "
    window.violations = [];
    addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective + ' ' + event.blockedURI));
";

/// What stands in the way of somebody, by WCAG 2.1 A and AA; contrast is measured.
const AUDIT: &str = "
    const [done] = arguments;
    axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }).then(({ violations, passes }) => done({
        violations: violations.map(({ id, nodes }) => id + ': ' + nodes.map((node) => node.html).join(' ')),
        measured: passes.find(({ id }) => id === 'color-contrast')?.nodes.length ?? 0,
    }));
";

/// The picture in sight of `element`, as its green, which is near enough to its luma.
const PICTURE: &str = "
    const picture = (element) => {
        const canvas = document.createElement('canvas');
        canvas.width = element.videoWidth || element.naturalWidth;
        canvas.height = element.videoHeight || element.naturalHeight;
        const context = canvas.getContext('2d');
        context.drawImage(element, 0, 0);
        const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
        return { width: canvas.width, height: canvas.height, luma: Array.from(pixels).filter((_, i) => i % 4 == 1) };
    };
";

/// A browser of that size on the dashboard.
fn open(server: &Camshaft, size: (u32, u32)) -> Browser {
    let browser = Browser::open("about:blank");
    browser.before_pages(WATCH);
    browser.look(size, "light");
    browser.go(&server.url("/"));
    browser
}

/// The number in the picture of the card of `id`, once it shows one that came by `way`.
fn shown(browser: &Browser, id: &str, way: &str, element: &str) -> u32 {
    let script = format!(
        "{PICTURE}
         const stage = document.querySelector('[data-id=\"{id}\"] .stage');
         const shown = stage?.querySelector('{element}');
         const isThere = shown && !shown.hidden && shown.complete !== false && stage.dataset.way === '{way}';
         return isThere && picture(shown);"
    );
    let mut picture = browser.wait(&format!("{id} is shown by {way}"), &script);
    let side = |name: &str| picture[name].as_u64().unwrap() as u32;
    let size = Geometry::new(side("width"), side("height"));
    let luma: Vec<u8> = serde_json::from_value(picture["luma"].take()).unwrap();
    read_number(&luma, size, size.width as usize).expect("a number in the picture")
}

/// Waits until the video of `id` has decoded and shown pictures of a second, by `way`.
fn plays(browser: &Browser, id: &str, way: &str) {
    let facts = format!(
        "const stage = document.querySelector('[data-id=\"{id}\"] .stage');
         if (stage?.dataset.way !== '{way}') return null;
         const video = stage.querySelector('video');
         const facts = {{ time: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames }};"
    );
    let script = format!("{facts} return facts.frames >= 10 && facts;");
    let before = browser.wait(&format!("{id} plays by {way}"), &script);
    let (time, frames) = (&before["time"], &before["frames"]);
    let script = format!("{facts} return facts.time > {time} + 1 && facts.frames > {frames} + 5;");
    browser.wait(&format!("{id} goes on, after {before}"), &script);
}

/// Checks the page for obstacles, in both themes, and keeps a screenshot of each.
fn audit(browser: &Browser, name: &str, size: (u32, u32)) {
    for scheme in ["light", "dark"] {
        browser.look(size, scheme);
        browser.run(AXE);
        let report = browser.answer(AUDIT, json!([]));
        assert_eq!(report["violations"], json!([]), "{name}, {scheme}");
        assert!(report["measured"].as_u64() >= Some(5), "{name}, {scheme}: {report}");
        let too_wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
        assert_eq!(browser.run(too_wide), json!(false), "{name} at {size:?} is wider than the screen");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}-{}-{scheme}.png", size.0)), browser.screenshot()).unwrap();
    }
    browser.look(size, "light");
}

fn visit(browser: &Browser, hash: &str, heading: &str) {
    browser.run(&format!("location.hash = '{hash}'"));
    wait_text(browser, "h1", heading);
}

fn wait_text(browser: &Browser, selector: &str, text: &str) {
    let script =
        format!("return [...document.querySelectorAll({selector:?})].some((e) => e.innerText.includes({text:?}))");
    browser.wait(&format!("{selector} says {text}"), &script);
}

/// Nothing was complained of.
fn is_clean(browser: &Browser, expected: &[&str]) {
    let complaints: Vec<String> =
        browser.console().into_iter().filter(|line| !expected.iter().any(|part| line.contains(part))).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_eq!(browser.run("return violations"), json!([]));
}

const DESKTOP: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (390, 844);

const CAMERAS: &str = r#"
  front-door: { source: "test:?width=640&height=360&fps=15", renditions: { detect: { width: 320, fps: 5 } } }
  garden: { source: "test:?width=640&height=360&fps=10&codec=hevc" }
  shed: { source: "test:?width=320&height=180&fps=10", on_demand: true }
"#;

#[test]
fn a_wall_of_cameras_plays_on_a_desktop_and_on_a_phone() {
    let server = Camshaft::start_with("limits: { pixels_linger: 0s }", CAMERAS.trim_start_matches('\n'));
    server.wait_live("front-door");
    server.wait_live("garden");
    let browser = open(&server, DESKTOP);
    plays(&browser, "front-door", "copy");
    let before = shown(&browser, "front-door", "copy", "video");
    // This Chromium has no decoder for HEVC.
    plays(&browser, "garden", "h264");
    shown(&browser, "garden", "h264", "video");
    assert!(shown(&browser, "front-door", "copy", "video") > before, "another picture than before");
    let renditions = server.status("garden")["renditions"].clone();
    assert!(renditions.to_string().contains("h264"), "{renditions}");
    plays(&browser, "shed", "copy");

    wait_text(&browser, "[data-id=front-door] dl", "software (hardware: this machine shows no device)");
    let chart =
        "return document.querySelector('[data-id=front-door] .spark').getAttribute('aria-label').includes('15.')";
    browser.wait("the chart has a text", chart);
    audit(&browser, "wall", DESKTOP);
    browser.run("document.activeElement.blur()");
    browser.press("\u{e004}");
    assert_eq!(browser.run("return document.activeElement.className"), "skip");
    browser.press("\u{e007}");
    assert_eq!(browser.run("return document.activeElement.id"), "main");

    visit(&browser, "#/streams/front-door", "front-door");
    for text in
        ["i420 320x-@5", "ingest", "Frigate", "rtsp://127.0.0.1", "source: \"test:?width=640", "configuration file"]
    {
        wait_text(&browser, "main", text);
    }
    browser.wait("its picture plays", "return document.querySelector('.stage video').currentTime > 0.5");
    audit(&browser, "stream", DESKTOP);
    visit(&browser, "#/events", "Events");
    wait_text(&browser, ".feed", "garden");
    audit(&browser, "events", DESKTOP);
    audit(&browser, "events", PHONE);

    // Stills on a phone, and only of what is in sight.
    browser.look(PHONE, "light");
    browser.go(&server.url("/"));
    shown(&browser, "front-door", "still", "img");
    server.wait_status("shed", "idle", |status| status["state"] == "idle");
    audit(&browser, "wall", PHONE);
    browser.run("document.querySelector('[data-id=shed]').scrollIntoView()");
    shown(&browser, "shed", "still", "img");
    browser.click("[data-id=shed] .stage button");
    plays(&browser, "shed", "copy");
    visit(&browser, "#/streams/front-door", "front-door");
    audit(&browser, "stream", PHONE);
    is_clean(&browser, &[]);
}

#[test]
fn a_gpu_and_a_camera_are_looked_after() {
    let gpu = Gpu::alderlake();
    let clock = "  clock: { source: \"test:?width=320&height=180&fps=25&gop=25\", renditions: { detect: { width: 160, fps: 5 } } }\n  \
        vault: { source: \"rtsp://127.0.0.1:1/x?token=s3cret-canary\", username: viewer, password: s3cret-canary }\n";
    let server = Camshaft::start_on(&gpu, "", clock);
    let on_gpu = |status: &Value| status["accel"]["decode"] == "hardware";
    server.wait_status("clock", "that the GPU decodes", on_gpu);
    let browser = open(&server, DESKTOP);
    wait_text(&browser, "[data-id=clock] dl", "hardware: /dev/dri/renderD128");

    browser.click("[data-page=devices]");
    wait_text(&browser, "[data-device='/dev/dri/renderD128']", "Last tried");
    let proved = "return [...document.querySelectorAll('.matrix .good')].length";
    assert!(browser.run(proved).as_u64() >= Some(8), "{}", browser.run("return document.body.innerText"));
    audit(&browser, "devices", DESKTOP);
    audit(&browser, "devices", PHONE);
    browser.look(DESKTOP, "light");
    let decoded = gpu.count(Counter::H264Decoded);
    browser.click("[data-device] .bar > button");
    wait_text(&browser, "#notices", "renderD128 was tried");
    assert!(gpu.count(Counter::H264Decoded) > decoded);
    browser.run("document.querySelector('.breaker select').value = 'held'");
    browser.fill(".breaker input", "new firmware");
    browser.click(".breaker button");
    wait_text(&browser, "[data-device]", "held: no work until closed by hand");
    assert_eq!(server.get("/v1/devices").json()["devices"][0]["breaker_reason"], "new firmware");
    server.wait_status("clock", "that the CPU decodes", |status| status["accel"]["decode"] == "software");
    browser.click("[data-page=events]");
    wait_text(&browser, ".feed li", "breaker: closed → held new firmware");
    wait_text(&browser, ".feed li", "acceleration: hardware → software");

    browser.click("[data-page=wall]");
    browser.wait("the button is there", "return document.getElementById('add')");
    browser.click("#add");
    audit(&browser, "editor", DESKTOP);
    browser.fill("#field-id", "yard");
    browser.fill("#field-source", "gopher://x");
    browser.fill("#field-renditions", "small: width=0 fps=5");
    browser.click("dialog [type=submit]");
    wait_text(&browser, "#field-source-error", "test: for a synthetic camera");
    let refused = server.put("yard", r#"{"source": "gopher://x"}"#).json()["error"]["message"].clone();
    let said = browser.run("return document.getElementById('field-source-error').innerText");
    assert!(refused.as_str().unwrap().ends_with(said.as_str().unwrap()), "{refused}: {said}");
    wait_text(&browser, "#field-renditions-error", "whole number from 1 to 8192");
    let invalid = "return [...document.querySelectorAll('[aria-invalid=true]')].map((field) => field.name)";
    assert_eq!(browser.run(invalid), json!(["source", "renditions"]));
    assert_eq!(browser.run("return document.activeElement.name"), "source");
    audit(&browser, "editor", PHONE);
    browser.look(DESKTOP, "light");

    browser.fill("#field-source", "test:?width=320&height=180&fps=10");
    browser.fill("#field-renditions", "small: width=160 fps=5");
    browser.click("dialog [type=submit]");
    plays(&browser, "yard", "copy");
    browser.click("[data-id=yard] .head a");
    wait_text(&browser, ".note", "does not survive a restart");
    wait_text(&browser, ".yaml", "small: { format: i420, fps: 5, width: 160 }");
    let yaml = browser.run("return document.querySelector('.yaml').innerText");
    let document = camshaft::config::Document { name: "copied".into(), text: yaml.as_str().unwrap() };
    let lookups = camshaft::config::Lookups { env: &|_| None, file: &|_| Ok(String::new()), env_overrides: &[] };
    let config = camshaft::config::load(&[document], &lookups).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.streams.len(), 1);

    browser.click(".bar .end button");
    browser.wait("the form is there", "return document.getElementById('field-priority')");
    browser.fill("#field-priority", "9");
    browser.click("dialog [type=submit]");
    wait_text(&browser, ".yaml", "priority: 9");
    let settings = server.get("/v1/streams/yard/settings").json();
    assert_eq!((&settings["settings"]["priority"], &settings["origin"]), (&json!(9), &json!("api")));
    browser.click(".bar .danger");
    browser.click("dialog .danger");
    browser.wait(
        "the card is gone",
        "return document.querySelector('.card') && !document.querySelector('[data-id=yard]')",
    );
    assert_eq!(server.get("/v1/streams/yard").status, 404);

    // What is secret is not shown, and never saved as it is shown.
    visit(&browser, "#/streams/vault", "vault");
    wait_text(&browser, ".stage .why", "Connection refused");
    wait_text(&browser, ".yaml", "${VAULT_PASSWORD}");
    browser.click(".bar .end button");
    browser.wait("the form is there", "return document.getElementById('field-source')");
    assert_eq!(browser.run("return document.getElementById('field-source').value"), "");
    browser.fill("#field-password", "another");
    browser.click("dialog [type=submit]");
    wait_text(&browser, "#field-source-error", "is missing");
    assert!(!browser.run("return document.documentElement.outerHTML").to_string().contains("canary"));
    // What the API refused is in the browser's log of the network, as it should be.
    is_clean(&browser, &["/v1/streams/yard", "/v1/streams/vault"]);
}

#[test]
fn a_browser_without_media_source_shows_jpegs_and_every_request_has_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "s3cret-canary-owner\n").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!(
        "server: {{ http: '127.0.0.1:0', admin: '127.0.0.1:0', rtsp: '127.0.0.1:0', token_file: {} }}\n\
         streams:\n  clock: {{ source: 'test:?width=320&height=180&fps=10' }}\n",
        tokens.display()
    );
    std::fs::write(dir.path().join("camshaft.yaml"), yaml).unwrap();
    let server = Camshaft::start_in(dir);
    let browser = open(&server, DESKTOP);
    wait_text(&browser, "dialog", "wants a token");
    wait_text(&browser, "#trouble", "a token is needed");
    browser.before_pages("delete window.MediaSource; delete window.ManagedMediaSource;");
    browser.fill("#token-text", "s3cret-canary-owner");
    browser.click("dialog [type=submit]");
    let first = shown(&browser, "clock", "mjpeg", "img");
    let later = || shown(&browser, "clock", "mjpeg", "img") > first;
    crate::support::eventually("another picture is shown", || (), || later().then_some(()));
    assert_eq!(browser.run("return document.getElementById('trouble').hidden"), json!(true));
    browser.click("[data-page=events]");
    wait_text(&browser, ".feed", "connecting → live");
    // It is this tab's alone, and nowhere that outlives it.
    assert_eq!(browser.run("return localStorage.length + document.cookie.length"), json!(0));
    assert!(!browser.run("return document.documentElement.outerHTML").to_string().contains("canary"));
    is_clean(&browser, &["401 (Unauthorized)"]);
}
