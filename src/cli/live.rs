//! `camshaft live`: whether the service in this container answers. An image without curl needs it for its health check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use crate::error::{Error, Result};

/// Where the service listens that the environment says nothing of.
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);
const PATIENCE: Duration = Duration::from_secs(2);

/// Find out whether the service answers at its admin port.
///
/// Ends with 0 if /livez says so within 2 s, with 1 if not, 2 if it was called wrongly. Prints nothing if it does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: camshaft live --admin 127.0.0.1:8081")]
pub struct Args {
    /// The service's server.admin [default: what CAMSHAFT_SERVER_ADMIN says, else 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
}

/// Asks once.
///
/// # Errors
/// If there is no answer, or another one than 200.
pub fn run(args: Args) -> Result<ExitCode> {
    let configured = || std::env::var("CAMSHAFT_SERVER_ADMIN").ok()?.parse().ok();
    let address = reachable(args.admin.or_else(configured).unwrap_or(ADMIN));
    let url = format!("http://{address}/livez");
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build();
    ureq::Agent::new_with_config(config)
        .get(&url)
        .call()
        .map_err(|error| Error::unavailable(format!("no camshaft answers at {url}")).with_source(error))?;
    Ok(ExitCode::SUCCESS)
}

/// Whoever listens on all addresses is asked on loopback.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_asked_on_loopback() {
        let asked = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:8081"), "127.0.0.1:8081");
        assert_eq!(asked("[::]:8081"), "[::1]:8081");
        assert_eq!(asked("10.0.0.7:99"), "10.0.0.7:99");
    }
}
