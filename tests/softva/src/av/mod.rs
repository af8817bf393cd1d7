//! The parts of FFmpeg that the driver stands on: decoders, libx264, and the scaler.

mod decoder;
mod encoder;
mod picture;
mod scaler;

pub(crate) use decoder::{Decoder, Wanted};
pub(crate) use encoder::{Encoder, EncoderSettings, RateControl};
pub(crate) use picture::{Picture, Region};
pub(crate) use scaler::{Filter, Ranges, Scaler};

/// Moves messages beyond every log level: they would pass for those of the program that uses the driver.
const SILENCE: std::ffi::c_int = 100;
