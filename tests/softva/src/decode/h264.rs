//! H.264: SPS and PPS from VA-API's parameters, before the slices as they are.
//!
//! VA-API lacks some of what they had. Cropping and VUI make no difference to decoding. The offsets of picture order
//! count type 1 are lost, which would show in temporal direct prediction and implicit weights only.

use std::collections::HashMap;

use super::{KnownSets, slice_bytes};
use crate::bits::{BitReader, BitWriter, append_unit, unescape};
use crate::buffer::{Submitted, optional_parameters, parameters};
use crate::h264::{Pps, SliceStart, SliceType, Sps};
use crate::va::*;

/// A slice header is shorter than this.
const LONGEST_HEADER: usize = 256;
const LARGEST_PPS_ID: u32 = 255;

/// The stream of a context.
#[derive(Debug)]
pub(super) struct Stream {
    profile: VAProfile,
    known: KnownSets,
    /// num_ref_idx_l0/l1_default_active_minus1 by PPS, as far as slices without an override have shown them.
    references: HashMap<u32, [u8; 2]>,
}

impl Stream {
    pub(super) fn new(profile: VAProfile) -> Self {
        Self { profile, known: KnownSets::default(), references: HashMap::new() }
    }

    /// The access unit of a picture, with parameter sets where they are new.
    pub(super) fn access_unit(&mut self, submitted: &[Submitted]) -> Result<Vec<u8>> {
        let picture: VAPictureParameterBufferH264 = parameters(submitted, VAPictureParameterBufferType)?;
        let matrices = optional_parameters::<VAIQMatrixBufferH264>(submitted, VAIQMatrixBufferType);
        let fields = Fields::of(&picture);
        let mut stream = Vec::new();
        let sps = self.sps(&picture, &fields);
        if self.known.is_new_sps(&sps) {
            append_unit(&mut stream, &sps);
            self.references.clear();
        }
        let mut slices: Vec<VASliceParameterBufferH264> = Vec::new();
        for buffer in submitted {
            if buffer.kind == VASliceParameterBufferType {
                slices = buffer.read_all();
            }
            if buffer.kind != VASliceDataBufferType {
                continue;
            }
            for slice in std::mem::take(&mut slices) {
                let bytes = slice_bytes(&buffer.bytes, slice.slice_data_offset, slice.slice_data_size)?;
                let head = unescape(&bytes[..bytes.len().min(LONGEST_HEADER)]);
                let start = SliceStart::parse(&mut BitReader::new(&head), &fields.sps, &fields.pps);
                let id = start.pps_id.min(LARGEST_PPS_ID);
                let pps = self.pps(id, &picture, &fields, matrices.as_ref(), self.reference_counts(id, &start, &slice));
                if self.known.is_new_pps(id, &pps) {
                    append_unit(&mut stream, &pps);
                }
                stream.extend_from_slice(&[0, 0, 1]);
                stream.extend_from_slice(bytes);
            }
        }
        if stream.is_empty() { Err(Status::INVALID_PARAMETER) } else { Ok(stream) }
    }

    /// Default reference counts of the PPS: VA-API has only those that are in force in a slice.
    fn reference_counts(&self, id: u32, start: &SliceStart, slice: &VASliceParameterBufferH264) -> [u8; 2] {
        let mut counts = self.references.get(&id).copied().unwrap_or_default();
        if !start.overrides_references && !start.slice_type.is_intra() {
            counts[0] = slice.num_ref_idx_l0_active_minus1;
            if start.slice_type == SliceType::B {
                counts[1] = slice.num_ref_idx_l1_active_minus1;
            }
        }
        counts
    }

    fn sps(&self, picture: &VAPictureParameterBufferH264, fields: &Fields) -> Vec<u8> {
        const LEVEL_5_2: u32 = 52;
        let mut sps = BitWriter::new();
        sps.bits(0x67, 8);
        #[allow(non_upper_case_globals)] // libva's names
        let profile = match self.profile {
            VAProfileH264High => 100,
            VAProfileH264Main => 77,
            _ => 66,
        };
        sps.bits(profile, 8);
        sps.bits(0, 8);
        sps.bits(LEVEL_5_2, 8);
        sps.ue(0);
        let sequence = &fields.sequence;
        if self.is_high() {
            sps.ue(sequence.chroma_format_idc());
            sps.ue(picture.bit_depth_luma_minus8.into());
            sps.ue(picture.bit_depth_chroma_minus8.into());
            sps.bits(0b00, 2); // no transform bypass, no scaling matrix: the PPS has it
        }
        sps.ue(sequence.log2_max_frame_num_minus4());
        sps.ue(sequence.pic_order_cnt_type());
        match sequence.pic_order_cnt_type() {
            0 => sps.ue(sequence.log2_max_pic_order_cnt_lsb_minus4()),
            1 => {
                sps.flag(sequence.delta_pic_order_always_zero_flag());
                sps.se(0);
                sps.se(0);
                sps.ue(0);
            }
            _ => {}
        }
        sps.ue(picture.num_ref_frames.into());
        sps.flag(sequence.gaps_in_frame_num_value_allowed_flag());
        sps.ue(picture.picture_width_in_mbs_minus1.into());
        let rows = u32::from(picture.picture_height_in_mbs_minus1) + 1;
        let map_units = if fields.sps.frame_mbs_only { rows } else { rows / 2 };
        sps.ue(map_units.saturating_sub(1));
        sps.bit(fields.sps.frame_mbs_only);
        if !fields.sps.frame_mbs_only {
            sps.flag(sequence.mb_adaptive_frame_field_flag());
        }
        sps.flag(sequence.direct_8x8_inference_flag());
        sps.bits(0b00, 2); // no cropping, no VUI
        sps.trailing();
        sps.finish()
    }

    fn pps(
        &mut self,
        id: u32,
        picture: &VAPictureParameterBufferH264,
        fields: &Fields,
        matrices: Option<&VAIQMatrixBufferH264>,
        references: [u8; 2],
    ) -> Vec<u8> {
        self.references.insert(id, references);
        let flags = &fields.picture;
        let mut pps = BitWriter::new();
        pps.bits(0x68, 8);
        pps.ue(id);
        pps.ue(0);
        pps.bit(fields.pps.has_cabac);
        pps.bit(fields.pps.has_bottom_field_order);
        pps.ue(0);
        pps.ue(references[0].into());
        pps.ue(references[1].into());
        pps.flag(flags.weighted_pred_flag());
        pps.bits(flags.weighted_bipred_idc(), 2);
        pps.se(picture.pic_init_qp_minus26.into());
        pps.se(picture.pic_init_qs_minus26.into());
        pps.se(picture.chroma_qp_index_offset.into());
        pps.bit(fields.pps.has_deblocking_control);
        pps.flag(flags.constrained_intra_pred_flag());
        pps.bit(fields.pps.has_redundant_pictures);
        if self.is_high() {
            let has_8x8 = flags.transform_8x8_mode_flag() != 0;
            pps.bit(has_8x8);
            let matrices = matrices.filter(|matrices| !is_flat(matrices));
            pps.bit(matrices.is_some());
            if let Some(matrices) = matrices {
                write_matrices(&mut pps, matrices, has_8x8);
            }
            pps.se(picture.second_chroma_qp_index_offset.into());
        }
        pps.trailing();
        pps.finish()
    }

    fn is_high(&self) -> bool {
        self.profile == VAProfileH264High
    }
}

/// The bit fields of VA-API's picture parameters, and what a slice header's syntax depends on.
struct Fields {
    sequence: _VAPictureParameterBufferH264__bindgen_ty_1__bindgen_ty_1,
    picture: _VAPictureParameterBufferH264__bindgen_ty_2__bindgen_ty_1,
    sps: Sps,
    pps: Pps,
}

impl Fields {
    fn of(parameters: &VAPictureParameterBufferH264) -> Self {
        // SAFETY: the other side of the union is the same bits as an integer.
        let sequence = unsafe { parameters.seq_fields.bits };
        // SAFETY: as above.
        let picture = unsafe { parameters.pic_fields.bits };
        let sps = Sps {
            frame_num_bits: sequence.log2_max_frame_num_minus4() + 4,
            pic_order_cnt_type: sequence.pic_order_cnt_type(),
            pic_order_cnt_lsb_bits: sequence.log2_max_pic_order_cnt_lsb_minus4() + 4,
            delta_pic_order_always_zero: sequence.delta_pic_order_always_zero_flag() != 0,
            frame_mbs_only: sequence.frame_mbs_only_flag() != 0,
        };
        let pps = Pps {
            has_cabac: picture.entropy_coding_mode_flag() != 0,
            has_bottom_field_order: picture.pic_order_present_flag() != 0,
            weighted_p: picture.weighted_pred_flag() != 0,
            weighted_b: picture.weighted_bipred_idc() == 1,
            initial_qp: 26 + i32::from(parameters.pic_init_qp_minus26),
            has_deblocking_control: picture.deblocking_filter_control_present_flag() != 0,
            has_redundant_pictures: picture.redundant_pic_cnt_present_flag() != 0,
        };
        Self { sequence, picture, sps, pps }
    }
}

fn is_flat(matrices: &VAIQMatrixBufferH264) -> bool {
    const FLAT: u8 = 16;
    let lists_4x4 = matrices.ScalingList4x4.iter().flatten();
    lists_4x4.chain(matrices.ScalingList8x8.iter().flatten()).all(|value| *value == FLAT)
}

/// pic_scaling_matrix of a PPS (7.3.2.2), every list in full. VA-API has them in raster order.
fn write_matrices(pps: &mut BitWriter, matrices: &VAIQMatrixBufferH264, has_8x8: bool) {
    const ZIGZAG_4X4: [usize; 16] = [0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15];
    for list in &matrices.ScalingList4x4 {
        write_list(pps, ZIGZAG_4X4.iter().map(|at| list[*at]));
    }
    if has_8x8 {
        for list in &matrices.ScalingList8x8 {
            write_list(pps, ZIGZAG_8X8.iter().map(|at| list[*at]));
        }
    }
}

/// Raster position of each coefficient of an 8×8 block in zigzag order (figure 8-9; also of JPEG, figure A.6).
pub(crate) const ZIGZAG_8X8: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// scaling_list() (7.3.2.1.1.1), preceded by the flag that it is there.
fn write_list(pps: &mut BitWriter, values: impl Iterator<Item = u8>) {
    pps.bit(true);
    let mut last = 8_u8;
    for value in values {
        pps.se(value.wrapping_sub(last).cast_signed().into());
        last = value;
    }
}
