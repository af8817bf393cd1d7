//! Decoding of one access unit after the other by libavcodec, on the calling thread.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_next::ffi::{self, AVCodecID, AVPixelFormat};

use super::SILENCE;
use super::picture::Picture;
use super::scaler::{Filter, Ranges, Scaler};
use crate::surface::Surface;
use crate::va::{Result, Status};

/// Which of the frames that a decoder allocates for an access unit is its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The first: those after it stand in for missing references (HEVC, MPEG-2).
    First,
    /// The last: those before it fill gaps in frame_num (H.264).
    Last,
}

/// A decoder whose pictures are taken when they are decoded, not when it puts them out: VA-API has no reordering.
#[derive(Debug)]
pub(crate) struct Decoder {
    context: *mut ffi::AVCodecContext,
    packet: *mut ffi::AVPacket,
    output: *mut ffi::AVFrame,
    /// What [`get_buffer`] is told; its place must not change.
    current: *mut Current,
    scaler: Scaler,
}

/// The picture that is being decoded.
#[derive(Debug)]
struct Current {
    frame: *mut ffi::AVFrame,
    wanted: Wanted,
    is_found: bool,
}

// SAFETY: nobody else has the pointers, and libavcodec binds a context to no thread.
unsafe impl Send for Decoder {}

impl Decoder {
    /// A decoder.
    ///
    /// # Errors
    /// [`Status::OPERATION_FAILED`] if libavcodec lacks it; [`Status::ALLOCATION_FAILED`].
    pub(crate) fn new(codec: AVCodecID, wanted: Wanted) -> Result<Self> {
        // SAFETY: no preconditions.
        let codec = unsafe { ffi::avcodec_find_decoder(codec) };
        if codec.is_null() {
            return Err(Status::OPERATION_FAILED);
        }
        // SAFETY: no preconditions.
        let frame = unsafe { ffi::av_frame_alloc() };
        let current = Box::into_raw(Box::new(Current { frame, wanted, is_found: false }));
        let decoder = Self {
            // SAFETY: the codec is one of libavcodec's own.
            context: unsafe { ffi::avcodec_alloc_context3(codec) },
            // SAFETY: no preconditions.
            packet: unsafe { ffi::av_packet_alloc() },
            // SAFETY: no preconditions.
            output: unsafe { ffi::av_frame_alloc() },
            current,
            scaler: Scaler::new(),
        };
        if frame.is_null() || decoder.context.is_null() || decoder.packet.is_null() || decoder.output.is_null() {
            return Err(Status::ALLOCATION_FAILED);
        }
        // SAFETY: allocated just now, and nobody else has it.
        let context = unsafe { &mut *decoder.context };
        context.opaque = current.cast();
        context.get_buffer2 = Some(get_buffer);
        context.log_level_offset = SILENCE;
        context.thread_count = 1;
        context.thread_type = 0;
        context.flags |= ffi::AV_CODEC_FLAG_OUTPUT_CORRUPT as c_int;
        context.flags2 |= ffi::AV_CODEC_FLAG2_SHOW_ALL as c_int;
        // SAFETY: the context was made for this codec.
        let opened = unsafe { ffi::avcodec_open2(decoder.context, codec, ptr::null_mut()) };
        if opened < 0 { Err(Status::OPERATION_FAILED) } else { Ok(decoder) }
    }

    /// Decodes an access unit and puts its picture into `surface`.
    ///
    /// # Errors
    /// [`Status::DECODING_ERROR`] if it was broken; the surface then has what could be made of it, if anything.
    pub(crate) fn decode(&mut self, access_unit: &[u8], surface: &Surface) -> Result<()> {
        self.fill_packet(access_unit)?;
        // SAFETY: ours, and no call into libavcodec is running.
        unsafe { (*self.current).is_found = false };
        // SAFETY: an open decoder and a packet with padding.
        let mut sent = unsafe { ffi::avcodec_send_packet(self.context, self.packet) };
        if sent == ffi::AVERROR(ffi::EAGAIN) {
            self.drop_output();
            // SAFETY: as above.
            sent = unsafe { ffi::avcodec_send_packet(self.context, self.packet) };
        }
        // SAFETY: ours.
        unsafe { ffi::av_packet_unref(self.packet) };
        self.drop_output();
        self.show(surface)?;
        if sent < 0 { Err(Status::DECODING_ERROR) } else { Ok(()) }
    }

    fn fill_packet(&mut self, bytes: &[u8]) -> Result<()> {
        let size = c_int::try_from(bytes.len()).map_err(|_| Status::INVALID_PARAMETER)?;
        // SAFETY: an empty packet of ours.
        if unsafe { ffi::av_new_packet(self.packet, size) } < 0 {
            return Err(Status::ALLOCATION_FAILED);
        }
        // SAFETY: ours.
        let data = unsafe { (*self.packet).data };
        // SAFETY: the packet was made for so many bytes.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len()) };
        Ok(())
    }

    /// Lets the decoder put out what it wants to; nobody needs it.
    fn drop_output(&mut self) {
        // SAFETY: an open decoder and a frame of ours, which the call empties first.
        while unsafe { ffi::avcodec_receive_frame(self.context, self.output) } >= 0 {}
    }

    fn show(&mut self, surface: &Surface) -> Result<()> {
        // SAFETY: ours, and no call into libavcodec is running.
        let current = unsafe { &*self.current };
        // SAFETY: allocated in `new`.
        let frame = unsafe { &*current.frame };
        let Some(format) = native_format(frame.format) else { return Err(Status::DECODING_ERROR) };
        let [y, u, v, ..] = frame.data;
        let [pitch_y, pitch_u, pitch_v, ..] = frame.linesize;
        let decoded = Picture {
            planes: [y, u, v, ptr::null_mut()],
            strides: [pitch_y, pitch_u, pitch_v, 0],
            format,
            width: frame.width.unsigned_abs(),
            height: frame.height.unsigned_abs(),
        };
        let target = surface.picture();
        let source = decoded.upper_left(target.width, target.height);
        let _guard = surface.write();
        self.scaler.convert(
            &source,
            &target.upper_left(source.width, source.height),
            Filter::Nearest,
            Ranges::default(),
        )
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: made by Box::into_raw; get_buffer is not called again, as the next line but one ends the decoder
        // without decoding.
        let mut current = unsafe { Box::from_raw(self.current) };
        // SAFETY: ours, and not used again.
        unsafe { ffi::avcodec_free_context(&raw mut self.context) };
        // SAFETY: ours, and not used again.
        unsafe { ffi::av_frame_free(&raw mut current.frame) };
        // SAFETY: ours, and not used again.
        unsafe { ffi::av_frame_free(&raw mut self.output) };
        // SAFETY: ours, and not used again.
        unsafe { ffi::av_packet_free(&raw mut self.packet) };
    }
}

/// Formats that decoders give, as those that surfaces have: what is "full range" is said elsewhere.
fn native_format(raw: c_int) -> Option<AVPixelFormat> {
    use AVPixelFormat::*;
    [
        (AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV420P),
        (AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_YUV420P),
        (AV_PIX_FMT_YUVJ422P, AV_PIX_FMT_YUV422P),
        (AV_PIX_FMT_YUVJ440P, AV_PIX_FMT_YUV440P),
        (AV_PIX_FMT_YUVJ444P, AV_PIX_FMT_YUV444P),
        (AV_PIX_FMT_YUVJ411P, AV_PIX_FMT_YUV411P),
        (AV_PIX_FMT_GRAY8, AV_PIX_FMT_GRAY8),
        (AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_YUV420P10LE),
    ]
    .into_iter()
    .find_map(|(known, native)| (known as c_int == raw).then_some(native))
}

/// AVCodecContext.get_buffer2: allocates as usual, and keeps a reference to the picture of this access unit.
unsafe extern "C" fn get_buffer(context: *mut ffi::AVCodecContext, frame: *mut ffi::AVFrame, flags: c_int) -> c_int {
    // SAFETY: passed on as they came.
    let allocated = unsafe { ffi::avcodec_default_get_buffer2(context, frame, flags) };
    if allocated < 0 {
        return allocated;
    }
    // SAFETY: libavcodec passes its context.
    let current = unsafe { (*context).opaque }.cast::<Current>();
    // SAFETY: set in `Decoder::new`; nothing else uses it while libavcodec runs.
    let current = unsafe { &mut *current };
    if current.wanted == Wanted::Last || !current.is_found {
        current.is_found = true;
        // SAFETY: a frame of ours.
        unsafe { ffi::av_frame_unref(current.frame) };
        // SAFETY: an empty frame of ours and one with a buffer.
        return unsafe { ffi::av_frame_ref(current.frame, frame) };
    }
    allocated
}
