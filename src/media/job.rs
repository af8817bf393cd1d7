//! A transcode request: one file or stream of bytes in, another out.

use serde::{Deserialize, Serialize};

use super::{AudioRequest, FrameRate, Geometry, MediaTime, PixelFormat, RateControl, VideoCodec};

/// What the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobFormat {
    /// Fragmented MP4 (ISO/IEC 14496-12), from its first byte on without an index at its end.
    Mp4,
    /// MPEG transport stream.
    Ts,
    /// Matroska.
    Mkv,
    /// JPEGs one after another.
    Mjpeg,
    /// YUV4MPEG2.
    Y4m,
    /// Pictures without any header.
    Raw(PixelFormat),
    /// One JPEG.
    Jpg,
}

impl JobFormat {
    /// Every format with its name in `format=`; the same name is the usual ending of a file's name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("mp4", Self::Mp4),
        ("ts", Self::Ts),
        ("mkv", Self::Mkv),
        ("mjpeg", Self::Mjpeg),
        ("y4m", Self::Y4m),
        ("raw", Self::Raw(PixelFormat::I420)),
        ("jpg", Self::Jpg),
    ];

    /// The media type of an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Ts => "video/mp2t",
            Self::Mkv => "video/x-matroska",
            Self::Mjpeg => "video/x-motion-jpeg",
            Self::Y4m => "video/x-yuv4mpeg",
            Self::Raw(_) => "application/octet-stream",
            Self::Jpg => "image/jpeg",
        }
    }

    /// Whether it holds packets of a codec that may be chosen.
    pub fn is_container(self) -> bool {
        matches!(self, Self::Mp4 | Self::Ts | Self::Mkv)
    }

    /// Whether it says by which angle pictures are to be turned; where it does not, they are turned.
    pub fn has_rotation(self) -> bool {
        self == Self::Mp4
    }
}

/// What becomes of the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobVideo {
    /// Its packets as they are.
    Copy,
    /// A new encode.
    Encode {
        /// The codec.
        codec: VideoCodec,
        /// `None`: a bit rate that fits size and rate.
        rate_control: Option<RateControl>,
        /// Frames from IDR to IDR; `None`: two seconds.
        gop: Option<u32>,
    },
    /// JPEGs, 1 (worst) to 100 (best).
    Jpeg {
        /// 1 to 100.
        quality: u8,
    },
    /// Bare pixels.
    Raw(PixelFormat),
}

/// Input without any header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawInput {
    /// Size in pixels.
    pub size: Geometry,
    /// Frames a second.
    pub fps: FrameRate,
    /// Layout of the pixels.
    pub format: PixelFormat,
}

/// All that is asked of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Input that is bare pixels; `None`: whatever its first bytes say.
    pub input: Option<RawInput>,
    /// What goes out.
    pub format: JobFormat,
    /// What becomes of the video.
    pub video: JobVideo,
    /// What becomes of the sound.
    pub audio: AudioRequest,
    /// Width in pixels; one of the two keeps the aspect ratio.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
    /// Frames a second; `None`: every frame.
    pub fps: Option<FrameRate>,
    /// What comes before this time of the input is left out.
    pub start: MediaTime,
    /// How much goes out; `None`: all.
    pub duration: Option<MediaTime>,
}

/// What an input has turned out to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSource {
    /// The container's name, for people.
    pub container: String,
    /// The codec, if it is one that devices may decode.
    pub codec: Option<VideoCodec>,
    /// Its name, for people.
    pub codec_name: String,
    /// Profile in lower case, if it is known.
    pub profile: Option<String>,
    /// Bits a luma sample.
    pub bit_depth: u8,
    /// Size in pixels.
    pub size: Geometry,
    /// Frames a second.
    pub rate: FrameRate,
    /// Whether pictures must be turned, which the CPU does.
    pub turned: bool,
    /// Size of what goes out, in pixels.
    pub made: Geometry,
    /// How long the input says it is.
    pub duration: Option<MediaTime>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStats {
    /// Pictures that were decoded, or packets of video that were copied.
    pub frames_in: u64,
    /// Pictures that went out.
    pub frames_out: u64,
    /// Packets that the decoder refused.
    pub broken: u64,
    /// The time of the newest picture that went out.
    pub position: MediaTime,
}
