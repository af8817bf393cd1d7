//! libva's driver side, as its headers declare it, and the few types that make it safer to use.

#[allow(
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    dead_code,
    unused_imports,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    unsafe_op_in_unsafe_fn
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/va.rs"));
}

pub(crate) use bindings::*;

/// A VAStatus other than VA_STATUS_SUCCESS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(u32);

impl Status {
    pub(crate) const OPERATION_FAILED: Self = Self(VA_STATUS_ERROR_OPERATION_FAILED);
    pub(crate) const ALLOCATION_FAILED: Self = Self(VA_STATUS_ERROR_ALLOCATION_FAILED);
    pub(crate) const INVALID_CONFIG: Self = Self(VA_STATUS_ERROR_INVALID_CONFIG);
    pub(crate) const INVALID_CONTEXT: Self = Self(VA_STATUS_ERROR_INVALID_CONTEXT);
    pub(crate) const INVALID_SURFACE: Self = Self(VA_STATUS_ERROR_INVALID_SURFACE);
    pub(crate) const INVALID_BUFFER: Self = Self(VA_STATUS_ERROR_INVALID_BUFFER);
    pub(crate) const INVALID_IMAGE: Self = Self(VA_STATUS_ERROR_INVALID_IMAGE);
    pub(crate) const MAX_NUM_EXCEEDED: Self = Self(VA_STATUS_ERROR_MAX_NUM_EXCEEDED);
    pub(crate) const UNSUPPORTED_PROFILE: Self = Self(VA_STATUS_ERROR_UNSUPPORTED_PROFILE);
    pub(crate) const UNSUPPORTED_ENTRYPOINT: Self = Self(VA_STATUS_ERROR_UNSUPPORTED_ENTRYPOINT);
    pub(crate) const UNSUPPORTED_RT_FORMAT: Self = Self(VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT);
    pub(crate) const INVALID_PARAMETER: Self = Self(VA_STATUS_ERROR_INVALID_PARAMETER);
    pub(crate) const RESOLUTION_NOT_SUPPORTED: Self = Self(VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED);
    pub(crate) const UNIMPLEMENTED: Self = Self(VA_STATUS_ERROR_UNIMPLEMENTED);
    pub(crate) const INVALID_IMAGE_FORMAT: Self = Self(VA_STATUS_ERROR_INVALID_IMAGE_FORMAT);
    pub(crate) const DECODING_ERROR: Self = Self(VA_STATUS_ERROR_DECODING_ERROR);
    pub(crate) const ENCODING_ERROR: Self = Self(VA_STATUS_ERROR_ENCODING_ERROR);
    pub(crate) const UNSUPPORTED_FILTER: Self = Self(VA_STATUS_ERROR_UNSUPPORTED_FILTER);
    pub(crate) const UNSUPPORTED_MEMORY_TYPE: Self = Self(VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE);
    pub(crate) const NOT_ENOUGH_BUFFER: Self = Self(VA_STATUS_ERROR_NOT_ENOUGH_BUFFER);
    pub(crate) const UNKNOWN: Self = Self(VA_STATUS_ERROR_UNKNOWN);

    /// The status of this number, which a test may choose freely; `None` for success.
    pub(crate) fn from_raw(raw: u32) -> Option<Self> {
        (raw != VA_STATUS_SUCCESS).then_some(Self(raw))
    }

    /// The number as libva takes it.
    pub(crate) fn raw(self) -> VAStatus {
        self.0.cast_signed()
    }
}

pub(crate) type Result<T> = std::result::Result<T, Status>;

/// Parameter structures that applications hand over as plain bytes.
///
/// # Safety
/// Every bit pattern must be a value of the type. Raw pointers may be any, so long as nobody follows them unchecked.
pub(crate) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ty),* $(,)?) => {
        $(
            // SAFETY: a C structure of integers, arrays, unions of such, and raw pointers.
            unsafe impl Plain for $name {}
        )*
    };
}

plain!(
    VAPictureParameterBufferH264,
    VAIQMatrixBufferH264,
    VASliceParameterBufferH264,
    VAPictureParameterBufferHEVC,
    VAIQMatrixBufferHEVC,
    VASliceParameterBufferHEVC,
    VAPictureParameterBufferMPEG2,
    VAIQMatrixBufferMPEG2,
    VASliceParameterBufferMPEG2,
    VAPictureParameterBufferJPEGBaseline,
    VAIQMatrixBufferJPEGBaseline,
    VAHuffmanTableBufferJPEGBaseline,
    VASliceParameterBufferJPEGBaseline,
    VAEncSequenceParameterBufferH264,
    VAEncPictureParameterBufferH264,
    VAEncSliceParameterBufferH264,
    VAEncPictureParameterBufferJPEG,
    VAQMatrixBufferJPEG,
    VAEncPackedHeaderParameterBuffer,
    VAEncMiscParameterRateControl,
    VAEncMiscParameterFrameRate,
    VAEncMiscParameterHRD,
    VAProcPipelineParameterBuffer,
    VARectangle,
    u32,
);

/// The structure at the start of `bytes`, if they are long enough for it.
pub(crate) fn read_plain<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: the bytes are at least as many as the type has, and any of them make a value.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Writes a result to where the caller wants it.
///
/// # Safety
/// `place` must be null or point to memory of a `T` that may be written.
pub(crate) unsafe fn put<T>(place: *mut T, value: T) -> Result<()> {
    if place.is_null() {
        return Err(Status::INVALID_PARAMETER);
    }
    // SAFETY: not null, so it points to memory for a `T`.
    unsafe { place.write(value) };
    Ok(())
}

/// The caller's list of `count` values; empty if the pointer is null or the count is not positive.
///
/// # Safety
/// `list` must be null or point to `count` values that nobody writes to while the slice lives.
pub(crate) unsafe fn list<'a, T>(list: *const T, count: impl TryInto<usize>) -> &'a [T] {
    let count = count.try_into().unwrap_or(0);
    if list.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: not null, so it points to `count` values.
    unsafe { std::slice::from_raw_parts(list, count) }
}
