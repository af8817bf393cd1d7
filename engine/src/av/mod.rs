//! FFmpeg behind safe types: the only `unsafe` code of the workspace.
//!
//! Each type owns one FFmpeg object, is made and used on one thread, and frees it when dropped. Every call's result is
//! checked. What an FFmpeg enum field holds at run time is read as an integer, because a newer library may know values
//! that the bindings do not.

mod codec;
mod decoder;
mod encoder;
mod error;
mod frame;
mod jpeg;
mod log;
mod packet;
mod pixel;
mod scaler;

pub use decoder::{Decoder, Refusal};
pub use encoder::{Encoder, EncoderSettings, PictureKind, Tuning};
pub use error::Error;
pub use frame::{ColorTags, Frame};
pub use jpeg::JpegEncoder;
pub use log::install as install_log;
pub use scaler::{Layout, Scaler, SourceShape, View};
