//! RTCP (RFC 3550 §6): sender reports, which tie RTP timestamps to the time of day, and goodbyes.

use bytes::{BufMut, BytesMut};
use rtcp_types::{Bye, Compound, RtcpPacketWriter, RtcpPacketWriterExt, Sdes, SdesChunk, SdesItem, SenderReport};

use super::Sender;
use crate::error::{Error, Result};
use crate::media::{MediaTime, WallClock};

/// Seconds from the epoch of NTP, 1900, to that of Unix.
const NTP_EPOCH: i64 = 2_208_988_800;
/// All tracks of a camera are of one source (RFC 3550 §6.5.1), whoever it is.
const CANONICAL_NAME: &str = "camshaft";

/// Where the time of day lies on the timeline: by the packet that was delayed least since the last report. One map for
/// all tracks keeps them in step.
#[derive(Debug, Default)]
pub struct WallClockMap {
    /// Microseconds from a moment on the timeline to the time of day.
    offset: Option<i64>,
    least: Option<i64>,
}

impl WallClockMap {
    /// Takes note of a packet that was decoded at `time` and received at `wall`.
    pub fn note(&mut self, time: MediaTime, wall: WallClock) {
        let offset = wall.0.saturating_sub(micros(time));
        self.least = Some(self.least.map_or(offset, |least| least.min(offset)));
    }

    /// From here on, what was noted since the last time holds.
    pub fn settle(&mut self) {
        self.offset = self.least.take().or(self.offset);
    }

    /// The moment that has this time of day; `None` before the first packet.
    pub fn moment(&self, wall: WallClock) -> Option<MediaTime> {
        self.offset.map(|offset| MediaTime::from_micros(wall.0.saturating_sub(offset)))
    }
}

fn micros(time: MediaTime) -> i64 {
    (i128::from(time.0) * 100 / 9) as i64
}

impl Sender {
    /// Appends a sender report that says which timestamp `now` has, in the framing of RFC 2326 §10.12 for `channel`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Internal`] if it could not be written.
    pub fn report(&self, map: &WallClockMap, now: WallClock, channel: u8, out: &mut BytesMut) -> Result<()> {
        let Some(moment) = map.moment(now) else { return Ok(()) };
        let report = SenderReport::builder(self.ssrc)
            .ntp_timestamp(ntp(now))
            .rtp_timestamp(self.timestamp(moment))
            .packet_count(self.packets)
            .octet_count(self.octets);
        write(Compound::builder().add_packet(report).add_packet(self.name()), channel, out)
    }

    /// Appends the end of the track.
    ///
    /// # Errors
    /// As [`Self::report`].
    pub fn goodbye(&self, channel: u8, out: &mut BytesMut) -> Result<()> {
        // A compound packet begins with a report (RFC 3550 §6.1).
        let empty = rtcp_types::ReceiverReport::builder(self.ssrc);
        let bye = Bye::builder().add_source(self.ssrc);
        write(Compound::builder().add_packet(empty).add_packet(self.name()).add_packet(bye), channel, out)
    }

    fn name(&self) -> impl RtcpPacketWriter + use<> {
        let name = SdesItem::builder(SdesItem::CNAME, CANONICAL_NAME);
        Sdes::builder().add_chunk(SdesChunk::builder(self.ssrc).add_item(name))
    }
}

fn write(packet: rtcp_types::CompoundBuilder, channel: u8, out: &mut BytesMut) -> Result<()> {
    let wrong = |error| Error::internal("an RTCP packet came out wrong").with_source(error);
    let size = packet.calculate_size().map_err(wrong)?;
    out.put_u8(b'$');
    out.put_u8(channel);
    out.put_u16(size as u16);
    let start = out.len();
    out.resize(start + size, 0);
    packet.write_into(out.get_mut(start..).unwrap_or_default()).map_err(wrong)?;
    Ok(())
}

/// 32 bits of seconds, 32 of their fraction (RFC 3550 §4).
fn ntp(wall: WallClock) -> u64 {
    let seconds = wall.0.div_euclid(1_000_000).wrapping_add(NTP_EPOCH) as u64;
    let fraction = ((wall.0.rem_euclid(1_000_000) as u64) << 32) / 1_000_000;
    (seconds << 32) | fraction
}

/// Whether a client's datagram is RTCP: a sign of life.
pub fn is_rtcp(data: &[u8]) -> bool {
    Compound::parse(data).is_ok_and(|mut packets| packets.next().is_some_and(|packet| packet.is_ok()))
}
