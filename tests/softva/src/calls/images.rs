//! Images, and pictures between them and surfaces.

use std::ffi::{c_int, c_uint};

use crate::av::{Filter, Picture, Ranges, Region, Scaler};
use crate::buffer::Buffer;
use crate::control::{Call, Counter};
use crate::driver::{Driver, enter};
use crate::format::{self, Layout};
use crate::image::{self, Image};
use crate::surface::Surface;
use crate::va::*;

pub(super) fn fill(table: &mut VADriverVTable) {
    table.vaQueryImageFormats = Some(query_formats);
    table.vaCreateImage = Some(create);
    table.vaDeriveImage = Some(derive);
    table.vaDestroyImage = Some(destroy);
    table.vaGetImage = Some(get);
    table.vaPutImage = Some(put_image);
}

unsafe extern "C" fn query_formats(
    context: VADriverContextP,
    formats: *mut VAImageFormat,
    count: *mut c_int,
) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::QueryImageFormats, |_| {
            let known = driver.personality.images.iter().filter_map(|fourcc| format::by_fourcc(*fourcc));
            let mut written = 0;
            for format in known {
                // SAFETY: libva's caller has room for max_image_formats.
                let place = unsafe { formats.add(written) };
                // SAFETY: as above.
                unsafe { put(place, image::format(format)) }?;
                written += 1;
            }
            // SAFETY: libva's caller has room for a number.
            unsafe { put(count, written as c_int) }
        })
    })
}

unsafe extern "C" fn create(
    context: VADriverContextP,
    format: *mut VAImageFormat,
    width: c_int,
    height: c_int,
    place: *mut VAImage,
) -> VAStatus {
    enter(context, |driver| {
        driver.create::<Image, _>(Call::CreateImage, || {
            // SAFETY: libva's caller has a format.
            let fourcc = unsafe { format.as_ref() }.ok_or(Status::INVALID_PARAMETER)?.fourcc;
            if !driver.personality.images.contains(&fourcc) {
                return Err(Status::INVALID_IMAGE_FORMAT);
            }
            let format = format::by_fourcc(fourcc).ok_or(Status::INVALID_IMAGE_FORMAT)?;
            let side = |length: c_int| u16::try_from(length).ok().filter(|length| *length > 0);
            let (width, height) = side(width).zip(side(height)).ok_or(Status::RESOLUTION_NOT_SUPPORTED)?;
            let layout = Layout::new(format, width.into(), height.into());
            let buffer = Buffer::new(VAImageBufferType, layout.size as u32, 1)?;
            // SAFETY: libva's caller has room for an image.
            unsafe { put(place, insert(driver, layout, buffer)) }
        })
    })
}

unsafe extern "C" fn derive(context: VADriverContextP, surface: VASurfaceID, place: *mut VAImage) -> VAStatus {
    enter(context, |driver| {
        driver.create::<Image, _>(Call::DeriveImage, || {
            let surface = driver.get::<Surface>(surface)?;
            driver.page.count(Counter::ImagesDerived);
            let derived = insert(driver, surface.layout, Buffer::of_surface(surface));
            // SAFETY: libva's caller has room for an image.
            unsafe { put(place, derived) }
        })
    })
}

fn insert(driver: &Driver, layout: Layout, buffer: Buffer) -> VAImage {
    let buffer = driver.insert(buffer);
    let image = driver.insert(Image { layout, buffer });
    image::describe(&layout, image, buffer)
}

unsafe extern "C" fn destroy(context: VADriverContextP, image: VAImageID) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::DestroyImage, |_| {
            let image = driver.remove::<Image>(image)?;
            driver.remove::<Buffer>(image.buffer).map(|_| ())
        })
    })
}

unsafe extern "C" fn get(
    context: VADriverContextP,
    surface: VASurfaceID,
    x: c_int,
    y: c_int,
    width: c_uint,
    height: c_uint,
    image: VAImageID,
) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::GetImage, |_| {
            let surface = driver.get::<Surface>(surface)?;
            let image = driver.get::<Image>(image)?;
            surface.outcome()?;
            if driver.personality.unreadable.contains(&surface.layout.format.fourcc) {
                return Err(Status::OPERATION_FAILED);
            }
            let buffer = driver.get::<Buffer>(image.buffer)?;
            let region = Region { x: x.max(0).unsigned_abs(), y: y.max(0).unsigned_abs(), width, height };
            let _guard = surface.read();
            let source = Picture::part(&surface.layout, &surface.memory, region);
            transfer(&source, &Picture::new(&image.layout, buffer.memory()))?;
            driver.page.count(Counter::ImagesRead);
            Ok(())
        })
    })
}

unsafe extern "C" fn put_image(
    context: VADriverContextP,
    surface: VASurfaceID,
    image: VAImageID,
    source_x: c_int,
    source_y: c_int,
    source_width: c_uint,
    source_height: c_uint,
    x: c_int,
    y: c_int,
    width: c_uint,
    height: c_uint,
) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::PutImage, |_| {
            let surface = driver.get::<Surface>(surface)?;
            let image = driver.get::<Image>(image)?;
            if (source_width, source_height) != (width, height) {
                return Err(Status::INVALID_PARAMETER);
            }
            let buffer = driver.get::<Buffer>(image.buffer)?;
            let region =
                |x: c_int, y: c_int| Region { x: x.max(0).unsigned_abs(), y: y.max(0).unsigned_abs(), width, height };
            let source = Picture::part(&image.layout, buffer.memory(), region(source_x, source_y));
            let _guard = surface.write();
            let target = Picture::part(&surface.layout, &surface.memory, region(x, y));
            transfer(&source, &target)?;
            surface.finish(None);
            driver.page.count(Counter::ImagesWritten);
            Ok(())
        })
    })
}

/// Copies what both pictures have room for, into another layout if need be.
fn transfer(source: &Picture, target: &Picture) -> Result<()> {
    let source = source.upper_left(target.width, target.height);
    let target = target.upper_left(source.width, source.height);
    Scaler::new().convert(&source, &target, Filter::Nearest, Ranges::default())
}
