//! An owned reference to one of FFmpeg's counted objects.

use ffmpeg_next::ffi;
use std::ptr::NonNull;

use super::error::{Result, check_pointer};

/// A reference to a device or to a pool of surfaces.
pub(super) struct Buffer(NonNull<ffi::AVBufferRef>);

impl Buffer {
    /// Takes over a reference that FFmpeg has just made; null means that memory ran out.
    pub(super) fn own(operation: &'static str, raw: *mut ffi::AVBufferRef) -> Result<Self> {
        Ok(Self(check_pointer(operation, raw)?))
    }

    /// A further reference, for a field that FFmpeg will free.
    pub(super) fn give(&self) -> Result<*mut ffi::AVBufferRef> {
        // SAFETY: the reference is valid; null means that memory ran out.
        let raw = unsafe { ffi::av_buffer_ref(self.0.as_ptr()) };
        Ok(check_pointer("refer to device", raw)?.as_ptr())
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::AVBufferRef {
        self.0.as_ptr()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut raw = self.0.as_ptr();
        // SAFETY: the reference is ours and is not used again.
        unsafe { ffi::av_buffer_unref(&mut raw) };
    }
}
