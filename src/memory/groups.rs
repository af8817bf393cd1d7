//! The memory cgroups that this process is in (cgroups(7)).

use std::fs;
use std::path::{Path, PathBuf};

use super::Reading;

/// A version of cgroups, by the names of its files.
#[derive(Debug)]
struct Version {
    controller: &'static str,
    limit: &'static str,
    used: &'static str,
    /// Fields of `memory.stat` that the kernel drops before it ends anybody: cached files.
    droppable: [&'static str; 2],
}

const VERSIONS: [Version; 2] = [
    Version {
        controller: "",
        limit: "memory.max",
        used: "memory.current",
        droppable: ["inactive_file ", "active_file "],
    },
    Version {
        controller: "memory",
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        droppable: ["total_inactive_file ", "total_active_file "],
    },
];

/// v1 says "no limit" with the largest number of pages.
const UNLIMITED: u64 = 1 << 62;

/// This process's memory cgroups and those above them.
#[derive(Debug, Default)]
pub struct Groups(Vec<(PathBuf, &'static Version)>);

impl Groups {
    /// Those of this process.
    pub fn own() -> Self {
        Self::find(Path::new("/sys/fs/cgroup"), &fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
    }

    /// Those of cgroups v2 or v1 mounted at `root`. `membership` is `/proc/self/cgroup`; in a container the path there may
    /// be the host's, and its own group the root.
    pub fn find(root: &Path, membership: &str) -> Self {
        let mut groups = Vec::new();
        for version in &VERSIONS {
            let Some(path) = path_of(membership, version.controller) else { continue };
            let mount = root.join(version.controller);
            let own = mount.join(path.trim_start_matches('/'));
            let all = own.ancestors().take_while(|group| group.starts_with(&mount));
            groups.extend(all.map(|group| (group.to_owned(), version)));
        }
        Self(groups)
    }

    /// The least limit of all; `None` if there is none.
    pub fn limit(&self) -> Option<u64> {
        self.0.iter().filter_map(|(group, version)| limit(group, version)).min()
    }

    /// The use of the group that is nearest to its limit; `None` if none has one.
    pub fn tightest(&self) -> Option<Reading> {
        let readings = self.0.iter().filter_map(|(group, version)| reading(group, version));
        readings.max_by_key(|reading| reading.percent())
    }
}

fn path_of<'a>(membership: &'a str, controller: &str) -> Option<&'a str> {
    membership.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let named = parts.next()?;
        let is_it = named == controller || named.split(',').any(|name| name == controller);
        is_it.then(|| parts.next()).flatten()
    })
}

fn limit(group: &Path, version: &Version) -> Option<u64> {
    number(&group.join(version.limit)).filter(|limit| *limit < UNLIMITED)
}

fn reading(group: &Path, version: &Version) -> Option<Reading> {
    let (limit, used) = (limit(group, version)?, number(&group.join(version.used))?);
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let field = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let droppable: u64 = version.droppable.iter().filter_map(|name| field(name)).sum();
    Some(Reading { used: used.saturating_sub(droppable), limit })
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (file, text) in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), text).unwrap();
        }
    }

    #[test]
    fn the_group_nearest_to_its_limit_counts_without_its_cached_files() {
        let dir = tempfile::tempdir().unwrap();
        let stat = "anon 1\ninactive_file 100\nactive_file 50\n";
        write(
            dir.path(),
            &[
                ("pod/memory.max", "1000"),
                ("pod/memory.current", "500"),
                ("pod/c/memory.max", "800"),
                ("pod/c/memory.current", "700"),
                ("pod/c/memory.stat", stat),
                ("memory.max", "max"),
            ],
        );
        let groups = Groups::find(dir.path(), "0::/pod/c\n");
        assert_eq!(groups.limit(), Some(800));
        assert_eq!(groups.tightest(), Some(Reading { used: 550, limit: 800 }));
    }

    #[test]
    fn version_one_is_read_where_there_is_no_other() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                ("memory/c/memory.limit_in_bytes", "1000\n"),
                ("memory/c/memory.usage_in_bytes", "900\n"),
                ("memory/c/memory.stat", "inactive_file 7\ntotal_inactive_file 100\n"),
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/memory.usage_in_bytes", "5000\n"),
            ],
        );
        let groups = Groups::find(dir.path(), "5:cpu,memory:/c\n0::/\n");
        assert_eq!(groups.tightest(), Some(Reading { used: 800, limit: 1000 }));
        assert_eq!(Groups::find(dir.path(), "").tightest(), None);
    }

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let limit = |membership: &str| Groups::find(root.path(), membership).limit();
        assert_eq!(limit("0::/kube/pod\n"), None);
        write("kube/pod/memory.max", "max\n");
        assert_eq!(limit("0::/kube/pod\n"), None);
        write("kube/memory.max", "2147483648\n");
        assert_eq!(limit("0::/kube/pod\n"), Some(2 << 30));
        write("kube/pod/memory.max", "268435456\n");
        assert_eq!(limit("0::/kube/pod\n"), Some(256 << 20));
        // The host's path, seen from within a container whose own group is the root.
        write("memory/memory.limit_in_bytes", "134217728\n");
        assert_eq!(limit("11:pids:/a\n8:memory:/docker/abc\n0::/\n"), Some(128 << 20));
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit("8:memory:/docker/abc\n"), None);
    }
}
