//! As much of H.264's headers (Rec. ITU-T H.264, 7.3) as it takes to find slice data and reference counts.

use crate::bits::BitReader;

/// slice_type modulo 5 (table 7-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SliceType {
    P,
    B,
    I,
    Sp,
    Si,
}

impl SliceType {
    fn new(slice_type: u32) -> Self {
        match slice_type % 5 {
            0 => Self::P,
            1 => Self::B,
            2 => Self::I,
            3 => Self::Sp,
            _ => Self::Si,
        }
    }

    pub(crate) fn is_intra(self) -> bool {
        matches!(self, Self::I | Self::Si)
    }
}

/// What the slice header's syntax takes from the SPS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sps {
    pub(crate) frame_num_bits: u32,
    pub(crate) pic_order_cnt_type: u32,
    pub(crate) pic_order_cnt_lsb_bits: u32,
    pub(crate) delta_pic_order_always_zero: bool,
    pub(crate) frame_mbs_only: bool,
}

/// What the slice header's syntax takes from the PPS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pps {
    pub(crate) has_cabac: bool,
    pub(crate) has_bottom_field_order: bool,
    /// Whether P and B slices have a prediction weight table.
    pub(crate) weighted_p: bool,
    pub(crate) weighted_b: bool,
    pub(crate) initial_qp: i32,
    pub(crate) has_deblocking_control: bool,
    pub(crate) has_redundant_pictures: bool,
}

/// The start of a slice header, up to the reference counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SliceStart {
    pub(crate) unit_type: u32,
    pub(crate) is_reference: bool,
    pub(crate) slice_type: SliceType,
    pub(crate) pps_id: u32,
    /// Bit of direct_spatial_mv_pred_flag, or of what comes in its place.
    pub(crate) direct_at: usize,
    /// num_ref_idx_active_override_flag; false for intra slices.
    pub(crate) overrides_references: bool,
}

/// A slice header up to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SliceHeader {
    pub(crate) start: SliceStart,
    /// Bit of dec_ref_pic_marking(), or of what comes in its place.
    pub(crate) marking_at: usize,
    /// Bit of cabac_init_idc or slice_qp_delta.
    pub(crate) tail_at: usize,
    pub(crate) cabac_init_idc: u32,
    pub(crate) qp_delta: i32,
    pub(crate) deblocking: Deblocking,
    /// Bit of the slice data.
    pub(crate) data_at: usize,
}

/// The deblocking filter of a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deblocking {
    pub(crate) disable_idc: u32,
    pub(crate) alpha_offset: i32,
    pub(crate) beta_offset: i32,
}

const NAL_IDR: u32 = 5;

impl Sps {
    /// Reads an SPS of progressive video behind its NAL unit header; `None` if it has a scaling matrix or is cut off.
    pub(crate) fn parse(reader: &mut BitReader<'_>) -> Option<Self> {
        const FIRST_HIGH_PROFILE: u32 = 100;
        let profile = reader.bits(8);
        reader.skip(16);
        reader.ue();
        if profile >= FIRST_HIGH_PROFILE {
            for _ in ["chroma_format_idc", "bit_depth_luma", "bit_depth_chroma"] {
                reader.ue();
            }
            reader.bit();
            if reader.bit() {
                return None;
            }
        }
        let frame_num_bits = reader.ue() + 4;
        let pic_order_cnt_type = reader.ue();
        let pic_order_cnt_lsb_bits = if pic_order_cnt_type == 0 { reader.ue() + 4 } else { 0 };
        if pic_order_cnt_type == 1 {
            return None;
        }
        reader.ue();
        reader.bit();
        reader.ue();
        reader.ue();
        let frame_mbs_only = reader.bit();
        let sps = Self {
            frame_num_bits,
            pic_order_cnt_type,
            pic_order_cnt_lsb_bits,
            delta_pic_order_always_zero: false,
            frame_mbs_only,
        };
        (!reader.overran()).then_some(sps)
    }
}

impl Pps {
    /// Reads a PPS behind its NAL unit header; `None` if it has slice groups or is cut off.
    pub(crate) fn parse(reader: &mut BitReader<'_>) -> Option<Self> {
        reader.ue();
        reader.ue();
        let has_cabac = reader.bit();
        let has_bottom_field_order = reader.bit();
        if reader.ue() != 0 {
            return None;
        }
        reader.ue();
        reader.ue();
        let weighted_p = reader.bit();
        let weighted_b = reader.bits(2) == 1;
        let initial_qp = 26 + reader.se();
        reader.se();
        reader.se();
        let has_deblocking_control = reader.bit();
        reader.bit();
        let has_redundant_pictures = reader.bit();
        let pps = Self {
            has_cabac,
            has_bottom_field_order,
            weighted_p,
            weighted_b,
            initial_qp,
            has_deblocking_control,
            has_redundant_pictures,
        };
        (!reader.overran()).then_some(pps)
    }
}

impl SliceStart {
    /// Reads the start of a slice, NAL unit header first.
    pub(crate) fn parse(reader: &mut BitReader<'_>, sps: &Sps, pps: &Pps) -> Self {
        reader.bit();
        let is_reference = reader.bits(2) != 0;
        let unit_type = reader.bits(5);
        reader.ue();
        let slice_type = SliceType::new(reader.ue());
        let pps_id = reader.ue();
        reader.bits(sps.frame_num_bits);
        let is_field = !sps.frame_mbs_only && reader.bit();
        if is_field {
            reader.bit();
        }
        if unit_type == NAL_IDR {
            reader.ue();
        }
        let has_second_order = pps.has_bottom_field_order && !is_field;
        if sps.pic_order_cnt_type == 0 {
            reader.bits(sps.pic_order_cnt_lsb_bits);
            if has_second_order {
                reader.se();
            }
        } else if sps.pic_order_cnt_type == 1 && !sps.delta_pic_order_always_zero {
            reader.se();
            if has_second_order {
                reader.se();
            }
        }
        if pps.has_redundant_pictures {
            reader.ue();
        }
        let direct_at = reader.position();
        if slice_type == SliceType::B {
            reader.bit();
        }
        let overrides_references = !slice_type.is_intra() && reader.bit();
        Self { unit_type, is_reference, slice_type, pps_id, direct_at, overrides_references }
    }
}

impl SliceHeader {
    /// Reads a slice header, NAL unit header first; `None` if it has prediction weights, is of a field, or is cut off.
    pub(crate) fn parse(reader: &mut BitReader<'_>, sps: &Sps, pps: &Pps) -> Option<Self> {
        if !sps.frame_mbs_only {
            return None;
        }
        let start = SliceStart::parse(reader, sps, pps);
        if start.overrides_references {
            reader.ue();
            if start.slice_type == SliceType::B {
                reader.ue();
            }
        }
        let lists = match start.slice_type {
            SliceType::P => 1,
            SliceType::B => 2,
            SliceType::I => 0,
            SliceType::Sp | SliceType::Si => return None,
        };
        for _ in 0..lists {
            skip_list_modification(reader);
        }
        if (pps.weighted_p && start.slice_type == SliceType::P) || (pps.weighted_b && start.slice_type == SliceType::B)
        {
            return None;
        }
        let marking_at = reader.position();
        if start.is_reference {
            skip_marking(reader, start.unit_type);
        }
        let tail_at = reader.position();
        let cabac_init_idc = if pps.has_cabac && !start.slice_type.is_intra() { reader.ue() } else { 0 };
        let qp_delta = reader.se();
        let deblocking = if pps.has_deblocking_control { Deblocking::parse(reader) } else { Deblocking::default() };
        let data_at = reader.position();
        let header = Self { start, marking_at, tail_at, cabac_init_idc, qp_delta, deblocking, data_at };
        (!reader.overran()).then_some(header)
    }
}

impl Deblocking {
    fn parse(reader: &mut BitReader<'_>) -> Self {
        let disable_idc = reader.ue();
        if disable_idc == 1 {
            return Self { disable_idc, ..Self::default() };
        }
        let alpha_offset = reader.se();
        Self { disable_idc, alpha_offset, beta_offset: reader.se() }
    }
}

/// One list of ref_pic_list_modification() (7.3.3.1).
fn skip_list_modification(reader: &mut BitReader<'_>) {
    const END: u32 = 3;
    if !reader.bit() {
        return;
    }
    while reader.ue() != END && !reader.overran() {
        reader.ue();
    }
}

/// dec_ref_pic_marking() (7.3.3.3).
fn skip_marking(reader: &mut BitReader<'_>, unit_type: u32) {
    if unit_type == NAL_IDR {
        reader.bits(2);
        return;
    }
    if !reader.bit() {
        return;
    }
    loop {
        let operands = match reader.ue() {
            1 | 2 | 4 | 6 => 1,
            3 => 2,
            5 => 0,
            _ => return,
        };
        for _ in 0..operands {
            reader.ue();
        }
        if reader.overran() {
            return;
        }
    }
}
