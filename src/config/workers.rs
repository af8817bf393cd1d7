//! `workers:`: what confines the processes that touch what comes from outside.

use super::mistake::Report;
use super::section::{Key, Section};
use super::values::parse_name;
use super::{Limits, TopSection};
use crate::sandbox::{Confinement, Confinements, Layer, Missing, SystemCall};

pub(super) const WORKERS: TopSection = TopSection {
    name: "workers",
    keys: &[Key::scalar("sandbox"), Key::scalar("readable"), Key::scalar("system_calls")],
};

/// How the sandbox is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SandboxMode {
    /// Without it no worker works.
    #[default]
    Enforce,
    /// As much of it as the kernel has.
    Degrade,
    /// Limits on memory and cores only.
    Off,
}

impl SandboxMode {
    /// Every mode with its name.
    const ALL: [(&'static str, Self); 3] = [("enforce", Self::Enforce), ("degrade", Self::Degrade), ("off", Self::Off)];
}

/// What confines workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    /// How the sandbox is meant.
    pub sandbox: SandboxMode,
    /// Files and directories that an engine's driver may read later than when it is opened.
    pub readable: Vec<String>,
    /// System calls that an engine may make beside those of the list.
    pub system_calls: Vec<SystemCall>,
}

impl Workers {
    /// The sandboxes of both programs.
    pub fn confinements(&self, limits: &Limits) -> Confinements {
        let layers = match self.sandbox {
            SandboxMode::Enforce | SandboxMode::Degrade => Layer::ALL.to_vec(),
            SandboxMode::Off => vec![Layer::Memory],
        };
        let missing = match self.sandbox {
            SandboxMode::Enforce => Missing::Refused,
            SandboxMode::Degrade | SandboxMode::Off => Missing::Accepted,
        };
        let ingest = Confinement {
            layers,
            missing,
            memory: limits.ingest_memory,
            descriptors: limits.worker_files.into(),
            ..Confinement::default()
        };
        let engine = Confinement {
            memory: limits.pixels_memory,
            file_size: limits.worker_file_size,
            readable: self.readable.clone(),
            system_calls: self.system_calls.clone(),
            ..ingest.clone()
        };
        Confinements { ingest, engine }
    }
}

pub(super) fn read(section: Option<&Section>, report: &mut Report) -> Workers {
    let Some(section) = section else { return Workers::default() };
    Workers {
        sandbox: section.parsed("sandbox", report, |text| parse_name(text, &SandboxMode::ALL)).unwrap_or_default(),
        readable: section.parsed("readable", report, paths).unwrap_or_default(),
        system_calls: section.parsed("system_calls", report, system_calls).unwrap_or_default(),
    }
}

/// `/one:/another`, as in PATH.
fn paths(text: &str) -> Result<Vec<String>, String> {
    let paths: Vec<String> = text.split(':').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    if paths.iter().all(|path| path.starts_with('/')) {
        return Ok(paths);
    }
    Err("must be absolute paths with ':' between them, such as /etc/drirc:/usr/share/drirc.d".into())
}

/// `one, another`.
fn system_calls(text: &str) -> Result<Vec<SystemCall>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(str::parse).collect::<Result<_, String>>().map_err(|unknown| {
        format!("must be names of system calls with ',' between them, such as memfd_create, ftruncate; {unknown}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_calls_exist() {
        assert_eq!(paths("/etc/drirc:/usr/share/drirc.d"), Ok(vec!["/etc/drirc".into(), "/usr/share/drirc.d".into()]));
        assert_eq!(paths(""), Ok(vec![]));
        assert!(paths("/etc/drirc:lib").unwrap_err().contains("absolute"));
        assert_eq!(system_calls("memfd_create, ftruncate").unwrap()[1].name(), Some("ftruncate"));
        assert!(system_calls("memfd_crate").unwrap_err().contains("'memfd_crate' is no system call"));
    }

    #[test]
    fn what_a_driver_needs_is_not_given_to_who_reads_cameras() {
        let readable = vec!["/etc/drirc".to_owned()];
        let workers = Workers { readable, system_calls: system_calls("memfd_create").unwrap(), ..Workers::default() };
        let limits = Limits { pixels_memory: 2 << 30, ..Limits::default() };
        let Confinements { ingest, engine } = workers.confinements(&limits);
        assert_eq!((ingest.readable, ingest.system_calls, ingest.memory), (vec![], vec![], 128 << 20));
        assert_eq!((engine.readable.len(), engine.system_calls.len(), engine.memory), (1, 1, 2 << 30));
        assert_eq!((engine.layers, engine.missing), (Layer::ALL.to_vec(), Missing::Refused));
    }
}
