//! VA-API's own vocabulary (libva, `va.h`): profiles, entrypoints, rate control and surface formats, as `vainfo` names
//! them. What camshaft has no use for has no name here and is left out of tables.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that libva numbers and `vainfo` names.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, { $($variant:ident = $number:literal $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $(
                #[doc = concat!("`", $prefix, $text, "`.")]
                $variant,
            )*
        }

        impl $name {
            /// Every value with its number in `va.h`.
            pub const ALL: &[(Self, i32)] = &[$((Self::$variant, $number)),*];

            /// The full name, as in `va.h` and in `vainfo`'s output.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($prefix, $text),)*
                }
            }

            /// The name without its prefix, for people.
            pub fn short_name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The value of this number in `va.h`, if camshaft knows it.
            pub fn from_number(number: i32) -> Option<Self> {
                Self::ALL.iter().find(|(_, known)| *known == number).map(|(value, _)| *value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

numbered! {
    /// A codec profile.
    Profile, "VAProfile", {
        None = -1 "None",
        Mpeg2Simple = 0 "MPEG2Simple",
        Mpeg2Main = 1 "MPEG2Main",
        H264ConstrainedBaseline = 13 "H264ConstrainedBaseline",
        H264Main = 6 "H264Main",
        H264High = 7 "H264High",
        H264MultiviewHigh = 15 "H264MultiviewHigh",
        H264StereoHigh = 16 "H264StereoHigh",
        Vc1Simple = 8 "VC1Simple",
        Vc1Main = 9 "VC1Main",
        Vc1Advanced = 10 "VC1Advanced",
        JpegBaseline = 12 "JPEGBaseline",
        Vp8Version0To3 = 14 "VP8Version0_3",
        HevcMain = 17 "HEVCMain",
        HevcMain10 = 18 "HEVCMain10",
        HevcMain12 = 23 "HEVCMain12",
        HevcMain422_10 = 24 "HEVCMain422_10",
        HevcMain422_12 = 25 "HEVCMain422_12",
        HevcMain444 = 26 "HEVCMain444",
        HevcMain444_10 = 27 "HEVCMain444_10",
        HevcMain444_12 = 28 "HEVCMain444_12",
        HevcSccMain = 29 "HEVCSccMain",
        HevcSccMain10 = 30 "HEVCSccMain10",
        HevcSccMain444 = 31 "HEVCSccMain444",
        HevcSccMain444_10 = 34 "HEVCSccMain444_10",
        Vp9Profile0 = 19 "VP9Profile0",
        Vp9Profile1 = 20 "VP9Profile1",
        Vp9Profile2 = 21 "VP9Profile2",
        Vp9Profile3 = 22 "VP9Profile3",
        Av1Profile0 = 32 "AV1Profile0",
        Av1Profile1 = 33 "AV1Profile1",
    }
}

numbered! {
    /// What a driver does with a profile.
    Entrypoint, "VAEntrypoint", {
        Vld = 1 "VLD",
        EncSlice = 6 "EncSlice",
        EncPicture = 7 "EncPicture",
        EncSliceLp = 8 "EncSliceLP",
        VideoProc = 10 "VideoProc",
    }
}

numbered! {
    /// How an encoder spends its bits; the numbers are bits of `VAConfigAttribRateControl`.
    RateControlMode, "VA_RC_", {
        None = 0x1 "NONE",
        Cbr = 0x2 "CBR",
        Vbr = 0x4 "VBR",
        Vcm = 0x8 "VCM",
        Cqp = 0x10 "CQP",
        VbrConstrained = 0x20 "VBR_CONSTRAINED",
        Icq = 0x40 "ICQ",
        Mb = 0x80 "MB",
        Qvbr = 0x400 "QVBR",
        Avbr = 0x800 "AVBR",
        Tcbrc = 0x1000 "TCBRC",
    }
}

numbered! {
    /// The kind of surface that a profile works on; the numbers are bits of `VAConfigAttribRTFormat`.
    RtFormat, "VA_RT_FORMAT_", {
        Yuv420 = 0x1 "YUV420",
        Yuv422 = 0x2 "YUV422",
        Yuv444 = 0x4 "YUV444",
        Yuv411 = 0x8 "YUV411",
        Yuv400 = 0x10 "YUV400",
        Yuv420_10 = 0x100 "YUV420_10",
        Yuv422_10 = 0x200 "YUV422_10",
        Yuv444_10 = 0x400 "YUV444_10",
        Yuv420_12 = 0x1000 "YUV420_12",
        Yuv422_12 = 0x2000 "YUV422_12",
        Yuv444_12 = 0x4000 "YUV444_12",
        Rgb16 = 0x1_0000 "RGB16",
        Rgb32 = 0x2_0000 "RGB32",
        Rgbp = 0x10_0000 "RGBP",
        Rgb32_10 = 0x20_0000 "RGB32_10",
    }
}

impl RateControlMode {
    /// The modes of a `VAConfigAttribRateControl`.
    pub fn from_bits(bits: u32) -> Vec<Self> {
        set_in(Self::ALL, bits)
    }
}

impl RtFormat {
    /// The formats of a `VAConfigAttribRTFormat`.
    pub fn from_bits(bits: u32) -> Vec<Self> {
        set_in(Self::ALL, bits)
    }
}

fn set_in<T: Copy>(known: &[(T, i32)], bits: u32) -> Vec<T> {
    known.iter().filter(|(_, bit)| bits & bit.cast_unsigned() != 0).map(|(value, _)| *value).collect()
}

/// The layout of a surface in memory: four characters, the first in the lowest byte (`VA_FOURCC`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FourCc(pub u32);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_le_bytes().escape_ascii().fmt(f)
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
