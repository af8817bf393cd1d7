//! Render nodes and GPUs as the kernel shows them, the way an admin finds them with `ls -l /dev/dri`, `udevadm` and
//! `lspci`: by device number, whatever a node's path is called. Reads files only, opens no device.

use rustix::fs::{FileType, Stat};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::generation::{INTEL, generation};
use crate::plan::PciAddress;

/// PCI base class of display controllers (PCI Code and ID Assignment, §1.4).
const DISPLAY: u32 = 0x03;

/// Where devices and their facts are looked for.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `/dev`.
    pub dev: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { dev: "/dev".into(), sys: "/sys".into() }
    }
}

/// A device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    /// 226 for DRM.
    pub major: u32,
    /// 128 and above for render nodes.
    pub minor: u32,
}

/// A GPU's facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gpu {
    /// Its PCI address; `None` if it is no PCI device.
    pub pci: Option<PciAddress>,
    /// Its PCI vendor.
    pub vendor_id: Option<u16>,
    /// Its PCI device id.
    pub device_id: Option<u16>,
    /// The kernel driver bound to it: `i915`, `xe`.
    pub kernel_driver: Option<String>,
}

impl Gpu {
    /// The generation's name, where the table knows it.
    pub fn generation(&self) -> Option<&'static str> {
        generation(self.vendor_id?, self.device_id?)
    }

    /// What it is, for people: `Haswell (8086:041a)`.
    pub fn describe(&self) -> String {
        let id = match (self.vendor_id, self.device_id) {
            (Some(vendor), Some(device)) => format!("{vendor:04x}:{device:04x}"),
            _ => return "an unknown GPU".into(),
        };
        match self.generation() {
            Some(generation) => format!("{generation} ({id})"),
            None if self.vendor_id == Some(INTEL) => format!("an Intel GPU ({id})"),
            None => format!("a GPU ({id})"),
        }
    }

    /// Reads `device`, a directory of sysfs that stands for a whole device.
    fn read(device: &Path) -> Self {
        let base = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self {
            pci: fs::canonicalize(device).ok().and_then(base).and_then(|name| PciAddress::parse(&name)),
            vendor_id: read_hex(&device.join("vendor")).and_then(|id| u16::try_from(id).ok()),
            device_id: read_hex(&device.join("device")).and_then(|id| u16::try_from(id).ok()),
            kernel_driver: fs::read_link(device.join("driver")).ok().and_then(base),
        }
    }
}

/// A render node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its path.
    pub path: PathBuf,
    /// Its stable name under `/dev/dri/by-path`.
    pub by_path: Option<PathBuf>,
    /// Its device number.
    pub number: Number,
    /// The owner's user id.
    pub uid: u32,
    /// The owner's group id.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// The GPU behind it.
    pub gpu: Gpu,
    /// The GPU's directory in sysfs.
    pub sysfs: PathBuf,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Render nodes by path.
    pub nodes: Vec<Node>,
    /// GPUs that PCI shows and that have no render node.
    pub without_node: Vec<Gpu>,
}

impl Roots {
    /// Every render node in `dev/dri`, and `chosen` if it is one, wherever it lies; and the GPUs that have none.
    pub fn discover(&self, chosen: Option<&Path>) -> Found {
        let paths: BTreeSet<PathBuf> = entries(&self.dev.join("dri")).chain(chosen.map(Path::to_owned)).collect();
        let mut nodes: Vec<Node> = Vec::new();
        for node in paths.iter().filter_map(|path| self.node(path)) {
            // Two names of one device are one device; the chosen name is the one that counts.
            match nodes.iter_mut().find(|known| known.number == node.number) {
                Some(known) if Some(node.path.as_path()) == chosen => *known = node,
                Some(_) => {}
                None => nodes.push(node),
            }
        }
        let with_node: BTreeSet<&PciAddress> = nodes.iter().filter_map(|node| node.gpu.pci.as_ref()).collect();
        let mut without_node = self.pci_gpus();
        without_node.retain(|gpu| gpu.pci.as_ref().is_some_and(|address| !with_node.contains(address)));
        Found { nodes, without_node }
    }

    /// `path` as a render node; `None` if it is anything else.
    fn node(&self, path: &Path) -> Option<Node> {
        let stat = rustix::fs::stat(path).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice {
            return None;
        }
        let number = number(&stat);
        let sysfs = self.sys.join(format!("dev/char/{}:{}", number.major, number.minor));
        // libdrm's test for a DRM device (drmNodeIsDRM).
        let device = sysfs.join("device");
        if !device.join("drm").is_dir() || !kernel_name(&sysfs, path).starts_with("renderD") {
            return None;
        }
        Some(Node {
            path: path.to_owned(),
            by_path: self.by_path(number),
            number,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            gpu: Gpu::read(&device),
            sysfs: device,
        })
    }

    fn by_path(&self, wanted: Number) -> Option<PathBuf> {
        let is_it = |path: &PathBuf| rustix::fs::stat(path).is_ok_and(|stat| number(&stat) == wanted);
        entries(&self.dev.join("dri/by-path")).find(is_it)
    }

    /// Every display controller on PCI.
    fn pci_gpus(&self) -> Vec<Gpu> {
        let mut devices: Vec<PathBuf> = entries(&self.sys.join("bus/pci/devices")).collect();
        devices.sort();
        devices.retain(|device| read_hex(&device.join("class")).is_some_and(|class| class >> 16 == DISPLAY));
        devices.iter().map(|device| Gpu::read(device)).collect()
    }
}

/// What the kernel calls the node, which is not always what its path says.
fn kernel_name(sysfs: &Path, path: &Path) -> String {
    let uevent = fs::read_to_string(sysfs.join("uevent")).unwrap_or_default();
    let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    let name = name.map_or(path, Path::new).file_name();
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn number(stat: &Stat) -> Number {
    Number { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) }
}

/// What is in a directory; nothing if it cannot be read.
fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn read_hex(file: &Path) -> Option<u32> {
    u32::from_str_radix(fs::read_to_string(file).ok()?.trim().strip_prefix("0x")?, 16).ok()
}

/// The ids that this process opens devices with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnIds {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl OwnIds {
    /// Of this process.
    pub fn now() -> Self {
        let groups = rustix::process::getgroups().unwrap_or_default();
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            groups: groups.into_iter().map(rustix::process::Gid::as_raw).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
