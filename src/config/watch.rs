//! Says when configuration files change.

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// A change counts as complete when nothing follows it for this long.
const QUIET: Duration = Duration::from_millis(200);
/// A file that changes all the time is still reported this often.
const LONGEST: Duration = Duration::from_secs(2);
/// The link that Kubernetes swaps when it updates a mounted ConfigMap or Secret.
const CONFIG_MAP_LINK: &str = "..data";

/// Keeps [`watch`] going until it is dropped.
pub struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Watches files, and the `*.yaml` of directories. Every change is followed by one `()` once it has settled; changes
/// that come before the receiver has taken it share one. A `()` is no promise that contents differ: compare. Paths that
/// do not exist yet are reported when they come. Must be called within a tokio runtime.
///
/// What is watched are the directories that hold the files, so that files replaced by renaming are seen, and the
/// ConfigMap's way of replacing a directory behind a symbolic link.
///
/// # Errors
/// If the directory of a path cannot be watched.
pub fn watch(paths: &[PathBuf]) -> notify::Result<(Watcher, mpsc::Receiver<()>)> {
    let files = Files(paths.iter().map(absolute).collect::<io::Result<_>>()?);
    let changed = Arc::new(Notify::new());
    let mut watcher = notify::recommended_watcher({
        let (files, changed) = (files.clone(), changed.clone());
        move |event: notify::Result<notify::Event>| {
            // An error means that events were lost.
            if event.is_ok_and(|event| !files.concern(&event)) {
                return;
            }
            changed.notify_one();
        }
    })?;
    for directory in files.0.iter().filter_map(|path| path.parent()) {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
    }
    files.watch_directories(&mut watcher);
    let (sender, receiver) = mpsc::channel(1);
    let task = tokio::spawn(report_changes(files, watcher, changed, sender));
    Ok((Watcher(task), receiver))
}

async fn report_changes(files: Files, mut watcher: RecommendedWatcher, changed: Arc<Notify>, sender: mpsc::Sender<()>) {
    loop {
        changed.notified().await;
        let last = Instant::now() + LONGEST;
        while timeout_at(last.min(Instant::now() + QUIET), changed.notified()).await.is_ok() {}
        // A directory that came, or came again, is watched before the receiver reads it.
        files.watch_directories(&mut watcher);
        if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
            return;
        }
    }
}

/// Absolute paths of files and directories.
#[derive(Clone)]
struct Files(Vec<PathBuf>);

impl Files {
    /// Watches those paths that are directories now.
    fn watch_directories(&self, watcher: &mut RecommendedWatcher) {
        for directory in self.0.iter().filter(|path| path.is_dir()) {
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                tracing::warn!(directory = %directory.display(), %error, "changes in this directory go unnoticed");
            }
        }
    }

    /// Whether `event` may have changed a file.
    fn concern(&self, event: &notify::Event) -> bool {
        let is_change = match event.kind {
            // Reading a file must not look like a change, or every reload would bring the next.
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            _ => true,
        };
        event.need_rescan() || is_change && event.paths.iter().any(|path| self.include(path))
    }

    fn include(&self, changed: &Path) -> bool {
        let name = changed.file_name();
        let is_link = name == Some(OsStr::new(CONFIG_MAP_LINK));
        let is_yaml = changed.extension() == Some(OsStr::new("yaml"));
        self.0.iter().any(|path| {
            let beside = is_link && changed.parent() == path.parent();
            let within = (is_link || is_yaml) && changed.parent() == Some(path);
            changed == path || beside || within
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, Event};
    use std::fs;
    use std::os::unix::fs::symlink;

    async fn change(receiver: &mut mpsc::Receiver<()>) {
        let event = tokio::time::timeout(Duration::from_secs(20), receiver.recv()).await;
        assert_eq!(event.expect("a change is reported"), Some(()));
    }

    #[tokio::test]
    async fn overwriting_and_renaming_are_reported() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("camshaft.yaml");
        fs::write(&file, "a").unwrap();
        let (_watcher, mut changes) = watch(std::slice::from_ref(&file)).unwrap();
        fs::write(&file, "b").unwrap();
        change(&mut changes).await;

        let new = directory.path().join("new");
        fs::write(&new, "c").unwrap();
        fs::rename(&new, &file).unwrap();
        change(&mut changes).await;
        fs::remove_file(&file).unwrap();
        change(&mut changes).await;
    }

    #[tokio::test]
    async fn the_swap_of_a_config_map_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("camshaft.yaml"), version).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/camshaft.yaml", at("camshaft.yaml")).unwrap();
        symlink("..2", at("..data_tmp")).unwrap();
        let (_watcher, mut changes) = watch(&[at("camshaft.yaml")]).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        change(&mut changes).await;
        assert_eq!(fs::read_to_string(at("camshaft.yaml")).unwrap(), "..2");
    }

    #[tokio::test]
    async fn a_directory_that_comes_later_is_watched() {
        let directory = tempfile::tempdir().unwrap();
        let conf_d = directory.path().join("conf.d");
        let (_watcher, mut changes) = watch(&[directory.path().join("camshaft.yaml"), conf_d.clone()]).unwrap();
        fs::create_dir(&conf_d).unwrap();
        change(&mut changes).await;
        fs::write(conf_d.join("a.yaml"), "a").unwrap();
        change(&mut changes).await;
    }

    #[tokio::test]
    async fn what_cannot_be_watched_is_an_error() {
        assert!(watch(&["/nowhere/at/all/camshaft.yaml".into()]).is_err());
    }

    #[test]
    fn other_files_and_reading_are_no_change() {
        let files = Files(vec!["/etc/camshaft.yaml".into(), "/etc/conf.d".into()]);
        let concern = |kind, path: &str| files.concern(&Event::new(kind).add_path(path.into()));
        let created = EventKind::Create(CreateKind::File);
        for path in ["/etc/camshaft.yaml", "/etc/..data", "/etc/conf.d", "/etc/conf.d/a.yaml", "/etc/conf.d/..data"] {
            assert!(concern(created, path), "{path}");
        }
        for path in ["/etc/other.yaml", "/etc", "/etc/conf.d/a.yaml~", "/etc/conf.d/b/c.yaml"] {
            assert!(!concern(created, path), "{path}");
        }
        assert!(!concern(EventKind::Access(AccessKind::Open(AccessMode::Read)), "/etc/camshaft.yaml"));
        assert!(concern(EventKind::Access(AccessKind::Close(AccessMode::Write)), "/etc/camshaft.yaml"));
    }
}
