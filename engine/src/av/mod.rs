//! FFmpeg behind safe types: the only `unsafe` code of the workspace.
//!
//! Each type owns one FFmpeg object, is made and used on one thread, and frees it when dropped. Every call's result is
//! checked. What an FFmpeg enum field holds at run time is read as an integer, because a newer library may know values
//! that the bindings do not.

mod buffer;
mod codec;
mod decoder;
mod demuxer;
mod device;
mod encoder;
mod error;
mod file_demuxer;
mod frame;
mod graph;
mod hwaccel;
mod jpeg;
mod log;
mod mux;
mod packet;
mod parameters;
mod picture_filter;
mod pixel;
mod read_back;
mod scaler;
mod sound;
mod stream_decoder;
mod surfaces;
mod time_base;
mod vpp;

pub use decoder::{Decoder, Omission, Refusal};
pub use demuxer::{CameraAddress, Demuxed, Demuxer, TrackCodec, TrackFacts, Watch};
pub use device::Device;
pub use encoder::{Encoder, EncoderSettings, PictureKind, Tuning};
pub use error::{Error, Silence};
pub use file_demuxer::{FileDemuxer, FileForm, StreamKind, turn};
pub use frame::{ColorTags, Frame};
pub use jpeg::{JpegEncoder, SurfaceJpegEncoder, decode_jpeg};
pub use log::install as install_log;
pub use mux::{MuxFormat, Muxer};
pub use packet::Packet;
pub use parameters::Parameters;
pub use picture_filter::{PictureFilter, PictureForm, Treatment};
pub use read_back::{Copy, ReadBack};
pub use scaler::{Layout, Scaler, SourceShape, View};
pub use sound::{Resampler, SoundDecoder, SoundEncoder};
pub use stream_decoder::StreamDecoder;
pub use surfaces::SurfacePool;
pub use time_base::TimeBase;
pub use vpp::{SampleRange, SurfaceScaler, SurfaceView};
