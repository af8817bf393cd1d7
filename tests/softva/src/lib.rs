//! softva: a VA-API driver in software, for camshaft's tests. It is never shipped.
//!
//! libva loads it as the driver `libsoftva`; `LIBVA_SOFTVA` says how it behaves: `PERSONALITY` or
//! `PERSONALITY:CONTROL_FILE`. The personalities are in `profiles.rs`, the control file in `control.rs`.
//! `tests/support/with-softva.sh` sets up the rest. By hand:
//!
//! ```sh
//! cargo build -p softva
//! tests/support/with-softva.sh haswell - vainfo --display drm --device /dev/dri/renderD128
//! ```
//!
//! A call goes from `calls/` (the C interface) through `driver.rs` (sessions, faults, panics) to the objects, whose tables
//! are in `objects.rs`. `context.rs` hands pictures to `decode/`, `encode/` and `vpp.rs`; those stand on `av/`.

mod av;
mod bits;
mod buffer;
mod calls;
mod context;
mod control;
mod decode;
mod driver;
mod encode;
mod escape;
mod format;
mod h264;
mod image;
mod memory;
mod objects;
mod page;
mod profiles;
mod surface;
#[cfg(test)]
mod tests;
mod va;
mod vpp;

use std::env;
use std::ffi::{CString, c_char};

use control::Call;
use driver::{Driver, catch, status};
use page::Page;
use profiles::Personality;
use va::*;

/// The variable that says which driver this is to be.
const VARIABLE: &str = "LIBVA_SOFTVA";

/// Opens the driver. Every libva of major version 1 takes this name.
///
/// # Safety
/// `context` must be a driver context as libva makes it, with memory for its tables.
#[allow(non_snake_case)] // libva's name
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vaDriverInit_1_0(context: VADriverContextP) -> VAStatus {
    let opened = catch(|| {
        // SAFETY: libva passes its own context, which nobody else uses before it is initialized.
        let context = unsafe { context.as_mut() }.ok_or(Status::INVALID_PARAMETER)?;
        let setting = env::var(VARIABLE).map_err(|error| error.to_string());
        let driver = setting.and_then(|setting| make(&setting)).map_err(|problem| {
            tell(context, &format!("softva: {VARIABLE}: {problem}\n"));
            Status::INVALID_PARAMETER
        })?;
        open(context, driver)
    });
    status(opened)
}

/// Makes the driver that `setting` asks for: `PERSONALITY` or `PERSONALITY:CONTROL_FILE`.
fn make(setting: &str) -> std::result::Result<Driver, String> {
    let (name, path) = match setting.split_once(':') {
        Some((name, path)) => (name, Some(path)),
        None => (setting, None),
    };
    let personality = Personality::named(name)
        .ok_or_else(|| format!("no personality '{name}'; there are: {}", Personality::names().join(", ")))?;
    let page = Page::open(path).map_err(|error| format!("{}: {error}", path.unwrap_or("memory")))?;
    Ok(Driver::new(personality, page))
}

/// Makes `context` that of `driver`.
fn open(context: &mut VADriverContext, driver: Driver) -> Result<()> {
    driver.perform(Call::Initialize, |_| Ok(()))?;
    describe(context, driver.personality)?;
    calls::fill(context, driver.personality)?;
    context.pDriverData = Box::into_raw(Box::new(driver)).cast();
    Ok(())
}

/// Has libva log a message.
fn tell(context: &mut VADriverContext, message: &str) {
    let (Some(callback), Ok(message)) = (context.error_callback, CString::new(message)) else { return };
    // SAFETY: libva's own callback, its context and a terminated string.
    unsafe { callback(context, message.as_ptr()) };
}

/// Fills in what libva must know before the first call.
fn describe(context: &mut VADriverContext, personality: &Personality) -> Result<()> {
    const ATTRIBUTES: i32 = 64;
    let count = |length: usize| i32::try_from(length).map_err(|_| Status::UNKNOWN);
    context.version_major = VA_MAJOR_VERSION.cast_signed();
    context.version_minor = VA_MINOR_VERSION.cast_signed();
    context.max_profiles = count(personality.profiles().len())?;
    context.max_entrypoints = count(personality.capabilities.len())?;
    context.max_attributes = ATTRIBUTES;
    context.max_image_formats = count(personality.images.len())?;
    context.max_subpic_formats = 1;
    context.max_display_attributes = 1;
    let vendor = CString::new(personality.vendor).map_err(|_| Status::UNKNOWN)?;
    // Freed by vaTerminate.
    context.str_vendor = vendor.into_raw().cast::<c_char>().cast_const();
    Ok(())
}
