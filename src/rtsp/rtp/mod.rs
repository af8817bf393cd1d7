//! RTP (RFC 3550) from the sender's side: packets of one track, numbered and stamped, and its reports.

mod audio;
mod jpeg;
mod nal_units;
mod report;

pub use jpeg::SIDE_MAX as JPEG_SIDE_MAX;
pub use report::{WallClockMap, is_rtcp};

use bytes::{BufMut, Bytes, BytesMut};
use rtp_types::{RtpPacketBuilder, RtpPacketMut};

use crate::error::{Error, Result};
use crate::media::MediaTime;

/// The largest RTP packet: with IPv6 and a tunnel it still fits an Ethernet frame.
const PACKET_MAX: usize = 1400;
/// Bytes of an RTP header without extensions (RFC 3550 §5.1).
const HEADER: usize = 12;
/// What a packet carries.
const PAYLOAD_MAX: usize = PACKET_MAX - HEADER;

/// How media is laid out in RTP payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 6184, packetization mode 1.
    H264,
    /// RFC 7798.
    H265,
    /// RFC 2435.
    Jpeg,
    /// RFC 3640, mode AAC-hbr.
    Aac,
    /// RFC 3551 §4.5.14, with as many interleaved channels.
    G711 {
        /// Samples that share a moment.
        channels: u16,
    },
    /// RFC 7587.
    Opus,
}

/// A part of an access unit that fills one packet.
struct Fragment<'a> {
    head: &'a [u8],
    body: &'a [u8],
    /// Ticks of the track's clock after the access unit's own time.
    later: u32,
}

/// Takes fragments one by one.
type Emit<'a> = dyn FnMut(Fragment) + 'a;

/// The sending side of one track.
#[derive(Debug)]
pub struct Sender {
    format: Format,
    payload_type: u8,
    /// Ticks a second.
    clock: u32,
    ssrc: u32,
    sequence: u16,
    /// The timestamp of the timeline's moment 0 (RFC 3550 §5.1: at random).
    base: u32,
    packets: u32,
    octets: u32,
}

impl Sender {
    /// A track that has sent nothing yet.
    pub fn new(format: Format, payload_type: u8, clock: u32) -> Self {
        let (ssrc, sequence, base) = (fastrand::u32(..), fastrand::u16(..), fastrand::u32(..));
        Self { format, payload_type, clock, ssrc, sequence, base, packets: 0, octets: 0 }
    }

    /// The synchronization source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The next packet's sequence number.
    pub fn sequence(&self) -> u16 {
        self.sequence
    }

    /// The timestamp of a moment.
    pub fn timestamp(&self, time: MediaTime) -> u32 {
        let ticks = (i128::from(time.0) * i128::from(self.clock)).div_euclid(i128::from(MediaTime::HZ));
        self.base.wrapping_add(ticks as u32)
    }

    /// Appends an access unit of `time` to `out`, with `parameter_sets` in front, as packets in the framing of RFC 2326
    /// §10.12 for `channel`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Impossible`] for a JPEG that RFC 2435 has no words for.
    pub fn send(
        &mut self,
        time: MediaTime,
        parameter_sets: &[Bytes],
        data: &[u8],
        channel: u8,
        out: &mut BytesMut,
    ) -> Result<()> {
        let timestamp = self.timestamp(time);
        let format = self.format;
        let mut last = None;
        let mut emit = |fragment: Fragment| last = Some(self.write(timestamp, fragment, channel, out));
        match format {
            Format::H264 => nal_units::h264(parameter_sets, data, &mut emit),
            Format::H265 => nal_units::h265(parameter_sets, data, &mut emit),
            Format::Jpeg => jpeg::fragments(data, &mut emit)?,
            Format::Aac => audio::aac(data, &mut emit),
            Format::G711 { channels } => audio::g711(data, channels, &mut emit),
            Format::Opus => audio::opus(data, &mut emit),
        }
        // Their marker begins a talkspurt (RFC 3551 §4.1, RFC 7587 §4.1), and there is no silence here.
        if let (Some(last), false) = (last, matches!(format, Format::G711 { .. } | Format::Opus)) {
            let packet = out.get_mut(last..).unwrap_or_default();
            let packet = RtpPacketMut::parse(packet).map(|mut packet| packet.set_marker_bit(true));
            packet.map_err(|error| Error::internal("an RTP packet came out wrong").with_source(error))?;
        }
        Ok(())
    }

    /// Appends one packet; gives where it starts, behind its framing.
    fn write(&mut self, timestamp: u32, fragment: Fragment, channel: u8, out: &mut BytesMut) -> usize {
        let payload = fragment.head.len() + fragment.body.len();
        out.put_u8(b'$');
        out.put_u8(channel);
        out.put_u16((HEADER + payload) as u16);
        let start = out.len();
        out.resize(start + HEADER + payload, 0);
        let packet: RtpPacketBuilder<&[u8], &[u8]> = RtpPacketBuilder::new()
            .payload_type(self.payload_type)
            .sequence_number(self.sequence)
            .timestamp(timestamp.wrapping_add(fragment.later))
            .ssrc(self.ssrc)
            .payload(fragment.head)
            .payload(fragment.body);
        packet.write_into_unchecked(out.get_mut(start..).unwrap_or_default());
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload as u32);
        start
    }
}

#[cfg(test)]
mod tests;
