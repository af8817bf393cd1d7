//! HTTP and RTSP within TLS: openssl's certificates, curl's, ffmpeg's and openssl's clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{Camshaft, Certificate, Clip, Coding, command_output, eventually, ffprobe_packets};

/// A service that shows these files.
fn start(certificate: &Path, key: &Path) -> Camshaft {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("camshaft.yaml"), yaml(certificate, key)).unwrap();
    Camshaft::start_in(dir)
}

fn yaml(certificate: &Path, key: &Path) -> String {
    format!(
        "server:\n  http: 127.0.0.1:0\n  admin: 127.0.0.1:0\n  rtsp: 127.0.0.1:0\n  https: 127.0.0.1:0\n  \
         rtsps: 127.0.0.1:0\n  tls_certificate: {}\n  tls_key: {}\n\
         streams:\n  clock: {{ source: 'test:?width=320&height=180&fps=25' }}\n",
        certificate.display(),
        key.display()
    )
}

/// curl's exit code, and what it wrote: the body and the status code.
fn curl(arguments: &[&str], url: &str) -> (i32, String) {
    let fixed = ["-s", "--max-time", "20", "-w", "\n%{http_version} %{http_code}"];
    let output = Command::new("curl").args(fixed).args(arguments).arg(url).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a program that is not to succeed says.
fn complaint(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(!output.status.success(), "{program} {arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn http_within_tls_serves_what_http_does() {
    let folder = tempfile::tempdir().unwrap();
    let Certificate { key, certificate } = Certificate::make(folder.path());
    let server = start(certificate.as_ref(), key.as_ref());
    let url = |path: &str| format!("https://{}{path}", server.https_address());
    for version in [["--tlsv1.3", "--http2"], ["--tls-max", "1.2"]] {
        let arguments = [&["--cacert", &certificate], &version[..]].concat();
        let (code, text) = curl(&arguments, &url("/v1/streams"));
        assert!(code == 0 && text.contains("\"clock\"") && text.ends_with("1.1 200"), "{version:?}: {code} {text}");
    }
    assert_eq!(curl(&[], &url("/v1/streams")).0, 60, "a stranger's certificate");
    assert_eq!(server.get("/v1/streams").status, 200, "it is there without TLS as well");

    let file = folder.path().join("copy.mp4");
    let file = file.to_str().unwrap();
    let trusted = ["-tls_verify", "1", "-ca_file", &certificate];
    let live = url("/v1/streams/clock/live.mp4");
    let record = ["-v", "error", "-y", "-t", "3", "-i", &live, "-c", "copy", file];
    command_output("ffmpeg", &[&trusted[..], &record].concat());
    assert!(ffprobe_packets(file, "v:0").len() >= 60);

    // As much goes up as comes down.
    let clip = Clip::make(Coding::default());
    let (input, output) = (clip.path.to_str().unwrap(), folder.path().join("small.ts"));
    let output = output.to_str().unwrap();
    let job = url("/v1/transcode?format=ts&width=160");
    let (code, text) = curl(&["--cacert", &certificate, "-X", "POST", "-T", input, "-o", output], &job);
    assert!(code == 0 && text.ends_with("200"), "{code} {text}");
    assert_eq!(ffprobe_packets(output, "v:0").len(), ffprobe_packets(input, "v:0").len());
}

#[test]
fn rtsp_within_tls_keeps_its_media_there() {
    let folder = tempfile::tempdir().unwrap();
    let Certificate { key, certificate } = Certificate::make(folder.path());
    let server = start(certificate.as_ref(), key.as_ref());
    let url = format!("rtsps://{}/clock", server.rtsps_address());
    let file = folder.path().join("copy.mp4");
    let file = file.to_str().unwrap();
    // libavformat verifies nothing here; openssl does below.
    let record = ["-v", "error", "-y", "-i", &url, "-t", "3"];
    command_output("ffmpeg", &[&record[..], &["-c", "copy", file]].concat());
    assert!(ffprobe_packets(file, "v:0").len() >= 60);

    let requests = format!(
        "SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\n\
         SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n"
    );
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_return_error", "-CAfile", &certificate, "-connect"])
        .arg(server.rtsps_address())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    client.stdin.as_mut().unwrap().write_all(requests.as_bytes()).unwrap();
    let mut answers = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&answers).contains("CSeq: 2") {
        let read = client.stdout.as_mut().unwrap().read(&mut piece).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answers));
        answers.extend_from_slice(&piece[..read]);
    }
    client.kill().unwrap();
    client.wait().unwrap();
    let answers = String::from_utf8_lossy(&answers);
    assert!(answers.starts_with("RTSP/1.0 461") && answers.contains("RTSP/1.0 200"), "{answers}");
}

#[test]
fn who_speaks_without_tls_is_told_and_who_speaks_nonsense_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let Certificate { key, certificate } = Certificate::make(folder.path());
    let server = start(certificate.as_ref(), key.as_ref());
    let (code, text) = curl(&[], &format!("http://{}/v1/streams", server.https_address()));
    assert!(code == 0 && text.contains("use https://") && text.ends_with("1.1 400"), "{code} {text}");
    let body: serde_json::Value = serde_json::from_str(text.rsplit_once('\n').unwrap().0).unwrap();
    assert_eq!(body["error"]["kind"], "invalid_argument");
    let rtsp = format!("rtsp://{}/clock", server.rtsps_address());
    assert!(complaint("ffprobe", &["-v", "error", "-rtsp_transport", "tcp", &rtsp]).contains("400"));
    for nonsense in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x80\x2e\x01\x03\x01", b"\0\0\0\0\0\0\0\0", b"get / http"] {
        let mut client = TcpStream::connect(server.https_address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.write_all(nonsense).unwrap();
        let mut end = Vec::new();
        let ended = client.read_to_end(&mut end);
        // Nothing, or an alert (RFC 8446 §6) and no more.
        assert!(end.len() <= 16 && (ended.is_ok() || end.is_empty()), "{nonsense:?}: {end:?} {ended:?}");
    }
    assert_eq!(curl(&["-k"], &format!("https://{}/v1/streams", server.https_address())).0, 0);
}

/// Ten seconds are all that a client has for shaking hands and asking, however it spends them.
#[test]
fn a_slow_handshake_is_cut_off_and_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let Certificate { key, certificate } = Certificate::make(folder.path());
    let server = start(certificate.as_ref(), key.as_ref());
    let connect = |address: &str| {
        let client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client
    };
    let begun = Instant::now();
    let slow: Vec<_> = [server.https_address(), server.rtsps_address()]
        .into_iter()
        .map(|address| {
            let mut client = connect(address);
            // A record of 16 KiB, a byte at a time.
            client.write_all(b"\x16\x03\x01\x40\x00").unwrap();
            let mut writer = client.try_clone().unwrap();
            std::thread::spawn(move || {
                while writer.write_all(b"\x01").is_ok() {
                    std::thread::sleep(Duration::from_millis(200));
                }
            });
            (address, client)
        })
        .chain((0..50).map(|_| ("silent", connect(server.https_address()))))
        .collect();
    let (code, text) = curl(&["-k"], &format!("https://{}/v1/streams", server.https_address()));
    assert!(code == 0 && text.ends_with("200"), "{code} {text}");
    for (who, mut client) in slow {
        // What was written after the end makes it a reset.
        let _ = client.read_to_end(&mut Vec::new());
        let took = begun.elapsed();
        assert!((8..25).contains(&took.as_secs()), "{who} was cut off after {took:?}");
    }
}

#[test]
fn a_renewed_certificate_counts_at_once_and_half_a_renewal_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [old, new] = ["..old", "..new"].map(|name| {
        std::fs::create_dir(at(name)).unwrap();
        Certificate::make(&at(name))
    });
    // As Kubernetes mounts a Secret, which cert-manager renews.
    symlink("..old", at("..data")).unwrap();
    symlink("..data/ca.pem", at("tls.crt")).unwrap();
    symlink("..data/key.pem", at("tls.key")).unwrap();
    let server = start(&at("tls.crt"), &at("tls.key"));
    let trusts = |certificate: &str| {
        curl(&["--cacert", certificate], &format!("https://{}/v1/streams", server.https_address())).0 == 0
    };
    assert!(trusts(&old.certificate) && !trusts(&new.certificate));
    let expires = server.metric("camshaft_tls_certificate_expires_seconds").unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((86_400.0..=2.0 * 86_400.0).contains(&(expires - now)), "two days: {expires}");

    let live = format!("https://{}/v1/streams/clock/live.ts", server.https_address());
    let mut viewer = Command::new("curl").args(["-sNk", &live]).stdout(Stdio::piped()).spawn().unwrap();
    let mut read_on = || viewer.stdout.as_mut().unwrap().read_exact(&mut [0; 20_000]).unwrap();
    read_on();
    symlink("..new", at("..data_tmp")).unwrap();
    std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    eventually("the new certificate is shown", || server.log().pause(), || trusts(&new.certificate).then_some(()));
    assert!(!trusts(&old.certificate));
    read_on();
    viewer.kill().unwrap();
    viewer.wait().unwrap();

    // As certbot does it: one link after the other.
    std::fs::remove_file(at("tls.crt")).unwrap();
    symlink(&old.certificate, at("tls.crt")).unwrap();
    server.log().wait("that the pair does not fit", |line| {
        line.contains("left as it was") && line.contains("is not the key to the first certificate")
    });
    assert!(trusts(&new.certificate));
    std::fs::remove_file(at("tls.key")).unwrap();
    symlink(&old.key, at("tls.key")).unwrap();
    eventually("the old pair is shown again", || server.log().pause(), || trusts(&old.certificate).then_some(()));
}

#[test]
fn a_pair_of_no_use_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let [good, other, expired] = ["good", "other", "expired"].map(|name| {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        let make = if name == "expired" { Certificate::make_expired } else { Certificate::make };
        make(&folder.path().join(name))
    });
    let missing = folder.path().join("missing.pem");
    for (certificate, key, said) in [
        (missing.as_path(), good.key.as_ref(), "missing.pem (server.tls_certificate)"),
        (good.certificate.as_ref(), missing.as_path(), "missing.pem (server.tls_key)"),
        (good.certificate.as_ref(), other.key.as_ref(), "tls_key is not the key to the first certificate"),
        (expired.certificate.as_ref(), expired.key.as_ref(), "tls_certificate expired at 2025-01-02T00:00:00Z"),
        (good.key.as_ref(), good.key.as_ref(), "tls_certificate holds no certificate"),
    ] {
        let file = folder.path().join("camshaft.yaml");
        std::fs::write(&file, yaml(certificate, key)).unwrap();
        let file = file.to_str().unwrap();
        let said_at_start = complaint("timeout", &["20", env!("CARGO_BIN_EXE_camshaft"), "serve", "--config", file]);
        assert!(said_at_start.contains(said), "{said}: {said_at_start}");
        let checked = Command::new(env!("CARGO_BIN_EXE_camshaft")).args(["check", "--config", file]).output().unwrap();
        let found = String::from_utf8_lossy(&checked.stdout);
        assert!(found.contains("problem  certificate") && found.contains(said), "{said}: {found}");
    }
}
