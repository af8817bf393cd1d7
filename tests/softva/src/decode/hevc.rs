//! HEVC (Rec. ITU-T H.265), Main and Main 10: VPS, SPS and PPS from VA-API's parameters, and slices with a new header.
//!
//! VA-API lacks the SPS's table of short-term reference picture sets. So the SPS here has none, and each slice gets the set
//! itself, as the reference frames of the picture give it. Sets of long-term pictures that the SPS would have cannot be
//! rebuilt; such streams are refused.

use super::{KnownSets, slice_bytes};
use crate::bits::{BitReader, BitWriter, append_unit, unescape};
use crate::buffer::{Submitted, optional_parameters, parameters};
use crate::va::*;

type PictureFields = _VAPictureParameterBufferHEVC__bindgen_ty_1__bindgen_ty_1;
type SliceFields = _VAPictureParameterBufferHEVC__bindgen_ty_2__bindgen_ty_1;

const NAL_VPS: u32 = 32;
const NAL_SPS: u32 = 33;
const NAL_PPS: u32 = 34;
const LARGEST_PPS_ID: u32 = 63;

/// The stream of a context.
#[derive(Debug)]
pub(super) struct Stream {
    is_main_10: bool,
    known: KnownSets,
}

/// VA-API's parameters of a picture.
struct Parameters {
    picture: VAPictureParameterBufferHEVC,
    fields: PictureFields,
    slice_fields: SliceFields,
}

impl Stream {
    pub(super) fn new(profile: VAProfile) -> Self {
        Self { is_main_10: profile == VAProfileHEVCMain10, known: KnownSets::default() }
    }

    /// The access unit of a picture, with parameter sets where they are new.
    pub(super) fn access_unit(&mut self, submitted: &[Submitted]) -> Result<Vec<u8>> {
        let picture: VAPictureParameterBufferHEVC = parameters(submitted, VAPictureParameterBufferType)?;
        let matrices = optional_parameters::<VAIQMatrixBufferHEVC>(submitted, VAIQMatrixBufferType);
        // SAFETY: the other side of the union is the same bits as an integer.
        let fields = unsafe { picture.pic_fields.bits };
        // SAFETY: as above.
        let slice_fields = unsafe { picture.slice_parsing_fields.bits };
        let parameters = Parameters { picture, fields, slice_fields };
        let mut stream = Vec::new();
        let sps = parameters.sps(self.is_main_10, matrices.as_ref());
        if self.known.is_new_sps(&sps) {
            append_unit(&mut stream, &parameters.vps(self.is_main_10));
            append_unit(&mut stream, &sps);
        }
        let mut slice: Option<VASliceParameterBufferHEVC> = None;
        for buffer in submitted {
            if buffer.kind == VASliceParameterBufferType {
                slice = buffer.read();
            }
            if buffer.kind != VASliceDataBufferType {
                continue;
            }
            let Some(slice) = slice.take() else { continue };
            let bytes = slice_bytes(&buffer.bytes, slice.slice_data_offset, slice.slice_data_size)?;
            let rewritten = parameters.rewrite(bytes, &slice)?;
            let pps = parameters.pps(rewritten.pps_id);
            if self.known.is_new_pps(rewritten.pps_id, &pps) {
                append_unit(&mut stream, &pps);
            }
            append_unit(&mut stream, &rewritten.payload);
        }
        if stream.is_empty() { Err(Status::INVALID_PARAMETER) } else { Ok(stream) }
    }
}

/// A slice segment with its reference picture set in the header.
struct Rewritten {
    pps_id: u32,
    payload: Vec<u8>,
}

impl Parameters {
    fn vps(&self, is_main_10: bool) -> Vec<u8> {
        let mut vps = BitWriter::new();
        write_unit_header(&mut vps, NAL_VPS);
        vps.bits(0, 4);
        vps.bits(0b11, 2);
        vps.bits(0, 6);
        vps.bits(0, 3);
        vps.bit(true);
        vps.bits(0xffff, 16);
        write_profile(&mut vps, is_main_10);
        vps.bit(true);
        vps.ue(self.picture.sps_max_dec_pic_buffering_minus1.into());
        vps.ue(0);
        vps.ue(0);
        vps.bits(0, 6);
        vps.ue(0);
        vps.bits(0b00, 2);
        vps.trailing();
        vps.finish()
    }

    fn sps(&self, is_main_10: bool, matrices: Option<&VAIQMatrixBufferHEVC>) -> Vec<u8> {
        let Self { picture, fields, slice_fields } = self;
        let mut sps = BitWriter::new();
        write_unit_header(&mut sps, NAL_SPS);
        sps.bits(0, 4);
        sps.bits(0, 3);
        sps.bit(true);
        write_profile(&mut sps, is_main_10);
        sps.ue(0);
        sps.ue(fields.chroma_format_idc());
        sps.ue(picture.pic_width_in_luma_samples.into());
        sps.ue(picture.pic_height_in_luma_samples.into());
        sps.bit(false);
        sps.ue(picture.bit_depth_luma_minus8.into());
        sps.ue(picture.bit_depth_chroma_minus8.into());
        sps.ue(picture.log2_max_pic_order_cnt_lsb_minus4.into());
        sps.bit(true);
        let buffering = u32::from(picture.sps_max_dec_pic_buffering_minus1);
        sps.ue(buffering);
        sps.ue(if fields.NoPicReorderingFlag() != 0 { 0 } else { buffering.min(2) });
        sps.ue(0);
        sps.ue(picture.log2_min_luma_coding_block_size_minus3.into());
        sps.ue(picture.log2_diff_max_min_luma_coding_block_size.into());
        sps.ue(picture.log2_min_transform_block_size_minus2.into());
        sps.ue(picture.log2_diff_max_min_transform_block_size.into());
        sps.ue(picture.max_transform_hierarchy_depth_inter.into());
        sps.ue(picture.max_transform_hierarchy_depth_intra.into());
        sps.flag(fields.scaling_list_enabled_flag());
        if fields.scaling_list_enabled_flag() != 0 {
            sps.bit(matrices.is_some());
            if let Some(matrices) = matrices {
                write_matrices(&mut sps, matrices);
            }
        }
        sps.flag(fields.amp_enabled_flag());
        sps.flag(slice_fields.sample_adaptive_offset_enabled_flag());
        sps.flag(fields.pcm_enabled_flag());
        if fields.pcm_enabled_flag() != 0 {
            sps.bits(picture.pcm_sample_bit_depth_luma_minus1.into(), 4);
            sps.bits(picture.pcm_sample_bit_depth_chroma_minus1.into(), 4);
            sps.ue(picture.log2_min_pcm_luma_coding_block_size_minus3.into());
            sps.ue(picture.log2_diff_max_min_pcm_luma_coding_block_size.into());
            sps.flag(fields.pcm_loop_filter_disabled_flag());
        }
        sps.ue(0); // no short-term sets: the slices have them
        sps.flag(slice_fields.long_term_ref_pics_present_flag());
        if slice_fields.long_term_ref_pics_present_flag() != 0 {
            sps.ue(0);
        }
        sps.flag(slice_fields.sps_temporal_mvp_enabled_flag());
        sps.flag(fields.strong_intra_smoothing_enabled_flag());
        sps.bits(0b00, 2); // no VUI, no extension
        sps.trailing();
        sps.finish()
    }

    fn pps(&self, id: u32) -> Vec<u8> {
        let Self { picture, fields, slice_fields } = self;
        let mut pps = BitWriter::new();
        write_unit_header(&mut pps, NAL_PPS);
        pps.ue(id);
        pps.ue(0);
        pps.flag(slice_fields.dependent_slice_segments_enabled_flag());
        pps.flag(slice_fields.output_flag_present_flag());
        pps.bits(picture.num_extra_slice_header_bits.into(), 3);
        pps.flag(fields.sign_data_hiding_enabled_flag());
        pps.flag(slice_fields.cabac_init_present_flag());
        pps.ue(picture.num_ref_idx_l0_default_active_minus1.into());
        pps.ue(picture.num_ref_idx_l1_default_active_minus1.into());
        pps.se(picture.init_qp_minus26.into());
        pps.flag(fields.constrained_intra_pred_flag());
        pps.flag(fields.transform_skip_enabled_flag());
        pps.flag(fields.cu_qp_delta_enabled_flag());
        if fields.cu_qp_delta_enabled_flag() != 0 {
            pps.ue(picture.diff_cu_qp_delta_depth.into());
        }
        pps.se(picture.pps_cb_qp_offset.into());
        pps.se(picture.pps_cr_qp_offset.into());
        pps.flag(slice_fields.pps_slice_chroma_qp_offsets_present_flag());
        pps.flag(fields.weighted_pred_flag());
        pps.flag(fields.weighted_bipred_flag());
        pps.flag(fields.transquant_bypass_enabled_flag());
        pps.flag(fields.tiles_enabled_flag());
        pps.flag(fields.entropy_coding_sync_enabled_flag());
        if fields.tiles_enabled_flag() != 0 {
            self.write_tiles(&mut pps);
        }
        pps.flag(fields.pps_loop_filter_across_slices_enabled_flag());
        pps.bit(true);
        pps.flag(slice_fields.deblocking_filter_override_enabled_flag());
        pps.flag(slice_fields.pps_disable_deblocking_filter_flag());
        if slice_fields.pps_disable_deblocking_filter_flag() == 0 {
            pps.se(picture.pps_beta_offset_div2.into());
            pps.se(picture.pps_tc_offset_div2.into());
        }
        pps.bit(false); // the SPS has the scaling lists
        pps.flag(slice_fields.lists_modification_present_flag());
        pps.ue(picture.log2_parallel_merge_level_minus2.into());
        pps.flag(slice_fields.slice_segment_header_extension_present_flag());
        pps.bit(false);
        pps.trailing();
        pps.finish()
    }

    fn write_tiles(&self, pps: &mut BitWriter) {
        let picture = &self.picture;
        pps.ue(picture.num_tile_columns_minus1.into());
        pps.ue(picture.num_tile_rows_minus1.into());
        pps.bit(false);
        for width in picture.column_width_minus1.iter().take(picture.num_tile_columns_minus1.into()) {
            pps.ue((*width).into());
        }
        for height in picture.row_height_minus1.iter().take(picture.num_tile_rows_minus1.into()) {
            pps.ue((*height).into());
        }
        pps.flag(self.fields.loop_filter_across_tiles_enabled_flag());
    }

    /// Puts the picture's reference picture set into the header of a slice segment (7.3.6.1). Everything else is copied.
    fn rewrite(&self, unit: &[u8], slice: &VASliceParameterBufferHEVC) -> Result<Rewritten> {
        const NAL_BLA_FIRST: u32 = 16;
        const NAL_RESERVED_IRAP_LAST: u32 = 23;
        const NAL_IDRS: [u32; 2] = [19, 20];
        let payload = unescape(unit);
        let header_end = unescape(unit.get(..slice.slice_data_byte_offset as usize).unwrap_or(unit)).len() * 8;
        let mut reader = BitReader::new(&payload);
        let mut writer = BitWriter::new();
        writer.copy(&mut reader, 16);
        let unit_type = u32::from(payload.first().copied().unwrap_or(0) >> 1 & 0x3f);
        let is_first = copy_bit(&mut reader, &mut writer);
        if (NAL_BLA_FIRST..=NAL_RESERVED_IRAP_LAST).contains(&unit_type) {
            copy_bit(&mut reader, &mut writer);
        }
        let pps_id = copy_ue(&mut reader, &mut writer).min(LARGEST_PPS_ID);
        let mut is_dependent = false;
        if !is_first {
            if self.slice_fields.dependent_slice_segments_enabled_flag() != 0 {
                is_dependent = copy_bit(&mut reader, &mut writer);
            }
            copy_bits(&mut reader, &mut writer, self.address_bits());
        }
        if !is_dependent {
            copy_bits(&mut reader, &mut writer, self.picture.num_extra_slice_header_bits.into());
            copy_ue(&mut reader, &mut writer);
            copy_bits(&mut reader, &mut writer, self.slice_fields.output_flag_present_flag());
            copy_bits(&mut reader, &mut writer, 2 * self.fields.separate_colour_plane_flag());
            if !NAL_IDRS.contains(&unit_type) {
                self.replace_reference_set(&mut reader, &mut writer)?;
            }
        }
        // byte_alignment() ends the header: a one, and zeros.
        let header_end = header_end.min(payload.len() * 8);
        let is_set = |at: usize| payload[at / 8] >> (7 - at % 8) & 1 == 1;
        let alignment = (reader.position()..header_end).rev().find(|at| is_set(*at)).ok_or(Status::DECODING_ERROR)?;
        writer.copy(&mut reader, alignment);
        writer.trailing();
        writer.bytes(&payload[header_end / 8..]);
        Ok(Rewritten { pps_id, payload: writer.finish() })
    }

    /// Bits of slice_segment_address.
    fn address_bits(&self) -> u32 {
        let picture = &self.picture;
        let log2_size = u32::from(picture.log2_min_luma_coding_block_size_minus3)
            + 3
            + u32::from(picture.log2_diff_max_min_luma_coding_block_size);
        let blocks = |samples: u16| u32::from(samples).div_ceil(1 << log2_size.min(16));
        bits_for(blocks(picture.pic_width_in_luma_samples) * blocks(picture.pic_height_in_luma_samples))
    }

    fn replace_reference_set(&self, reader: &mut BitReader<'_>, writer: &mut BitWriter) -> Result<()> {
        let picture = &self.picture;
        if self.slice_fields.long_term_ref_pics_present_flag() != 0 && picture.num_long_term_ref_pic_sps != 0 {
            return Err(Status::UNIMPLEMENTED);
        }
        copy_bits(reader, writer, u32::from(picture.log2_max_pic_order_cnt_lsb_minus4) + 4);
        let is_from_sps = reader.bit();
        writer.bit(false);
        if is_from_sps {
            reader.skip(bits_for(picture.num_short_term_ref_pic_sets.into()) as usize);
        } else {
            reader.skip(picture.st_rps_bits as usize);
        }
        self.write_reference_set(writer);
        Ok(())
    }

    /// st_ref_pic_set(0) (7.3.7): distances of the pictures before and after this one, nearest first.
    fn write_reference_set(&self, writer: &mut BitWriter) {
        const UNUSABLE: u32 = VA_PICTURE_HEVC_INVALID | VA_PICTURE_HEVC_LONG_TERM_REFERENCE;
        const USED: u32 = VA_PICTURE_HEVC_RPS_ST_CURR_BEFORE | VA_PICTURE_HEVC_RPS_ST_CURR_AFTER;
        let references = self
            .picture
            .ReferenceFrames
            .iter()
            .filter(|frame| frame.picture_id != VA_INVALID_ID && frame.flags & UNUSABLE == 0)
            .map(|frame| {
                let distance = frame.pic_order_cnt.wrapping_sub(self.picture.CurrPic.pic_order_cnt);
                (distance, frame.flags & USED != 0)
            });
        let (mut before, mut after): (Vec<_>, Vec<_>) =
            references.filter(|(distance, _)| *distance != 0).partition(|(distance, _)| *distance < 0);
        before.sort_by_key(|(distance, _)| -distance);
        after.sort_by_key(|(distance, _)| *distance);
        writer.ue(before.len() as u32);
        writer.ue(after.len() as u32);
        for side in [before, after] {
            let mut last = 0;
            for (distance, is_used) in side {
                writer.ue((distance - last).unsigned_abs().saturating_sub(1));
                writer.bit(is_used);
                last = distance;
            }
        }
    }
}

fn write_unit_header(writer: &mut BitWriter, unit_type: u32) {
    writer.bits(unit_type << 1, 8);
    writer.bits(1, 8);
}

/// profile_tier_level() (7.3.3) of Main or Main 10, level 6.2.
fn write_profile(writer: &mut BitWriter, is_main_10: bool) {
    writer.bits(0, 3);
    writer.bits(if is_main_10 { 2 } else { 1 }, 5);
    writer.bits(if is_main_10 { 0x2000_0000 } else { 0x6000_0000 }, 32);
    writer.bits(0b1001, 4);
    writer.bits(0, 32);
    writer.bits(0, 12);
    writer.bits(186, 8);
}

/// scaling_list_data() (7.3.4), every list in full. FFmpeg hands the lists over in raster order.
fn write_matrices(sps: &mut BitWriter, matrices: &VAIQMatrixBufferHEVC) {
    for list in &matrices.ScalingList4x4 {
        write_list(sps, list, 4, None);
    }
    for list in &matrices.ScalingList8x8 {
        write_list(sps, list, 8, None);
    }
    for (list, dc) in matrices.ScalingList16x16.iter().zip(matrices.ScalingListDC16x16) {
        write_list(sps, list, 8, Some(dc));
    }
    for (list, dc) in matrices.ScalingList32x32.iter().zip(matrices.ScalingListDC32x32) {
        write_list(sps, list, 8, Some(dc));
    }
}

/// One list, in up-right diagonal order (6.5.3).
fn write_list(sps: &mut BitWriter, list: &[u8], side: usize, dc: Option<u8>) {
    sps.bit(true);
    let mut last = 8_u8;
    if let Some(dc) = dc {
        sps.se(i32::from(dc) - 8);
        last = dc;
    }
    for diagonal in 0..2 * side - 1 {
        for y in (0..=diagonal.min(side - 1)).rev().filter(|y| diagonal - y < side) {
            let value = list[y * side + diagonal - y];
            sps.se(value.wrapping_sub(last).cast_signed().into());
            last = value;
        }
    }
}

/// Ceil(Log2(count)).
fn bits_for(count: u32) -> u32 {
    count.max(1).next_power_of_two().ilog2()
}

fn copy_bit(reader: &mut BitReader<'_>, writer: &mut BitWriter) -> bool {
    let bit = reader.bit();
    writer.bit(bit);
    bit
}

fn copy_bits(reader: &mut BitReader<'_>, writer: &mut BitWriter, count: u32) {
    let end = reader.position() + count as usize;
    writer.copy(reader, end);
}

fn copy_ue(reader: &mut BitReader<'_>, writer: &mut BitWriter) -> u32 {
    let value = reader.ue();
    writer.ue(value);
    value
}
