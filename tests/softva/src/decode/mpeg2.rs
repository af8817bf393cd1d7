//! MPEG-2 (ITU-T H.262): headers from VA-API's parameters, before the slices as they are.
//!
//! VA-API lacks what only players need: rates, aspect ratio, and whether the whole sequence is progressive.

use super::slice_bytes;
use crate::bits::BitWriter;
use crate::buffer::{Submitted, optional_parameters, parameters};
use crate::va::*;

const PICTURE: u8 = 0x00;
const SEQUENCE: u8 = 0xb3;
const EXTENSION: u8 = 0xb5;
const SEQUENCE_EXTENSION: u32 = 1;
const PICTURE_CODING_EXTENSION: u32 = 8;
const MAIN_AT_HIGH: u32 = 0x44;
const PREDICTIVE: u32 = 2;
const BIDIRECTIONAL: u32 = 3;
/// Of MPEG-1; MPEG-2 has its own in the extension (§6.3.9).
const NO_F_CODE: u32 = 7;

/// The stream of a context.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The headers of the sequence that the decoder has.
    sequence: Vec<u8>,
}

impl Stream {
    /// The access unit of a picture, with the headers of the sequence where they are new.
    pub(super) fn access_unit(&mut self, submitted: &[Submitted]) -> Result<Vec<u8>> {
        let picture: VAPictureParameterBufferMPEG2 = parameters(submitted, VAPictureParameterBufferType)?;
        let matrices = optional_parameters::<VAIQMatrixBufferMPEG2>(submitted, VAIQMatrixBufferType);
        let mut stream = Vec::new();
        let sequence = sequence(&picture, matrices.as_ref());
        if self.sequence != sequence {
            stream.extend_from_slice(&sequence);
            self.sequence = sequence;
        }
        write_picture(&mut stream, &picture);
        let mut slices: Vec<VASliceParameterBufferMPEG2> = Vec::new();
        for buffer in submitted {
            if buffer.kind == VASliceParameterBufferType {
                slices = buffer.read_all();
            }
            if buffer.kind != VASliceDataBufferType {
                continue;
            }
            for slice in std::mem::take(&mut slices) {
                stream.extend_from_slice(slice_bytes(&buffer.bytes, slice.slice_data_offset, slice.slice_data_size)?);
            }
        }
        Ok(stream)
    }
}

fn write(stream: &mut Vec<u8>, code: u8, header: BitWriter) {
    let mut header = header;
    header.align(false);
    stream.extend_from_slice(&[0, 0, 1, code]);
    stream.extend_from_slice(&header.finish());
}

/// §6.2.2.1 and §6.2.2.3.
fn sequence(picture: &VAPictureParameterBufferMPEG2, matrices: Option<&VAIQMatrixBufferMPEG2>) -> Vec<u8> {
    let (width, height) = (u32::from(picture.horizontal_size), u32::from(picture.vertical_size));
    let mut header = BitWriter::new();
    header.bits(width & 0xfff, 12);
    header.bits(height & 0xfff, 12);
    // Square pixels, 25 a second, any bit rate.
    header.bits(1, 4);
    header.bits(3, 4);
    header.bits(0x3_ffff, 18);
    header.bit(true);
    header.bits(0, 10);
    header.bit(false);
    let intra = matrices.filter(|matrices| matrices.load_intra_quantiser_matrix != 0);
    write_matrix(&mut header, intra.map(|matrices| &matrices.intra_quantiser_matrix));
    let other = matrices.filter(|matrices| matrices.load_non_intra_quantiser_matrix != 0);
    write_matrix(&mut header, other.map(|matrices| &matrices.non_intra_quantiser_matrix));
    let mut extension = BitWriter::new();
    extension.bits(SEQUENCE_EXTENSION, 4);
    extension.bits(MAIN_AT_HIGH, 8);
    extension.bit(false);
    extension.bits(1, 2); // 4:2:0
    extension.bits(width >> 12, 2);
    extension.bits(height >> 12, 2);
    extension.bits(0, 12);
    extension.bit(true);
    extension.bits(0, 8);
    extension.bits(0, 1 + 2 + 5);
    let mut stream = Vec::new();
    write(&mut stream, SEQUENCE, header);
    write(&mut stream, EXTENSION, extension);
    stream
}

/// In zigzag order, as VA-API has it too.
fn write_matrix(header: &mut BitWriter, matrix: Option<&[u8; 64]>) {
    header.bit(matrix.is_some());
    for value in matrix.into_iter().flatten() {
        header.bits(u32::from(*value), 8);
    }
}

/// §6.2.3 and §6.2.3.1.
fn write_picture(stream: &mut Vec<u8>, picture: &VAPictureParameterBufferMPEG2) {
    let kind = picture.picture_coding_type.cast_unsigned();
    let mut header = BitWriter::new();
    header.bits(0, 10);
    header.bits(kind, 3);
    header.bits(0xffff, 16);
    let vectors = match kind {
        PREDICTIVE => 1,
        BIDIRECTIONAL => 2,
        _ => 0,
    };
    for _ in 0..vectors {
        header.bits(NO_F_CODE, 4);
    }
    header.bit(false);
    write(stream, PICTURE, header);
    // SAFETY: every member of the union is the same 32 bits.
    let bits = unsafe { &picture.picture_coding_extension.bits };
    let mut extension = BitWriter::new();
    extension.bits(PICTURE_CODING_EXTENSION, 4);
    extension.bits(picture.f_code.cast_unsigned(), 16);
    extension.bits(bits.intra_dc_precision(), 2);
    extension.bits(bits.picture_structure(), 2);
    for flag in [
        bits.top_field_first(),
        bits.frame_pred_frame_dct(),
        bits.concealment_motion_vectors(),
        bits.q_scale_type(),
        bits.intra_vlc_format(),
        bits.alternate_scan(),
        bits.repeat_first_field(),
        bits.progressive_frame(), // chroma_420_type
        bits.progressive_frame(),
        0, // composite_display_flag
    ] {
        extension.flag(flag);
    }
    write(stream, EXTENSION, extension);
}
