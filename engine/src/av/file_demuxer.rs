//! A job's input to packets: any form of file, sought in if its index asks for it, with all that a copy or a decoder needs
//! of its tracks. Cameras' containers, which never end and need two codecs, are taken apart by `demuxer.rs`.
//!
//! The form is named beforehand, from its first bytes: nothing is guessed by FFmpeg, no playlist is followed, and no
//! protocol or file can be reached from in here.

use camshaft::media::{FrameRate, MediaTime, RawInput};
use ffmpeg_next::ffi::{self, AVMediaType, AVPacketSideDataType};
use ffmpeg_next::format::context::StreamIo;
use std::ffi::{CStr, c_int};
use std::io::{Read, Seek};
use std::ptr;

use super::codec::{Codec, Dictionary};
use super::error::{END_OF_STREAM, Error, Result, check};
use super::frame::read_enum;
use super::packet::Packet;
use super::parameters::Parameters;
use super::pixel::native;
use super::time_base::TimeBase;

/// Bytes read at a time.
const BUFFER: usize = 128 << 10;
/// Bytes that a container's own header may take before its streams are known.
const PROBED: &str = "1000000";

/// A form of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileForm {
    /// MP4, MOV.
    Mp4,
    /// Matroska, WebM.
    Matroska,
    /// MPEG transport stream.
    MpegTs,
    /// FLV.
    Flv,
    /// AVI.
    Avi,
    /// A bare stream of H.264.
    H264,
    /// A bare stream of H.265.
    Hevc,
    /// JPEGs one after another.
    Mjpeg,
    /// YUV4MPEG2.
    Y4m,
    /// Bare pictures.
    Raw(RawInput),
}

impl FileForm {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Matroska => "matroska",
            Self::MpegTs => "mpegts",
            Self::Flv => "flv",
            Self::Avi => "avi",
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Mjpeg => "mjpeg",
            Self::Y4m => "y4m",
            Self::Raw(_) => "raw",
        }
    }

    /// Whether its packets come without times.
    pub fn is_untimed(self) -> bool {
        matches!(self, Self::H264 | Self::Hevc | Self::Mjpeg)
    }

    fn demuxer(self) -> &'static CStr {
        match self {
            Self::Mp4 => c"mov",
            Self::Matroska => c"matroska",
            Self::MpegTs => c"mpegts",
            Self::Flv => c"flv",
            Self::Avi => c"avi",
            Self::H264 => c"h264",
            Self::Hevc => c"hevc",
            Self::Mjpeg => c"mjpeg",
            Self::Y4m => c"yuv4mpegpipe",
            Self::Raw(_) => c"rawvideo",
        }
    }
}

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Moving pictures.
    Video,
    /// Sound.
    Audio,
    /// Subtitles, data, a cover picture.
    Other,
}

/// Reads one input.
pub struct FileDemuxer {
    raw: *mut ffi::AVFormatContext,
    _io: StreamIo,
}

impl FileDemuxer {
    /// Reads the header of `source` from front to back.
    pub fn sequential(source: impl Read + Send + 'static, container: FileForm) -> Result<Self> {
        let io = StreamIo::from_read_with_capacity(source, BUFFER);
        Self::open(io.map_err(|_| Error::Unsupported("no memory to read with".into()))?, container)
    }

    /// The same where the container's index may stand anywhere.
    pub fn seeking(source: impl Read + Seek + Send + 'static, container: FileForm) -> Result<Self> {
        let io = StreamIo::from_read_seek_with_capacity(source, BUFFER);
        Self::open(io.map_err(|_| Error::Unsupported("no memory to read with".into()))?, container)
    }

    fn open(mut io: StreamIo, container: FileForm) -> Result<Self> {
        // SAFETY: the name is a C string; the result is null or static.
        let format = unsafe { ffi::av_find_input_format(container.demuxer().as_ptr()) };
        if format.is_null() {
            return Err(Error::NoCodec(format!("demuxer {}", container.name())));
        }
        // SAFETY: no preconditions; null means that memory ran out.
        let mut raw = unsafe { ffi::avformat_alloc_context() };
        // SAFETY: null or new, and nobody else knows it.
        let Some(fields) = (unsafe { raw.as_mut() }) else {
            return Err(Error::Unsupported("no memory for a demuxer".into()));
        };
        fields.pb = io.as_mut_ptr();
        fields.flags |= ffi::AVFMT_FLAG_CUSTOM_IO as c_int | ffi::AVFMT_FLAG_GENPTS as c_int;
        fields.io_open = Some(refuse);
        let mut options = Dictionary::new();
        options.set("protocol_whitelist", "")?;
        options.set("probesize", PROBED)?;
        if let FileForm::Raw(RawInput { size, fps, format }) = container {
            options.set("video_size", &size.to_string())?;
            options.set("framerate", &format!("{}/{}", fps.num, fps.den))?;
            // SAFETY: any format is allowed.
            let name = unsafe { ffi::av_get_pix_fmt_name(native(format)) };
            // SAFETY: FFmpeg's own formats have names, which are static C strings.
            let name = unsafe { CStr::from_ptr(name) };
            options.set("pixel_format", &name.to_string_lossy())?;
        }
        // SAFETY: the context is new; on failure FFmpeg frees it, but not its I/O, which is ours.
        let code = unsafe { ffi::avformat_open_input(&mut raw, c"".as_ptr(), format, options.as_mut_ptr()) };
        check("read the container's header", code)?;
        Ok(Self { raw, _io: io })
    }

    fn get(&self) -> &ffi::AVFormatContext {
        // SAFETY: the context is open for as long as `self` lives.
        unsafe { &*self.raw }
    }

    fn stream(&self, index: usize) -> Option<&ffi::AVStream> {
        if index >= self.get().nb_streams as usize {
            return None;
        }
        // SAFETY: FFmpeg's table has that many entries.
        let entry = unsafe { self.get().streams.add(index) };
        // SAFETY: each of them is filled in.
        let stream = unsafe { *entry };
        // SAFETY: streams live as long as their context.
        unsafe { stream.as_ref() }
    }

    /// Streams so far; some containers show more of them while packets are read.
    pub fn streams(&self) -> usize {
        self.get().nb_streams as usize
    }

    /// What stream `index` carries.
    pub fn kind(&self, index: usize) -> StreamKind {
        const VIDEO: c_int = AVMediaType::AVMEDIA_TYPE_VIDEO as c_int;
        const AUDIO: c_int = AVMediaType::AVMEDIA_TYPE_AUDIO as c_int;
        let Some(stream) = self.stream(index) else { return StreamKind::Other };
        if stream.disposition & ffi::AV_DISPOSITION_ATTACHED_PIC as c_int != 0 {
            return StreamKind::Other;
        }
        // SAFETY: a stream's parameters live as long as the stream.
        let parameters = unsafe { &*stream.codecpar };
        match read_enum((&raw const parameters.codec_type).cast()) {
            VIDEO => StreamKind::Video,
            AUDIO => StreamKind::Audio,
            _ => StreamKind::Other,
        }
    }

    /// What its packets are to be read with.
    pub fn parameters(&self, index: usize) -> Result<Parameters> {
        let stream = self.stream(index).ok_or_else(|| Error::Unsupported("no such stream".into()))?;
        // SAFETY: a stream's parameters live as long as the stream.
        Parameters::copy_of(unsafe { &*stream.codecpar })
    }

    /// What its times are counted in.
    pub fn time_base(&self, index: usize) -> TimeBase {
        self.stream(index).map_or(TimeBase::MEDIA, |stream| stream.time_base.into())
    }

    /// Its frame rate, if the container says one.
    pub fn frame_rate(&self, index: usize) -> Option<FrameRate> {
        let stream = self.stream(index)?;
        let rate = |raw: ffi::AVRational| FrameRate::new(raw.num.try_into().ok()?, raw.den.try_into().ok()?);
        rate(stream.avg_frame_rate).or_else(|| rate(stream.r_frame_rate))
    }

    /// Its packets, if the container counts them.
    pub fn packets(&self, index: usize) -> Option<u64> {
        self.stream(index).and_then(|stream| u64::try_from(stream.nb_frames).ok()).filter(|count| *count > 0)
    }

    /// How its pictures are to be shown: a matrix as in ISO/IEC 14496-12 §8.5.2.3, if the container has one.
    pub fn display_matrix(&self, index: usize) -> Option<[i32; 9]> {
        let stream = self.stream(index)?;
        let mut size = 0;
        let kind = AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX;
        // SAFETY: the stream is valid; the result is null or `size` bytes that live as long as it.
        let data = unsafe { ffi::av_stream_get_side_data(stream, kind, &mut size) };
        if !data.is_null() {
            // SAFETY: there are as many bytes, and nobody changes them.
            return matrix(unsafe { std::slice::from_raw_parts(data, size) });
        }
        // From FFmpeg 6.1 on it stands with the parameters. FFmpeg 5's have no such field, a codec's context has it in both.
        let parameters = self.parameters(index).ok()?;
        let mut codec = Codec::decoder(parameters.codec_id()?, &parameters.codec_name()).ok()?;
        codec.set_parameters(&parameters).ok()?;
        matrix(codec.side_data(kind)?)
    }

    /// How long the input says it is.
    pub fn duration(&self) -> Option<MediaTime> {
        let told = |duration: i64| (duration > 0 && duration != ffi::AV_NOPTS_VALUE).then_some(duration);
        if let Some(micros) = told(self.get().duration) {
            return Some(MediaTime::from_micros(micros));
        }
        // FFmpeg 7 adds them up only for whoever has it read ahead.
        let of_stream = |stream: &ffi::AVStream| {
            let duration = told(stream.duration)?;
            Some(TimeBase::from(stream.time_base).media_time(duration))
        };
        (0..self.streams()).filter_map(|index| of_stream(self.stream(index)?)).max()
    }

    /// The next packet; `None` at the end.
    pub fn read(&mut self) -> Result<Option<Packet>> {
        let mut packet = Packet::empty()?;
        // SAFETY: the context is open, the packet empty.
        match unsafe { ffi::av_read_frame(self.raw, packet.as_mut_ptr()) } {
            END_OF_STREAM => Ok(None),
            code => check("read a packet", code).map(|_| Some(packet)),
        }
    }
}

impl Drop for FileDemuxer {
    fn drop(&mut self) {
        // SAFETY: the context is ours and is not used again; its I/O is freed after it.
        unsafe { ffi::avformat_close_input(&mut self.raw) };
    }
}

/// FileForms may name other files and addresses: none is opened.
unsafe extern "C" fn refuse(
    _context: *mut ffi::AVFormatContext,
    io: *mut *mut ffi::AVIOContext,
    _url: *const std::ffi::c_char,
    _flags: c_int,
    _options: *mut *mut ffi::AVDictionary,
) -> c_int {
    // SAFETY: FFmpeg passes a place for the result.
    unsafe { io.write(ptr::null_mut()) };
    -rustix::io::Errno::ACCESS.raw_os_error()
}

/// The angle in degrees, clockwise, by which `matrix` turns pictures: 0, 90, 180 or 270, the nearest.
pub fn turn(matrix: &[i32; 9]) -> u32 {
    // SAFETY: the call reads nine numbers.
    let angle = unsafe { ffi::av_display_rotation_get(matrix.as_ptr()) };
    let turned = if angle.is_nan() { 0.0 } else { -angle };
    ((turned / 90.0).round() as i64).rem_euclid(4) as u32 * 90
}

/// Nine numbers as this machine has them in memory.
fn matrix(data: &[u8]) -> Option<[i32; 9]> {
    let (numbers, _) = data.as_chunks();
    let numbers: Vec<i32> = numbers.iter().map(|bytes| i32::from_ne_bytes(*bytes)).collect();
    numbers.first_chunk().copied()
}
