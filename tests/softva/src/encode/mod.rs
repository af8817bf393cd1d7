//! Encoding: the application's own headers, with slice or scan data of an encoder behind them.

mod h264;
mod jpeg;

pub(crate) use h264::H264Encoder;
pub(crate) use jpeg::encode as encode_jpeg;

use crate::va::VABufferID;

/// A coded picture.
#[derive(Debug)]
pub(crate) struct Coded {
    /// Where it goes.
    pub(crate) buffer: VABufferID,
    pub(crate) bytes: Vec<u8>,
    /// VA_CODED_BUF_STATUS bits.
    pub(crate) status: u32,
}
