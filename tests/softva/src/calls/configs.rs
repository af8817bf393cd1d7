//! Profiles, entrypoints, attributes, configs.

use std::ffi::c_int;

use crate::control::Call;
use crate::driver::enter;
use crate::profiles::{Capability, Config};
use crate::va::*;

pub(super) fn fill(table: &mut VADriverVTable) {
    table.vaQueryConfigProfiles = Some(query_profiles);
    table.vaQueryConfigEntrypoints = Some(query_entrypoints);
    table.vaGetConfigAttributes = Some(get_attributes);
    table.vaCreateConfig = Some(create);
    table.vaDestroyConfig = Some(destroy);
    table.vaQueryConfigAttributes = Some(query_attributes);
}

/// Writes a list and its length. The caller has made room for what the driver said is the most.
///
/// # Safety
/// `places` must have room for the values, `count` for a number.
unsafe fn put_list<T: Copy>(places: *mut T, count: *mut c_int, values: &[T]) -> Result<()> {
    for (index, value) in values.iter().enumerate() {
        // SAFETY: within the room that the caller promises.
        let place = unsafe { places.add(index) };
        // SAFETY: as above.
        unsafe { put(place, *value) }?;
    }
    // SAFETY: as promised.
    unsafe { put(count, values.len() as c_int) }
}

unsafe extern "C" fn query_profiles(
    context: VADriverContextP,
    profiles: *mut VAProfile,
    count: *mut c_int,
) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::QueryConfigProfiles, |_| {
            // SAFETY: libva's caller has room for max_profiles.
            unsafe { put_list(profiles, count, &driver.personality.profiles()) }
        })
    })
}

unsafe extern "C" fn query_entrypoints(
    context: VADriverContextP,
    profile: VAProfile,
    entrypoints: *mut VAEntrypoint,
    count: *mut c_int,
) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::QueryConfigEntrypoints, |_| {
            let found = driver.personality.entrypoints(profile)?;
            // SAFETY: libva's caller has room for max_entrypoints.
            unsafe { put_list(entrypoints, count, &found) }
        })
    })
}

unsafe extern "C" fn get_attributes(
    context: VADriverContextP,
    profile: VAProfile,
    entrypoint: VAEntrypoint,
    attributes: *mut VAConfigAttrib,
    count: c_int,
) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::GetConfigAttributes, |_| {
            let capability = driver.personality.capability(profile, entrypoint)?;
            for index in 0..usize::try_from(count).unwrap_or(0) {
                // SAFETY: libva's caller has so many attributes.
                let place = unsafe { attributes.add(index) };
                // SAFETY: as above, and nobody else uses it.
                let attribute = unsafe { place.as_mut() }.ok_or(Status::INVALID_PARAMETER)?;
                let value = driver.personality.attribute(&capability, attribute.type_);
                attribute.value = value.unwrap_or(VA_ATTRIB_NOT_SUPPORTED);
            }
            Ok(())
        })
    })
}

unsafe extern "C" fn create(
    context: VADriverContextP,
    profile: VAProfile,
    entrypoint: VAEntrypoint,
    attributes: *mut VAConfigAttrib,
    count: c_int,
    config: *mut VAConfigID,
) -> VAStatus {
    enter(context, |driver| {
        driver.create::<Config, _>(Call::CreateConfig, || {
            let capability = driver.personality.capability(profile, entrypoint)?;
            // SAFETY: libva's caller has so many attributes.
            let attributes = unsafe { list(attributes, count) };
            let created = Config { capability, rate_control: chosen_rate_control(&capability, attributes)? };
            // SAFETY: libva's caller has room for a number.
            unsafe { put(config, driver.insert(created)) }
        })
    })
}

fn chosen_rate_control(capability: &Capability, attributes: &[VAConfigAttrib]) -> Result<u32> {
    let mut rate_control = VA_RC_CQP;
    #[allow(non_upper_case_globals)] // libva's names
    for attribute in attributes {
        match attribute.type_ {
            VAConfigAttribRTFormat if attribute.value & capability.rt_formats() == 0 => {
                return Err(Status::UNSUPPORTED_RT_FORMAT);
            }
            VAConfigAttribRateControl => rate_control = attribute.value,
            _ => {}
        }
    }
    Ok(rate_control)
}

unsafe extern "C" fn destroy(context: VADriverContextP, config: VAConfigID) -> VAStatus {
    enter(context, |driver| driver.perform(Call::DestroyConfig, |_| driver.remove::<Config>(config).map(|_| ())))
}

unsafe extern "C" fn query_attributes(
    context: VADriverContextP,
    config: VAConfigID,
    profile: *mut VAProfile,
    entrypoint: *mut VAEntrypoint,
    attributes: *mut VAConfigAttrib,
    count: *mut c_int,
) -> VAStatus {
    enter(context, |driver| {
        driver.perform(Call::QueryConfigAttributes, |_| {
            let capability = driver.get::<Config>(config)?.capability;
            let format = VAConfigAttrib { type_: VAConfigAttribRTFormat, value: capability.rt_formats() };
            // SAFETY: libva's caller has room for a profile.
            unsafe { put(profile, capability.profile) }?;
            // SAFETY: libva's caller has room for an entrypoint.
            unsafe { put(entrypoint, capability.entrypoint) }?;
            // SAFETY: libva's caller has room for max_attributes.
            unsafe { put_list(attributes, count, &[format]) }
        })
    })
}
