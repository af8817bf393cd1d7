//! The image as it is deployed, hardened, with a camera that others made and a GPU in software.
//!
//! Needs the image (`make image`) and a driver that was built against what the image holds:
//! `deploy/image/test.sh` makes both and runs this.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Camera, Clip, Coding, Counter, Gpu, eventually_within};

/// Loopback addresses are all this machine's: nobody else listens on this one.
const HTTP: &str = "127.0.0.58:18080";
const STREAM: &str = "cam";

/// The flags of docs/container.md.
const HARDENED: &[&str] = &[
    "--read-only",
    "--tmpfs=/tmp:rw,size=16m,nosuid,nodev,noexec",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--pids-limit=512",
    "--network=host",
];

fn podman(arguments: &[&str]) -> String {
    let configuration = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/image/containers.conf");
    let output = Command::new("podman").args(arguments).env("CONTAINERS_CONF", configuration).output();
    let output = output.expect("podman runs: deploy/bootstrap.sh image");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "podman {arguments:?}: {out}{err}");
    out.trim().to_owned()
}

/// A container that is removed with its end.
struct Container(String);

impl Container {
    fn exec(&self, command: &[&str]) -> bool {
        let arguments = [&["exec", &self.0][..], command].concat();
        Command::new("podman").args(arguments).output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for what in [&["logs", &self.0][..], &["exec", &self.0, "camshaft", "check"]] {
                let output = Command::new("podman").args(what).output();
                output.iter().for_each(|output| {
                    eprintln!("{}", String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()))
                });
            }
        }
        let _ = Command::new("podman").args(["rm", "--force", "--time", "5", &self.0]).output();
    }
}

/// What libdrm looks up in sysfs about a render node that is really /dev/null, and the card beside it, /dev/zero: the
/// same as `tests/support/with-softva.sh` makes in a namespace, for a container to mount.
fn sysfs_of_a_haswell(folder: &Path) {
    let gpu = "devices/pci0000:00/0000:00:02.0";
    let device = folder.join(gpu);
    fs::create_dir_all(device.join("drm")).unwrap();
    fs::create_dir_all(folder.join("bus/pci/drivers/i915")).unwrap();
    let facts = [
        ("vendor", "0x8086\n"),
        ("device", "0x041a\n"),
        ("class", "0x030000\n"),
        ("revision", "0x06\n"),
        ("uevent", "DRIVER=i915\nPCI_CLASS=30000\nPCI_ID=8086:041a\nPCI_SLOT_NAME=0000:00:02.0\n"),
    ];
    for (name, text) in facts {
        fs::write(device.join(name), text).unwrap();
    }
    symlink("../../../bus/pci/drivers/i915", device.join("driver")).unwrap();
    for (name, major, minor) in [("card3", 1, 5), ("renderD128", 1, 3)] {
        let node = device.join("drm").join(name);
        fs::create_dir(&node).unwrap();
        symlink("../../../0000:00:02.0", node.join("device")).unwrap();
        fs::write(node.join("dev"), format!("{major}:{minor}\n")).unwrap();
        let uevent = format!("MAJOR={major}\nMINOR={minor}\nDEVNAME=dri/{name}\nDEVTYPE=drm_minor\n");
        fs::write(node.join("uevent"), uevent).unwrap();
        symlink(format!("{gpu}/drm/{name}"), folder.join(format!("{major}:{minor}"))).unwrap();
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run deploy/image/test.sh"))
}

#[test]
#[ignore = "needs the image: deploy/image/test.sh"]
fn the_hardened_image_decodes_a_camera_on_a_gpu() {
    let (image, driver) = (variable("CAMSHAFT_IMAGE"), variable("SOFTVA_DIR"));
    let gpu = Gpu::haswell();
    let camera = Camera::start(&Clip::make(Coding::default()), &[]);
    let dir = tempfile::tempdir().unwrap();
    // The container's user is none that this machine knows.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(gpu.control_path(), fs::Permissions::from_mode(0o666)).unwrap();
    let (sysfs, config) = (dir.path().join("char"), dir.path().join("camshaft.yaml"));
    sysfs_of_a_haswell(&sysfs);
    let text = format!(
        "server: {{ http: '{HTTP}', admin: '127.0.0.58:18081', rtsp: off }}\n\
         sources: {{ allow: [127.0.0.0/8] }}\nstreams:\n  {STREAM}: {{ source: '{}' }}\n",
        camera.url()
    );
    fs::write(&config, text).unwrap();
    let mount = |from: &Path, to: &str, how: &str| format!("--volume={}:{to}{how}", from.display());
    let mounts = [
        mount(&sysfs, "/sys/dev/char", ":ro"),
        mount(Path::new(&driver), "/softva", ":ro"),
        mount(&config, "/etc/camshaft/camshaft.yaml", ":ro"),
        mount(gpu.control_path(), "/softva-control", ""),
    ];
    let own = [
        "--device=/dev/null:/dev/dri/renderD128",
        "--device=/dev/zero:/dev/dri/card3",
        "--env=CAMSHAFT_SERVER_HTTP=127.0.0.58:18080",
        "--env=CAMSHAFT_SERVER_ADMIN=127.0.0.58:18081",
        "--env=CAMSHAFT_SERVER_RTSP=off",
        "--env=LIBVA_DRIVERS_PATH=/softva",
        "--env=LIBVA_DRIVER_NAME=libsoftva",
        "--env=LIBVA_SOFTVA=haswell:/softva-control",
    ];
    let mut arguments = vec!["run", "--detach", "--no-healthcheck"];
    arguments.extend(HARDENED.iter().chain(&own));
    arguments.extend(mounts.iter().map(String::as_str));
    arguments.push(&image);
    let container = Container(podman(&arguments));
    let patience = Duration::from_secs(60);
    let wait = |what: &str, is_so: &dyn Fn() -> bool| {
        let pause = || std::thread::sleep(Duration::from_millis(200));
        eventually_within(patience, what, pause, || is_so().then_some(()));
    };
    wait("the service lives", &|| container.exec(&["camshaft", "live"]));
    let fetch = |path: &str| {
        let url = format!("http://{HTTP}/v1/streams/{STREAM}{path}");
        let output = Command::new("curl").args(["-s", "--max-time", "20", &url]).output().unwrap();
        output.stdout
    };
    let mut picture = Vec::new();
    let status = || serde_json::from_slice::<serde_json::Value>(&fetch("")).unwrap_or_default();
    wait("the camera is there", &|| status()["state"] == "live");
    let mut viewer = Command::new("curl")
        .args(["-s", "--max-time", "120", "--output", "/dev/null"])
        .arg(format!("http://{HTTP}/v1/streams/{STREAM}/live.y4m?width=160&fps=5"))
        .spawn()
        .unwrap();
    wait("it decodes on the GPU", &|| status()["accel"]["decode"] == "hardware");
    wait("the driver has decoded", &|| gpu.count(Counter::H264Decoded) > 25);
    picture.extend(fetch("/frame.jpg?width=160"));
    assert_eq!(picture.get(..2), Some(&[0xff, 0xd8][..]), "{}", podman(&["logs", &container.0]));
    podman(&["stop", "--time", "20", &container.0]);
    assert_eq!(podman(&["inspect", "--format", "{{.State.ExitCode}}", &container.0]), "0");
    let _ = viewer.kill();
    viewer.wait().unwrap();
}
