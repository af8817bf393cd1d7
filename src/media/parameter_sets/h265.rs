//! ITU-T H.265 §7.3.2: the fields of SPS and PPS that camshaft needs. No crate reads these for H.265; the bit reader,
//! which also removes the emulation prevention, is `h264-reader`'s.

use std::num::NonZeroUsize;

use h264_reader::rbsp::{BitRead, BitReader, BitReaderError, ByteReader};

use super::{Demands, MAX_DPB_FRAMES, StreamParameters, impossible, unreadable};
use crate::error::Result;
use crate::media::{FrameRate, Geometry};

/// `nal_unit_type` of an SPS and a PPS (table 7-1).
const SPS: u8 = 33;
const PPS: u8 = 34;
const HEADER_BYTES: NonZeroUsize = NonZeroUsize::new(2).unwrap();
/// The most tiles that any level allows (table A.8). VA-API's structures have room for no more, and drivers and
/// FFmpeg's glue have written past them.
const MAX_TILE_COLUMNS: u32 = 20;
const MAX_TILE_ROWS: u32 = 22;

type Bits<T> = Result<T, BitReaderError>;

/// Reads a NAL unit; `None` if it is no SPS.
pub(super) fn read(unit: &[u8]) -> Result<Option<(StreamParameters, Demands)>> {
    let Some(&header) = unit.first() else { return Ok(None) };
    let mut bits = BitReader::new(ByteReader::skipping_bytes(unit, HEADER_BYTES));
    match (header >> 1) & 0x3f {
        SPS => sps(&mut bits).map_err(|error| unreadable(format!("bad SPS: {error:?}")))?.describe().map(Some),
        PPS => {
            let tiles = pps_tiles(&mut bits).map_err(|error| unreadable(format!("bad PPS: {error:?}")))?;
            check_tiles(tiles)?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// profile_tier_level() as far as `general_level_idc` (§7.3.3).
struct ProfileTierLevel {
    space: u8,
    high_tier: bool,
    profile_idc: u8,
    compatibility: u32,
    constraints: [u8; 6],
    level_idc: u8,
}

struct Sps {
    general: ProfileTierLevel,
    chroma_format: u32,
    coded: Geometry,
    /// `conf_win_*_offset` left, right, top, bottom, in chroma samples.
    window: [u32; 4],
    luma_bits: u32,
    chroma_bits: u32,
    /// `sps_max_dec_pic_buffering_minus1` + 1 of the highest sub-layer.
    dpb_frames: u32,
    max_num_reorder: u32,
    frame_rate: Option<FrameRate>,
}

impl Sps {
    fn describe(self) -> Result<(StreamParameters, Demands)> {
        if self.dpb_frames > MAX_DPB_FRAMES {
            return Err(unreadable(format!(
                "bad SPS: it asks for {} reference pictures, at most {MAX_DPB_FRAMES} are allowed",
                self.dpb_frames
            )));
        }
        let demands = Demands {
            coded: self.coded,
            chroma_format: self.chroma_format,
            luma_bits: self.luma_bits,
            chroma_bits: self.chroma_bits,
            dpb_frames: self.dpb_frames,
            dpb_source: "its SPS's sps_max_dec_pic_buffering",
        };
        let parameters = StreamParameters {
            geometry: self.visible(),
            profile: self.general.name(),
            rfc6381: self.general.rfc6381(),
            frame_rate: self.frame_rate,
            bit_depth: self.luma_bits.min(u32::from(u8::MAX)) as u8,
            reorder_depth: self.max_num_reorder.min(MAX_DPB_FRAMES) as u8,
        };
        Ok((parameters, demands))
    }

    /// The conformance window (§7.4.3.2.1); an empty one is left to [`Demands`] to refuse.
    fn visible(&self) -> Geometry {
        let [left, right, top, bottom] = self.window;
        let across = if matches!(self.chroma_format, 1 | 2) { 2 } else { 1 };
        let down = if self.chroma_format == 1 { 2 } else { 1 };
        let cut = |side: u32, step: u32, a: u32, b: u32| side.saturating_sub(a.saturating_add(b).saturating_mul(step));
        Geometry::new(cut(self.coded.width, across, left, right), cut(self.coded.height, down, top, bottom))
    }
}

impl ProfileTierLevel {
    fn name(&self) -> String {
        match self.profile_idc {
            1 => "main".into(),
            2 => "main10".into(),
            3 => "mainstillpicture".into(),
            4 => "rext".into(),
            other => format!("profile {other}"),
        }
    }

    /// ISO/IEC 14496-15 §E.3.
    fn rfc6381(&self) -> String {
        let space = ["", "A", "B", "C"].get(usize::from(self.space)).unwrap_or(&"");
        let tier = if self.high_tier { 'H' } else { 'L' };
        let compatibility = self.compatibility.reverse_bits();
        let mut text = format!("hvc1.{space}{}.{compatibility:X}.{tier}{}", self.profile_idc, self.level_idc);
        let used = self.constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for byte in self.constraints.iter().take(used) {
            text.push_str(&format!(".{byte:X}"));
        }
        text
    }
}

fn sps(bits: &mut impl BitRead) -> Bits<Sps> {
    bits.skip(4, "sps_video_parameter_set_id")?;
    let max_sub_layers_minus1: u32 = bits.read::<3, _>("sps_max_sub_layers_minus1")?;
    bits.skip(1, "sps_temporal_id_nesting_flag")?;
    let general = profile_tier_level(bits, max_sub_layers_minus1)?;
    bits.read_ue("sps_seq_parameter_set_id")?;
    let chroma_format = bits.read_ue("chroma_format_idc")?;
    if chroma_format == 3 {
        bits.skip(1, "separate_colour_plane_flag")?;
    }
    let coded = Geometry::new(bits.read_ue("pic_width_in_luma_samples")?, bits.read_ue("pic_height_in_luma_samples")?);
    let window = if bits.read_bit("conformance_window_flag")? { four_offsets(bits)? } else { [0; 4] };
    let luma_bits = bits.read_ue("bit_depth_luma_minus8")?.saturating_add(8);
    let chroma_bits = bits.read_ue("bit_depth_chroma_minus8")?.saturating_add(8);
    let poc_lsb_bits = bits.read_ue("log2_max_pic_order_cnt_lsb_minus4")?.saturating_add(4);
    let (dpb_minus1, max_num_reorder) = highest_sub_layer(bits, max_sub_layers_minus1)?;
    // The VUI stands behind the coding tools. A stream is not refused for an oddity there: its rate is then unknown.
    let frame_rate = skip_coding_tools(bits, poc_lsb_bits).and_then(|()| vui_frame_rate(bits)).unwrap_or(None);
    let dpb_frames = dpb_minus1.saturating_add(1);
    Ok(Sps { general, chroma_format, coded, window, luma_bits, chroma_bits, dpb_frames, max_num_reorder, frame_rate })
}

fn four_offsets(bits: &mut impl BitRead) -> Bits<[u32; 4]> {
    Ok([bits.read_ue("left")?, bits.read_ue("right")?, bits.read_ue("top")?, bits.read_ue("bottom")?])
}

fn profile_tier_level(bits: &mut impl BitRead, max_sub_layers_minus1: u32) -> Bits<ProfileTierLevel> {
    let space = bits.read::<2, _>("general_profile_space")?;
    let high_tier = bits.read_bit("general_tier_flag")?;
    let profile_idc = bits.read::<5, _>("general_profile_idc")?;
    let compatibility = bits.read::<32, _>("general_profile_compatibility_flag")?;
    let mut constraints = [0u8; 6];
    for byte in &mut constraints {
        *byte = bits.read::<8, _>("general constraint flags")?;
    }
    let level_idc = bits.read::<8, _>("general_level_idc")?;
    let mut sub_layer_bits = 0;
    for _ in 0..max_sub_layers_minus1 {
        let profile_present = bits.read_bit("sub_layer_profile_present_flag")?;
        let level_present = bits.read_bit("sub_layer_level_present_flag")?;
        sub_layer_bits += 88 * u32::from(profile_present) + 8 * u32::from(level_present);
    }
    if max_sub_layers_minus1 > 0 {
        bits.skip(2 * (8 - max_sub_layers_minus1), "reserved_zero_2bits")?;
    }
    bits.skip(sub_layer_bits, "sub-layer levels")?;
    Ok(ProfileTierLevel { space, high_tier, profile_idc, compatibility, constraints, level_idc })
}

/// `sps_max_dec_pic_buffering_minus1` and `sps_max_num_reorder_pics` of the last, and therefore highest, sub-layer.
fn highest_sub_layer(bits: &mut impl BitRead, max_sub_layers_minus1: u32) -> Bits<(u32, u32)> {
    let written =
        if bits.read_bit("sps_sub_layer_ordering_info_present_flag")? { max_sub_layers_minus1 + 1 } else { 1 };
    let mut highest = (0, 0);
    for _ in 0..written {
        highest = (bits.read_ue("sps_max_dec_pic_buffering_minus1")?, bits.read_ue("sps_max_num_reorder_pics")?);
        bits.read_ue("sps_max_latency_increase_plus1")?;
    }
    Ok(highest)
}

fn skip_coding_tools(bits: &mut impl BitRead, poc_lsb_bits: u32) -> Bits<()> {
    for _ in 0..6 {
        bits.read_ue("block sizes and transform depths")?;
    }
    if bits.read_bit("scaling_list_enabled_flag")? && bits.read_bit("sps_scaling_list_data_present_flag")? {
        skip_scaling_lists(bits)?;
    }
    bits.skip(2, "amp_enabled_flag, sample_adaptive_offset_enabled_flag")?;
    if bits.read_bit("pcm_enabled_flag")? {
        bits.skip(8, "pcm_sample_bit_depth")?;
        bits.read_ue("log2_min_pcm_luma_coding_block_size_minus3")?;
        bits.read_ue("log2_diff_max_min_pcm_luma_coding_block_size")?;
        bits.skip(1, "pcm_loop_filter_disabled_flag")?;
    }
    let mut previous = Vec::new();
    for index in 0..bounded(bits, 64, "num_short_term_ref_pic_sets")? {
        previous = short_term_ref_pic_set(bits, index > 0, &previous)?;
    }
    if bits.read_bit("long_term_ref_pics_present_flag")? {
        for _ in 0..bounded(bits, 32, "num_long_term_ref_pics_sps")? {
            bits.skip(poc_lsb_bits.min(16), "lt_ref_pic_poc_lsb_sps")?;
            bits.skip(1, "used_by_curr_pic_lt_sps_flag")?;
        }
    }
    bits.skip(2, "sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag")
}

/// scaling_list_data() (§7.3.4).
fn skip_scaling_lists(bits: &mut impl BitRead) -> Bits<()> {
    for size in 0..4u32 {
        let lists = if size == 3 { 2 } else { 6 };
        for _ in 0..lists {
            if !bits.read_bit("scaling_list_pred_mode_flag")? {
                bits.read_ue("scaling_list_pred_matrix_id_delta")?;
                continue;
            }
            if size > 1 {
                bits.read_se("scaling_list_dc_coef_minus8")?;
            }
            for _ in 0..64.min(1 << (4 + 2 * size)) {
                bits.read_se("scaling_list_delta_coef")?;
            }
        }
    }
    Ok(())
}

/// st_ref_pic_set() (§7.3.7) with the picture order deltas of §7.4.8, which later sets refer to: the negative ones from
/// 0 down, then the positive ones up.
fn short_term_ref_pic_set(bits: &mut impl BitRead, may_predict: bool, previous: &[i64]) -> Bits<Vec<i64>> {
    if may_predict && bits.read_bit("inter_ref_pic_set_prediction_flag")? {
        return predicted_ref_pic_set(bits, previous);
    }
    let negative = bounded(bits, MAX_DPB_FRAMES, "num_negative_pics")?;
    let positive = bounded(bits, MAX_DPB_FRAMES, "num_positive_pics")?;
    let mut deltas = Vec::new();
    for (count, sign) in [(negative, -1), (positive, 1)] {
        let mut delta = 0;
        for _ in 0..count {
            delta += sign * (i64::from(bits.read_ue("delta_poc_minus1")?) + 1);
            bits.skip(1, "used_by_curr_pic_flag")?;
            deltas.push(delta);
        }
    }
    Ok(deltas)
}

fn predicted_ref_pic_set(bits: &mut impl BitRead, previous: &[i64]) -> Bits<Vec<i64>> {
    let negative = bits.read_bit("delta_rps_sign")?;
    let magnitude = i64::from(bits.read_ue("abs_delta_rps_minus1")?) + 1;
    let shift = if negative { -magnitude } else { magnitude };
    let mut deltas = Vec::new();
    for reference in previous.iter().copied().chain([0]) {
        let used = bits.read_bit("used_by_curr_pic_flag")? || bits.read_bit("use_delta_flag")?;
        if used && reference + shift != 0 {
            deltas.push(reference + shift);
        }
    }
    deltas.sort_by_key(|delta| (*delta > 0, delta.abs()));
    Ok(deltas)
}

/// vui_parameters() as far as the rate (§E.2.1); in H.265 a picture takes one tick (§E.3.1).
fn vui_frame_rate(bits: &mut impl BitRead) -> Bits<Option<FrameRate>> {
    if !bits.read_bit("vui_parameters_present_flag")? {
        return Ok(None);
    }
    if bits.read_bit("aspect_ratio_info_present_flag")? && bits.read::<8, u8>("aspect_ratio_idc")? == 255 {
        bits.skip(32, "sar_width, sar_height")?;
    }
    if bits.read_bit("overscan_info_present_flag")? {
        bits.skip(1, "overscan_appropriate_flag")?;
    }
    if bits.read_bit("video_signal_type_present_flag")? {
        bits.skip(4, "video_format, video_full_range_flag")?;
        if bits.read_bit("colour_description_present_flag")? {
            bits.skip(24, "colour description")?;
        }
    }
    if bits.read_bit("chroma_loc_info_present_flag")? {
        bits.read_ue("chroma_sample_loc_type_top_field")?;
        bits.read_ue("chroma_sample_loc_type_bottom_field")?;
    }
    bits.skip(3, "neutral_chroma_indication_flag, field_seq_flag, frame_field_info_present_flag")?;
    if bits.read_bit("default_display_window_flag")? {
        four_offsets(bits)?;
    }
    if !bits.read_bit("vui_timing_info_present_flag")? {
        return Ok(None);
    }
    let units_in_tick = bits.read::<32, _>("vui_num_units_in_tick")?;
    let time_scale = bits.read::<32, _>("vui_time_scale")?;
    Ok(FrameRate::new(time_scale, units_in_tick))
}

/// Columns and rows of tiles (§7.3.2.3.1).
fn pps_tiles(bits: &mut impl BitRead) -> Bits<(u32, u32)> {
    bits.read_ue("pps_pic_parameter_set_id")?;
    bits.read_ue("pps_seq_parameter_set_id")?;
    bits.skip(7, "dependent_slice_segments_enabled_flag to cabac_init_present_flag")?;
    bits.read_ue("num_ref_idx_l0_default_active_minus1")?;
    bits.read_ue("num_ref_idx_l1_default_active_minus1")?;
    bits.read_se("init_qp_minus26")?;
    bits.skip(2, "constrained_intra_pred_flag, transform_skip_enabled_flag")?;
    if bits.read_bit("cu_qp_delta_enabled_flag")? {
        bits.read_ue("diff_cu_qp_delta_depth")?;
    }
    bits.read_se("pps_cb_qp_offset")?;
    bits.read_se("pps_cr_qp_offset")?;
    bits.skip(4, "pps_slice_chroma_qp_offsets_present_flag to transquant_bypass_enabled_flag")?;
    let tiled = bits.read_bit("tiles_enabled_flag")?;
    bits.skip(1, "entropy_coding_sync_enabled_flag")?;
    if !tiled {
        return Ok((1, 1));
    }
    let columns = bits.read_ue("num_tile_columns_minus1")?.saturating_add(1);
    Ok((columns, bits.read_ue("num_tile_rows_minus1")?.saturating_add(1)))
}

fn check_tiles((columns, rows): (u32, u32)) -> Result<()> {
    if columns > MAX_TILE_COLUMNS || rows > MAX_TILE_ROWS {
        return Err(impossible(format!(
            "a PPS with {columns} columns and {rows} rows of tiles is past the limit of {MAX_TILE_COLUMNS} by \
             {MAX_TILE_ROWS}, the most that H.265 allows"
        )));
    }
    Ok(())
}

fn bounded(bits: &mut impl BitRead, most: u32, name: &'static str) -> Bits<u32> {
    match bits.read_ue(name)? {
        count if count <= most => Ok(count),
        _ => Err(BitReaderError::ExpGolombTooLarge(name)),
    }
}
