//! What a stream's packets are to be read with: an owned `AVCodecParameters`.

use camshaft::media::{Geometry, VideoCodec};
use ffmpeg_next::ffi::{self, AVCodecID};
use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

use super::error::{Error, Result, check, check_pointer};
use super::frame::read_enum;

/// An owned copy.
pub struct Parameters {
    raw: NonNull<ffi::AVCodecParameters>,
}

impl Parameters {
    /// Nothing yet.
    pub(super) fn empty() -> Result<Self> {
        // SAFETY: no preconditions; null means that memory ran out.
        let raw = check_pointer("allocate parameters", unsafe { ffi::avcodec_parameters_alloc() })?;
        Ok(Self { raw })
    }

    /// A copy of a stream's.
    pub(super) fn copy_of(source: &ffi::AVCodecParameters) -> Result<Self> {
        let copy = Self::empty()?;
        // SAFETY: both are valid.
        check("copy parameters", unsafe { ffi::avcodec_parameters_copy(copy.raw.as_ptr(), source) })?;
        Ok(copy)
    }

    /// The same once more.
    pub fn duplicate(&self) -> Result<Self> {
        Self::copy_of(self.get())
    }

    pub(super) fn as_ptr(&self) -> *const ffi::AVCodecParameters {
        self.raw.as_ptr()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut ffi::AVCodecParameters {
        self.raw.as_ptr()
    }

    fn get(&self) -> &ffi::AVCodecParameters {
        // SAFETY: the parameters live as long as `self`.
        unsafe { self.raw.as_ref() }
    }

    fn get_mut(&mut self) -> &mut ffi::AVCodecParameters {
        // SAFETY: as in `get`; the exclusive borrow of `self` rules out any other reference.
        unsafe { self.raw.as_mut() }
    }

    /// The codec's number, which may be one that the bindings do not know.
    pub(super) fn codec_number(&self) -> c_int {
        read_enum((&raw const self.get().codec_id).cast())
    }

    /// The codec's name, for people.
    pub fn codec_name(&self) -> String {
        let Some(id) = self.codec_id() else { return format!("codec {}", self.codec_number()) };
        // SAFETY: any codec is allowed.
        let name = unsafe { ffi::avcodec_get_name(id) };
        // SAFETY: it is a static C string, whatever the codec.
        unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
    }

    /// The codec, if a job reads it.
    pub(super) fn codec_id(&self) -> Option<AVCodecID> {
        let number = self.codec_number();
        READ.into_iter().find(|id| *id as c_int == number)
    }

    /// The codec, if it is one that devices may decode.
    pub fn video_codec(&self) -> Option<VideoCodec> {
        match self.codec_id()? {
            AVCodecID::AV_CODEC_ID_H264 => Some(VideoCodec::H264),
            AVCodecID::AV_CODEC_ID_HEVC => Some(VideoCodec::Hevc),
            AVCodecID::AV_CODEC_ID_MJPEG => Some(VideoCodec::Mjpeg),
            AVCodecID::AV_CODEC_ID_MPEG2VIDEO => Some(VideoCodec::Mpeg2),
            AVCodecID::AV_CODEC_ID_VP8 => Some(VideoCodec::Vp8),
            AVCodecID::AV_CODEC_ID_VP9 => Some(VideoCodec::Vp9),
            AVCodecID::AV_CODEC_ID_AV1 => Some(VideoCodec::Av1),
            _ => None,
        }
    }

    /// Whether this is AAC.
    pub fn is_aac(&self) -> bool {
        self.codec_id() == Some(AVCodecID::AV_CODEC_ID_AAC)
    }

    /// Size of the pictures; 0 where the container does not say.
    pub fn size(&self) -> Geometry {
        let side = |side: c_int| u32::try_from(side).unwrap_or(0);
        Geometry::new(side(self.get().width), side(self.get().height))
    }

    /// Says the size of the pictures.
    pub fn set_size(&mut self, size: Geometry) {
        let fields = self.get_mut();
        (fields.width, fields.height) = (size.width as c_int, size.height as c_int);
    }

    /// Samples of sound a second; 0 where the container does not say.
    pub fn sample_rate(&self) -> u32 {
        u32::try_from(self.get().sample_rate).unwrap_or(0)
    }

    /// Channels of sound; 0 where the container does not say.
    pub fn channels(&self) -> u16 {
        u16::try_from(self.get().ch_layout.nb_channels).unwrap_or(0)
    }

    /// Says what sound this is.
    pub fn set_sound(&mut self, sample_rate: u32, channels: u16) {
        let fields = self.get_mut();
        fields.sample_rate = sample_rate as c_int;
        // SAFETY: the layout is a valid one, which the call replaces.
        unsafe { ffi::av_channel_layout_default(&mut fields.ch_layout, channels.into()) };
    }

    /// The headers beside the packets.
    pub fn extradata(&self) -> &[u8] {
        let fields = self.get();
        match usize::try_from(fields.extradata_size) {
            // SAFETY: FFmpeg keeps that many bytes there for as long as the parameters are not changed.
            Ok(length) if !fields.extradata.is_null() => unsafe {
                std::slice::from_raw_parts(fields.extradata, length)
            },
            _ => &[],
        }
    }

    /// Replaces the headers beside the packets.
    pub fn set_extradata(&mut self, bytes: &[u8]) -> Result<()> {
        let padded = bytes.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
        let size = c_int::try_from(bytes.len()).map_err(|_| Error::Unsupported("endless headers".into()))?;
        // SAFETY: no preconditions; null means that memory ran out.
        let copy = check_pointer("allocate headers", unsafe { ffi::av_mallocz(padded) })?.cast::<u8>();
        // SAFETY: `copy` is new and longer than `bytes`.
        unsafe { copy.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        let fields = self.get_mut();
        let old = std::mem::replace(&mut fields.extradata, copy.as_ptr());
        fields.extradata_size = size;
        // SAFETY: the old bytes were the parameters' own, or null.
        unsafe { ffi::av_free(old.cast()) };
        Ok(())
    }
}

impl Drop for Parameters {
    fn drop(&mut self) {
        let mut raw = self.raw.as_ptr();
        // SAFETY: the parameters are ours and are not used again.
        unsafe { ffi::avcodec_parameters_free(&mut raw) };
    }
}

/// What jobs read: what cameras, recorders and phones write.
const READ: [AVCodecID; 27] = [
    AVCodecID::AV_CODEC_ID_H264,
    AVCodecID::AV_CODEC_ID_HEVC,
    AVCodecID::AV_CODEC_ID_MJPEG,
    AVCodecID::AV_CODEC_ID_MPEG1VIDEO,
    AVCodecID::AV_CODEC_ID_MPEG2VIDEO,
    AVCodecID::AV_CODEC_ID_MPEG4,
    AVCodecID::AV_CODEC_ID_H263,
    AVCodecID::AV_CODEC_ID_FLV1,
    AVCodecID::AV_CODEC_ID_VP8,
    AVCodecID::AV_CODEC_ID_VP9,
    AVCodecID::AV_CODEC_ID_AV1,
    AVCodecID::AV_CODEC_ID_RAWVIDEO,
    AVCodecID::AV_CODEC_ID_AAC,
    AVCodecID::AV_CODEC_ID_MP2,
    AVCodecID::AV_CODEC_ID_MP3,
    AVCodecID::AV_CODEC_ID_AC3,
    AVCodecID::AV_CODEC_ID_EAC3,
    AVCodecID::AV_CODEC_ID_OPUS,
    AVCodecID::AV_CODEC_ID_VORBIS,
    AVCodecID::AV_CODEC_ID_FLAC,
    AVCodecID::AV_CODEC_ID_PCM_S16LE,
    AVCodecID::AV_CODEC_ID_PCM_S16BE,
    AVCodecID::AV_CODEC_ID_PCM_U8,
    AVCodecID::AV_CODEC_ID_PCM_MULAW,
    AVCodecID::AV_CODEC_ID_PCM_ALAW,
    AVCodecID::AV_CODEC_ID_ADPCM_IMA_WAV,
    AVCodecID::AV_CODEC_ID_ADPCM_G726,
];
