//! Images: pixels that the application sees.

use crate::format::Layout;
use crate::va::*;

/// An image and the buffer with its pixels.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) layout: Layout,
    pub(crate) buffer: VABufferID,
}

/// What vaCreateImage and vaDeriveImage tell of an image.
pub(crate) fn describe(layout: &Layout, image: VAImageID, buffer: VABufferID) -> VAImage {
    VAImage {
        image_id: image,
        format: format(layout.format),
        buf: buffer,
        width: layout.width as u16,
        height: layout.height as u16,
        data_size: layout.size as u32,
        num_planes: layout.format.planes.len() as u32,
        pitches: layout.pitches,
        offsets: layout.offsets,
        num_palette_entries: 0,
        entry_bytes: 0,
        component_order: [0; 4],
        va_reserved: [0; 4],
    }
}

/// What vaQueryImageFormats tells of a format.
pub(crate) fn format(format: &crate::format::Format) -> VAImageFormat {
    let [red_mask, green_mask, blue_mask, alpha_mask] = format.masks;
    VAImageFormat {
        fourcc: format.fourcc,
        byte_order: VA_LSB_FIRST,
        bits_per_pixel: format.bits_per_pixel,
        depth: format.masks.iter().map(|mask| mask.count_ones()).sum(),
        red_mask,
        green_mask,
        blue_mask,
        alpha_mask,
        va_reserved: [0; 4],
    }
}
