//! Who may call: tokens over HTTP and RTSP, their scopes, and what is refused without them.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Camshaft, command_output, eventually};

const OWNER: &str = "s3cret-canary-owner";
const VIEWER: &str = "s3cret-canary-viewer";
const MAKER: &str = "s3cret-canary-maker";

/// A service with a token for everything, one for media and one for streams.
fn guarded(folder: &Path) -> Camshaft {
    let tokens = folder.join("tokens");
    std::fs::write(&tokens, format!("{OWNER}\n{VIEWER} media:read\n{MAKER} streams:read,streams:write\n")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!(
        "server: {{ http: '127.0.0.1:0', admin: '127.0.0.1:0', rtsp: '127.0.0.1:0', token_file: {} }}\n\
         streams:\n  clock: {{ source: 'test:?width=320&height=180&fps=25' }}\n",
        tokens.display()
    );
    std::fs::write(dir.path().join("camshaft.yaml"), yaml).unwrap();
    Camshaft::start_in(dir)
}

/// curl's status code and the headers and body that it saw.
fn curl(arguments: &[&str], url: &str) -> (u16, String) {
    let output = command_output(
        "curl",
        &[&["-s", "-i", "--max-time", "20", "-w", "\n%{http_code}"], arguments, &[url]].concat(),
    );
    let text = String::from_utf8_lossy(&output).into_owned();
    let (seen, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), seen.to_owned())
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[test]
fn each_token_opens_what_it_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let server = guarded(folder.path());
    let stream = r#"{ "source": "test:?width=160&height=90&fps=5" }"#;
    let calls: [(&[&str], &str, [u16; 3]); 7] = [
        // What the owner, the viewer and the maker are answered.
        (&[], "/v1/streams", [200, 403, 200]),
        (&[], "/v1/streams/clock", [200, 403, 200]),
        (&[], "/v1/devices", [200, 403, 200]),
        (&[], "/v1/streams/clock/frame.jpg", [200, 200, 403]),
        (&["-X", "PUT", "-d", stream], "/v1/streams/more", [201, 403, 200]),
        (&["-X", "POST"], "/v1/devices/renderD200/trial", [404, 403, 403]),
        (&["-X", "DELETE"], "/v1/streams/more", [204, 403, 404]),
    ];
    for (arguments, path, expected) in calls {
        let url = server.url(path);
        for (token, expected) in [OWNER, VIEWER, MAKER].into_iter().zip(expected) {
            let header = bearer(token);
            let (status, seen) = curl(&[arguments, &["-o", "/dev/null", "-H", &header]].concat(), &url);
            assert_eq!(status, expected, "{token} {arguments:?} {path}: {seen}");
        }
        let (status, seen) = curl(arguments, &url);
        assert!(status == 401 && seen.contains("\"unauthenticated\""), "{arguments:?} {path}: {status} {seen}");
        assert!(seen.contains("www-authenticate: Bearer") && seen.contains("www-authenticate: Basic"), "{seen}");
        assert!(!seen.contains("access-control"), "no other origin may read answers: {seen}");
    }
    // As players and browsers do it; no window of the browser's opens over a page's own call.
    let picture = server.url("/v1/streams/clock/frame.jpg");
    assert_eq!(curl(&["-o", "/dev/null", "-u", &format!("anybody:{VIEWER}")], &picture).0, 200);
    let (status, seen) = curl(&["-H", "Sec-Fetch-Mode: cors"], &picture);
    assert!(status == 401 && !seen.contains("Basic realm"), "{seen}");
    // What describes the service is no secret; probes have a port of their own.
    assert_eq!((curl(&[], &server.url("/")).0, server.admin("/livez").status), (200, 200));
    // Whoever reaches the Unix socket is in the pod.
    let socket = server.socket();
    let (status, _) = curl(&["--unix-socket", socket.to_str().unwrap()], "http://pod/v1/streams");
    assert_eq!(status, 200);
    for (place, text) in [("log", server.log().text()), ("metrics", server.admin("/metrics").text())] {
        assert!(!text.contains("s3cret-canary"), "a token is in the {place}");
    }
}

#[test]
fn a_wrong_token_waits_and_a_new_file_counts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = guarded(folder.path());
    let url = server.url("/v1/streams");
    let asked = std::time::Instant::now();
    let (status, seen) = curl(&["-H", &bearer("s3cret-canary-wrong")], &url);
    assert!(status == 401 && asked.elapsed().as_millis() >= 500, "{status} after {:?}: {seen}", asked.elapsed());
    let with = |token: &str| curl(&["-H", &bearer(token)], &url).0;
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "too short\n").unwrap();
    server.log().wait("the mistake in the new file", |line| line.contains("the tokens are left as they were"));
    assert_eq!(with(OWNER), 200);
    std::fs::write(&tokens, "another-token-0123\n").unwrap();
    eventually("the new token counts", || (), || (with("another-token-0123") == 200).then_some(()));
    assert_eq!(with(OWNER), 401);
}

#[test]
fn a_page_of_another_origin_changes_nothing() {
    let server = Camshaft::start("");
    let post = |origin: &str| {
        let (status, _) =
            curl(&["-X", "POST", "-d", "{}", "-H", &format!("Origin: {origin}")], &server.url("/v1/streams"));
        status
    };
    assert_eq!(post("http://evil.example"), 403);
    assert_eq!(post("null"), 403);
    assert_eq!(post(server.url("").trim_end_matches('/')), 400, "its own page gets as far as the body");
}

/// Programs that a test runs as somebody else; `None` where it may not.
fn as_user(uid: &str) -> Option<Command> {
    let as_user = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", uid, "--regid", uid, "--clear-groups", "--"]);
        command
    };
    let may = as_user().arg("true").output().expect("setpriv runs: `make test` installs it");
    may.status.success().then(as_user)
}

#[test]
fn the_unix_socket_lets_in_the_users_that_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let own = rustix::process::getuid().as_raw();
    let users = format!("['{own}', '54321 streams:read media:read', 'nobody media:read']");
    let yaml = Camshaft::yaml("", "  clock: { source: 'test:?width=160&height=90&fps=5' }").replacen(
        "server: {",
        &format!("server: {{ unix_users: {users},"),
        1,
    );
    std::fs::write(dir.path().join("camshaft.yaml"), yaml).unwrap();
    let server = Camshaft::start_in(dir);
    let socket = server.socket();
    let socket = socket.to_str().unwrap();
    assert_eq!(curl(&["--unix-socket", socket], "http://pod/v1/streams").0, 200, "its own user is listed");
    let nobody = command_output("id", &["-u", "nobody"]);
    let nobody = String::from_utf8(nobody).unwrap().trim().to_owned();
    for (uid, method, path, expected, said) in [
        ("54321", "GET", "/v1/streams", 200, "clock"),
        ("54321", "GET", "/v1/streams/clock/frame.jpg", 200, ""),
        ("54321", "DELETE", "/v1/streams/clock", 403, "user 54321 is not for 'streams:write': server.unix_users"),
        (&nobody, "GET", "/v1/streams/clock/frame.jpg", 200, ""),
        (&nobody, "GET", "/v1/streams", 403, "is not for 'streams:read': server.unix_users"),
        ("54322", "GET", "/v1/streams", 403, "user 54322 may not call here: server.unix_users says who may"),
        ("54322", "GET", "/v1/streams/clock/live.mjpeg", 403, "user 54322 may not call here"),
        ("54322", "POST", "/v1/transcode", 403, "user 54322 may not call here"),
        ("54322", "GET", "/openapi.json", 200, "camshaft"),
    ] {
        let Some(mut command) = as_user(uid) else {
            return eprintln!("this user cannot become another: others at the socket are not tested");
        };
        let url = format!("http://pod{path}");
        command.args(["curl", "-s", "--max-time", "20", "-X", method, "--unix-socket", socket]);
        let output = command.args(["-w", "\n%{http_code}", &url]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.ends_with(&format!("\n{expected}")) && text.contains(said), "{uid} {path}: {text}");
    }
}

#[test]
fn a_name_that_nobody_has_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("camshaft.yaml");
    let socket = dir.path().join("c.sock");
    std::fs::write(&config, format!("server: {{ unix: {}, unix_users: [frigat-e] }}", socket.display())).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_camshaft")).args(["serve", "--config"]).arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("server.unix_users: /etc/passwd has no user 'frigat-e'"),
        "{said}"
    );
}

#[test]
fn no_other_origin_is_allowed_anything() {
    let server = Camshaft::start("  clock: { source: 'test:?width=160&height=90&fps=5' }");
    let preflight = ["-X", "OPTIONS", "-H", "Access-Control-Request-Method: PUT"];
    let origin = ["-H", "Origin: http://evil.example"];
    for path in ["/", "/v1/streams", "/v1/streams/clock", "/v1/streams/clock/frame.jpg", "/openapi.json", "/none"] {
        for arguments in [&preflight[..], &[], &["-X", "PUT", "-d", "{}"]] {
            let (status, seen) =
                curl(&[arguments, &origin, &["-o", "/dev/null", "-D", "-"]].concat(), &server.url(path));
            assert!(!seen.to_lowercase().contains("access-control-"), "{arguments:?} {path}: {status} {seen}");
        }
    }
    let (_, seen) = curl(&[&origin[..], &["-o", "/dev/null"]].concat(), &server.admin_url("/metrics"));
    assert!(!seen.to_lowercase().contains("access-control-"), "{seen}");
}

#[test]
fn rtsp_takes_a_token_for_media_as_password() {
    let folder = tempfile::tempdir().unwrap();
    let server = guarded(folder.path());
    let probe = |login: &str| -> Output {
        let url = server.rtsp_url("/clock").replace("rtsp://", &format!("rtsp://{login}"));
        Command::new("ffprobe").args(["-v", "error", "-rtsp_transport", "tcp", &url]).output().unwrap()
    };
    let open = probe(&format!("anybody:{VIEWER}@"));
    assert!(open.status.success(), "{}", String::from_utf8_lossy(&open.stderr));
    for login in [String::new(), format!("anybody:{MAKER}@"), "anybody:s3cret-canary-wrong@".into()] {
        let asked = std::time::Instant::now();
        let refused = probe(&login);
        assert!(login.is_empty() || asked.elapsed().as_millis() >= 500, "guessing is slow: {:?}", asked.elapsed());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("401"), "'{login}': {said}");
    }
}

#[test]
fn the_command_line_shows_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let server = guarded(folder.path());
    let list = |file: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_camshaft"));
        command.args(["streams", "list", "--url", server.url("").trim_end_matches('/')]);
        command.env("CAMSHAFT_TOKEN_FILE", file).output().unwrap()
    };
    let listed = list(&folder.path().join("tokens"));
    assert!(listed.status.success() && String::from_utf8_lossy(&listed.stdout).contains("clock"), "{listed:?}");
    let mut encrypted = Command::new(env!("CARGO_BIN_EXE_camshaft"));
    let encrypted = encrypted.args(["streams", "list", "--url", "https://127.0.0.1:1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&encrypted.stderr).contains("without TLS: give --url the address of server.http"));
    let viewer = folder.path().join("viewer");
    std::fs::write(&viewer, VIEWER).unwrap();
    let refused = list(&viewer);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("streams:read") && !said.contains(VIEWER), "{said}");
}

#[test]
fn it_does_not_listen_to_all_without_being_told() {
    let start = |server: &str| {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("camshaft.yaml");
        std::fs::write(&config, format!("server: {{ admin: '127.0.0.1:0', {server} }}\nstreams: {{}}\n")).unwrap();
        // What is told to listen does so until it is ended.
        let mut command = Command::new("timeout");
        command.args(["-s", "TERM", "4", env!("CARGO_BIN_EXE_camshaft"), "serve", "--config"]).arg(&config);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (server, key) in [
        ("http: '0.0.0.0:0', rtsp: off", "server.http"),
        ("http: '127.0.0.1:0', rtsp: '[::]:0'", "server.rtsp"),
        ("http: '192.168.7.7:8080', rtsp: off, open_to_network: false", "server.http"),
    ] {
        let (code, said) = start(server);
        let all = said.contains(key) && said.contains("token_file") && said.contains("open_to_network: true");
        assert!(code == Some(1) && all, "{server}: {code:?} {said}");
    }
    let (_, said) = start("http: '0.0.0.0:0', rtsp: off, open_to_network: true");
    assert!(said.contains("ready"), "{said}");
}
