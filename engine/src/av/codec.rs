//! An owned `AVCodecContext`: what decoders and encoders have in common.

use ffmpeg_next::ffi;
use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};

use super::error::{END_OF_STREAM, Error, Result, TRY_AGAIN, check, check_pointer};
use super::frame::{ColorTags, Frame, write_enum};
use super::packet::Packet;
use super::parameters::Parameters;

/// What a codec has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// The next picture or packet.
    Ready,
    /// Nothing until it gets more, or ever after the end.
    Nothing,
}

/// A decoder or encoder: set up through [`Codec::settings`], then opened, then fed.
pub(super) struct Codec {
    raw: NonNull<ffi::AVCodecContext>,
    codec: *const ffi::AVCodec,
    name: String,
}

impl Codec {
    /// FFmpeg's own decoder of `id`.
    pub(super) fn decoder(id: ffi::AVCodecID, name: &str) -> Result<Self> {
        // SAFETY: no preconditions; the result is null or static.
        let codec = unsafe { ffi::avcodec_find_decoder(id) };
        Self::new(codec, name)
    }

    /// The decoder of that name.
    pub(super) fn decoder_named(name: &str) -> Result<Self> {
        let c_name = c_string(name)?;
        // SAFETY: the name is a C string that outlives the call; the result is null or static.
        let codec = unsafe { ffi::avcodec_find_decoder_by_name(c_name.as_ptr()) };
        Self::new(codec, name)
    }

    /// The encoder of that name.
    pub(super) fn encoder(name: &str) -> Result<Self> {
        let c_name = c_string(name)?;
        // SAFETY: the name is a C string that outlives the call; the result is null or static.
        let codec = unsafe { ffi::avcodec_find_encoder_by_name(c_name.as_ptr()) };
        Self::new(codec, name)
    }

    fn new(codec: *const ffi::AVCodec, name: &str) -> Result<Self> {
        if codec.is_null() {
            return Err(Error::NoCodec(name.to_owned()));
        }
        // SAFETY: `codec` is one of FFmpeg's static descriptions.
        let raw = check_pointer("allocate codec", unsafe { ffi::avcodec_alloc_context3(codec) })?;
        Ok(Self { raw, codec, name: name.to_owned() })
    }

    /// The context's fields, to be set before [`Codec::open`].
    pub(super) fn settings(&mut self) -> &mut ffi::AVCodecContext {
        // SAFETY: the context lives as long as `self`, which is borrowed exclusively.
        unsafe { self.raw.as_mut() }
    }

    /// Says how samples stand for colours.
    pub(super) fn set_color(&mut self, color: ColorTags) {
        let settings = self.settings();
        write_enum((&raw mut settings.color_range).cast(), color.range);
        write_enum((&raw mut settings.colorspace).cast(), color.space);
        write_enum((&raw mut settings.color_primaries).cast(), color.primaries);
        write_enum((&raw mut settings.color_trc).cast(), color.transfer);
    }

    /// Takes over what a container says of the stream.
    pub(super) fn set_parameters(&mut self, parameters: &Parameters) -> Result<()> {
        // SAFETY: both are valid; the context is not open.
        let code = unsafe { ffi::avcodec_parameters_to_context(self.raw.as_ptr(), parameters.as_ptr()) };
        check("set up codec", code)?;
        Ok(())
    }

    /// What the parameters say beside their fields; FFmpeg hands it on since 6.1.
    pub(super) fn side_data(&mut self, kind: ffi::AVPacketSideDataType) -> Option<&[u8]> {
        let settings = self.settings();
        let count =
            usize::try_from(settings.nb_coded_side_data).ok().filter(|_| !settings.coded_side_data.is_null())?;
        // SAFETY: FFmpeg's table has that many entries, for as long as the context is not changed.
        let entries = unsafe { std::slice::from_raw_parts(settings.coded_side_data, count) };
        let entry = entries.iter().find(|entry| entry.type_ == kind && !entry.data.is_null())?;
        // SAFETY: the entry's data are so long, and live as long as it.
        Some(unsafe { std::slice::from_raw_parts(entry.data, entry.size as usize) })
    }

    /// What the packets of an open encoder are to be read with.
    pub(super) fn parameters(&self) -> Result<Parameters> {
        let mut parameters = Parameters::empty()?;
        // SAFETY: both are valid.
        let code = unsafe { ffi::avcodec_parameters_from_context(parameters.as_mut_ptr(), self.raw.as_ptr()) };
        check("describe codec", code)?;
        Ok(parameters)
    }

    /// Gives the context a copy of `bytes` as its out-of-band headers.
    pub(super) fn set_extradata(&mut self, bytes: &[u8]) -> Result<()> {
        let padded = bytes.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
        let size = c_int::try_from(bytes.len())
            .map_err(|_| Error::Unsupported(format!("{} bytes of parameter sets", bytes.len())))?;
        // SAFETY: no preconditions; null means that memory ran out.
        let copy = check_pointer("allocate extradata", unsafe { ffi::av_mallocz(padded) })?.cast::<u8>();
        // SAFETY: `copy` is new and longer than `bytes`.
        unsafe { copy.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        let settings = self.settings();
        (settings.extradata, settings.extradata_size) = (copy.as_ptr(), size);
        Ok(())
    }

    /// The context's out-of-band headers: an encoder's, once it is open.
    pub(super) fn extradata(&mut self) -> &[u8] {
        let settings = self.settings();
        match usize::try_from(settings.extradata_size) {
            // SAFETY: FFmpeg keeps as many bytes there for as long as the context is not changed.
            Ok(length) if !settings.extradata.is_null() => unsafe {
                std::slice::from_raw_parts(settings.extradata, length)
            },
            _ => &[],
        }
    }

    /// Makes the codec work on surfaces from the pool of `example`.
    pub(super) fn set_pool(&mut self, example: &Frame) -> Result<()> {
        // SAFETY: the field is null or a reference that lives as long as `example` is not changed.
        let pool = unsafe { example.get().hw_frames_ctx.as_ref() }
            .ok_or_else(|| Error::Unsupported("a picture in memory cannot be encoded on a device".into()))?;
        // SAFETY: the reference is valid; null means that memory ran out.
        let reference = check_pointer("refer to surfaces", unsafe { ffi::av_buffer_ref(pool) })?;
        self.settings().hw_frames_ctx = reference.as_ptr();
        Ok(())
    }

    /// Opens the codec with its private `options`; one that FFmpeg does not know is an error, not ignored.
    pub(super) fn open(&mut self, options: &[(&str, String)]) -> Result<()> {
        let mut dictionary = Dictionary::new();
        for (key, value) in options {
            dictionary.set(key, value)?;
        }
        // SAFETY: the context was allocated for this codec and is not open; the dictionary is valid or null.
        check("open codec", unsafe { ffi::avcodec_open2(self.raw.as_ptr(), self.codec, &mut dictionary.0) })?;
        match dictionary.first_key() {
            Some(key) => Err(Error::UnknownOption(key, self.name.clone())),
            None => Ok(()),
        }
    }

    /// Feeds a decoder; `None` ends the stream.
    pub(super) fn send_packet(&mut self, packet: Option<&Packet>) -> Result<()> {
        let packet = packet.map_or(ptr::null(), Packet::as_ptr);
        // SAFETY: the context is open, the packet valid or null; FFmpeg takes its own reference.
        check("decode", unsafe { ffi::avcodec_send_packet(self.raw.as_ptr(), packet) })?;
        Ok(())
    }

    /// Takes a decoder's next picture into `frame`.
    pub(super) fn receive_frame(&mut self, frame: &mut Frame) -> Result<Output> {
        // SAFETY: context and frame are valid; FFmpeg empties the frame first.
        let code = unsafe { ffi::avcodec_receive_frame(self.raw.as_ptr(), frame.as_mut_ptr()) };
        output("decode", code)
    }

    /// Feeds an encoder; `None` ends the stream.
    pub(super) fn send_frame(&mut self, frame: Option<&Frame>) -> Result<()> {
        let frame = frame.map_or(ptr::null(), Frame::as_ptr);
        // SAFETY: the context is open, the frame valid or null; FFmpeg takes its own reference.
        check("encode", unsafe { ffi::avcodec_send_frame(self.raw.as_ptr(), frame) })?;
        Ok(())
    }

    /// Takes an encoder's next access unit into `packet`.
    pub(super) fn receive_packet(&mut self, packet: &mut Packet) -> Result<Output> {
        // SAFETY: context and packet are valid; FFmpeg empties the packet first.
        let code = unsafe { ffi::avcodec_receive_packet(self.raw.as_ptr(), packet.as_mut_ptr()) };
        output("encode", code)
    }

    /// Forgets what a decoder holds back, so that it can be fed again after its end.
    pub(super) fn flush(&mut self) {
        // SAFETY: the context is open.
        unsafe { ffi::avcodec_flush_buffers(self.raw.as_ptr()) };
    }
}

impl Drop for Codec {
    fn drop(&mut self) {
        let mut raw = self.raw.as_ptr();
        // SAFETY: the context is ours and is not used again; its extradata goes with it.
        unsafe { ffi::avcodec_free_context(&mut raw) };
    }
}

fn output(operation: &'static str, code: c_int) -> Result<Output> {
    match code {
        TRY_AGAIN | END_OF_STREAM => Ok(Output::Nothing),
        code => check(operation, code).map(|_| Output::Ready),
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Unsupported(format!("a NUL in the option {text:?}")))
}

/// Options by name.
pub(super) struct Dictionary(*mut ffi::AVDictionary);

impl Dictionary {
    pub(super) fn new() -> Self {
        Self(ptr::null_mut())
    }

    /// For calls that take the options that they know out of it.
    pub(super) fn as_mut_ptr(&mut self) -> *mut *mut ffi::AVDictionary {
        &mut self.0
    }

    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (c_string(key)?, c_string(value)?);
        // SAFETY: both are C strings, which FFmpeg copies; the dictionary is valid or null.
        check("set option", unsafe { ffi::av_dict_set(&mut self.0, key.as_ptr(), value.as_ptr(), 0) })?;
        Ok(())
    }

    fn first_key(&self) -> Option<String> {
        let flags = ffi::AV_DICT_IGNORE_SUFFIX as c_int;
        // SAFETY: the dictionary is valid or null; with this flag the empty key matches every entry.
        let entry = unsafe { ffi::av_dict_get(self.0, c"".as_ptr(), ptr::null(), flags) };
        // SAFETY: the entry is null or lives as long as the dictionary is not changed.
        let entry = unsafe { entry.as_ref() }?;
        // SAFETY: an entry's key is a C string.
        Some(unsafe { CStr::from_ptr(entry.key) }.to_string_lossy().into_owned())
    }
}

impl Drop for Dictionary {
    fn drop(&mut self) {
        // SAFETY: the dictionary is valid or null and is not used again.
        unsafe { ffi::av_dict_free(&mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_or_codec_is_an_error() {
        let mut codec = Codec::decoder(ffi::AVCodecID::AV_CODEC_ID_H264, "h264").unwrap();
        let error = codec.open(&[("no_such_option", "1".into())]).unwrap_err();
        assert!(matches!(&error, Error::UnknownOption(key, _) if key == "no_such_option"), "{error}");
        assert!(matches!(Codec::encoder("no_such_encoder"), Err(Error::NoCodec(_))));
    }
}
