//! AAC (RFC 3640), G.711 (RFC 3551) and Opus (RFC 7587).

use super::{Emit, Fragment, PAYLOAD_MAX};

/// The AU header section of one access unit: its own length in bits, then size and index (RFC 3640 §3.2.1, §3.3.6).
const AU_HEADERS: usize = 4;
/// `AU-size` has 13 bits in mode AAC-hbr.
const AU_SIZE_MAX: usize = (1 << 13) - 1;

/// One access unit, over several packets if it must be; one that does not fit the mode is left out.
pub(super) fn aac(frame: &[u8], emit: &mut Emit) {
    if frame.len() > AU_SIZE_MAX {
        return;
    }
    let [high, low] = ((frame.len() as u16) << 3).to_be_bytes();
    for part in frame.chunks(PAYLOAD_MAX - AU_HEADERS) {
        emit(Fragment { head: &[0, 16, high, low], body: part, later: 0 });
    }
}

/// One byte a sample; every packet holds whole moments.
pub(super) fn g711(samples: &[u8], channels: u16, emit: &mut Emit) {
    let channels = usize::from(channels.max(1));
    let size = (PAYLOAD_MAX / channels).max(1) * channels;
    for (index, part) in samples.chunks(size).enumerate() {
        emit(Fragment { head: &[], body: part, later: (index * size / channels) as u32 });
    }
}

/// One packet each (RFC 7587 §4.2); one that is past what a network carries is left out.
pub(super) fn opus(packet: &[u8], emit: &mut Emit) {
    if packet.len() <= PAYLOAD_MAX {
        emit(Fragment { head: &[], body: packet, later: 0 });
    }
}
