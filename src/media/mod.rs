//! The vocabulary of the program: pure data, no I/O, no threads, no FFmpeg.

mod cadence;
mod codec;
mod decode_time;
mod frame;
mod geometry;
mod job;
pub mod mpeg4;
pub mod nal;
mod packet;
mod parameter_sets;
pub mod pattern;
mod pixel;
pub mod query;
mod request;
mod sound;
mod source;
mod time;

pub use cadence::Cadence;
pub use codec::{AudioCodec, AudioConfig, VideoCodec, VideoConfig};
pub use decode_time::DecodeTimes;
pub use frame::{Frame, FrameHeader};
pub use geometry::{Crop, Geometry, MAX_PIXELS};
pub use job::{JobFormat, JobSource, JobSpec, JobStats, JobVideo, RawInput};
pub use packet::{MAX_ACCESS_UNIT, Packet, PacketHeader, Track, TrackConfig};
pub use parameter_sets::{StreamParameters, parse_parameter_sets};
pub use pixel::PixelFormat;
pub use request::{
    EncodeSpec, OutputRequest, OutputSpec, RateControl, RenditionRequest, RenditionSpec, StillSpec, default_bitrate,
    resolve_size,
};
pub use sound::{AudioRequest, MAX_CHANNELS, MAX_SAMPLE_RATE, SoundCoding, SoundSpec};
pub use source::{Container, InputFormat, Pace, PatternSource, RtspClient, StreamId, TlsTrust, Transport};
pub use time::{ClockSource, FrameGrid, FrameRate, MediaTime, WallClock};
