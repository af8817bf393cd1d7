//! The suite's passwords are canaries: whatever is done with one, right and wrong, it shows nowhere that camshaft writes,
//! answers, or starts a process with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

use crate::support::{
    Camera, Camshaft, Certificate, Clip, Coding, Curl, Nginx, StandIn, Y4m, children, command_output, eventually, kill,
    signal,
};

/// Part of every secret here, and what Basic (RFC 7617) makes of it behind the user's name.
const CANARY: &str = "s3cret-canary";
const AS_BASIC: &str = "dmlld2VyOnMzY3JldC1jYW5hcn";
const OWNER: &str = "s3cret-canary-owner-of-all";
const VIEWER: &str = "s3cret-canary-viewer-only";

/// Texts by where they were found.
#[derive(Default)]
struct Evidence(BTreeMap<String, String>);

impl Evidence {
    fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.insert(place.into(), text.into());
    }

    /// Arguments, environment and name of `root` and all that it started.
    fn add_processes(&mut self, root: u32) {
        let mut pending = vec![root];
        while let Some(pid) = pending.pop() {
            pending.extend(children(pid).into_iter().map(|(pid, _)| pid));
            for file in ["cmdline", "environ", "comm"] {
                // Who is not root may not look into a worker, and one may end meanwhile.
                let Ok(bytes) = fs::read(format!("/proc/{pid}/{file}")) else { continue };
                self.add(format!("/proc/{pid}/{file}"), String::from_utf8_lossy(&bytes));
            }
        }
    }

    /// Every file below `folder`, cores included.
    fn add_files(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => self.add_files(&path),
                kind if kind.is_file() => {
                    self.add(path.display().to_string(), String::from_utf8_lossy(&fs::read(&path).unwrap()));
                }
                _ => {}
            }
        }
    }

    fn expect_no_secret(&self) {
        for (place, text) in &self.0 {
            for needle in [CANARY, AS_BASIC] {
                let Some(at) = text.find(needle) else { continue };
                let from = text[..at].char_indices().rev().nth(200).map_or(0, |(index, _)| index);
                panic!("a secret is in {place}: {}…", &text[from..at + needle.len()]);
            }
        }
    }
}

/// What the service may write into, and the files that hold secrets.
struct Folders {
    work: TempDir,
    secrets: TempDir,
}

impl Folders {
    fn make() -> Self {
        let folders = Self { work: tempfile::tempdir().unwrap(), secrets: tempfile::tempdir().unwrap() };
        for (name, text) in [
            ("camera", format!("{CANARY}\n")),
            ("tokens", format!("{OWNER}\n{VIEWER} media:read\n")),
            ("viewer", VIEWER.to_owned()),
        ] {
            fs::write(folders.secret(name), text).unwrap();
        }
        folders
    }

    fn secret(&self, name: &str) -> String {
        self.secrets.path().join(name).to_str().unwrap().to_owned()
    }
}

/// camshaft working in a folder of its own, where the kernel would leave cores as large as they are.
fn start(folders: &Folders, streams: &str) -> Camshaft {
    let yaml = format!(
        "server:\n  http: 127.0.0.1:0\n  admin: 127.0.0.1:0\n  rtsp: 127.0.0.1:0\n  rtsp_username: viewer\n  \
         rtsp_password: {CANARY}\n  token_file: {}\nsources: {{ allow: [127.0.0.0/8] }}\nstreams:\n{streams}",
        folders.secret("tokens")
    );
    fs::write(folders.secret("camshaft.yaml"), &yaml).unwrap();
    let config = tempfile::tempdir().unwrap();
    fs::write(config.path().join("camshaft.yaml"), yaml).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_camshaft")]);
    command.current_dir(folders.work.path()).env("TMPDIR", folders.work.path());
    Camshaft::run(command, config)
}

/// What curl sees, head and body, with this token.
fn call(token: &str, arguments: &[&str], url: &str) -> String {
    let header = format!("Authorization: Bearer {token}");
    let mut curl = Command::new("curl");
    curl.args(["-sk", "-i", "--max-time", "20", "-H", &header]).args(arguments).arg(url);
    String::from_utf8_lossy(&curl.output().unwrap().stdout).into_owned()
}

/// Bodies with a secret in every place where it may stand, and in many where it may not.
fn bodies(url: &str) -> Vec<String> {
    let with_login = url.replace("://", &format!("://viewer:{CANARY}@"));
    vec![
        format!(r#"{{ "source": "{with_login}" }}"#),
        format!(r#"{{ "source": "{url}", "username": "viewer", "password": "{CANARY}" }}"#),
        format!(r#"{{ "source": "{url}", "password": "{CANARY}" }}"#),
        format!(r#"{{ "source": "{url}", "username": "viewer", "passwort": "{CANARY}" }}"#),
        format!(r#"{{ "source": "{url}", "username": "viewer", "password": ["{CANARY}"] }}"#),
        format!(r#"{{ "source": "{url}", "username": "viewer", "password": {{ "{CANARY}": 1 }} }}"#),
        format!(r#"{{ "source": "rtsp://viewer:{CANARY}@127.0.0.1:99999/cam" }}"#),
        format!(r#"{{ "source": "gopher://viewer:{CANARY}@127.0.0.1/cam" }}"#),
        format!(r#"{{ "source": "viewer:{CANARY}@127.0.0.1/cam" }}"#),
        format!(r#"{{ "source": "rtsp://viewer:{CANARY}@8.8.8.8/cam?token={CANARY}" }}"#),
        format!(r#"{{ "source": "rtsp://127.0.0.1/cam", "username": "viewer", "password": "{CANARY}" "#),
        format!(r#"{{ "source": "{with_login}", "ttl": "10s" }}"#),
        format!(r#"{{ "source": "{with_login}", "ttl": "{with_login}" }}"#),
    ]
}

#[test]
fn a_secret_shows_nowhere() {
    let clip = Clip::make(Coding::default());
    let folders = Folders::make();
    let Certificate { key, certificate } = Certificate::make(folders.secrets.path());
    let plain = Camera::start(&clip, &["--auth", "digest"]);
    let encrypted = Camera::start(&clip, &["--tls", &certificate, &key, "--auth", "basic"]);
    let nginx = Nginx::start();
    let (input, served) = (clip.path.to_str().unwrap().to_owned(), nginx.file("login/clip.ts"));
    command_output("ffmpeg", &["-v", "error", "-i", &input, "-c", "copy", &served]);
    let rtsps = encrypted.url().replace("rtsp:", "rtsps:");
    let web = nginx.url("login/clip.ts");
    let login = format!("username: viewer, password: {CANARY}");
    let wrong = format!("username: viewer, password: {CANARY}-not");
    let in_url = |url: &str| url.replace("://", &format!("://viewer:{CANARY}@"));
    let (in_rtsp, in_web, file) = (in_url(&plain.url()), in_url(&web), folders.secret("camera"));
    let (native, moved) = (plain.url(), nginx.url("moved"));
    let streams = format!(
        "  native: {{ source: '{in_rtsp}' }}
  native-wrong: {{ source: '{native}', {wrong} }}
  substream: {{ source: '{native}', detect_source: '{native}', {login}, on_demand: true }}
  libav: {{ source: '{rtsps}', ingest: libav, tls: insecure, username: viewer, password_file: {file} }}
  libav-wrong: {{ source: '{rtsps}', ingest: libav, tls: insecure, {wrong} }}
  web: {{ source: '{in_web}' }}
  web-wrong: {{ source: '{web}', {wrong} }}
  moved: {{ source: '{moved}', input: ts, {login} }}
  nowhere: {{ source: 'rtsp://127.0.0.1:1/cam?token={CANARY}', {login} }}
"
    );
    let mut server = start(&folders, &streams);
    let mut seen = Evidence::default();
    let bearer = format!("Authorization: Bearer {OWNER}");
    let events = Curl::listen(&server.url("/v1/events"), &["-H", &bearer]);

    // Every way to the cameras, decoded, made anew, and recorded; and every way to be refused.
    let status = |id: &str| call(OWNER, &[], &server.url(&format!("/v1/streams/{id}")));
    for (id, said) in [
        ("native-wrong", "refuses the credentials"),
        ("libav-wrong", "refuses the credentials"),
        ("web-wrong", "refuses the credentials"),
        ("moved", "redirects"),
        ("nowhere", "\"reason\":\""),
    ] {
        eventually(&format!("{id}: {said}"), || server.log().pause(), || status(id).contains(said).then_some(()));
    }
    for id in ["native", "substream", "libav", "web"] {
        let url = server.url(&format!("/v1/streams/{id}/live.y4m?width=160&fps=5"));
        let mut child = Command::new("curl").args(["-sN", "-H", &bearer, &url]).stdout(Stdio::piped()).spawn().unwrap();
        let read = Y4m::new(child.stdout.take().unwrap()).numbers(3);
        assert_eq!(read.len(), 3, "{id}");
        let encoded = server.url(&format!("/v1/streams/{id}/live.ts?codec=h264&width=160"));
        let mut viewer =
            Command::new("curl").args(["-sN", "-H", &bearer, &encoded, "-o", "/dev/null"]).spawn().unwrap();
        eventually("there is an encode", || server.log().pause(), || status(id).contains("h264").then_some(()));
        seen.add_processes(server.pid());
        for child in [&mut child, &mut viewer] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    let workers = seen.0.keys().filter(|place| place.ends_with("cmdline")).count();
    assert!(workers >= 8, "the service, four cameras, tunnels and engines: {:?}", seen.0.keys());

    // Who calls, and how.
    let job = server.url("/v1/transcode?width=160&format=ts");
    assert!(call(OWNER, &["-X", "POST", "-T", &input, "-o", "/dev/null", "-D", "-"], &job).contains("200 OK"));
    seen.add("a wrong token's answer", call("s3cret-canary-of-nobody", &[], &server.url("/v1/streams")));
    seen.add("a narrow token's answer", call(VIEWER, &[], &server.url("/v1/streams")));
    seen.add("Basic's answer", call("", &["-u", &format!("viewer:{CANARY}")], &server.url("/v1/streams")));
    for login in [format!("viewer:{CANARY}@"), format!("x:{VIEWER}@"), format!("viewer:{CANARY}-not@")] {
        let url = server.rtsp_url("/native").replace("rtsp://", &format!("rtsp://{login}"));
        let probe = ["-v", "error", "-rtsp_transport", "tcp", "-show_streams", &url];
        let _ = Command::new("ffprobe").args(probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
    for (number, body) in bodies(&native).iter().enumerate() {
        let put = ["-X", "PUT", "-d", body];
        seen.add(format!("PUT {number}"), call(OWNER, &put, &server.url(&format!("/v1/streams/put-{number}"))));
        let post = ["-X", "POST", "-d", body];
        seen.add(format!("POST {number}"), call(OWNER, &post, &server.url("/v1/streams")));
    }
    for query in ["token=", "width=", "codec=", "at=", "rendition="] {
        let url = server.url(&format!("/v1/streams/native/frame.jpg?access_token=x&{query}{CANARY}"));
        let answer = call(OWNER, &[], &url);
        assert!(answer.contains("400 Bad Request"), "{answer}");
    }

    // Frigate's command names the camera with its password; what it starts does not.
    let cache = folders.work.path().join("cache");
    fs::create_dir(&cache).unwrap();
    let arguments = format!(
        "-hide_banner -loglevel warning -rtsp_transport tcp -i {in_rtsp} -f segment -segment_time 10 -segment_format mp4 \
         -reset_timestamps 1 -strftime 1 -c:v copy -an {}/cam@%Y%m%d%H%M%S%z.mp4 -r 5 -vf fps=5,scale=160:90 -threads 2 -f rawvideo -pix_fmt yuv420p \
         pipe:",
        cache.display()
    );
    let mut frigate = StandIn::start(&server.socket(), &arguments);
    frigate.pictures((160, 90), 5);
    let real = eventually("a real ffmpeg records", || frigate.log().pause(), || children(frigate.pid()).pop());
    seen.add_processes(real.0);
    seen.add("the stand-in's log", frigate.log().text());
    drop(frigate);

    // What its owner asks of it.
    let owners =
        [vec!["/", "/openapi.json", "/v1/streams", "/v1/devices", "/v1/plan?codec=h264&width=1920&height=1080"]];
    let ids = ["native", "native-wrong", "substream", "libav", "libav-wrong", "web", "web-wrong", "moved", "nowhere"];
    let puts = (0..bodies("").len()).map(|number| format!("put-{number}"));
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).chain(puts).collect();
    let of_streams =
        ids.iter().flat_map(|id| ["", "/settings", "/live.m3u8"].map(|part| format!("/v1/streams/{id}{part}")));
    for path in owners.concat().into_iter().map(str::to_owned).chain(of_streams) {
        seen.add(format!("GET {path}"), call(OWNER, &[], &server.url(&path)));
    }
    assert!(
        seen.0["GET /v1/streams/native/settings"].contains("rtsp://127.0.0.1"),
        "{}",
        seen.0["GET /v1/streams/native/settings"]
    );
    for path in ["/metrics", "/livez", "/readyz"] {
        seen.add(path, server.admin(path).text());
    }
    let api = server.url("");
    let commands: [&[&str]; 3] = [
        &["check", "--json", "--config"],
        &["streams", "list", "--url", &api, "--token-file"],
        &["streams", "watch", "--url", "http://127.0.0.1:1", "--token-file"],
    ];
    for arguments in commands {
        let file = if arguments[0] == "check" { "camshaft.yaml" } else { "viewer" };
        let mut command = Command::new(env!("CARGO_BIN_EXE_camshaft"));
        let output = command.args(arguments).arg(folders.secret(file)).output().unwrap();
        seen.add(
            format!("{arguments:?}"),
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr),
        );
    }

    // Mistakes in files, of the configuration and of tokens.
    let config = folders.secret("camshaft.yaml");
    let good = fs::read_to_string(&config).unwrap();
    for (number, bad) in [
        format!("{good}  bad: {{ source: 'rtsp://viewer:{CANARY}@127.0.0.1:99999/' }}\n"),
        format!("{good}  bad: {{ source: 'rtsp://127.0.0.1/', username: viewer, password: '{CANARY} }}\n"),
        format!("{good}  bad: {{ source: rtsp://127.0.0.1/, {CANARY}: [1, 2]\n"),
        good.replace("rtsp_username: viewer", "rtsp_user: viewer"),
    ]
    .iter()
    .enumerate()
    {
        let file = folders.secret("bad.yaml");
        fs::write(&file, bad).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_camshaft"));
        let output = command.args(["check", "--config", &file]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("problem"), "{number}: {said}");
        seen.add(format!("mistakes {number}"), said);
    }
    let from = server.log().len();
    fs::write(folders.secret("tokens"), format!("{CANARY}\n{CANARY} everything\n")).unwrap();
    server.log().wait_from(from, "the mistake in the tokens", |line| line.contains("the tokens are left as they were"));

    // Deaths: of a worker, of one that holds the password, of all.
    let native: serde_json::Value = serde_json::from_str(status("native").rsplit_once("\r\n\r\n").unwrap().1).unwrap();
    let ingest = native["workers"]["ingest"]["pid"].as_u64().unwrap() as u32;
    signal(ingest, rustix::process::Signal::ABORT);
    server
        .log()
        .wait("that the ingest worker died", |line| line.contains("native") && line.contains("killed by signal 6"));
    seen.add_processes(server.pid());
    kill(children(server.pid())[0].0);
    seen.add("events", events.text());
    server.signal(rustix::process::Signal::ABORT);
    server.wait_exit(std::time::Duration::from_secs(20));
    seen.add("the log", server.log().text());
    seen.add_files(folders.work.path());
    seen.expect_no_secret();
    let cores: Vec<_> = fs::read_dir(folders.work.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!cores.iter().any(|name| name.to_string_lossy().contains("core")), "{cores:?}");
    assert!(seen.0["events"].contains("native") && seen.0["the log"].len() > 10_000);
}

#[test]
fn the_search_finds_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("deep")).unwrap();
    fs::write(dir.path().join("deep/core.1"), [&b"\xff\0"[..], CANARY.as_bytes(), b"\0"].concat()).unwrap();
    let mut child = Command::new("sleep").arg("20").env("PASSWORD", CANARY).spawn().unwrap();
    let found = |add: &dyn Fn(&mut Evidence)| {
        let mut seen = Evidence::default();
        add(&mut seen);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| seen.expect_no_secret())).is_err()
    };
    assert!(found(&|seen| seen.add_files(dir.path())));
    eventually("the environment is its own", std::thread::yield_now, || {
        found(&|seen| seen.add_processes(child.id())).then_some(())
    });
    assert!(found(&|seen| seen.add("log", format!("authorization: Basic {AS_BASIC}="))));
    assert!(!found(&|seen| seen.add("log", "secret")));
    child.kill().unwrap();
    child.wait().unwrap();
}
