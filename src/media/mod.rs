//! The vocabulary of the program: pure data, no I/O, no threads, no FFmpeg.

mod codec;
mod frame;
mod geometry;
mod job;
pub mod nal;
mod packet;
mod parameter_sets;
pub mod pattern;
mod pixel;
pub mod query;
mod request;
mod source;
mod time;

pub use codec::{AudioCodec, AudioConfig, VideoCodec, VideoConfig};
pub use frame::{Frame, FrameHeader};
pub use geometry::{Crop, Geometry, MAX_PIXELS};
pub use job::{JobAudio, JobFormat, JobSource, JobSpec, JobStats, JobVideo, RawInput};
pub use packet::{MAX_ACCESS_UNIT, Packet, PacketHeader, Track, TrackConfig};
pub use parameter_sets::{StreamParameters, parse_parameter_sets};
pub use pixel::PixelFormat;
pub use request::{
    EncodeSpec, OutputRequest, OutputSpec, RateControl, RenditionRequest, RenditionSpec, StillSpec, default_bitrate,
    resolve_size,
};
pub use source::{PatternSource, StreamId, Transport};
pub use time::{FrameGrid, FrameRate, MediaTime, WallClock};
