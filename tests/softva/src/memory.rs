//! Memory that the application may see too: of surfaces, buffers and images.

use std::alloc::{self, Layout};
use std::ptr::{self, NonNull};

use crate::va::{Result, Status};

/// Rows and scalers may run over the end of the last plane by this much.
const SLACK: usize = 4096;
const ALIGNMENT: usize = 4096;

/// A piece of zeroed memory at a fixed place. No reference to its content is ever made, because applications write to
/// it through pointers from vaMapBuffer at any time.
#[derive(Debug)]
pub(crate) struct Memory {
    start: NonNull<u8>,
    size: usize,
    layout: Layout,
}

// SAFETY: a plain piece of memory that belongs to no thread.
unsafe impl Send for Memory {}
// SAFETY: it is reached by raw pointers only; who reads and writes when is settled by vaSyncSurface and the locks of
// surfaces, as on a device.
unsafe impl Sync for Memory {}

impl Memory {
    /// `size` zero bytes, and some more that are not counted.
    pub(crate) fn new(size: usize) -> Result<Self> {
        let padded = size.checked_add(SLACK).ok_or(Status::ALLOCATION_FAILED)?;
        let layout = Layout::from_size_align(padded, ALIGNMENT).map_err(|_| Status::ALLOCATION_FAILED)?;
        // SAFETY: the layout is not of size 0.
        let start = NonNull::new(unsafe { alloc::alloc_zeroed(layout) }).ok_or(Status::ALLOCATION_FAILED)?;
        Ok(Self { start, size, layout })
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The place `offset` bytes in, which must not be beyond the end.
    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset <= self.size, "offset {offset} in {} bytes", self.size);
        // SAFETY: within the allocation.
        unsafe { self.as_ptr().add(offset) }
    }

    /// A copy of the first bytes, at most all.
    pub(crate) fn copy_out(&self, length: usize) -> Vec<u8> {
        let length = length.min(self.size);
        let mut bytes = vec![0; length];
        // SAFETY: both have that many bytes, and the vector is new.
        unsafe { ptr::copy_nonoverlapping(self.as_ptr(), bytes.as_mut_ptr(), length) };
        bytes
    }

    /// Puts `bytes` at the start; what does not fit is left out.
    pub(crate) fn copy_in(&self, bytes: &[u8]) {
        let length = bytes.len().min(self.size);
        // SAFETY: both have that many bytes; a slice of ours is no part of this memory.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.as_ptr(), length) };
    }

    /// Puts the bytes at `source`, at most as many as fit.
    ///
    /// # Safety
    /// `source` must be `length` bytes that may be read, outside this memory.
    pub(crate) unsafe fn copy_from(&self, source: *const u8, length: usize) {
        // SAFETY: as promised by the caller; the target has at least that many bytes.
        unsafe { ptr::copy_nonoverlapping(source, self.as_ptr(), length.min(self.size)) };
    }

    /// Makes this memory the same as another of the same size.
    pub(crate) fn copy_all(&self, source: &Self) {
        // SAFETY: both have that many bytes, and `copy` allows them to be the same.
        unsafe { ptr::copy(source.as_ptr(), self.as_ptr(), self.size.min(source.size)) };
    }

    /// Copies `length` bytes from one offset to another, both within the memory.
    pub(crate) fn copy_within(&self, from: usize, to: usize, length: usize) {
        let (source, target) = (self.at(from), self.at(to));
        assert!(length <= self.size - from.max(to), "{length} bytes at {from} and {to} in {}", self.size);
        // SAFETY: both pieces are within the allocation, and `copy` allows them to overlap.
        unsafe { ptr::copy(source, target, length) };
    }

    /// Sets all bytes to 0.
    pub(crate) fn clear(&self) {
        // SAFETY: within the allocation.
        unsafe { ptr::write_bytes(self.as_ptr(), 0, self.size) };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this very layout, and freed once.
        unsafe { alloc::dealloc(self.as_ptr(), self.layout) };
    }
}
