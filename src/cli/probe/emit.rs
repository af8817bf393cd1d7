//! The lines that give a container a render node, without privilege.

use clap::ValueEnum;

use crate::error::{Error, ErrorKind, Result};
use crate::hw::{Node, driver_package};

/// What the lines are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// An override for docker compose or podman-compose.
    Compose,
    /// A patch of a Deployment or DaemonSet.
    K8s,
    /// A profile of Incus or LXD; with the same for Proxmox VE and plain LXC.
    Lxc,
}

/// Bits of a mode by which anybody may read and write.
const FOR_ALL: u32 = 0o006;

/// YAML that gives `node` to a container named `camshaft`.
///
/// # Errors
/// [`ErrorKind::Impossible`] for Kubernetes if no device plugin is known for the GPU.
pub fn yaml(target: Target, node: &Node) -> Result<String> {
    let lines = match target {
        Target::Compose => compose(node),
        Target::K8s => k8s(node)?,
        Target::Lxc => lxc(node),
    };
    let gpu = &node.gpu;
    let at = gpu.pci.as_ref().map(|pci| format!(" at PCI {pci}")).unwrap_or_default();
    let driver = gpu.kernel_driver.as_deref().unwrap_or("unknown");
    let package = driver_package(gpu.vendor_id.unwrap_or_default(), gpu.generation());
    let path = node.path.display();
    Ok(format!(
        "# {path}: {}{at}, kernel driver {driver}.\n# VA driver that the image needs: {package}\n{lines}",
        gpu.describe()
    ))
}

/// The group that opens the node; none if anybody may.
fn group(node: &Node) -> Option<u32> {
    (node.mode & FOR_ALL != FOR_ALL).then_some(node.gid)
}

fn compose(node: &Node) -> String {
    let path = node.path.display();
    let group = group(node).map(|gid| format!("    group_add:\n      - \"{gid}\"\n")).unwrap_or_default();
    format!("services:\n  camshaft:\n    devices:\n      - \"{path}:{path}\"\n{group}")
}

fn k8s(node: &Node) -> Result<String> {
    let resource = match node.gpu.kernel_driver.as_deref() {
        Some("i915") => "gpu.intel.com/i915",
        Some("xe") => "gpu.intel.com/xe",
        Some("amdgpu") => "amd.com/gpu",
        other => {
            let message = format!(
                "no device plugin is known for {} (kernel driver {}): known are those for i915, xe and amdgpu",
                node.path.display(),
                other.unwrap_or("unknown")
            );
            return Err(Error::new(ErrorKind::Impossible, message));
        }
    };
    let group = group(node).map(|gid| {
        format!(
            "        # For container runtimes without CDI (containerd before 2.0).\n        supplementalGroups: [{gid}]\n"
        )
    });
    Ok(format!(
        "# The node runs the GPU's device plugin; a hostPath would leave the device closed (EPERM).\n\
         spec:\n\
         \x20 template:\n\
         \x20   spec:\n\
         \x20     securityContext:\n\
         \x20       runAsNonRoot: true\n\
         \x20       runAsUser: 65532\n\
         \x20       runAsGroup: 65532\n\
         {}\
         \x20     containers:\n\
         \x20       - name: camshaft\n\
         \x20         resources:\n\
         \x20           limits:\n\
         \x20             {resource}: 1\n",
        group.unwrap_or_default()
    ))
}

fn lxc(node: &Node) -> String {
    let path = node.path.display();
    let relative = node.path.strip_prefix("/").unwrap_or(&node.path).display();
    let number = format!("{}:{}", node.number.major, node.number.minor);
    let group = group(node);
    let proxmox = group.map(|gid| format!(",gid={gid}")).unwrap_or_default();
    let gid = group.map(|gid| format!("    gid: \"{gid}\"\n")).unwrap_or_default();
    format!(
        "# Proxmox VE, in /etc/pve/lxc/ID.conf:\n\
         #   dev0: {path}{proxmox}\n\
         # Plain LXC, in the container's config:\n\
         #   lxc.cgroup2.devices.allow = c {number} rw\n\
         #   lxc.mount.entry = {path} {relative} none bind,optional,create=file\n\
         # Incus and LXD, in the instance's or a profile's YAML:\n\
         devices:\n\
         \x20 gpu:\n\
         \x20   type: unix-char\n\
         \x20   source: {path}\n\
         \x20   path: {path}\n\
         {gid}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::{Gpu, Number};
    use crate::plan::PciAddress;
    use serde_json::{Value, json};

    fn node() -> Node {
        Node {
            path: "/dev/dri/renderD129".into(),
            by_path: None,
            number: Number { major: 226, minor: 129 },
            uid: 0,
            gid: 104,
            mode: 0o660,
            gpu: Gpu {
                pci: PciAddress::parse("0000:00:02.0"),
                vendor_id: Some(0x8086),
                device_id: Some(0x46d1),
                kernel_driver: Some("i915".into()),
            },
            sysfs: "/sys".into(),
        }
    }

    fn parsed(target: Target, node: &Node) -> Value {
        let text = yaml(target, node).unwrap();
        assert!(text.contains("Alder Lake-N (8086:46d1) at PCI 0000:00:02.0, kernel driver i915"), "{text}");
        assert!(text.contains("intel-media-va-driver-non-free"), "{text}");
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
    }

    #[test]
    fn compose_gets_the_node_and_its_group() {
        let service = &parsed(Target::Compose, &node())["services"]["camshaft"];
        let expected = json!({"devices": ["/dev/dri/renderD129:/dev/dri/renderD129"], "group_add": ["104"]});
        assert_eq!(*service, expected);
        let open = Node { mode: 0o666, ..node() };
        assert_eq!(parsed(Target::Compose, &open)["services"]["camshaft"]["group_add"], Value::Null);
    }

    #[test]
    fn kubernetes_gets_the_plugins_resource() {
        let pod = &parsed(Target::K8s, &node())["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["resources"]["limits"], json!({"gpu.intel.com/i915": 1}));
        assert_eq!(pod["securityContext"]["supplementalGroups"], json!([104]));
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        let unknown = Node { gpu: Gpu::default(), ..node() };
        assert!(yaml(Target::K8s, &unknown).unwrap_err().message().contains("i915, xe and amdgpu"));
    }

    #[test]
    fn lxc_gets_the_device_number() {
        let device = &parsed(Target::Lxc, &node())["devices"]["gpu"];
        assert_eq!(device["source"], "/dev/dri/renderD129");
        assert_eq!(device["gid"], "104");
        let text = yaml(Target::Lxc, &node()).unwrap();
        assert!(text.contains("dev0: /dev/dri/renderD129,gid=104") && text.contains("allow = c 226:129 rw"), "{text}");
    }
}
