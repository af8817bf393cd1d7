//! What a VA driver says that it can do, through `cros-libva`. The driver is libva's choice: its own order with several
//! installed, or `LIBVA_DRIVER_NAME`.

use camshaft::media::Geometry;
use camshaft::plan::va::{Entrypoint, FourCc, Profile, RateControlMode, RtFormat};
use camshaft::plan::{DeviceError, DeviceTable, TableEntry};
use cros_libva::{
    Display, GenericValue, OpenDrmDisplayError, VAConfigAttrib, VAConfigAttribType, VASurfaceAttribType, VaError,
};
use std::path::Path;
use std::rc::Rc;

/// `VA_ATTRIB_NOT_SUPPORTED`.
const NOT_SUPPORTED: u32 = 0x8000_0000;

/// A driver that is open.
pub struct Driver {
    display: Rc<Display>,
    name: Option<String>,
}

impl Driver {
    /// Opens the driver that libva chooses for the render node `device`. Opens files; [`Driver::table`] does not.
    ///
    /// # Errors
    /// What stands in the way of one.
    pub fn open(device: &Path) -> Result<Self, DeviceError> {
        let display = Display::open_drm_display(device).map_err(open_error)?;
        Ok(Self { display, name: loaded_driver() })
    }

    /// What it says that it can do.
    ///
    /// # Errors
    /// The call that failed.
    pub fn table(&self) -> Result<DeviceTable, DeviceError> {
        let display = &self.display;
        let vendor_string = display
            .query_vendor_string()
            .map_err(|text| DeviceError::Query { call: "vaQueryVendorString".into(), text: text.into() })?;
        let profiles = display.query_config_profiles().map_err(|error| query_error("vaQueryConfigProfiles", &error))?;
        let mut entries = Vec::new();
        for profile in profiles.into_iter().filter_map(Profile::from_number) {
            let number = number_of(Profile::ALL, profile);
            let entrypoints = display
                .query_config_entrypoints(number)
                .map_err(|error| query_error("vaQueryConfigEntrypoints", &error))?;
            let known = entrypoints.into_iter().filter_map(|number| Entrypoint::from_number(number.cast_signed()));
            for entrypoint in known {
                entries.push(entry(display, profile, entrypoint));
            }
        }
        Ok(DeviceTable { va_driver: self.name.clone(), vendor_string, entries })
    }
}

/// A driver that will not tell an attribute leaves it open.
fn entry(display: &Rc<Display>, profile: Profile, entrypoint: Entrypoint) -> TableEntry {
    let (profile_number, entrypoint_number) =
        (number_of(Profile::ALL, profile), number_of(Entrypoint::ALL, entrypoint).cast_unsigned());
    let attribute = |type_| {
        let mut attributes = [VAConfigAttrib { type_, value: NOT_SUPPORTED }];
        let got = display.get_config_attributes(profile_number, entrypoint_number, &mut attributes);
        let [VAConfigAttrib { value, .. }] = attributes;
        got.ok().filter(|()| value & NOT_SUPPORTED == 0).map(|()| value)
    };
    let config_size = (
        attribute(VAConfigAttribType::VAConfigAttribMaxPictureWidth),
        attribute(VAConfigAttribType::VAConfigAttribMaxPictureHeight),
    );
    let surfaces = Surfaces::query(display, profile_number, entrypoint_number);
    let max_size = surfaces.max_size.or_else(|| config_size.0.zip(config_size.1));
    TableEntry {
        profile,
        entrypoint,
        rate_control: attribute(VAConfigAttribType::VAConfigAttribRateControl)
            .map_or(vec![], RateControlMode::from_bits),
        max_size: max_size.filter(|size| size.0 > 0 && size.1 > 0).map(|(w, h)| Geometry::new(w, h)),
        rt_formats: attribute(VAConfigAttribType::VAConfigAttribRTFormat).map_or(vec![], RtFormat::from_bits),
        surface_formats: surfaces.formats,
    }
}

/// What a driver says of the surfaces that a profile and entrypoint work on.
#[derive(Default)]
struct Surfaces {
    max_size: Option<(u32, u32)>,
    formats: Vec<FourCc>,
}

impl Surfaces {
    fn query(display: &Rc<Display>, profile: i32, entrypoint: u32) -> Self {
        let Ok(mut config) = display.create_config(vec![], profile, entrypoint) else { return Self::default() };
        let mut integers = |kind| {
            let values = config.query_surface_attributes_by_type(kind).unwrap_or_default();
            let integers = values.into_iter().filter_map(|value| match value {
                GenericValue::Integer(value) => Some(value.cast_unsigned()),
                _ => None,
            });
            integers.collect::<Vec<u32>>()
        };
        let width = integers(VASurfaceAttribType::VASurfaceAttribMaxWidth).first().copied();
        let height = integers(VASurfaceAttribType::VASurfaceAttribMaxHeight).first().copied();
        let formats = integers(VASurfaceAttribType::VASurfaceAttribPixelFormat).into_iter().map(FourCc).collect();
        Self { max_size: width.zip(height), formats }
    }
}

fn number_of<T: PartialEq>(all: &[(T, i32)], wanted: T) -> i32 {
    all.iter().find(|(value, _)| *value == wanted).map_or(-1, |(_, number)| *number)
}

fn query_error(call: &str, error: &VaError) -> DeviceError {
    DeviceError::Query { call: call.to_owned(), text: error.to_string() }
}

fn open_error(error: OpenDrmDisplayError) -> DeviceError {
    match error {
        OpenDrmDisplayError::DeviceOpen(error) => DeviceError::Open { errno: error.raw_os_error().unwrap_or(0) },
        OpenDrmDisplayError::VaGetDisplayDrm => DeviceError::NotDrm,
        OpenDrmDisplayError::VaInitialize(error) => {
            let forced = std::env::var("LIBVA_DRIVER_NAME").ok();
            match loaded_driver() {
                None => DeviceError::DriverMissing { forced },
                Some(driver) => {
                    DeviceError::DriverRefused { forced, driver, status: error.va_status(), text: error.to_string() }
                }
            }
        }
    }
}

/// The driver that libva has loaded, by its file `NAME_drv_video.so`: the vendor string need not say. libva never unloads
/// one (`RTLD_NODELETE`), so that one that refused shows as well; of several, the last tried is mapped lowest.
fn loaded_driver() -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(driver_in)
}

/// The driver's name, if this line of `/proc/PID/maps` (proc(5)) is one of a driver.
fn driver_in(line: &str) -> Option<String> {
    let file = line.rsplit_once('/')?.1;
    file.strip_suffix("_drv_video.so").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cros_libva::{VA_RC_CBR, VA_RC_QVBR, VA_RT_FORMAT_YUV420, VA_RT_FORMAT_YUV420_10, VAEntrypoint, VAProfile};

    #[test]
    fn the_numbers_are_libvas() {
        for (profile, number) in [
            (Profile::None, VAProfile::VAProfileNone),
            (Profile::H264High, VAProfile::VAProfileH264High),
            (Profile::HevcMain10, VAProfile::VAProfileHEVCMain10),
            (Profile::HevcSccMain444_10, VAProfile::VAProfileHEVCSccMain444_10),
            (Profile::Av1Profile1, VAProfile::VAProfileAV1Profile1),
            (Profile::JpegBaseline, VAProfile::VAProfileJPEGBaseline),
        ] {
            assert_eq!(Profile::from_number(number), Some(profile));
        }
        for (entrypoint, number) in [
            (Entrypoint::Vld, VAEntrypoint::VAEntrypointVLD),
            (Entrypoint::EncSliceLp, VAEntrypoint::VAEntrypointEncSliceLP),
            (Entrypoint::VideoProc, VAEntrypoint::VAEntrypointVideoProc),
        ] {
            assert_eq!(Entrypoint::from_number(number.cast_signed()), Some(entrypoint));
        }
        assert_eq!(RateControlMode::from_bits(VA_RC_CBR | VA_RC_QVBR), [RateControlMode::Cbr, RateControlMode::Qvbr]);
        let formats = RtFormat::from_bits(VA_RT_FORMAT_YUV420 | VA_RT_FORMAT_YUV420_10);
        assert_eq!(formats, [RtFormat::Yuv420, RtFormat::Yuv420_10]);
    }

    #[test]
    fn a_device_that_is_none_is_told_apart() {
        let error = |device: &str| Driver::open(Path::new(device)).err();
        assert_eq!(error("/nonexistent"), Some(DeviceError::Open { errno: 2 }));
        assert_eq!(error("/dev/null"), Some(DeviceError::NotDrm));
    }

    #[test]
    fn the_driver_is_read_from_its_file() {
        let line = "7f00-7f01 r--p 00000000 08:01 42  /usr/lib/x86_64-linux-gnu/dri/iHD_drv_video.so";
        assert_eq!(driver_in(line).as_deref(), Some("iHD"));
        assert_eq!(driver_in("7f00-7f01 rw-p 00000000 00:00 0 [heap]"), None);
    }
}
