//! An owned `AVPacket`.

use camshaft::media::MediaTime;
use ffmpeg_next::ffi;
use std::ffi::c_int;
use std::ptr::NonNull;

use super::error::{Error, Result, check, check_pointer};
use super::time_base::TimeBase;

/// One encoded access unit.
pub struct Packet {
    raw: NonNull<ffi::AVPacket>,
}

impl Packet {
    /// A packet without bytes.
    pub fn empty() -> Result<Self> {
        // SAFETY: no preconditions; null means that memory ran out.
        let raw = check_pointer("allocate packet", unsafe { ffi::av_packet_alloc() })?;
        Ok(Self { raw })
    }

    /// Drops what the packet holds, then gives it `length` bytes to write, followed by the zeroes that decoders want.
    pub fn renew(&mut self, length: usize) -> Result<&mut [u8]> {
        self.clear();
        let size = c_int::try_from(length).map_err(|_| Error::Unsupported(format!("packet of {length} bytes")))?;
        // SAFETY: the packet is valid and empty; on success `data` points to `size` bytes of its own buffer.
        check("allocate packet", unsafe { ffi::av_new_packet(self.raw.as_ptr(), size) })?;
        let data = self.get().data;
        // SAFETY: `av_new_packet` made `data` point to `length` bytes that nobody else refers to.
        Ok(unsafe { std::slice::from_raw_parts_mut(data, length) })
    }

    /// Drops what the packet holds.
    pub fn clear(&mut self) {
        // SAFETY: the packet is valid; unreferencing an empty one does nothing.
        unsafe { ffi::av_packet_unref(self.raw.as_ptr()) };
    }

    /// The bytes.
    pub fn data(&self) -> &[u8] {
        let packet = self.get();
        match usize::try_from(packet.size) {
            // SAFETY: FFmpeg keeps `size` bytes at `data` for as long as the packet is not changed.
            Ok(length) if !packet.data.is_null() => unsafe { std::slice::from_raw_parts(packet.data, length) },
            _ => &[],
        }
    }

    pub(super) fn pts(&self) -> MediaTime {
        MediaTime(self.get().pts)
    }

    pub(super) fn set_pts(&mut self, pts: MediaTime) {
        self.get_mut().pts = pts.0;
    }

    pub(super) fn dts(&self) -> MediaTime {
        MediaTime(self.get().dts)
    }

    pub fn is_keyframe(&self) -> bool {
        self.get().flags & ffi::AV_PKT_FLAG_KEY != 0
    }

    /// The stream that it came from or goes to.
    pub fn stream(&self) -> usize {
        usize::try_from(self.get().stream_index).unwrap_or(usize::MAX)
    }

    pub(super) fn set_stream(&mut self, index: usize) {
        self.get_mut().stream_index = c_int::try_from(index).unwrap_or(c_int::MAX);
    }

    /// Presentation and decode time in the stream's own time base, where the container says them.
    pub fn times(&self) -> (Option<i64>, Option<i64>) {
        let known = |time: i64| (time != ffi::AV_NOPTS_VALUE).then_some(time);
        (known(self.get().pts), known(self.get().dts))
    }

    /// Replaces both times.
    pub fn set_times(&mut self, pts: Option<i64>, dts: Option<i64>) {
        let packet = self.get_mut();
        packet.pts = pts.unwrap_or(ffi::AV_NOPTS_VALUE);
        packet.dts = dts.unwrap_or(ffi::AV_NOPTS_VALUE);
    }

    /// How long it lasts, in the stream's own time base; 0 if nothing says so.
    pub fn duration(&self) -> i64 {
        self.get().duration
    }

    /// Says how long it lasts.
    pub fn set_duration(&mut self, duration: i64) {
        self.get_mut().duration = duration;
    }

    /// Whether the input ended within it.
    pub fn is_cut(&self) -> bool {
        self.get().flags & ffi::AV_PKT_FLAG_CORRUPT != 0
    }

    /// Its bytes and times as a packet of its own; nothing is left here.
    pub fn take(&mut self) -> Result<Self> {
        Ok(std::mem::replace(self, Self::empty()?))
    }

    /// Counts its times in another base.
    pub fn rescale(&mut self, from: TimeBase, to: TimeBase) {
        // SAFETY: the packet is valid, both denominators are above 0; unknown times are left alone.
        unsafe { ffi::av_packet_rescale_ts(self.raw.as_ptr(), from.raw(), to.raw()) };
    }

    /// Headers that replace those of its stream from this packet on.
    pub fn new_extradata(&self) -> Option<&[u8]> {
        let mut size = 0;
        let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_NEW_EXTRADATA;
        // SAFETY: the packet is valid; the result is null or points to `size` bytes of its own.
        let data = unsafe { ffi::av_packet_get_side_data(self.raw.as_ptr(), kind, &mut size) };
        // SAFETY: as said; the packet is not changed while it is borrowed.
        (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data, size) })
    }

    pub(super) fn as_ptr(&self) -> *const ffi::AVPacket {
        self.raw.as_ptr()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut ffi::AVPacket {
        self.raw.as_ptr()
    }

    fn get(&self) -> &ffi::AVPacket {
        // SAFETY: the packet lives as long as `self`, and FFmpeg touches it only within calls that get `self`.
        unsafe { self.raw.as_ref() }
    }

    fn get_mut(&mut self) -> &mut ffi::AVPacket {
        // SAFETY: as in `get`; the exclusive borrow of `self` rules out any other reference.
        unsafe { self.raw.as_mut() }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let mut raw = self.raw.as_ptr();
        // SAFETY: the packet is ours and is not used again.
        unsafe { ffi::av_packet_free(&mut raw) };
    }
}
