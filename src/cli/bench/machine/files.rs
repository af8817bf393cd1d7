//! Files that are to be written in the end. Whether they can be is known before anything is measured.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A file that appears under its name once it is whole.
#[derive(Debug)]
pub struct Pending {
    what: &'static str,
    path: PathBuf,
    file: NamedTempFile,
}

impl Pending {
    /// A file beside `path`, which may exist.
    ///
    /// # Errors
    /// If its directory takes none, or `path` is a directory; names `path` and `what` it is for.
    pub fn create(what: &'static str, path: &Path) -> Result<Self> {
        if path.is_dir() {
            let message = format!("cannot write {what} to {}: it is a directory, name a file in it", path.display());
            return Err(Error::invalid(message));
        }
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // It holds nothing secret.
        let mut builder = tempfile::Builder::new();
        let file = builder.prefix(".camshaft-").permissions(Permissions::from_mode(0o644)).tempfile_in(folder);
        let file = file.map_err(|error| cannot(what, path, error))?;
        Ok(Self { what, path: path.to_owned(), file })
    }

    /// Fills it, and gives it its name.
    ///
    /// # Errors
    /// If that fails; then nothing is left behind.
    pub fn keep(mut self, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<PathBuf> {
        let Self { what, path, file } = &mut self;
        fill(file.as_file_mut()).map_err(|error| cannot(what, path, error))?;
        self.file.persist(&self.path).map_err(|error| cannot(self.what, &self.path, error.error))?;
        Ok(self.path)
    }
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    Error::invalid(format!("cannot write {what} to {}", path.display())).with_source(error)
}
