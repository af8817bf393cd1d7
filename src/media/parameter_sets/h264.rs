//! ITU-T H.264 §7.3.2.1.1 by way of `h264-reader`.

use h264_reader::nal::sps::{
    BitstreamRestrictions, FrameMbsFlags, Level, PicOrderCntType, Profile, SeqParameterSet, SpsError,
};
use h264_reader::rbsp::{self, BitReader, BitReaderError};

use super::{Demands, MAX_DPB_FRAMES, MAX_PIXELS, StreamParameters, impossible, unreadable};
use crate::error::Result;
use crate::media::{FrameRate, Geometry};

/// `nal_unit_type` of an SPS (table 7-1).
const SPS: u8 = 7;
/// Where `level_idc` stands in an SPS without its NAL header.
const LEVEL_AT: usize = 2;
/// The highest level, 6.2, as `level_idc`.
const HIGHEST_LEVEL: u8 = 62;
/// Bytes behind the end of an SPS that are forgiven; some Reolink cameras send one.
const STRAY_BYTES: usize = 4;

/// Reads a NAL unit; `None` if it is no SPS.
pub(super) fn read(unit: &[u8]) -> Result<Option<(StreamParameters, Demands)>> {
    if unit.first().is_none_or(|header| header & 0x1f != SPS) {
        return Ok(None);
    }
    let [_, profile_idc, constraints, level_idc, ..] = *unit else {
        return Err(unreadable("the SPS ends before its level"));
    };
    let sps = parse(unit)?;
    let restrictions = sps.vui_parameters.as_ref().and_then(|vui| vui.bitstream_restrictions.as_ref());
    let (width, height) = sps.pixel_dimensions().map_err(|error| unreadable(format!("bad crop in SPS: {error:?}")))?;
    let coded = coded_size(&sps);
    let (dpb_frames, dpb_source) = dpb_frames(&sps, restrictions, coded, level_idc);
    let parameters = StreamParameters {
        geometry: Geometry::new(width, height),
        profile: profile_name(sps.profile()),
        rfc6381: format!("avc1.{profile_idc:02X}{constraints:02X}{level_idc:02X}"),
        frame_rate: frame_rate(&sps),
        bit_depth: sps.chroma_info.bit_depth_luma_minus8.saturating_add(8),
        reorder_depth: reorder_depth(&sps, restrictions),
    };
    let demands = Demands {
        coded,
        chroma_format: sps.chroma_info.chroma_format.to_u32(),
        luma_bits: u32::from(sps.chroma_info.bit_depth_luma_minus8) + 8,
        chroma_bits: u32::from(sps.chroma_info.bit_depth_chroma_minus8) + 8,
        dpb_frames,
        dpb_source,
    };
    Ok(Some((parameters, demands)))
}

/// Parses as if the stream claimed the highest level: the reader refuses pictures past the claimed one, but cameras
/// that understate their level are common and decoders do not mind.
fn parse(unit: &[u8]) -> Result<SeqParameterSet> {
    let mut rbsp = rbsp::decode_nal(unit).map_err(|error| unreadable(format!("bad SPS: {error}")))?.into_owned();
    match rbsp.get_mut(LEVEL_AT) {
        Some(level) => *level = HIGHEST_LEVEL,
        None => return Err(unreadable("the SPS ends before its level")),
    }
    for _ in 0..STRAY_BYTES {
        match SeqParameterSet::from_bits(BitReader::new(&rbsp[..])) {
            Err(SpsError::RbspReaderError(BitReaderError::RemainingData)) => {
                rbsp.pop();
            }
            parsed => return parsed.map_err(refusal),
        }
    }
    Err(unreadable("bad SPS: more bytes behind its end than can be ignored"))
}

fn refusal(error: SpsError) -> crate::error::Error {
    match error {
        SpsError::FieldValueTooLarge { name: "pic_size_in_map_units", value } => impossible(format!(
            "a picture of {value} macroblocks is past the limit of {MAX_PIXELS} pixels: lower the camera's resolution"
        )),
        error => unreadable(format!("bad SPS: {error:?}")),
    }
}

fn coded_size(sps: &SeqParameterSet) -> Geometry {
    let rows_a_unit = match sps.frame_mbs_flags {
        FrameMbsFlags::Frames => 16,
        FrameMbsFlags::Fields { .. } => 32,
    };
    let side = |units: u32, pixels: u32| units.saturating_mul(pixels);
    Geometry::new(side(sps.pic_width_in_mbs(), 16), side(sps.pic_height_in_map_units(), rows_a_unit))
}

/// §A.3.1 item h and §E.2.1: `max_dec_frame_buffering`, or as many as the level allows. Streams that understate their
/// level still get the reference frames that they use.
fn dpb_frames(
    sps: &SeqParameterSet,
    restrictions: Option<&BitstreamRestrictions>,
    coded: Geometry,
    level_idc: u8,
) -> (u32, &'static str) {
    if let Some(restrictions) = restrictions {
        return (restrictions.max_dec_frame_buffering.min(MAX_DPB_FRAMES), "its SPS's max_dec_frame_buffering");
    }
    let level = Level::from_constraint_flags_and_level_idc(sps.constraint_flags, level_idc);
    let macroblocks = (coded.pixels() / 256).max(1);
    let allowed = level.limits().map(|limits| u64::from(limits.max_dpb_mbs) / macroblocks);
    match allowed {
        Some(allowed) if allowed >= u64::from(sps.max_num_ref_frames) => {
            (allowed.min(u64::from(MAX_DPB_FRAMES)) as u32, "its level's maximum")
        }
        _ => (sps.max_num_ref_frames.min(MAX_DPB_FRAMES), "its SPS's max_num_ref_frames"),
    }
}

/// §E.2.1 `max_num_reorder_frames`. Baseline has no B slices (§A.2.1), and with `pic_order_cnt_type` 2 output order is
/// decoding order (§8.2.1.3).
fn reorder_depth(sps: &SeqParameterSet, restrictions: Option<&BitstreamRestrictions>) -> u8 {
    let in_order = matches!(sps.pic_order_cnt, PicOrderCntType::TypeTwo)
        || matches!(sps.profile(), Profile::Baseline | Profile::ConstrainedBaseline);
    match restrictions {
        Some(restrictions) if !in_order => restrictions.max_num_reorder_frames.min(MAX_DPB_FRAMES) as u8,
        _ => 0,
    }
}

/// §E.2.1: a frame takes two ticks.
fn frame_rate(sps: &SeqParameterSet) -> Option<FrameRate> {
    let timing = sps.vui_parameters.as_ref()?.timing_info.as_ref()?;
    FrameRate::new(timing.time_scale, timing.num_units_in_tick.checked_mul(2)?)
}

fn profile_name(profile: Profile) -> String {
    let name = match profile {
        Profile::Baseline | Profile::ConstrainedBaseline => "baseline",
        Profile::Main => "main",
        Profile::Extended => "extended",
        Profile::High | Profile::ProgressiveHigh | Profile::ConstrainedHigh => "high",
        Profile::High10 | Profile::High10Intra => "high10",
        Profile::High422 | Profile::High422Intra => "high422",
        Profile::High444 | Profile::High444Intra | Profile::CavlcIntra444 => "high444",
        other => return format!("profile {}", other.profile_idc()),
    };
    name.to_owned()
}
