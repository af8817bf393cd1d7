//! Buffers: parameters and data from the application, coded data to it, and the pixels of images.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::memory::Memory;
use crate::surface::Surface;
use crate::va::*;

/// What a buffer holds.
#[derive(Debug)]
enum Content {
    /// Parameters, data, or pixels of an image of its own.
    Bytes(Memory),
    /// The pixels of a surface.
    Surface(Arc<Surface>),
    /// Coded data, and the VACodedBufferSegment that tells of it.
    Coded { data: Memory, segment: Memory },
}

/// A buffer.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) kind: VABufferType,
    element_size: u32,
    elements: AtomicU32,
    mapped: AtomicU32,
    content: Content,
    /// What vaSyncBuffer returns.
    failure: Mutex<Option<Status>>,
}

impl Buffer {
    /// A buffer of `elements` × `element_size` bytes.
    pub(crate) fn new(kind: VABufferType, element_size: u32, elements: u32) -> Result<Self> {
        let size = (element_size as usize).checked_mul(elements as usize).ok_or(Status::ALLOCATION_FAILED)?;
        let data = Memory::new(size)?;
        let content = if kind == VAEncCodedBufferType {
            Content::Coded { data, segment: Memory::new(size_of::<VACodedBufferSegment>())? }
        } else {
            Content::Bytes(data)
        };
        let buffer = Self::with_content(kind, element_size, elements, content);
        buffer.set_coded(&[], 0)?;
        Ok(buffer)
    }

    /// The buffer of an image that is derived from `surface`.
    pub(crate) fn of_surface(surface: Arc<Surface>) -> Self {
        let size = surface.layout.size as u32;
        Self::with_content(VAImageBufferType, size, 1, Content::Surface(surface))
    }

    fn with_content(kind: VABufferType, element_size: u32, elements: u32, content: Content) -> Self {
        Self {
            kind,
            element_size,
            elements: AtomicU32::new(elements),
            mapped: AtomicU32::new(0),
            content,
            failure: Mutex::new(None),
        }
    }

    /// The memory of parameters, data and pixels.
    pub(crate) fn memory(&self) -> &Memory {
        match &self.content {
            Content::Bytes(memory) | Content::Coded { data: memory, .. } => memory,
            Content::Surface(surface) => &surface.memory,
        }
    }

    /// Says how many of the elements are meant.
    pub(crate) fn set_elements(&self, elements: u32) -> Result<()> {
        let bytes = u64::from(elements) * u64::from(self.element_size);
        if bytes > self.memory().size() as u64 {
            return Err(Status::INVALID_PARAMETER);
        }
        self.elements.store(elements, Ordering::Release);
        Ok(())
    }

    /// What the application gets to see when it maps the buffer.
    pub(crate) fn map(&self) -> *mut c_void {
        self.mapped.fetch_add(1, Ordering::AcqRel);
        match &self.content {
            Content::Coded { segment, .. } => segment.as_ptr().cast(),
            _ => self.memory().as_ptr().cast(),
        }
    }

    /// # Errors
    /// [`Status::OPERATION_FAILED`] if it is not mapped.
    pub(crate) fn unmap(&self) -> Result<()> {
        let unmapped = self.mapped.fetch_update(Ordering::AcqRel, Ordering::Acquire, |mapped| mapped.checked_sub(1));
        unmapped.map(|_| ()).map_err(|_| Status::OPERATION_FAILED)
    }

    /// A copy of what the application put in, as vaRenderPicture hands it over.
    pub(crate) fn submit(&self) -> Submitted {
        let elements = self.elements.load(Ordering::Acquire);
        let length = (self.element_size as usize).saturating_mul(elements as usize);
        Submitted { kind: self.kind, elements, bytes: self.memory().copy_out(length) }
    }

    /// Puts a coded picture in, with the bits of its VA_CODED_BUF_STATUS.
    ///
    /// # Errors
    /// [`Status::NOT_ENOUGH_BUFFER`] if it is too large. Nothing is wrong with buffers for other things.
    pub(crate) fn set_coded(&self, bytes: &[u8], status: u32) -> Result<()> {
        let Content::Coded { data, segment } = &self.content else { return Ok(()) };
        if bytes.len() > data.size() {
            return Err(Status::NOT_ENOUGH_BUFFER);
        }
        data.copy_in(bytes);
        let told = VACodedBufferSegment {
            size: bytes.len() as u32,
            bit_offset: 0,
            status,
            reserved: 0,
            buf: data.as_ptr().cast(),
            next: ptr::null_mut(),
            va_reserved: [0; 4],
        };
        // SAFETY: memory for a segment, aligned to a page, that only the application reads meanwhile.
        unsafe { segment.as_ptr().cast::<VACodedBufferSegment>().write(told) };
        Ok(())
    }

    /// Sets what synchronizing returns from now on.
    pub(crate) fn finish(&self, failure: Option<Status>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Whether what was to be coded into this buffer came about.
    pub(crate) fn outcome(&self) -> Result<()> {
        match *self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(status) => Err(status),
            None => Ok(()),
        }
    }
}

/// What a buffer held when it was handed over.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) kind: VABufferType,
    pub(crate) elements: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Submitted {
    /// The structure in the buffer, if it is long enough.
    pub(crate) fn read<T: Plain>(&self) -> Option<T> {
        read_plain(&self.bytes)
    }

    /// The structures in the buffer, as many as it says and has.
    pub(crate) fn read_all<T: Plain>(&self) -> Vec<T> {
        self.bytes.chunks(size_of::<T>()).take(self.elements as usize).filter_map(read_plain).collect()
    }
}

/// The structure in the first buffer of this kind.
///
/// # Errors
/// [`Status::INVALID_PARAMETER`] if there is none.
pub(crate) fn parameters<T: Plain>(submitted: &[Submitted], kind: VABufferType) -> Result<T> {
    optional_parameters(submitted, kind).ok_or(Status::INVALID_PARAMETER)
}

/// The structure in the first buffer of this kind, if there is one.
pub(crate) fn optional_parameters<T: Plain>(submitted: &[Submitted], kind: VABufferType) -> Option<T> {
    submitted.iter().find(|buffer| buffer.kind == kind).and_then(Submitted::read)
}
