//! Packets to bytes, written from front to back.

use ffmpeg_next::ffi::{self, AVPacketSideDataType};
use ffmpeg_next::format::context::StreamIo;
use std::ffi::{CStr, c_int};
use std::io::Write;
use std::ptr;

use super::codec::Dictionary;
use super::error::{Error, Result, check};
use super::packet::Packet;
use super::parameters::Parameters;
use super::time_base::TimeBase;

/// Bytes written at a time.
const BUFFER: usize = 64 << 10;

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MuxFormat {
    /// Fragmented MP4; fragments end where [`Muxer::flush`] says.
    Mp4,
    /// MPEG transport stream.
    Ts,
    /// Matroska.
    Mkv,
}

impl MuxFormat {
    fn muxer(self) -> &'static CStr {
        match self {
            Self::Mp4 => c"mp4",
            Self::Ts => c"mpegts",
            Self::Mkv => c"matroska",
        }
    }

    /// Whether parameter sets stand beside the packets rather than in them.
    pub fn wants_global_headers(self) -> bool {
        self != Self::Ts
    }

    /// Whether there is a place for packets of `parameters`.
    pub fn takes(self, parameters: &Parameters) -> bool {
        // SAFETY: the name is a C string; the result is null or static.
        let format = unsafe { ffi::av_guess_format(self.muxer().as_ptr(), ptr::null(), ptr::null()) };
        let (false, Some(id)) = (format.is_null(), parameters.codec_id()) else { return false };
        // The transport stream's muxer takes anything, as private data that nobody reads.
        if self == Self::Ts {
            return TS_CODECS.contains(&id);
        }
        // SAFETY: a static format and a codec that FFmpeg knows.
        unsafe { ffi::avformat_query_codec(format, id, ffi::FF_COMPLIANCE_NORMAL as c_int) == 1 }
    }
}

const TS_CODECS: [ffi::AVCodecID; 10] = [
    ffi::AVCodecID::AV_CODEC_ID_H264,
    ffi::AVCodecID::AV_CODEC_ID_HEVC,
    ffi::AVCodecID::AV_CODEC_ID_MPEG1VIDEO,
    ffi::AVCodecID::AV_CODEC_ID_MPEG2VIDEO,
    ffi::AVCodecID::AV_CODEC_ID_MPEG4,
    ffi::AVCodecID::AV_CODEC_ID_AAC,
    ffi::AVCodecID::AV_CODEC_ID_MP2,
    ffi::AVCodecID::AV_CODEC_ID_MP3,
    ffi::AVCodecID::AV_CODEC_ID_AC3,
    ffi::AVCodecID::AV_CODEC_ID_EAC3,
];

/// Writes one output.
pub struct Muxer {
    raw: *mut ffi::AVFormatContext,
    _io: StreamIo,
    format: MuxFormat,
    is_first_flush: bool,
}

impl Muxer {
    /// An output without streams.
    pub fn new(sink: impl Write + Send + 'static, format: MuxFormat) -> Result<Self> {
        let io = StreamIo::from_write_with_capacity(sink, BUFFER);
        let mut io = io.map_err(|_| Error::Unsupported("no memory to write with".into()))?;
        let mut raw = ptr::null_mut();
        // SAFETY: the name is a C string; on success `raw` is a new context.
        let code = unsafe {
            ffi::avformat_alloc_output_context2(&mut raw, ptr::null_mut(), format.muxer().as_ptr(), ptr::null())
        };
        check("set up the container", code)?;
        // SAFETY: just made, and nobody else knows it.
        let fields = unsafe { &mut *raw };
        fields.pb = io.as_mut_ptr();
        fields.flags |= ffi::AVFMT_FLAG_CUSTOM_IO as c_int | ffi::AVFMT_FLAG_FLUSH_PACKETS as c_int;
        Ok(Self { raw, _io: io, format, is_first_flush: true })
    }

    /// Adds a stream of packets that are to be read with `parameters`; its index.
    pub fn add(&mut self, parameters: &Parameters, matrix: Option<&[i32; 9]>) -> Result<usize> {
        // SAFETY: the context is valid and has no header yet; null means that memory ran out.
        let stream = unsafe { ffi::avformat_new_stream(self.raw, ptr::null()) };
        // SAFETY: null or new.
        let Some(stream) = (unsafe { stream.as_mut() }) else {
            return Err(Error::Unsupported("no memory for a stream".into()));
        };
        // SAFETY: both are valid.
        let code = unsafe { ffi::avcodec_parameters_copy(stream.codecpar, parameters.as_ptr()) };
        check("describe a stream", code)?;
        // SAFETY: a stream's parameters live as long as the stream.
        let own = unsafe { &mut *stream.codecpar };
        own.codec_tag = 0;
        stream.sample_aspect_ratio = own.sample_aspect_ratio;
        stream.time_base = TimeBase::MEDIA.raw();
        if let Some(matrix) = matrix {
            let size = size_of::<[i32; 9]>();
            let kind = AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX;
            // SAFETY: the stream is valid; null means that memory ran out.
            let data = unsafe { ffi::av_stream_new_side_data(stream, kind, size as _) };
            if !data.is_null() {
                // SAFETY: the place is that long; it need not be aligned.
                unsafe { data.cast::<[i32; 9]>().write_unaligned(*matrix) };
            }
        }
        usize::try_from(stream.index).map_err(|_| Error::Unsupported("a stream has no index".into()))
    }

    /// Writes the header; no stream can be added after that.
    pub fn start(&mut self) -> Result<()> {
        let mut options = Dictionary::new();
        match self.format {
            // The header waits for the first packets, which say what the streams' headers could not.
            MuxFormat::Mp4 => options.set("movflags", "frag_custom+delay_moov+default_base_moof")?,
            MuxFormat::Ts | MuxFormat::Mkv => {}
        }
        // SAFETY: the context has its streams and no header yet.
        check("write the container's header", unsafe { ffi::avformat_write_header(self.raw, options.as_mut_ptr()) })?;
        Ok(())
    }

    /// Writes `packet`, whose times are in `base`, to stream `index`.
    pub fn write(&mut self, packet: &mut Packet, index: usize, base: TimeBase) -> Result<()> {
        // SAFETY: the context lives as long as `self`.
        let streams = unsafe { (*self.raw).streams };
        // SAFETY: `index` is one that `add` gave, so that the table has it.
        let entry = unsafe { streams.add(index) };
        // SAFETY: every entry of the table is filled in.
        let stream = unsafe { *entry };
        // SAFETY: streams live as long as their context.
        let own = unsafe { (*stream).time_base };
        packet.rescale(base, own.into());
        packet.set_stream(index);
        // SAFETY: the header is written and the packet belongs to a stream; FFmpeg leaves it to us.
        check("write a packet", unsafe { ffi::av_write_frame(self.raw, packet.as_mut_ptr()) })?;
        Ok(())
    }

    /// Ends a fragment of MP4; others are written as packets come.
    pub fn flush(&mut self) -> Result<()> {
        if self.format != MuxFormat::Mp4 {
            return Ok(());
        }
        // The first flush writes the header that has waited, the next one the fragment.
        let times = if std::mem::take(&mut self.is_first_flush) { 2 } else { 1 };
        for _ in 0..times {
            // SAFETY: the header is written; no packet means that what is buffered is to be written.
            check("write a fragment", unsafe { ffi::av_write_frame(self.raw, ptr::null_mut()) })?;
        }
        self.resume_by_packets()
    }

    /// The next fragment begins when its packets say, not where the durations of all before add up to: how long a
    /// fragment's last picture is shown is not known yet when it is written.
    fn resume_by_packets(&mut self) -> Result<()> {
        // SAFETY: the context is valid and has a header.
        let muxer = unsafe { (*self.raw).priv_data };
        // SAFETY: the muxer's own settings, and C strings; an unknown name is an error.
        let code = unsafe { ffi::av_opt_set(muxer, c"movflags".as_ptr(), c"+frag_discont".as_ptr(), 0) };
        check("set the muxer up", code).map(drop)
    }

    /// Writes what is left.
    pub fn finish(&mut self) -> Result<()> {
        if self.is_first_flush {
            self.flush()?;
        }
        // SAFETY: the header is written, and nothing is after this.
        check("end the container", unsafe { ffi::av_write_trailer(self.raw) })?;
        // SAFETY: the context is ours, and so is its I/O.
        let io = unsafe { (*self.raw).pb };
        // SAFETY: the I/O is open.
        unsafe { ffi::avio_flush(io) };
        // SAFETY: as before.
        check("write the output", unsafe { (*io).error })?;
        Ok(())
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        // SAFETY: the context is ours and is not used again; its I/O is freed after it.
        unsafe { ffi::avformat_free_context(self.raw) };
    }
}
