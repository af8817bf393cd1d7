//! H.264 (RFC 6184) and H.265 (RFC 7798): a NAL unit a packet, larger ones in fragmentation units.

use bytes::Bytes;

use super::{Emit, Fragment, PAYLOAD_MAX};
use crate::media::nal;

/// `nal_unit_type` of a fragmentation unit: FU-A (RFC 6184 §5.8), FU (RFC 7798 §4.4.3).
const H264_FU: u8 = 28;
const H265_FU: u8 = 49;
/// The bits of an FU header.
const START: u8 = 0x80;
const END: u8 = 0x40;

pub(super) fn h264(parameter_sets: &[Bytes], access_unit: &[u8], emit: &mut Emit) {
    for unit in units(parameter_sets, access_unit) {
        if let ([header, body @ ..], true) = (unit, unit.len() > PAYLOAD_MAX) {
            // F and NRI stay, the type moves into the FU header.
            fragment(&[header & 0xe0 | H264_FU], header & 0x1f, body, emit);
        } else {
            whole(unit, emit);
        }
    }
}

pub(super) fn h265(parameter_sets: &[Bytes], access_unit: &[u8], emit: &mut Emit) {
    for unit in units(parameter_sets, access_unit) {
        if let ([first, second, body @ ..], true) = (unit, unit.len() > PAYLOAD_MAX) {
            fragment(&[first & 0x81 | (H265_FU << 1), *second], (first >> 1) & 0x3f, body, emit);
        } else {
            whole(unit, emit);
        }
    }
}

fn units<'a>(parameter_sets: &'a [Bytes], access_unit: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    parameter_sets.iter().map(|set| &set[..]).chain(nal::units(access_unit)).filter(|unit| !unit.is_empty())
}

fn whole(unit: &[u8], emit: &mut Emit) {
    emit(Fragment { head: &[], body: unit, later: 0 });
}

/// `payload_header` stands in every fragment, before the FU header with `unit_type`.
fn fragment(payload_header: &[u8], unit_type: u8, body: &[u8], emit: &mut Emit) {
    let size = PAYLOAD_MAX - payload_header.len() - 1;
    let last = body.len().div_ceil(size) - 1;
    for (index, part) in body.chunks(size).enumerate() {
        let start = if index == 0 { START } else { 0 };
        let end = if index == last { END } else { 0 };
        let head = [payload_header, &[start | end | unit_type]].concat();
        emit(Fragment { head: &head, body: part, later: 0 });
    }
}
