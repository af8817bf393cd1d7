//! What the process gives up before it touches media. The order is: open the driver and its render node, then
//! [`confine`], then read the first byte that came from a camera.

use rustix::io;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;

/// Private writable memory, in bytes. A limit on address space would not do: encoders map far more than they touch.
const MEMORY: u64 = 1 << 30;
/// Open descriptors: link, standard error, and what a driver opens.
const DESCRIPTORS: u64 = 64;

/// Limits the process for good.
///
/// # Errors
/// Those of the kernel, with the limit that could not be set.
pub fn confine() -> Result<(), (&'static str, io::Errno)> {
    limit("memory", Resource::Data, MEMORY)?;
    // Core files would hold pictures, and nothing else is ever written to a file.
    limit("core files", Resource::Core, 0)?;
    limit("file size", Resource::Fsize, 0)?;
    limit("descriptors", Resource::Nofile, DESCRIPTORS)?;
    set_no_new_privs(true).map_err(|error| ("new privileges", error))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| ("dumps", error))
}

fn limit(what: &'static str, resource: Resource, most: u64) -> Result<(), (&'static str, io::Errno)> {
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(resource, limit).map_err(|error| (what, error))
}
