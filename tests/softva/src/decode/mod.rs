//! Decoding: what VA-API takes apart is put together again, as a stream for libavcodec.

mod h264;
mod hevc;
mod jpeg;
mod mpeg2;

pub(crate) use h264::ZIGZAG_8X8;

use ffmpeg_next::ffi::AVCodecID;

use crate::av::{Decoder, Wanted};
use crate::buffer::Submitted;
use crate::control::Counter;
use crate::surface::Surface;
use crate::va::*;

/// The decoder of a context.
#[derive(Debug)]
pub(crate) struct PictureDecoder {
    stream: Stream,
    decoder: Decoder,
}

/// Makes access units from the buffers of a picture.
#[derive(Debug)]
enum Stream {
    H264(h264::Stream),
    Hevc(hevc::Stream),
    Jpeg,
    Mpeg2(mpeg2::Stream),
}

impl PictureDecoder {
    /// A decoder for a profile.
    ///
    /// # Errors
    /// [`Status::UNSUPPORTED_PROFILE`], and those of [`Decoder::new`].
    pub(crate) fn new(profile: VAProfile) -> Result<Self> {
        #[allow(non_upper_case_globals)] // libva's names
        let (stream, codec, wanted) = match profile {
            VAProfileH264ConstrainedBaseline | VAProfileH264Main | VAProfileH264High => {
                (Stream::H264(h264::Stream::new(profile)), AVCodecID::AV_CODEC_ID_H264, Wanted::Last)
            }
            VAProfileHEVCMain | VAProfileHEVCMain10 => {
                (Stream::Hevc(hevc::Stream::new(profile)), AVCodecID::AV_CODEC_ID_HEVC, Wanted::First)
            }
            VAProfileJPEGBaseline => (Stream::Jpeg, AVCodecID::AV_CODEC_ID_MJPEG, Wanted::Last),
            VAProfileMPEG2Simple | VAProfileMPEG2Main => {
                (Stream::Mpeg2(mpeg2::Stream::default()), AVCodecID::AV_CODEC_ID_MPEG2VIDEO, Wanted::First)
            }
            _ => return Err(Status::UNSUPPORTED_PROFILE),
        };
        Ok(Self { stream, decoder: Decoder::new(codec, wanted)? })
    }

    /// What its pictures count as.
    pub(crate) fn counter(&self) -> Counter {
        match self.stream {
            Stream::H264(_) => Counter::H264Decoded,
            Stream::Hevc(_) => Counter::HevcDecoded,
            Stream::Jpeg => Counter::JpegDecoded,
            Stream::Mpeg2(_) => Counter::Mpeg2Decoded,
        }
    }

    /// Decodes a picture into `target`. A broken one is no error here: it shows when the surface is synchronized.
    ///
    /// # Errors
    /// Those of buffers that are missing or make no sense.
    pub(crate) fn decode(&mut self, submitted: &[Submitted], target: &Surface) -> Result<()> {
        let access_unit = match &mut self.stream {
            Stream::H264(stream) => stream.access_unit(submitted)?,
            Stream::Hevc(stream) => stream.access_unit(submitted)?,
            Stream::Jpeg => jpeg::file(submitted)?,
            Stream::Mpeg2(stream) => stream.access_unit(submitted)?,
        };
        target.finish(self.decoder.decode(&access_unit, target).err());
        Ok(())
    }
}

/// Parameter sets that the decoder has: they are repeated only when they change.
#[derive(Debug, Default)]
struct KnownSets {
    sps: Vec<u8>,
    pps: std::collections::HashMap<u32, Vec<u8>>,
}

impl KnownSets {
    /// Remembers an SPS; true if it is new, and with it all PPS are.
    fn is_new_sps(&mut self, sps: &[u8]) -> bool {
        if self.sps == sps {
            return false;
        }
        self.sps = sps.to_vec();
        self.pps.clear();
        true
    }

    /// Remembers a PPS; true if it is new.
    fn is_new_pps(&mut self, id: u32, pps: &[u8]) -> bool {
        self.pps.insert(id, pps.to_vec()).is_none_or(|known| known != pps)
    }
}

/// The bytes of a slice within a buffer of slice data.
fn slice_bytes(data: &[u8], offset: u32, size: u32) -> Result<&[u8]> {
    let rest = data.get(offset as usize..).ok_or(Status::INVALID_PARAMETER)?;
    Ok(&rest[..rest.len().min(size as usize)])
}
