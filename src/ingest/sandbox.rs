//! The limits of the process that parses what a camera sends.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

/// Private memory in bytes. The RTSP parser buffers a message or access unit whole, however long: this is what ends it.
const MEMORY: u64 = 128 << 20;
/// Open files: the link, the camera, two ports a track, the runtime's own.
const FILES: u64 = 64;

/// Makes the kernel kill this process when its parent ends. A parent that ended before this call is noticed by the
/// link's end.
pub(super) fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Bounds memory and files, and keeps credentials out of core dumps and other processes' reach.
pub(super) fn enter() -> io::Result<()> {
    let limits = [(Resource::Data, MEMORY), (Resource::Core, 0), (Resource::Fsize, 0), (Resource::Nofile, FILES)];
    for (resource, limit) in limits {
        rustix::process::setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    rustix::thread::set_no_new_privs(true)?;
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
