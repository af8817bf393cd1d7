//! Calls that libva wants every driver to have, and that are not offered here: subpictures, palettes, display
//! attributes, handles to surfaces.

use std::ffi::{c_int, c_short, c_uchar, c_uint, c_ushort, c_void};

use crate::va::*;

/// Functions that answer VA_STATUS_ERROR_UNIMPLEMENTED, and put themselves into the table.
macro_rules! missing {
    ($($slot:ident($($argument:ty),*);)*) => {
        pub(super) fn fill(table: &mut VADriverVTable) {
            table.vaQuerySubpictureFormats = Some(no_subpictures);
            table.vaQueryDisplayAttributes = Some(no_display_attributes);
            $({
                unsafe extern "C" fn missing(_context: VADriverContextP $(, _: $argument)*) -> VAStatus {
                    Status::UNIMPLEMENTED.raw()
                }
                table.$slot = Some(missing);
            })*
        }
    };
}

missing! {
    vaQuerySurfaceError(VASurfaceID, VAStatus, *mut *mut c_void);
    vaPutSurface(
        VASurfaceID, *mut c_void, c_short, c_short, c_ushort, c_ushort, c_short, c_short, c_ushort, c_ushort,
        *mut VARectangle, c_uint, c_uint
    );
    vaExportSurfaceHandle(VASurfaceID, u32, u32, *mut c_void);
    vaSetImagePalette(VAImageID, *mut c_uchar);
    vaCreateSubpicture(VAImageID, *mut VASubpictureID);
    vaDestroySubpicture(VASubpictureID);
    vaSetSubpictureImage(VASubpictureID, VAImageID);
    vaSetSubpictureChromakey(VASubpictureID, c_uint, c_uint, c_uint);
    vaSetSubpictureGlobalAlpha(VASubpictureID, f32);
    vaAssociateSubpicture(
        VASubpictureID, *mut VASurfaceID, c_int, c_short, c_short, c_ushort, c_ushort, c_short, c_short, c_ushort,
        c_ushort, c_uint
    );
    vaDeassociateSubpicture(VASubpictureID, *mut VASurfaceID, c_int);
    vaGetDisplayAttributes(*mut VADisplayAttribute, c_int);
    vaSetDisplayAttributes(*mut VADisplayAttribute, c_int);
}

unsafe extern "C" fn no_subpictures(
    _context: VADriverContextP,
    _formats: *mut VAImageFormat,
    _flags: *mut c_uint,
    count: *mut c_uint,
) -> VAStatus {
    // SAFETY: libva's caller has room for a number.
    crate::driver::status(unsafe { put(count, 0) })
}

unsafe extern "C" fn no_display_attributes(
    _context: VADriverContextP,
    _attributes: *mut VADisplayAttribute,
    count: *mut c_int,
) -> VAStatus {
    // SAFETY: libva's caller has room for a number.
    crate::driver::status(unsafe { put(count, 0) })
}
