//! VLC, headless, as a client over HTTP. Debian's has no RTSP (docs/rtsp.md).

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Camshaft, ffprobe_packets};

#[test]
fn vlc_records_every_form_over_http() {
    let server = Camshaft::start("  clock: { source: \"test:?width=320&height=180&fps=25&gop=25\" }\n");
    server.wait_status("clock", "four seconds in the ring", |status| status["ring"]["seconds"].as_f64() > Some(4.0));
    for path in ["live.ts", "live.mp4", "live.m3u8", "live.ts?codec=h264&width=160"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let file = dir.path().join("recorded.ts");
        record(&server.url(&format!("/v1/streams/clock/{path}")), file.to_str().unwrap(), dir.path());
        let mut packets = ffprobe_packets(file.to_str().unwrap(), "v:0");
        packets.sort_by(|a, b| a.pts.total_cmp(&b.pts));
        assert!(packets.len() > 50 && packets[0].key, "{path}: {} pictures", packets.len());
        let steps: Vec<f64> = packets.windows(2).map(|pair| pair[1].pts - pair[0].pts).collect();
        assert!(steps.iter().all(|step| (step - 0.04).abs() < 0.005), "{path}: {steps:?}");
    }
}

/// Writes four seconds of `url` into `file`.
fn record(url: &str, file: &str, home: &std::path::Path) {
    let vlc =
        ["-I", "dummy", "-q", "--run-time=4", "--sout", &format!("#standard{{access=file,mux=ts,dst={file}}}"), url];
    let mut command = Command::new("env");
    if rustix::process::geteuid().is_root() {
        // It refuses to run as root.
        command.args(["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]);
    }
    let output = command.arg("cvlc").args(vlc).arg("vlc://quit").env("HOME", home).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
