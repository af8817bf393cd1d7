use super::*;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// A made-up `/dev` and `/sys`. Its nodes are links to devices that every machine has.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(tree.0.path().join("dev/dri/by-path")).unwrap();
        fs::create_dir_all(tree.0.path().join("sys/dev/char")).unwrap();
        fs::create_dir_all(tree.0.path().join("sys/bus/pci/devices")).unwrap();
        tree
    }

    fn roots(&self) -> Roots {
        Roots { dev: self.0.path().join("dev"), sys: self.0.path().join("sys") }
    }

    /// A PCI device; returns its directory.
    fn pci(&self, address: &str, class: &str, vendor: &str, device: &str, driver: Option<&str>) -> PathBuf {
        let path = self.0.path().join("sys/devices/pci0000:00").join(address);
        fs::create_dir_all(&path).unwrap();
        for (name, value) in [("class", class), ("vendor", vendor), ("device", device)] {
            fs::write(path.join(name), format!("{value}\n")).unwrap();
        }
        if let Some(driver) = driver {
            symlink(format!("../../../bus/pci/drivers/{driver}"), path.join("driver")).unwrap();
        }
        symlink(&path, self.0.path().join("sys/bus/pci/devices").join(address)).unwrap();
        path
    }

    /// A DRM node that the kernel calls `kernel_name` under `dev/dri/NAME`, which is really `real`.
    fn node(&self, gpu: &Path, name: &str, kernel_name: &str, real: &str) -> PathBuf {
        let node = self.0.path().join("dev/dri").join(name);
        symlink(real, &node).unwrap();
        let drm = gpu.join("drm").join(kernel_name);
        fs::create_dir_all(&drm).unwrap();
        fs::write(drm.join("uevent"), format!("MAJOR=226\nMINOR=0\nDEVNAME=dri/{kernel_name}\n")).unwrap();
        symlink(gpu, drm.join("device")).unwrap();
        let number = number(&rustix::fs::stat(real).unwrap());
        let link = self.0.path().join(format!("sys/dev/char/{}:{}", number.major, number.minor));
        symlink(&drm, link).unwrap();
        node
    }
}

#[test]
fn a_node_is_found_with_its_facts_whatever_it_is_called() {
    let tree = Tree::new();
    let gpu = tree.pci("0000:00:02.0", "0x030000", "0x8086", "0x041a", Some("i915"));
    let node = tree.node(&gpu, "gpu", "renderD128", "/dev/null");
    tree.node(&gpu, "card0", "card0", "/dev/zero");
    let by_path = tree.0.path().join("dev/dri/by-path/pci-0000:00:02.0-render");
    symlink("../gpu", &by_path).unwrap();

    let found = tree.roots().discover(None);
    let stat = rustix::fs::stat("/dev/null").unwrap();
    let expected = Node {
        path: node,
        by_path: Some(by_path),
        number: Number { major: 1, minor: 3 },
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        gpu: Gpu {
            pci: PciAddress::parse("0000:00:02.0"),
            vendor_id: Some(INTEL),
            device_id: Some(0x041a),
            kernel_driver: Some("i915".into()),
        },
        sysfs: tree.roots().sys.join("dev/char/1:3/device"),
    };
    assert_eq!(found, Found { nodes: vec![expected], without_node: vec![] });
    assert_eq!(found.nodes[0].gpu.describe(), "Haswell (8086:041a)");
}

#[test]
fn two_gpus_are_two_nodes_and_a_chosen_path_is_looked_at_as_well() {
    let tree = Tree::new();
    let (first, second) = (
        tree.pci("0000:00:02.0", "0x030000", "0x8086", "0x4680", Some("i915")),
        tree.pci("0000:03:00.0", "0x038000", "0x8086", "0x56a5", Some("xe")),
    );
    tree.node(&first, "renderD128", "renderD128", "/dev/null");
    tree.node(&second, "renderD129", "renderD129", "/dev/zero");
    let alias = tree.0.path().join("dev/gpu0");
    symlink("/dev/zero", &alias).unwrap();

    let found = tree.roots().discover(Some(&alias));
    let paths: Vec<_> = found.nodes.iter().map(|node| node.path.clone()).collect();
    assert_eq!(paths, [tree.0.path().join("dev/dri/renderD128"), alias]);
    assert_eq!(found.nodes[1].gpu.generation(), Some("DG2"));
    assert_eq!(tree.roots().discover(Some(Path::new("/nonexistent"))).nodes.len(), 2);
}

#[test]
fn what_is_no_drm_device_is_no_node() {
    let tree = Tree::new();
    let dri = tree.0.path().join("dev/dri");
    symlink("/dev/null", dri.join("renderD128")).unwrap();
    fs::write(dri.join("renderD129"), "").unwrap();
    symlink("nowhere", dri.join("renderD130")).unwrap();
    assert_eq!(tree.roots().discover(None), Found::default());
    let nothing = Roots { dev: "/nonexistent".into(), sys: "/nonexistent".into() };
    assert_eq!(nothing.discover(None), Found::default());
}

#[test]
fn a_gpu_without_a_node_is_named() {
    let tree = Tree::new();
    tree.pci("0000:00:02.0", "0x030000", "0x8086", "0x46d1", None);
    tree.pci("0000:00:1f.3", "0x040300", "0x8086", "0x7a50", Some("snd_hda_intel"));
    let found = tree.roots().discover(None);
    assert_eq!(found.nodes, []);
    assert_eq!(found.without_node.len(), 1);
    assert_eq!(found.without_node[0].describe(), "Alder Lake-N (8086:46d1)");
    assert_eq!(found.without_node[0].kernel_driver, None);
}
