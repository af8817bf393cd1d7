//! The configuration's files: the one named on the command line, and `conf.d/*.yaml` beside it.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, Document, Lookups};
use crate::error::{Error, Result};

/// Environment variables with this prefix override single keys.
const OVERRIDE_PREFIX: &str = "CAMSHAFT_";
/// With it, but for `camshaft streams` to read.
const NO_OVERRIDES: [&str; 2] = ["CAMSHAFT_URL", "CAMSHAFT_TOKEN_FILE"];

const SECRET_BYTES: u64 = 64 << 10;

/// Where the configuration is.
#[derive(Debug)]
pub struct Files {
    main: PathBuf,
}

impl Files {
    /// The configuration whose main file is `main`.
    pub fn new(main: PathBuf) -> Self {
        Self { main }
    }

    /// What to watch for changes.
    pub fn watched(&self) -> Vec<PathBuf> {
        vec![self.main.clone(), self.conf_d()]
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// If a file can't be read, or with every mistake in them.
    pub fn load(&self) -> Result<Config> {
        let mut texts = vec![(self.main.clone(), read(&self.main)?)];
        for path in self.fragments()? {
            let text = read(&path)?;
            texts.push((path, text));
        }
        let documents: Vec<_> =
            texts.iter().map(|(path, text)| Document { name: path.display().to_string(), text }).collect();
        let overrides: Vec<_> = std::env::vars().filter(|(name, _)| is_override(name)).collect();
        let lookups = Lookups { env: &|name| std::env::var(name).ok(), file: &read_secret, env_overrides: &overrides };
        config::load(&documents, &lookups)
            .map_err(|mistakes| Error::invalid(format!("the configuration has mistakes:\n{mistakes}")))
    }

    fn conf_d(&self) -> PathBuf {
        self.main.with_file_name("conf.d")
    }

    /// `conf.d/*.yaml` in the order of their names; files whose name starts with a dot are left out, as editors and
    /// ConfigMaps leave such.
    fn fragments(&self) -> Result<Vec<PathBuf>> {
        let directory = self.conf_d();
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(cannot_read(&directory, error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| cannot_read(&directory, error))?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && path.extension().is_some_and(|extension| extension == "yaml") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

fn is_override(variable: &str) -> bool {
    variable.starts_with(OVERRIDE_PREFIX) && !NO_OVERRIDES.contains(&variable)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| cannot_read(path, error))
}

/// A password is a line, not a file's worth of anything: what is longer than 64 KiB is no file of secrets.
pub(super) fn read_secret(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(SECRET_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn cannot_read(path: &Path, error: std::io::Error) -> Error {
    Error::invalid(format!("cannot read the configuration at {}", path.display())).with_source(error)
}
