//! The real programs: where they are, and becoming one.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the real ffmpeg; the real ffprobe is beside it.
const VARIABLE: &str = "CAMSHAFT_FFMPEG";
/// Set for every real program, so that a copy of the stand-in that passes for one is noticed.
const MARK: &str = "CAMSHAFT_DELEGATED";
/// Where Frigate's image has its own, a directory a version.
const BUNDLED: &str = "/usr/lib/ffmpeg";

/// A command that runs the real `name` (`ffmpeg` or `ffprobe`): the one of `CAMSHAFT_FFMPEG`, else the newest that
/// Frigate's image brings, else the first on the `PATH`; never this program.
///
/// # Errors
/// That there is none, and what to do.
pub fn command(name: &str) -> Result<Command, String> {
    if env::var_os(MARK).is_some() {
        return Err(format!("{VARIABLE} leads back to this stand-in: set it to the path of a real ffmpeg"));
    }
    let program = match env::var_os(VARIABLE).map(PathBuf::from) {
        Some(path) if name == "ffmpeg" => path,
        Some(path) => path.with_file_name(name),
        None => bundled(Path::new(BUNDLED), name)
            .or_else(|| on_path(name))
            .ok_or_else(|| format!("there is no real {name} here: set {VARIABLE} to the path of a real ffmpeg"))?,
    };
    let mut command = Command::new(program);
    // Its name decides how ffmpeg's log lines and process lists look.
    command.arg0(name).env(MARK, "1");
    Ok(command)
}

/// Becomes the real `name`.
///
/// # Errors
/// Why it cannot; else it does not return.
pub fn exec<A: AsRef<OsStr>>(name: &str, arguments: &[A]) -> Result<std::convert::Infallible, String> {
    let mut command = command(name)?;
    let error = command.args(arguments).exec();
    Err(format!("cannot run {}: {error}", command.get_program().to_string_lossy()))
}

/// The newest of `root/<version>/bin/name`.
fn bundled(root: &Path, name: &str) -> Option<PathBuf> {
    let version = |path: &Path| -> Option<Vec<u32>> {
        path.file_name()?.to_str()?.split('.').map(|part| part.parse().ok()).collect()
    };
    let versions = fs::read_dir(root).ok()?.flatten().map(|entry| entry.path());
    let programs = versions.filter_map(|path| Some((version(&path)?, path.join("bin").join(name))));
    programs.filter(|(_, program)| is_another(program)).max().map(|(_, program)| program)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(name)).find(|program| is_another(program))
}

/// Whether there is a file, and it is not the one that is running.
fn is_another(program: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let other = identity(program);
    other.is_some() && other != identity(Path::new("/proc/self/exe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_bundled_version_is_taken() {
        let root = env::temp_dir().join(format!("camshaft-shim-{}", std::process::id()));
        for version in ["5.0", "7.0", "10.1", "notes"] {
            let bin = root.join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join("ffmpeg"), "").unwrap();
        }
        let found = bundled(&root, "ffmpeg");
        let missing = bundled(&root, "ffprobe");
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, Some(root.join("10.1/bin/ffmpeg")));
        assert_eq!(missing, None);
    }
}
