//! libva's calls, by what they are about. Each checks what comes over the C interface and hands it on.

mod buffers;
mod configs;
mod images;
mod missing;
mod pictures;
mod processing;
mod surfaces;

use std::ffi::CString;

use crate::control::Call;
use crate::driver::{Driver, enter};
use crate::profiles::Personality;
use crate::va::*;

/// Fills libva's tables. Optional calls at their end stay null, which is how libva knows that a driver lacks them: the
/// tables grow with libva, and memory beyond those of the headers is not ours.
pub(crate) fn fill(context: &mut VADriverContext, personality: &Personality) -> Result<()> {
    // SAFETY: libva allocates the table and nobody else uses it now.
    let table = unsafe { context.vtable.as_mut() }.ok_or(Status::INVALID_PARAMETER)?;
    table.vaTerminate = Some(terminate);
    configs::fill(table);
    surfaces::fill(table);
    buffers::fill(table);
    pictures::fill(table, personality);
    images::fill(table);
    missing::fill(table);
    // SAFETY: as above.
    let processing = unsafe { context.vtable_vpp.as_mut() }.ok_or(Status::INVALID_PARAMETER)?;
    processing::fill(processing);
    Ok(())
}

unsafe extern "C" fn terminate(context: VADriverContextP) -> VAStatus {
    let outcome = enter(context, |driver| driver.perform(Call::Terminate, |_| Ok(())));
    // SAFETY: libva passes its own context, or null.
    let Some(context) = (unsafe { context.as_mut() }) else { return outcome };
    let driver = std::mem::replace(&mut context.pDriverData, std::ptr::null_mut()).cast::<Driver>();
    if !driver.is_null() {
        // SAFETY: made by Box::into_raw when the driver was opened, and taken out above.
        let driver = unsafe { Box::from_raw(driver) };
        driver.page.end_session();
    }
    let vendor = std::mem::replace(&mut context.str_vendor, std::ptr::null()).cast_mut();
    if !vendor.is_null() {
        // SAFETY: made by CString::into_raw when the driver was opened, and taken out above.
        drop(unsafe { CString::from_raw(vendor) });
    }
    outcome
}
