//! What video processing can do: scale and convert, no filters.

use std::ffi::{c_uint, c_void};
use std::ptr;

use crate::control::Call;
use crate::driver::{enter, status};
use crate::va::*;

pub(super) fn fill(table: &mut VADriverVTableVPP) {
    table.version = VA_DRIVER_VTABLE_VPP_VERSION;
    table.vaQueryVideoProcFilters = Some(query_filters);
    table.vaQueryVideoProcFilterCaps = Some(query_filter_caps);
    table.vaQueryVideoProcPipelineCaps = Some(query_pipeline_caps);
}

unsafe extern "C" fn query_filters(
    _context: VADriverContextP,
    _owner: VAContextID,
    _filters: *mut VAProcFilterType,
    count: *mut c_uint,
) -> VAStatus {
    // SAFETY: libva's caller has room for a number.
    status(unsafe { put(count, 0) })
}

unsafe extern "C" fn query_filter_caps(
    _context: VADriverContextP,
    _owner: VAContextID,
    _filter: VAProcFilterType,
    _caps: *mut c_void,
    _count: *mut c_uint,
) -> VAStatus {
    Status::UNSUPPORTED_FILTER.raw()
}

/// Colour standards that go in and come out. libva's callers read the list long after the call.
static STANDARDS: [VAProcColorStandardType; 2] = [VAProcColorStandardBT601, VAProcColorStandardBT709];

unsafe extern "C" fn query_pipeline_caps(
    context: VADriverContextP,
    _owner: VAContextID,
    _filters: *mut VABufferID,
    _filter_count: c_uint,
    caps: *mut VAProcPipelineCaps,
) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::QueryPipelineCaps, |_| {
            if caps.is_null() {
                return Err(Status::INVALID_PARAMETER);
            }
            // SAFETY: libva's caller has room for the capabilities.
            unsafe { ptr::write_bytes(caps, 0, 1) };
            // SAFETY: as above; all zero is a value of it.
            let caps = unsafe { &mut *caps };
            let standards = STANDARDS.as_ptr().cast_mut();
            caps.input_color_standards = standards;
            caps.num_input_color_standards = STANDARDS.len() as u32;
            caps.output_color_standards = standards;
            caps.num_output_color_standards = STANDARDS.len() as u32;
            Ok(())
        })
    })
}
