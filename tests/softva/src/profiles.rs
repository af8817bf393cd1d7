//! What the driver says it can do: as an Intel driver would for some generation, less what is not done here.
//!
//! The lists are those of Intel's drivers (i965 2.4.1, iHD 23.1.1 without its non-free part), of which MPEG-2 encoding,
//! VC-1, VP8, VP9, AV1, HEVC encoding and the multiview profiles are left out. One slice a picture is all that is encoded, where the
//! real ones have more.

use crate::format;
use crate::va::*;

/// A profile and what can be done with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capability {
    pub(crate) profile: VAProfile,
    pub(crate) entrypoint: VAEntrypoint,
    /// Largest width and height.
    pub(crate) largest: u32,
    /// Formats of surfaces, by FOURCC; the first is the usual one.
    pub(crate) surfaces: &'static [u32],
}

/// A driver on some generation.
#[derive(Debug)]
pub(crate) struct Personality {
    pub(crate) name: &'static str,
    pub(crate) vendor: &'static str,
    pub(crate) capabilities: &'static [Capability],
    /// Formats of images, by FOURCC.
    pub(crate) images: &'static [u32],
    /// Formats of surfaces that vaGetImage fails on, by FOURCC.
    pub(crate) unreadable: &'static [u32],
    /// Whether there is vaSyncBuffer.
    pub(crate) has_sync_buffer: bool,
    /// Whether largest sizes are among the attributes of a config, not only among those of its surfaces.
    has_size_attributes: bool,
    quality_levels: u32,
    /// VAConfigAttribEncMaxRefFrames.
    references: u32,
}

/// A combination that the application has chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) capability: Capability,
    /// VA_RC_*, for encoders.
    pub(crate) rate_control: u32,
}

const H264_PROFILES: [VAProfile; 3] = [VAProfileH264ConstrainedBaseline, VAProfileH264Main, VAProfileH264High];
const NV12: &[u32] = &[VA_FOURCC_NV12];
const P010: &[u32] = &[VA_FOURCC_P010];

const fn can(profile: VAProfile, entrypoint: VAEntrypoint, largest: u32, surfaces: &'static [u32]) -> Capability {
    Capability { profile, entrypoint, largest, surfaces }
}

/// Intel i965 on the graphics of a Xeon E3-1200 v3.
static HASWELL: Personality = Personality {
    name: "haswell",
    vendor: "Intel i965 driver for Intel(R) Haswell Server - 2.4.1",
    capabilities: &[
        can(VAProfileMPEG2Simple, VAEntrypointVLD, 2048, NV12),
        can(VAProfileMPEG2Main, VAEntrypointVLD, 2048, NV12),
        can(H264_PROFILES[0], VAEntrypointVLD, 4096, NV12),
        can(H264_PROFILES[0], VAEntrypointEncSlice, 4096, NV12),
        can(H264_PROFILES[1], VAEntrypointVLD, 4096, NV12),
        can(H264_PROFILES[1], VAEntrypointEncSlice, 4096, NV12),
        can(H264_PROFILES[2], VAEntrypointVLD, 4096, NV12),
        can(H264_PROFILES[2], VAEntrypointEncSlice, 4096, NV12),
        can(
            VAProfileNone,
            VAEntrypointVideoProc,
            4096,
            &[
                VA_FOURCC_NV12,
                VA_FOURCC_I420,
                VA_FOURCC_YV12,
                VA_FOURCC_IMC3,
                VA_FOURCC_YUY2,
                VA_FOURCC_UYVY,
                VA_FOURCC_RGBA,
                VA_FOURCC_RGBX,
                VA_FOURCC_BGRA,
                VA_FOURCC_BGRX,
            ],
        ),
        can(
            VAProfileJPEGBaseline,
            VAEntrypointVLD,
            4096,
            &[VA_FOURCC_IMC3, VA_FOURCC_Y800, VA_FOURCC_411P, VA_FOURCC_422H, VA_FOURCC_422V, VA_FOURCC_444P],
        ),
    ],
    images: &[
        VA_FOURCC_YV12,
        VA_FOURCC_I420,
        VA_FOURCC_NV12,
        VA_FOURCC_YUY2,
        VA_FOURCC_UYVY,
        VA_FOURCC_422H,
        VA_FOURCC_RGBX,
        VA_FOURCC_BGRX,
        VA_FOURCC_P010,
    ],
    unreadable: &[VA_FOURCC_422H, VA_FOURCC_422V, VA_FOURCC_411P, VA_FOURCC_444P],
    has_sync_buffer: false,
    has_size_attributes: false,
    quality_levels: 2,
    references: 1 | 1 << 16,
};

const IHD_VENDOR: &str = "Intel iHD driver for Intel(R) Gen Graphics - 23.1.1 ()";
const IHD_JPEG: &[u32] =
    &[VA_FOURCC_NV12, VA_FOURCC_IMC3, VA_FOURCC_Y800, VA_FOURCC_422H, VA_FOURCC_422V, VA_FOURCC_444P, VA_FOURCC_411P];
const IHD_IMAGES: &[u32] = &[
    VA_FOURCC_NV12,
    VA_FOURCC_YV12,
    VA_FOURCC_I420,
    VA_FOURCC_IMC3,
    VA_FOURCC_P010,
    VA_FOURCC_YUY2,
    VA_FOURCC_UYVY,
    VA_FOURCC_422H,
    VA_FOURCC_422V,
    VA_FOURCC_444P,
    VA_FOURCC_411P,
    VA_FOURCC_Y800,
    VA_FOURCC_BGRA,
    VA_FOURCC_BGRX,
    VA_FOURCC_RGBA,
    VA_FOURCC_RGBX,
];

/// Intel iHD, free part, on Skylake.
static SKYLAKE_FREE: Personality = Personality {
    name: "skylake-free",
    vendor: IHD_VENDOR,
    capabilities: &[
        can(VAProfileMPEG2Simple, VAEntrypointVLD, 2048, NV12),
        can(VAProfileMPEG2Main, VAEntrypointVLD, 2048, NV12),
        can(H264_PROFILES[1], VAEntrypointVLD, 4096, NV12),
        can(H264_PROFILES[1], VAEntrypointEncSliceLP, 4096, NV12),
        can(H264_PROFILES[2], VAEntrypointVLD, 4096, NV12),
        can(H264_PROFILES[2], VAEntrypointEncSliceLP, 4096, NV12),
        can(VAProfileJPEGBaseline, VAEntrypointVLD, 16_384, IHD_JPEG),
        can(VAProfileJPEGBaseline, VAEntrypointEncPicture, 16_384, NV12),
        can(H264_PROFILES[0], VAEntrypointVLD, 4096, NV12),
        can(H264_PROFILES[0], VAEntrypointEncSliceLP, 4096, NV12),
        can(VAProfileHEVCMain, VAEntrypointVLD, 8192, NV12),
    ],
    images: IHD_IMAGES,
    unreadable: &[],
    has_sync_buffer: true,
    has_size_attributes: true,
    quality_levels: 7,
    references: 1,
};

/// Intel iHD, free part, on Alder Lake.
static ALDERLAKE: Personality = Personality {
    name: "alderlake",
    vendor: IHD_VENDOR,
    capabilities: &[
        can(VAProfileMPEG2Simple, VAEntrypointVLD, 2048, NV12),
        can(VAProfileMPEG2Main, VAEntrypointVLD, 2048, NV12),
        can(
            VAProfileNone,
            VAEntrypointVideoProc,
            16_384,
            &[
                VA_FOURCC_NV12,
                VA_FOURCC_YV12,
                VA_FOURCC_I420,
                VA_FOURCC_P010,
                VA_FOURCC_YUY2,
                VA_FOURCC_UYVY,
                VA_FOURCC_422H,
                VA_FOURCC_444P,
                VA_FOURCC_BGRA,
                VA_FOURCC_BGRX,
                VA_FOURCC_RGBA,
                VA_FOURCC_RGBX,
            ],
        ),
        can(H264_PROFILES[1], VAEntrypointVLD, 4096, NV12),
        can(H264_PROFILES[1], VAEntrypointEncSliceLP, 4096, NV12),
        can(H264_PROFILES[2], VAEntrypointVLD, 4096, NV12),
        can(H264_PROFILES[2], VAEntrypointEncSliceLP, 4096, NV12),
        can(VAProfileJPEGBaseline, VAEntrypointVLD, 16_384, IHD_JPEG),
        can(VAProfileJPEGBaseline, VAEntrypointEncPicture, 16_384, NV12),
        can(H264_PROFILES[0], VAEntrypointVLD, 4096, NV12),
        can(H264_PROFILES[0], VAEntrypointEncSliceLP, 4096, NV12),
        can(VAProfileHEVCMain, VAEntrypointVLD, 8192, NV12),
        can(VAProfileHEVCMain10, VAEntrypointVLD, 8192, P010),
    ],
    images: IHD_IMAGES,
    unreadable: &[],
    has_sync_buffer: true,
    has_size_attributes: true,
    quality_levels: 7,
    references: 1,
};

/// Smallest width and height of surfaces.
pub(crate) const SMALLEST: u32 = 16;

const PACKED_HEADERS: u32 = VA_ENC_PACKED_HEADER_SEQUENCE
    | VA_ENC_PACKED_HEADER_PICTURE
    | VA_ENC_PACKED_HEADER_SLICE
    | VA_ENC_PACKED_HEADER_MISC
    | VA_ENC_PACKED_HEADER_RAW_DATA;

impl Personality {
    /// The personality of this name, of [`Personality::names`].
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        Self::all().into_iter().find(|personality| personality.name == name)
    }

    /// The names of all personalities.
    pub(crate) fn names() -> [&'static str; 3] {
        Self::all().map(|personality| personality.name)
    }

    fn all() -> [&'static Self; 3] {
        [&HASWELL, &SKYLAKE_FREE, &ALDERLAKE]
    }

    /// All profiles, each once, in the driver's order.
    pub(crate) fn profiles(&self) -> Vec<VAProfile> {
        let mut profiles = Vec::new();
        for capability in self.capabilities {
            if !profiles.contains(&capability.profile) {
                profiles.push(capability.profile);
            }
        }
        profiles
    }

    /// What can be done with a profile.
    ///
    /// # Errors
    /// [`Status::UNSUPPORTED_PROFILE`] if nothing.
    pub(crate) fn entrypoints(&self, profile: VAProfile) -> Result<Vec<VAEntrypoint>> {
        let entrypoints: Vec<VAEntrypoint> =
            self.capabilities.iter().filter(|can| can.profile == profile).map(|can| can.entrypoint).collect();
        if entrypoints.is_empty() { Err(Status::UNSUPPORTED_PROFILE) } else { Ok(entrypoints) }
    }

    /// The capability of this profile and entrypoint.
    ///
    /// # Errors
    /// [`Status::UNSUPPORTED_PROFILE`], [`Status::UNSUPPORTED_ENTRYPOINT`].
    pub(crate) fn capability(&self, profile: VAProfile, entrypoint: VAEntrypoint) -> Result<Capability> {
        self.entrypoints(profile)?;
        self.capabilities
            .iter()
            .find(|can| can.profile == profile && can.entrypoint == entrypoint)
            .copied()
            .ok_or(Status::UNSUPPORTED_ENTRYPOINT)
    }

    /// The value of an attribute, if the capability has it.
    pub(crate) fn attribute(&self, capability: &Capability, attribute: VAConfigAttribType) -> Option<u32> {
        let is_video_encoder = capability.is_video_encoder();
        let is_jpeg_encoder = capability.entrypoint == VAEntrypointEncPicture;
        #[allow(non_upper_case_globals)] // libva's names
        match attribute {
            VAConfigAttribRTFormat => Some(capability.rt_formats()),
            VAConfigAttribRateControl => is_video_encoder.then_some(VA_RC_CQP | VA_RC_CBR | VA_RC_VBR),
            VAConfigAttribEncPackedHeaders if is_jpeg_encoder => Some(VA_ENC_PACKED_HEADER_RAW_DATA),
            VAConfigAttribEncPackedHeaders => is_video_encoder.then_some(PACKED_HEADERS),
            VAConfigAttribEncMaxRefFrames => is_video_encoder.then_some(self.references),
            VAConfigAttribEncMaxSlices => is_video_encoder.then_some(1),
            VAConfigAttribEncSliceStructure => is_video_encoder.then_some(VA_ENC_SLICE_STRUCTURE_ARBITRARY_ROWS),
            VAConfigAttribEncQualityRange => is_video_encoder.then_some(self.quality_levels),
            VAConfigAttribEncJPEG => is_jpeg_encoder.then_some(jpeg_encoder_value()),
            VAConfigAttribDecSliceMode => {
                (capability.entrypoint == VAEntrypointVLD).then_some(VA_DEC_SLICE_MODE_NORMAL)
            }
            VAConfigAttribMaxPictureWidth | VAConfigAttribMaxPictureHeight => {
                self.has_size_attributes.then_some(capability.largest)
            }
            _ => None,
        }
    }
}

impl Capability {
    /// Whether this encodes video, not JPEG.
    pub(crate) fn is_video_encoder(&self) -> bool {
        [VAEntrypointEncSlice, VAEntrypointEncSliceLP].contains(&self.entrypoint)
    }

    /// The RT formats of its surfaces.
    pub(crate) fn rt_formats(&self) -> u32 {
        self.surfaces
            .iter()
            .filter_map(|fourcc| format::by_fourcc(*fourcc))
            .fold(0, |set, format| set | format.rt_format)
    }
}

/// Three components, three quantization tables, two Huffman tables, one scan: VAConfigAttribValEncJPEG.
fn jpeg_encoder_value() -> u32 {
    const COMPONENTS_AT: u32 = 4;
    const SCANS_AT: u32 = 7;
    const HUFFMAN_TABLES_AT: u32 = 11;
    const QUANTIZATION_TABLES_AT: u32 = 14;
    3 << COMPONENTS_AT | 1 << SCANS_AT | 2 << HUFFMAN_TABLES_AT | 3 << QUANTIZATION_TABLES_AT
}
