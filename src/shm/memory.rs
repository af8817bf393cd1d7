//! A reader's memory: a file without a name (memfd_create(2)) that never changes its size.

use rustix::fs::{
    FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, fallocate, fchmod, fcntl_add_seals, ftruncate, memfd_create,
    open,
};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// The memory, as its only writer sees it.
#[derive(Debug)]
pub struct Memory {
    file: File,
    bytes: u64,
}

impl Memory {
    /// `bytes` of it, zeroed; none is taken from the system before it is written to.
    ///
    /// # Errors
    /// The system's, such as that no more descriptors may be open.
    pub fn new(bytes: u64) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Kernels before 6.3 don't know the flag; those set to refuse executable memory insist on it.
        let fd = match memfd_create("camshaft-frames", flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => memfd_create("camshaft-frames", flags)?,
            made => made?,
        };
        ftruncate(&fd, bytes)?;
        // A reader that maps it whole never meets SIGBUS, and nobody adds a seal that keeps us from writing.
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // Anybody may open a memfd anew for writing by /proc/self/fd otherwise.
        fchmod(&fd, Mode::RUSR)?;
        Ok(Self { file: fd.into(), bytes })
    }

    /// A descriptor to pass on, which is for reading only.
    ///
    /// # Errors
    /// The system's.
    pub fn for_reading(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Writes `data` at byte `at`.
    ///
    /// # Errors
    /// The system's; if the data does not fit.
    pub fn write(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(data, at)
    }

    /// Gives it back to the system, although a reader may keep it mapped for as long as it likes: it then reads zeros.
    pub fn give_back(&self) {
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Err(error) = fallocate(&self.file, how, 0, self.bytes) {
            tracing::warn!(%error, "shared memory could not be given back before its reader lets go of it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    #[test]
    fn a_reader_sees_what_is_written_and_can_change_nothing() {
        let memory = Memory::new(8192).unwrap();
        let reading = File::from(memory.for_reading().unwrap());
        memory.write(b"picture", 4096).unwrap();
        let mut seen = [0; 7];
        reading.read_exact_at(&mut seen, 4096).unwrap();
        assert_eq!(&seen, b"picture");
        assert!(reading.write_at(b"x", 0).is_err());
        assert!(reading.set_len(1).is_err());
        assert!(fcntl_add_seals(&reading, SealFlags::WRITE).is_err());
    }

    #[test]
    fn even_its_owner_can_neither_shrink_it_nor_seal_it_against_writing() {
        let memory = Memory::new(8192).unwrap();
        let path = format!("/proc/self/fd/{}", memory.for_reading().unwrap().as_raw_fd());
        // As root, who runs tests in containers, may open anything.
        if let Ok(writing) = OpenOptions::new().write(true).open(path) {
            assert!(writing.set_len(1).is_err() && writing.set_len(9000).is_err());
            assert!(fcntl_add_seals(&writing, SealFlags::WRITE).is_err());
        }
        memory.write(b"still writable", 0).unwrap();
        assert!(memory.write(b"beyond", 8190).is_err(), "it does not grow");
    }

    #[test]
    fn what_was_given_back_reads_as_zeros() {
        let memory = Memory::new(4096).unwrap();
        let reading = File::from(memory.for_reading().unwrap());
        memory.write(&[7; 4096], 0).unwrap();
        memory.give_back();
        let mut seen = [1; 4096];
        reading.read_exact_at(&mut seen, 0).unwrap();
        assert_eq!(seen, [0; 4096]);
    }
}
