//! What the configuration makes of the service, and what is to confine its workers.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Finding;
use crate::cli::serve::read_identity;
use crate::config::{Config, SandboxMode, Server, TlsFiles};
use crate::error::Result;
use crate::sandbox::{self, ConfineError};

/// Whether the configuration can be read, and is right; every mistake is a finding of its own.
pub fn configuration(path: &Path, loaded: Result<Config>, findings: &mut Vec<Finding>) -> Option<Config> {
    const SUBJECT: &str = "configuration";
    match loaded {
        Ok(config) => {
            let count = config.streams.len();
            let streams = if count == 1 { "stream" } else { "streams" };
            findings.push(Finding::ok(SUBJECT, format!("{}: {count} {streams}", path.display())));
            Some(config)
        }
        Err(error) => {
            let text = error.chain();
            let mistakes = text.lines().filter(|line| !line.ends_with("has mistakes:"));
            findings.extend(mistakes.map(|mistake| Finding::problem(SUBJECT, mistake)));
            None
        }
    }
}

/// Who renews certificates by itself has done so by now, all of them that run for a month or longer.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// Whether the TLS servers have something to show.
pub fn certificate(files: Option<&TlsFiles>) -> Option<Finding> {
    const SUBJECT: &str = "certificate";
    Some(match read_identity(files?) {
        Err(error) => Finding::problem(SUBJECT, error.chain()),
        Ok(identity) => {
            let left = identity.not_after().duration_since(SystemTime::now()).unwrap_or_default();
            let days = left.as_secs() / 86_400;
            let message = format!("{} counts for {days} more days", files?.certificate.display());
            if left < SOON { Finding::warning(SUBJECT, message + ": renew it") } else { Finding::ok(SUBJECT, message) }
        }
    })
}

/// In a pod, loopback addresses are the pod's own: neither the kubelet's probes nor a Service reach them.
pub fn addresses(server: &Server, in_pod: bool) -> Vec<Finding> {
    let is_hidden = |address: SocketAddr| in_pod && address.ip().is_loopback();
    let mut findings = Vec::new();
    if is_hidden(server.admin) {
        let message = format!(
            "server.admin is {}, where the kubelet's probes do not reach it: set CAMSHAFT_SERVER_ADMIN=0.0.0.0:{}",
            server.admin,
            server.admin.port()
        );
        findings.push(Finding::problem("addresses", message));
    }
    let others = [("https", server.https), ("rtsp", server.rtsp), ("rtsps", server.rtsps)];
    for (key, address) in [("http", Some(server.http))].into_iter().chain(others) {
        let Some(address) = address.filter(|address| is_hidden(*address)) else { continue };
        let message = format!(
            "server.{key} is {address}: reached from this pod only; for a Service set CAMSHAFT_SERVER_{}=0.0.0.0:{}",
            key.to_ascii_uppercase(),
            address.port()
        );
        findings.push(Finding::warning("addresses", message));
    }
    findings
}

/// Whether workers can be confined as the configuration wants.
pub fn sandbox(mode: SandboxMode) -> Finding {
    const SUBJECT: &str = "sandbox";
    match (mode, sandbox::is_landlock_there()) {
        (SandboxMode::Off, _) => {
            Finding::warning(SUBJECT, "workers.sandbox is off: set it to enforce unless a driver needs more")
        }
        (SandboxMode::Enforce | SandboxMode::Degrade, true) => Finding::ok(SUBJECT, "the kernel has Landlock"),
        (SandboxMode::Enforce, false) => Finding::problem(SUBJECT, ConfineError::NoLandlock.to_string()),
        (SandboxMode::Degrade, false) => {
            Finding::warning(SUBJECT, "the kernel has no Landlock: workers run without that layer, as configured")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::Level;

    #[test]
    fn loopback_is_a_problem_for_probes_in_a_pod_only() {
        let server = Server::default();
        assert_eq!(addresses(&server, false), []);
        let levels: Vec<_> = addresses(&server, true).into_iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Problem, Level::Warning, Level::Warning]);
        let open = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let server = Server { http: open(8080), admin: open(8081), rtsp: None, ..server };
        assert_eq!(addresses(&server, true), []);
    }
}
