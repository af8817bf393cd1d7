//! Buffers.

use std::ffi::{c_uint, c_void};

use crate::buffer::Buffer;
use crate::control::Call;
use crate::driver::enter;
use crate::va::*;

pub(super) fn fill(table: &mut VADriverVTable) {
    table.vaCreateBuffer = Some(create);
    table.vaBufferSetNumElements = Some(set_elements);
    table.vaMapBuffer = Some(map);
    table.vaUnmapBuffer = Some(unmap);
    table.vaDestroyBuffer = Some(destroy);
}

unsafe extern "C" fn create(
    context: VADriverContextP,
    _owner: VAContextID,
    kind: VABufferType,
    size: c_uint,
    elements: c_uint,
    data: *mut c_void,
    buffer: *mut VABufferID,
) -> VAStatus {
    enter(context, |driver| {
        driver.create::<Buffer, _>(Call::CreateBuffer, || {
            let created = Buffer::new(kind, size, elements)?;
            if !data.is_null() {
                let length = created.memory().size();
                // SAFETY: libva's caller has data of that size.
                unsafe { created.memory().copy_from(data.cast::<u8>().cast_const(), length) };
            }
            // SAFETY: libva's caller has room for a number.
            unsafe { put(buffer, driver.insert(created)) }
        })
    })
}

unsafe extern "C" fn set_elements(context: VADriverContextP, buffer: VABufferID, elements: c_uint) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::BufferSetNumElements, |_| driver.get::<Buffer>(buffer)?.set_elements(elements))
    })
}

unsafe extern "C" fn map(context: VADriverContextP, buffer: VABufferID, place: *mut *mut c_void) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::MapBuffer, |_| {
            let mapped = driver.get::<Buffer>(buffer)?.map();
            // SAFETY: libva's caller has room for a pointer.
            unsafe { put(place, mapped) }
        })
    })
}

unsafe extern "C" fn unmap(context: VADriverContextP, buffer: VABufferID) -> VAStatus {
    enter(context, |driver| driver.perform(Call::UnmapBuffer, |_| driver.get::<Buffer>(buffer)?.unmap()))
}

unsafe extern "C" fn destroy(context: VADriverContextP, buffer: VABufferID) -> VAStatus {
    enter(context, |driver| driver.perform(Call::DestroyBuffer, |_| driver.remove::<Buffer>(buffer).map(|_| ())))
}
