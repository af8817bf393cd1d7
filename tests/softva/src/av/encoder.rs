//! Encoding to H.264 by libx264, one picture at a time, with every choice of slice type made by the caller.

use std::ffi::{CString, c_int};
use std::ptr;

use ffmpeg_next::ffi::{self, AVPictureType, AVPixelFormat};

use super::SILENCE;
use super::picture::Picture;
use crate::va::{Result, Status};

/// How bits are spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateControl {
    /// The same quantizer everywhere.
    Quantizer(i32),
    /// Bits per second on average and at most, and the buffer in bits that the latter holds over.
    Bitrate { average: u32, most: u32, buffer: u32 },
}

/// What cannot change once the encoder is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncoderSettings {
    /// Multiples of 16.
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) frame_rate: (u32, u32),
    pub(crate) has_cabac: bool,
    pub(crate) has_8x8_transform: bool,
    pub(crate) has_constrained_intra: bool,
    pub(crate) chroma_qp_offset: i32,
    pub(crate) quantizers: (u32, u32),
    pub(crate) rate_control: RateControl,
}

/// libx264 without lookahead: each picture comes out when it went in.
#[derive(Debug)]
pub(crate) struct Encoder {
    context: *mut ffi::AVCodecContext,
    frame: *mut ffi::AVFrame,
    packet: *mut ffi::AVPacket,
    pictures: i64,
}

// SAFETY: nobody else has the pointers, and libavcodec binds a context to no thread.
unsafe impl Send for Encoder {}

impl Encoder {
    /// An encoder.
    ///
    /// # Errors
    /// [`Status::OPERATION_FAILED`] if libavcodec lacks libx264 or it refuses; [`Status::ALLOCATION_FAILED`].
    pub(crate) fn open(settings: &EncoderSettings) -> Result<Self> {
        // SAFETY: a terminated string.
        let codec = unsafe { ffi::avcodec_find_encoder_by_name(c"libx264".as_ptr()) };
        if codec.is_null() {
            return Err(Status::OPERATION_FAILED);
        }
        let encoder = Self {
            // SAFETY: the codec is one of libavcodec's own.
            context: unsafe { ffi::avcodec_alloc_context3(codec) },
            // SAFETY: no preconditions.
            frame: unsafe { ffi::av_frame_alloc() },
            // SAFETY: no preconditions.
            packet: unsafe { ffi::av_packet_alloc() },
            pictures: 0,
        };
        if encoder.context.is_null() || encoder.frame.is_null() || encoder.packet.is_null() {
            return Err(Status::ALLOCATION_FAILED);
        }
        // SAFETY: allocated just now, and nobody else has it.
        fill(unsafe { &mut *encoder.context }, settings);
        encoder.set_options(settings)?;
        // SAFETY: the context was made for this codec.
        let opened = unsafe { ffi::avcodec_open2(encoder.context, codec, ptr::null_mut()) };
        if opened < 0 { Err(Status::OPERATION_FAILED) } else { Ok(encoder) }
    }

    /// SPS and PPS, with start codes.
    pub(crate) fn parameter_sets(&self) -> Vec<u8> {
        // SAFETY: an open encoder of ours.
        let context = unsafe { &*self.context };
        // SAFETY: libavcodec's own buffer of that size.
        unsafe { crate::va::list(context.extradata, context.extradata_size) }.to_vec()
    }

    /// Encodes a picture as an IDR or a P picture, and gives its NAL units with start codes.
    ///
    /// # Errors
    /// [`Status::ENCODING_ERROR`].
    pub(crate) fn encode(&mut self, picture: &Picture, is_idr: bool, rate_control: RateControl) -> Result<Vec<u8>> {
        self.set_rate(rate_control)?;
        // SAFETY: ours, and no call into libavcodec is running.
        let frame = unsafe { &mut *self.frame };
        frame.format = picture.format as c_int;
        frame.width = picture.width.cast_signed();
        frame.height = picture.height.cast_signed();
        frame.data[..4].copy_from_slice(&picture.planes);
        frame.linesize[..4].copy_from_slice(&picture.strides);
        frame.pict_type = if is_idr { AVPictureType::AV_PICTURE_TYPE_I } else { AVPictureType::AV_PICTURE_TYPE_P };
        frame.pts = self.pictures;
        self.pictures += 1;
        // SAFETY: an open encoder; it copies a frame without references.
        let sent = unsafe { ffi::avcodec_send_frame(self.context, self.frame) };
        // SAFETY: an open encoder and a packet of ours, which the call empties first.
        let received = unsafe { ffi::avcodec_receive_packet(self.context, self.packet) };
        if sent < 0 || received < 0 {
            return Err(Status::ENCODING_ERROR);
        }
        // SAFETY: ours.
        let packet = unsafe { &*self.packet };
        // SAFETY: the packet's own data.
        let bytes = unsafe { crate::va::list(packet.data, packet.size) }.to_vec();
        // SAFETY: ours.
        unsafe { ffi::av_packet_unref(self.packet) };
        Ok(bytes)
    }

    fn set_options(&self, settings: &EncoderSettings) -> Result<()> {
        // The first picture is an IDR and every other as it is told: what x264 would decide for itself is off. Filters
        // and weights that the application's headers may not tell of are at their defaults.
        let parameters = format!(
            "keyint=infinite:scenecut=0:ref=1:bframes=0:weightp=0:mbtree=0:aq-mode=0:psy=0:rc-lookahead=0:\
             sync-lookahead=0:sliced-threads=0:slices=1:deblock=0,0:cabac={}:8x8dct={}:constrained-intra={}:\
             chroma-qp-offset={}:ipratio=1:force-cfr=1",
            u8::from(settings.has_cabac),
            u8::from(settings.has_8x8_transform),
            u8::from(settings.has_constrained_intra),
            settings.chroma_qp_offset,
        );
        self.set_option("preset", "ultrafast")?;
        self.set_option("tune", "zerolatency")?;
        self.set_option("forced-idr", "1")?;
        self.set_option("x264-params", &parameters)?;
        if let RateControl::Quantizer(quantizer) = settings.rate_control {
            self.set_option("qp", &quantizer.to_string())?;
        }
        Ok(())
    }

    fn set_option(&self, name: &str, value: &str) -> Result<()> {
        let name = CString::new(name).map_err(|_| Status::OPERATION_FAILED)?;
        let value = CString::new(value).map_err(|_| Status::OPERATION_FAILED)?;
        // SAFETY: ours.
        let private = unsafe { (*self.context).priv_data };
        // SAFETY: an object with options, and terminated strings.
        let set = unsafe { ffi::av_opt_set(private, name.as_ptr(), value.as_ptr(), 0) };
        if set < 0 { Err(Status::OPERATION_FAILED) } else { Ok(()) }
    }

    /// libavcodec hands changes on to libx264 with the next picture.
    fn set_rate(&mut self, rate_control: RateControl) -> Result<()> {
        match rate_control {
            RateControl::Quantizer(quantizer) => self.set_option("qp", &quantizer.to_string()),
            RateControl::Bitrate { average, most, buffer } => {
                // SAFETY: ours, and no call into libavcodec is running.
                let context = unsafe { &mut *self.context };
                context.bit_rate = average.into();
                context.rc_max_rate = most.into();
                context.rc_buffer_size = buffer.cast_signed();
                Ok(())
            }
        }
    }
}

fn fill(context: &mut ffi::AVCodecContext, settings: &EncoderSettings) {
    let (numerator, denominator) = settings.frame_rate;
    context.width = settings.width.cast_signed();
    context.height = settings.height.cast_signed();
    context.pix_fmt = AVPixelFormat::AV_PIX_FMT_NV12;
    context.framerate = ffi::AVRational { num: numerator.cast_signed(), den: denominator.cast_signed() };
    context.time_base = ffi::AVRational { num: denominator.cast_signed(), den: numerator.cast_signed() };
    context.flags |= ffi::AV_CODEC_FLAG_GLOBAL_HEADER as c_int;
    context.log_level_offset = SILENCE;
    context.thread_count = 1;
    let (least, most) = settings.quantizers;
    if least > 0 {
        context.qmin = least.cast_signed();
    }
    if most > 0 {
        context.qmax = most.cast_signed();
    }
    if let RateControl::Bitrate { average, most, buffer } = settings.rate_control {
        context.bit_rate = average.into();
        context.rc_max_rate = most.into();
        context.rc_buffer_size = buffer.cast_signed();
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: ours, and not used again.
        unsafe { ffi::avcodec_free_context(&raw mut self.context) };
        // SAFETY: ours, and not used again; its planes were never its own.
        unsafe { ffi::av_frame_free(&raw mut self.frame) };
        // SAFETY: ours, and not used again.
        unsafe { ffi::av_packet_free(&raw mut self.packet) };
    }
}
