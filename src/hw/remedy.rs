//! What is wrong with a device, and what to do about it: one line each.

use rustix::io::Errno;
use serde::Serialize;
use utoipa::ToSchema;

use super::generation::driver_package;
use super::nodes::{Gpu, Node, OwnIds};
use crate::plan::DeviceError;

/// Bits of a mode by which the group may read and write.
const GROUP_MAY: u32 = 0o060;

/// Why a device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Trouble {
    /// For machines.
    pub kind: TroubleKind,
    /// For people, with the remedy.
    pub message: String,
}

/// The kinds of trouble, told apart because their remedies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// The node is not there (ENOENT).
    NotMounted,
    /// The node's mode and owner forbid it (EACCES).
    Permission,
    /// The container's device rules forbid it (EPERM).
    DeviceCgroup,
    /// No kernel driver answers behind the node (ENXIO, ENODEV).
    NoKernelDriver,
    /// The node is no DRM render node.
    NotARenderNode,
    /// PCI shows a GPU that has no render node.
    NoRenderNode,
    /// Opening failed in any other way.
    Open,
    /// libva has no driver to load.
    DriverMissing,
    /// `LIBVA_DRIVER_NAME` names a driver that does not fit.
    WrongDriverForced,
    /// The driver would not have the device.
    DriverRefused,
    /// The driver failed while it was asked what it can do, or took its process down.
    DriverFailed,
    /// The device could not be asked, for reasons of camshaft's own.
    NotProbed,
}

/// What to say of `error`, which came of opening `path`.
pub fn explain(error: &DeviceError, path: &str, node: Option<&Node>, own: &OwnIds) -> Trouble {
    let unknown = Gpu::default();
    let gpu = node.map_or(&unknown, |node| &node.gpu);
    match error {
        DeviceError::Open { errno } => open_failed(*errno, path, node, own),
        DeviceError::NotDrm => {
            let message = format!("{path} is no DRM render node: give one of /dev/dri/renderD* (hardware.device)");
            Trouble { kind: TroubleKind::NotARenderNode, message }
        }
        DeviceError::DriverMissing { forced: Some(name) } => {
            let message = format!(
                "LIBVA_DRIVER_NAME={name} names a VA driver that is not installed: unset it, so that libva chooses"
            );
            Trouble { kind: TroubleKind::WrongDriverForced, message }
        }
        DeviceError::DriverMissing { forced: None } => {
            let message = format!(
                "no VA driver for {} is installed: install {}",
                gpu.describe(),
                driver_package(gpu.vendor_id.unwrap_or_default(), gpu.generation())
            );
            Trouble { kind: TroubleKind::DriverMissing, message }
        }
        DeviceError::DriverRefused { forced: Some(name), status, text, .. } => {
            let message = format!(
                "LIBVA_DRIVER_NAME={name} forces a driver that will not have {} ({text}, {status}): unset it, so that \
                 libva chooses",
                gpu.describe()
            );
            Trouble { kind: TroubleKind::WrongDriverForced, message }
        }
        DeviceError::DriverRefused { forced: None, driver, status, text } => {
            let message = format!(
                "the VA driver {driver} will not have {} ({text}, {status}): install {}, or look for the kernel \
                 driver's complaint with dmesg",
                gpu.describe(),
                driver_package(gpu.vendor_id.unwrap_or_default(), gpu.generation())
            );
            Trouble { kind: TroubleKind::DriverRefused, message }
        }
        DeviceError::Query { call, text } => {
            let message =
                format!("the VA driver failed in {call} ({text}): look for the kernel driver's complaint with dmesg");
            Trouble { kind: TroubleKind::DriverFailed, message }
        }
        DeviceError::WorkerDied { how } => {
            let message = format!(
                "the VA driver took its process down while it was asked what it can do ({how}): the log has its last \
                 words; another version of the driver may help"
            );
            Trouble { kind: TroubleKind::DriverFailed, message }
        }
    }
}

/// What each gate in front of a device says: file permissions EACCES, the device cgroup EPERM, the driver ENXIO.
fn open_failed(errno: i32, path: &str, node: Option<&Node>, own: &OwnIds) -> Trouble {
    let (kind, message) = match Errno::from_raw_os_error(errno) {
        Errno::NOENT => (
            TroubleKind::NotMounted,
            format!("{path} is not there: give the container the node (camshaft probe --emit compose shows how)"),
        ),
        Errno::ACCESS => (TroubleKind::Permission, no_permission(path, node, own)),
        Errno::PERM => (
            TroubleKind::DeviceCgroup,
            format!(
                "{path} is closed to this container by its device cgroup: a bind mount or hostPath is not enough, use \
                 the GPU device plugin (Kubernetes) or devices: (Compose)"
            ),
        ),
        Errno::NXIO | Errno::NODEV => (
            TroubleKind::NoKernelDriver,
            format!("no kernel driver answers behind {path}: load i915 or xe on the host, and mount its own /dev/dri"),
        ),
        other => (TroubleKind::Open, format!("{path} cannot be opened: {other}")),
    };
    Trouble { kind, message }
}

fn no_permission(path: &str, node: Option<&Node>, own: &OwnIds) -> String {
    let OwnIds { uid, gid, groups } = own;
    let Some(node) = node else {
        return format!("{path} may not be opened by user {uid}: give the process the node's group");
    };
    let is_member = *gid == node.gid || groups.contains(&node.gid);
    let remedy = if node.mode & GROUP_MAY == GROUP_MAY && !is_member {
        format!("add group {} (Compose group_add, Kubernetes supplementalGroups)", node.gid)
    } else {
        "on the host, open it to its group (udev rule with GROUP=\"render\", MODE=\"0660\")".to_owned()
    };
    let groups: Vec<String> = std::iter::once(gid).chain(groups).map(u32::to_string).collect();
    format!(
        "{path} belongs to user {}, group {} with mode {:04o}, and this process runs as user {uid} with groups {}: {remedy}",
        node.uid,
        node.gid,
        node.mode,
        groups.join(", "),
    )
}

/// What to say of a GPU that PCI shows and that has no render node here.
pub fn without_node(gpu: &Gpu) -> Trouble {
    let message = match &gpu.kernel_driver {
        Some(driver) => format!(
            "{} is driven by {driver} and has no render node here: give the container /dev/dri/renderD*, or, where the \
             host has none either, look for the driver's complaint with dmesg",
            gpu.describe()
        ),
        None => format!(
            "{} has no kernel driver: load i915 or xe on the host (it may be blacklisted, or bound to vfio-pci), and \
             see that the BIOS has the iGPU enabled",
            gpu.describe()
        ),
    };
    Trouble { kind: TroubleKind::NoRenderNode, message }
}

/// The device could not be asked: no fault of its own.
pub fn not_probed(why: &str) -> Trouble {
    Trouble { kind: TroubleKind::NotProbed, message: format!("the device could not be asked what it can do: {why}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::nodes::Number;

    fn node() -> Node {
        Node {
            path: "/dev/dri/renderD128".into(),
            by_path: None,
            number: Number { major: 226, minor: 128 },
            uid: 0,
            gid: 104,
            mode: 0o660,
            gpu: Gpu { pci: None, vendor_id: Some(0x8086), device_id: Some(0x041a), kernel_driver: None },
            sysfs: "/sys".into(),
        }
    }

    fn explained(error: DeviceError) -> (TroubleKind, String) {
        let own = OwnIds { uid: 65532, gid: 65532, groups: vec![44] };
        let trouble = explain(&error, "/dev/dri/renderD128", Some(&node()), &own);
        (trouble.kind, trouble.message)
    }

    #[test]
    fn every_errno_has_its_remedy() {
        let opened = |errno: Errno| explained(DeviceError::Open { errno: errno.raw_os_error() });
        for (errno, kind, remedy) in [
            (Errno::NOENT, TroubleKind::NotMounted, "give the container the node"),
            (Errno::ACCESS, TroubleKind::Permission, "add group 104"),
            (Errno::PERM, TroubleKind::DeviceCgroup, "device plugin"),
            (Errno::NXIO, TroubleKind::NoKernelDriver, "load i915 or xe"),
            (Errno::NODEV, TroubleKind::NoKernelDriver, "load i915 or xe"),
            (Errno::IO, TroubleKind::Open, "cannot be opened"),
        ] {
            let (found, message) = opened(errno);
            assert_eq!(found, kind, "{message}");
            assert!(message.contains(remedy) && message.contains("/dev/dri/renderD128"), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
        assert!(
            opened(Errno::ACCESS).1.contains("mode 0660, and this process runs as user 65532 with groups 65532, 44")
        );
    }

    #[test]
    fn a_group_that_would_not_help_is_not_recommended() {
        let closed = Node { mode: 0o600, ..node() };
        let member = OwnIds { uid: 65532, gid: 65532, groups: vec![104] };
        for (node, own) in [(&closed, OwnIds { groups: vec![], ..member.clone() }), (&node(), member)] {
            assert!(no_permission("/dev/dri/renderD128", Some(node), &own).contains("udev rule"));
        }
    }

    #[test]
    fn drivers_have_theirs() {
        let forced = || Some("iHD".to_owned());
        let refused = |forced| DeviceError::DriverRefused {
            forced,
            driver: "iHD".into(),
            status: 18,
            text: "invalid parameter".into(),
        };
        for (error, kind, remedy) in [
            (DeviceError::DriverMissing { forced: None }, TroubleKind::DriverMissing, "install i965-va-driver"),
            (DeviceError::DriverMissing { forced: forced() }, TroubleKind::WrongDriverForced, "unset it"),
            (refused(forced()), TroubleKind::WrongDriverForced, "unset it"),
            (refused(None), TroubleKind::DriverRefused, "install i965-va-driver"),
            (DeviceError::NotDrm, TroubleKind::NotARenderNode, "/dev/dri/renderD*"),
            (
                DeviceError::WorkerDied { how: "SIGABRT".into() },
                TroubleKind::DriverFailed,
                "the log has its last words",
            ),
        ] {
            let (found, message) = explained(error);
            assert_eq!(found, kind, "{message}");
            assert!(message.contains(remedy), "{message}");
        }
    }

    #[test]
    fn a_gpu_without_a_node_has_one_of_two_causes() {
        let gpu = node().gpu;
        assert!(without_node(&gpu).message.contains("BIOS"));
        let bound = Gpu { kernel_driver: Some("i915".into()), ..gpu };
        assert!(without_node(&bound).message.contains("driven by i915"));
    }
}
