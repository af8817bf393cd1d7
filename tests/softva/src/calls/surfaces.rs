//! Surfaces and what they can be.

use std::ffi::{c_int, c_uint};

use crate::control::Call;
use crate::driver::{Driver, enter};
use crate::format;
use crate::profiles::{Config, SMALLEST};
use crate::surface::Surface;
use crate::va::*;

pub(super) fn fill(table: &mut VADriverVTable) {
    table.vaCreateSurfaces = Some(create_plain);
    table.vaCreateSurfaces2 = Some(create);
    table.vaDestroySurfaces = Some(destroy);
    table.vaQuerySurfaceAttributes = Some(query_attributes);
    table.vaQuerySurfaceStatus = Some(query_status);
}

unsafe extern "C" fn create_plain(
    context: VADriverContextP,
    width: c_int,
    height: c_int,
    rt_format: c_int,
    count: c_int,
    surfaces: *mut VASurfaceID,
) -> VAStatus {
    let (width, height) = (width.max(0).unsigned_abs(), height.max(0).unsigned_abs());
    let (rt_format, count) = (rt_format.cast_unsigned(), count.max(0).unsigned_abs());
    // SAFETY: passed on as they came, without attributes.
    unsafe { create(context, rt_format, width, height, surfaces, count, std::ptr::null_mut(), 0) }
}

unsafe extern "C" fn create(
    context: VADriverContextP,
    rt_format: c_uint,
    width: c_uint,
    height: c_uint,
    surfaces: *mut VASurfaceID,
    count: c_uint,
    attributes: *mut VASurfaceAttrib,
    attribute_count: c_uint,
) -> VAStatus {
    enter(context, |driver| {
        driver.create::<Surface, _>(Call::CreateSurfaces, || {
            // SAFETY: libva's caller has so many attributes.
            let attributes = unsafe { list(attributes, attribute_count) };
            let format = chosen_format(rt_format, attributes)?;
            let created = (0..count).map(|_| Surface::new(format, width, height)).collect::<Result<Vec<_>>>()?;
            for (index, surface) in created.into_iter().enumerate() {
                // SAFETY: libva's caller has room for so many numbers.
                let place = unsafe { surfaces.add(index) };
                // SAFETY: as above.
                unsafe { put(place, driver.insert(surface)) }?;
            }
            Ok(())
        })
    })
}

fn chosen_format(rt_format: u32, attributes: &[VASurfaceAttrib]) -> Result<&'static format::Format> {
    let mut chosen = format::by_rt_format(rt_format);
    for attribute in attributes {
        if attribute.flags & VA_SURFACE_ATTRIB_SETTABLE == 0 {
            continue;
        }
        // SAFETY: the attributes that are looked at are integers, and any bits make one.
        let value = unsafe { attribute.value.value.i }.cast_unsigned();
        if attribute.type_ == VASurfaceAttribPixelFormat {
            chosen = format::by_fourcc(value);
        }
        if attribute.type_ == VASurfaceAttribMemoryType && value != VA_SURFACE_ATTRIB_MEM_TYPE_VA {
            return Err(Status::UNSUPPORTED_MEMORY_TYPE);
        }
    }
    chosen.ok_or(Status::UNSUPPORTED_RT_FORMAT)
}

unsafe extern "C" fn destroy(context: VADriverContextP, surfaces: *mut VASurfaceID, count: c_int) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::DestroySurfaces, |_| {
            // SAFETY: libva's caller has so many numbers.
            let surfaces = unsafe { list(surfaces, count) };
            surfaces.iter().try_for_each(|surface| driver.remove::<Surface>(*surface).map(|_| ()))
        })
    })
}

unsafe extern "C" fn query_attributes(
    context: VADriverContextP,
    config: VAConfigID,
    attributes: *mut VASurfaceAttrib,
    count: *mut c_uint,
) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::QuerySurfaceAttributes, |_| {
            let values = surface_attributes(driver, config)?;
            // SAFETY: libva's caller has room for a number.
            let room = unsafe { count.as_ref() }.copied().ok_or(Status::INVALID_PARAMETER)?;
            // SAFETY: as above.
            unsafe { put(count, values.len() as c_uint) }?;
            if attributes.is_null() {
                return Ok(());
            }
            if (room as usize) < values.len() {
                return Err(Status::MAX_NUM_EXCEEDED);
            }
            for (index, value) in values.into_iter().enumerate() {
                // SAFETY: within the room that was just checked.
                let place = unsafe { attributes.add(index) };
                // SAFETY: as above.
                unsafe { put(place, value) }?;
            }
            Ok(())
        })
    })
}

fn surface_attributes(driver: &Driver, config: VAConfigID) -> Result<Vec<VASurfaceAttrib>> {
    const CHOICE: u32 = VA_SURFACE_ATTRIB_GETTABLE | VA_SURFACE_ATTRIB_SETTABLE;
    let capability = driver.get::<Config>(config)?.capability;
    let formats = capability.surfaces.iter().map(|fourcc| (VASurfaceAttribPixelFormat, CHOICE, *fourcc));
    let others = [
        (VASurfaceAttribMinWidth, VA_SURFACE_ATTRIB_GETTABLE, SMALLEST),
        (VASurfaceAttribMinHeight, VA_SURFACE_ATTRIB_GETTABLE, SMALLEST),
        (VASurfaceAttribMaxWidth, VA_SURFACE_ATTRIB_GETTABLE, capability.largest),
        (VASurfaceAttribMaxHeight, VA_SURFACE_ATTRIB_GETTABLE, capability.largest),
        (VASurfaceAttribMemoryType, CHOICE, VA_SURFACE_ATTRIB_MEM_TYPE_VA),
    ];
    let attribute = |(type_, flags, value): (VASurfaceAttribType, u32, u32)| VASurfaceAttrib {
        type_,
        flags,
        value: VAGenericValue {
            type_: VAGenericValueTypeInteger,
            value: _VAGenericValue__bindgen_ty_1 { i: value.cast_signed() },
        },
    };
    Ok(formats.chain(others).map(attribute).collect())
}

unsafe extern "C" fn query_status(
    context: VADriverContextP,
    surface: VASurfaceID,
    status: *mut VASurfaceStatus,
) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::QuerySurfaceStatus, |_| {
            driver.get::<Surface>(surface)?;
            // SAFETY: libva's caller has room for a status.
            unsafe { put(status, VASurfaceReady) }
        })
    })
}
