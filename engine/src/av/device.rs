//! A render node, opened through VA-API.

use ffmpeg_next::ffi::{self, AVHWDeviceType};
use rustix::io::Errno;
use std::cell::Cell;
use std::ffi::CString;
use std::fs::File;
use std::ptr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::error::{Error, Result, check};

/// A render node with its driver loaded and ready.
pub struct Device {
    buffer: Buffer,
    path: String,
    wait: WaitClock,
}

impl Device {
    /// Opens the node at `path` and its driver: libva's own choice, or that of `LIBVA_DRIVER_NAME`.
    ///
    /// # Errors
    /// [`Error::Device`] with what stands in the way.
    pub fn open(path: &str) -> Result<Self> {
        // Driver loaders give one code for everything; the kernel tells a missing node from a forbidden one.
        if let Err(error) = File::options().read(true).write(true).open(path) {
            return Err(Error::Device(format!("cannot open {path}: {error}{}", hint(&error))));
        }
        let c_path = CString::new(path).map_err(|_| Error::Device(format!("a NUL in the path {path:?}")))?;
        let mut raw = ptr::null_mut();
        let kind = AVHWDeviceType::AV_HWDEVICE_TYPE_VAAPI;
        // SAFETY: `raw` is null and gets a new reference on success; the path is a C string that outlives the call.
        let code = unsafe { ffi::av_hwdevice_ctx_create(&mut raw, kind, c_path.as_ptr(), ptr::null_mut(), 0) };
        check("open VA-API driver", code).map_err(|error| {
            Error::Device(format!("{path}: {error}: no VA driver works there; 'camshaft probe' says which was tried"))
        })?;
        Ok(Self { buffer: Buffer::own("open VA-API driver", raw)?, path: path.to_owned(), wait: WaitClock::default() })
    }

    /// The path of the node.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What counts the time spent waiting for this device.
    pub fn wait_clock(&self) -> &WaitClock {
        &self.wait
    }

    pub(super) fn buffer(&self) -> &Buffer {
        &self.buffer
    }
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => ": give the container this node",
        Some(Errno::ACCESS) => ": add the node's group to the process",
        Some(Errno::PERM) => ": the container's device rules forbid the node",
        Some(Errno::NXIO | Errno::NODEV) => ": no kernel driver stands behind the node",
        _ => "",
    }
}

/// Counts the time that the process waits for a device.
#[derive(Clone, Debug, Default)]
pub struct WaitClock(Rc<Cell<Duration>>);

impl WaitClock {
    /// Runs `work`, which may wait for the device.
    pub(super) fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.0.set(self.0.get() + start.elapsed());
        result
    }

    /// Time waited so far.
    pub fn waited(&self) -> Duration {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_is_named() {
        let refused = |path: &str| Device::open(path).err().expect("no device").to_string();
        assert!(refused("/dev/dri/renderD999").contains("give the container this node"));
        // A file that is no render node.
        assert!(refused("/dev/null").contains("no VA driver works there"));
        assert!(refused("/dev/dri\0").contains("cannot open"));
    }
}
