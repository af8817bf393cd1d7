//! Cameras' containers taken apart by libavformat, which is told what they are and opens nothing: bytes come from a reader
//! that outlives the container. Files of jobs are for `file_demuxer.rs`, cameras that libavformat itself speaks with for
//! `camera.rs`.

mod camera;

use camshaft::media::{Container, FrameRate, MediaTime};
use ffmpeg_next::ffi::{self, AVCodecID};
use rustix::io::Errno;
use std::ffi::{c_int, c_void};
use std::io::Read;
use std::ptr::{self, NonNull};

use super::codec::Dictionary;
use super::error::{END_OF_STREAM, Error, Result, check, check_pointer};
use super::frame::read_enum;
use super::packet::Packet;
use super::time_base::TimeBase;
use camera::Watched;
pub use camera::{CameraAddress, Watch};

/// What is read from the reader at once, in bytes; a transport stream's first tables are looked for in as much, and read
/// again from the buffer, so that it holds all of them.
const BUFFER: usize = 128 << 10;
/// Looked through for a transport stream's tables before the first packet, in bytes.
const PROBE: usize = 64 << 10;
const FAILED: c_int = -Errno::IO.raw_os_error();

/// The codec of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackCodec {
    /// H.264.
    H264,
    /// H.265.
    Hevc,
    /// MPEG-4 part 2.
    Mpeg4,
    /// MPEG-4 AAC.
    Aac,
    /// G.711 µ-law.
    PcmMulaw,
    /// G.711 A-law.
    PcmAlaw,
    /// Opus.
    Opus,
    /// Any other, by its number in FFmpeg.
    Other(c_int),
}

/// A track, as far as its container describes it.
#[derive(Clone, Debug)]
pub struct TrackFacts {
    /// What it is coded with.
    pub codec: TrackCodec,
    /// Headers that stand beside the packets: avcC, hvcC, AudioSpecificConfig, or nothing.
    pub extradata: Vec<u8>,
    /// Samples a second; 0: unknown.
    pub sample_rate: u32,
    /// Channels; 0: unknown.
    pub channels: u16,
    /// Pictures a second.
    pub frame_rate: Option<FrameRate>,
}

/// A packet of one track.
#[derive(Debug)]
pub struct Demuxed<'a> {
    /// Which track.
    pub track: usize,
    /// Presentation time.
    pub pts: Option<MediaTime>,
    /// Decode time.
    pub dts: Option<MediaTime>,
    /// How long it lasts, in ticks; 0: unknown.
    pub duration: i64,
    /// Headers that replace those of the track.
    pub new_extradata: Option<Vec<u8>>,
    /// Its bytes.
    pub data: &'a [u8],
}

/// A container that is read from `R`.
pub struct Demuxer<R> {
    opened: Opened,
    reader: Shared<R>,
    packet: Packet,
    /// Asks the reader whether to go on waiting for a camera.
    watched: Option<Shared<Watched<R>>>,
}

/// What FFmpeg has of the container.
struct Opened {
    context: *mut ffi::AVFormatContext,
    io: *mut ffi::AVIOContext,
}

/// Something on the heap that FFmpeg knows the place of.
struct Shared<R>(NonNull<R>);

impl<R> Shared<R> {
    fn new(value: R) -> Self {
        Self(NonNull::from(Box::leak(Box::new(value))))
    }

    fn into_inner(self) -> R {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        // SAFETY: leaked from a box by `new`, and not dropped.
        *unsafe { Box::from_raw(pointer) }
    }
}

impl<R> Drop for Shared<R> {
    fn drop(&mut self) {
        // SAFETY: leaked from a box by `new`, and dropped once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: null or an open context, which is not used again.
        unsafe { ffi::avformat_close_input(&mut self.context) };
        // SAFETY: null or a context of ours.
        if let Some(io) = unsafe { self.io.as_mut() } {
            // SAFETY: FFmpeg may have replaced the buffer; the one that is there is the context's own.
            unsafe { ffi::av_freep((&raw mut io.buffer).cast()) };
        }
        // SAFETY: null or a context of ours, which is not used again.
        unsafe { ffi::avio_context_free(&mut self.io) };
    }
}

impl<R: Read> Demuxer<R> {
    /// Opens the container: reads up to where its first packet is known to begin.
    ///
    /// # Errors
    /// If the bytes are none of such a container, or the reader fails; it knows why, and comes back.
    pub fn open(container: Container, reader: R) -> std::result::Result<Self, (Error, R)> {
        let packet = match Packet::empty() {
            Ok(packet) => packet,
            Err(error) => return Err((error, reader)),
        };
        let opened = Opened { context: ptr::null_mut(), io: ptr::null_mut() };
        let mut demuxer = Self { opened, reader: Shared::new(reader), packet, watched: None };
        match demuxer.begin(container) {
            Ok(()) => Ok(demuxer),
            Err(error) => Err((error, demuxer.into_reader())),
        }
    }

    fn begin(&mut self, container: Container) -> Result<()> {
        let name = match container {
            Container::MpegTs => c"mpegts",
            Container::Flv => c"flv",
            Container::Mp4 => c"mov",
        };
        // SAFETY: a C string; the result is null or static.
        let format = unsafe { ffi::av_find_input_format(name.as_ptr()) };
        if format.is_null() {
            return Err(Error::NoCodec(format!("demuxer of {}", container.name())));
        }
        // SAFETY: no preconditions; null means that memory ran out.
        let buffer = check_pointer("allocate buffer", unsafe { ffi::av_malloc(BUFFER) })?;
        let (size, opaque) = (BUFFER as c_int, self.reader.0.as_ptr().cast::<c_void>());
        // SAFETY: the buffer is of that size and is the context's from here on; the reader outlives the context.
        let io = unsafe {
            ffi::avio_alloc_context(buffer.as_ptr().cast(), size, 0, opaque, Some(read_from::<R>), None, None)
        };
        self.opened.io = check_pointer("allocate reader", io)?.as_ptr();
        // SAFETY: no preconditions; null means that memory ran out.
        let context = check_pointer("allocate demuxer", unsafe { ffi::avformat_alloc_context() })?;
        self.opened.context = context.as_ptr();
        // SAFETY: new, and nobody else's.
        let fields = unsafe { &mut *self.opened.context };
        fields.pb = self.opened.io;
        fields.flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
        let mut options = Dictionary::new();
        options.set("protocol_whitelist", "")?;
        options.set("probesize", &PROBE.to_string())?;
        // SAFETY: context, format and options are valid; on failure FFmpeg frees the context and clears the pointer.
        check("open container", unsafe {
            ffi::avformat_open_input(&mut self.opened.context, ptr::null(), format, options.as_mut_ptr())
        })?;
        Ok(())
    }
}

impl<R> Demuxer<R> {
    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// If the bytes make no sense any more, or the reader fails.
    pub fn next(&mut self) -> Result<Option<Demuxed<'_>>> {
        self.packet.clear();
        // SAFETY: the context is open, the packet valid and empty.
        match unsafe { ffi::av_read_frame(self.opened.context, self.packet.as_mut_ptr()) } {
            END_OF_STREAM => return Ok(None),
            code => check("read container", code)?,
        };
        let track = self.packet.stream();
        if let Some(time_base) = self.stream(track).map(|stream| stream.time_base) {
            self.packet.rescale(time_base.into(), TimeBase::MEDIA);
        }
        let packet = &self.packet;
        let known = |time: MediaTime| (time.0 != ffi::AV_NOPTS_VALUE).then_some(time);
        Ok(Some(Demuxed {
            track,
            pts: known(packet.pts()),
            dts: known(packet.dts()),
            duration: packet.duration(),
            new_extradata: packet.new_extradata().map(<[u8]>::to_vec),
            data: packet.data(),
        }))
    }

    /// What is known of a track that a packet named.
    pub fn track(&self, index: usize) -> Option<TrackFacts> {
        let stream = self.stream(index)?;
        // SAFETY: a stream has parameters for as long as it lives.
        let parameters = unsafe { stream.codecpar.as_ref() }?;
        let extradata = match usize::try_from(parameters.extradata_size) {
            Ok(length) if !parameters.extradata.is_null() => {
                // SAFETY: FFmpeg keeps `extradata_size` bytes there.
                unsafe { std::slice::from_raw_parts(parameters.extradata, length) }.to_vec()
            }
            _ => vec![],
        };
        let rate = stream.avg_frame_rate;
        let positive = |number: c_int| u32::try_from(number).ok().filter(|number| *number > 0);
        let frame_rate = positive(rate.num).zip(positive(rate.den)).and_then(|(num, den)| FrameRate::new(num, den));
        Some(TrackFacts {
            codec: codec(read_enum((&raw const parameters.codec_id).cast())),
            extradata,
            sample_rate: u32::try_from(parameters.sample_rate).unwrap_or(0),
            channels: u16::try_from(parameters.ch_layout.nb_channels).unwrap_or(0),
            frame_rate,
        })
    }

    fn stream(&self, index: usize) -> Option<&ffi::AVStream> {
        // SAFETY: open, so not null; nobody changes it while `self` is borrowed.
        let context = unsafe { self.opened.context.as_ref() }?;
        if index >= context.nb_streams as usize {
            return None;
        }
        // SAFETY: `streams` has `nb_streams` entries.
        let stream = unsafe { context.streams.add(index) };
        // SAFETY: an entry of the array.
        let stream = unsafe { stream.read() };
        // SAFETY: null or a stream that lives as long as the context.
        unsafe { stream.as_ref() }
    }

    /// The reader, between two packets.
    pub fn reader(&mut self) -> &mut R {
        // SAFETY: ours, and FFmpeg touches it only within calls that borrow `self`.
        unsafe { self.reader.0.as_mut() }
    }

    /// Closes the container and gives the reader back.
    pub fn into_reader(self) -> R {
        let Self { opened, reader, .. } = self;
        // Closing is the last that FFmpeg does with the reader.
        drop(opened);
        reader.into_inner()
    }
}

/// FFmpeg's way to the reader.
unsafe extern "C" fn read_from<R: Read>(reader: *mut c_void, into: *mut u8, size: c_int) -> c_int {
    // SAFETY: the pointer that the context was made with; nobody else uses it during FFmpeg's calls.
    let Some(reader) = (unsafe { reader.cast::<R>().as_mut() }) else { return FAILED };
    let Ok(length) = usize::try_from(size) else { return FAILED };
    // SAFETY: FFmpeg gives room for `size` bytes; it has been written or zeroed, or is not looked at before it is.
    let into = unsafe { std::slice::from_raw_parts_mut(into, length) };
    match reader.read(into) {
        Ok(0) => END_OF_STREAM,
        Ok(read) => c_int::try_from(read).unwrap_or(FAILED),
        Err(_) => FAILED,
    }
}

fn codec(id: c_int) -> TrackCodec {
    let known = [
        (AVCodecID::AV_CODEC_ID_H264, TrackCodec::H264),
        (AVCodecID::AV_CODEC_ID_HEVC, TrackCodec::Hevc),
        (AVCodecID::AV_CODEC_ID_MPEG4, TrackCodec::Mpeg4),
        (AVCodecID::AV_CODEC_ID_AAC, TrackCodec::Aac),
        (AVCodecID::AV_CODEC_ID_PCM_MULAW, TrackCodec::PcmMulaw),
        (AVCodecID::AV_CODEC_ID_PCM_ALAW, TrackCodec::PcmAlaw),
        (AVCodecID::AV_CODEC_ID_OPUS, TrackCodec::Opus),
    ];
    known.into_iter().find(|(known, _)| *known as c_int == id).map_or(TrackCodec::Other(id), |(_, codec)| codec)
}
