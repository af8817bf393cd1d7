//! Contexts, pictures and waiting for them.

use std::ffi::c_int;

use crate::buffer::Buffer;
use crate::context::Context;
use crate::control::Call;
use crate::driver::enter;
use crate::escape;
use crate::profiles::{Config, Personality};
use crate::surface::Surface;
use crate::va::*;

pub(super) fn fill(table: &mut VADriverVTable, personality: &Personality) {
    table.vaCreateContext = Some(create);
    table.vaDestroyContext = Some(destroy);
    table.vaBeginPicture = Some(begin);
    table.vaRenderPicture = Some(render);
    table.vaEndPicture = Some(end);
    table.vaSyncSurface = Some(sync_surface);
    if personality.has_sync_buffer {
        table.vaSyncSurface2 = Some(sync_surface_for);
        table.vaSyncBuffer = Some(sync_buffer);
    }
}

unsafe extern "C" fn create(
    context: VADriverContextP,
    config: VAConfigID,
    width: c_int,
    height: c_int,
    _flag: c_int,
    _targets: *mut VASurfaceID,
    _target_count: c_int,
    place: *mut VAContextID,
) -> VAStatus {
    enter(context, |driver| {
        driver.create::<Context, _>(Call::CreateContext, || {
            let config = driver.get::<Config>(config)?;
            let created = Context::new(&config, width.max(0).unsigned_abs(), height.max(0).unsigned_abs())?;
            // SAFETY: libva's caller has room for a number.
            unsafe { put(place, driver.insert(created)) }
        })
    })
}

unsafe extern "C" fn destroy(context: VADriverContextP, id: VAContextID) -> VAStatus {
    enter(context, |driver| driver.perform(Call::DestroyContext, |_| driver.remove::<Context>(id).map(|_| ())))
}

unsafe extern "C" fn begin(context: VADriverContextP, id: VAContextID, target: VASurfaceID) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::BeginPicture, |_| {
            driver.get::<Context>(id)?.begin(driver.get::<Surface>(target)?);
            Ok(())
        })
    })
}

unsafe extern "C" fn render(
    context: VADriverContextP,
    id: VAContextID,
    buffers: *mut VABufferID,
    count: c_int,
) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::RenderPicture, |_| {
            // SAFETY: libva's caller has so many numbers.
            let buffers = unsafe { list(buffers, count) };
            let buffers = buffers.iter().map(|buffer| driver.get::<Buffer>(*buffer)).collect::<Result<Vec<_>>>()?;
            driver.get::<Context>(id)?.render(buffers.iter().map(|buffer| buffer.submit()))
        })
    })
}

unsafe extern "C" fn end(context: VADriverContextP, id: VAContextID) -> VAStatus {
    enter(context, |driver| {
        escape::attempt_wanted(&driver.page);
        let picture_context = driver.get::<Context>(id)?;
        driver.perform(picture_context.end_call, |fault| picture_context.end(driver, fault))
    })
}

unsafe extern "C" fn sync_surface(context: VADriverContextP, surface: VASurfaceID) -> VAStatus {
    enter(context, |driver| driver.perform(Call::SyncSurface, |_| driver.get::<Surface>(surface)?.outcome()))
}

/// All is done when vaEndPicture returns, so the time limit is never reached.
unsafe extern "C" fn sync_surface_for(context: VADriverContextP, surface: VASurfaceID, _nanoseconds: u64) -> VAStatus {
    // SAFETY: passed on as they came.
    unsafe { sync_surface(context, surface) }
}

unsafe extern "C" fn sync_buffer(context: VADriverContextP, buffer: VABufferID, _nanoseconds: u64) -> VAStatus {
    enter(context, |driver| driver.perform(Call::SyncBuffer, |_| driver.get::<Buffer>(buffer)?.outcome()))
}
