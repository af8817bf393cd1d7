//! `sources:`: where sources may be.

use ipnet::IpNet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::TopSection;
use super::mistake::Report;
use super::section::{Key, Section};
use crate::sandbox::Reach;

pub(super) const SOURCES: TopSection = TopSection {
    name: "sources",
    keys: &[Key::list("allow"), Key::list("ports"), Key::list("files"), Key::scalar("ca_file")],
};

/// Where sources may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Networks and ports.
    pub reach: Reach,
    /// The directories that `file:` sources lie in.
    pub files: Vec<PathBuf>,
    /// Certificates (PEM) that sign those of `https://` sources; `None`: the system's.
    pub ca_file: Option<PathBuf>,
}

impl Sources {
    /// # Errors
    /// If `path` is in no directory that is listed; links are followed, and looked at, when it is opened.
    pub(super) fn check_file(&self, path: &str) -> Result<(), String> {
        if self.files.iter().any(|directory| Path::new(path).starts_with(directory)) {
            return Ok(());
        }
        Err("is in no directory that sources.files lists: add its directory there".into())
    }
}

pub(super) fn read(section: &Section, report: &mut Report) -> Sources {
    let defaults = Reach::default();
    let reach = Reach {
        networks: section.list("allow", report, network).unwrap_or(defaults.networks),
        ports: section.list("ports", report, port).unwrap_or(defaults.ports),
    };
    Sources {
        reach,
        files: section.list("files", report, absolute).unwrap_or_default(),
        ca_file: section.parsed("ca_file", report, absolute),
    }
}

/// `192.168.0.0/16`, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network
        .map(|network| network.trunc())
        .map_err(|_| "must be a network, such as 192.168.0.0/16, fd00::/8 or 127.0.0.1".into())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| "must be a port from 1 to 65535".into())
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("must be an absolute path, such as /srv/media".into()) }
}
