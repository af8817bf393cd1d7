//! Sample entries of MP4 tracks: what a player must know before the first sample (ISO/IEC 14496-15, 14496-14).

use bytes::Bytes;
use h264_reader::nal::sps::{ChromaFormat, SeqParameterSet};
use h264_reader::rbsp::{BitRead, BitReader, BitReaderError, ByteReader};
use mp4_atom::{
    Audio, Avc1, Avc3, Avcc, AvccExt, Codec, Dops, Esds, Hev1, Hvc1, HvcCArray, Hvcc, Mp4a, Opus, Visual,
    esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig},
};
use std::num::NonZeroUsize;

use super::{ParameterSets, access_unit::unit_type, opus::OpusHead};
use crate::error::{Error, ErrorKind, Result};
use crate::media::{AudioCodec, AudioConfig, VideoCodec, VideoConfig};

const H264_SPS: u8 = 7;
const H264_PPS: u8 = 8;
const HEVC_VPS: u8 = 32;
const HEVC_SPS: u8 = 33;
const HEVC_PPS: u8 = 34;
/// The NAL unit header of H.265 has two bytes (ITU-T H.265 §7.3.1.2).
const HEVC_NAL_HEADER: NonZeroUsize = NonZeroUsize::new(2).unwrap();
/// `objectTypeIndication` of MPEG-4 audio and `streamType` of audio (ISO/IEC 14496-1 tables 5 and 6).
const MPEG4_AUDIO: u8 = 0x40;
const AUDIO_STREAM: u8 = 5;
/// An `avcC` counts SPS in 5 bits.
const MAX_AVC_SPS: usize = 31;
const MAX_AVC_PPS: usize = 255;

/// The entry of the video track: `avc1`/`hvc1` with parameter sets out of band, `avc3`/`hev1` in band.
///
/// # Errors
/// [`ErrorKind::UnsupportedMedia`] if the parameter sets are missing, broken or past what the boxes can hold.
pub(super) fn video(config: &VideoConfig, place: ParameterSets) -> Result<Codec> {
    let visual = visual(config)?;
    Ok(match (config.codec, place) {
        (VideoCodec::H264, ParameterSets::OutOfBand) => {
            Avc1 { visual, avcc: avcc(config)?, ..Default::default() }.into()
        }
        (VideoCodec::H264, ParameterSets::InBand) => Avc3 { visual, avcc: avcc(config)?, ..Default::default() }.into(),
        (VideoCodec::Hevc, ParameterSets::OutOfBand) => {
            Hvc1 { visual, hvcc: hvcc(config, place)?, ..Default::default() }.into()
        }
        (VideoCodec::Hevc, ParameterSets::InBand) => {
            Hev1 { visual, hvcc: hvcc(config, place)?, ..Default::default() }.into()
        }
        (codec, _) => return Err(unsupported(format!("{codec} is not written into MP4"))),
    })
}

/// The entry of a track of AAC or Opus.
///
/// # Errors
/// [`ErrorKind::UnsupportedMedia`] for other codecs, and without Opus's header.
pub(super) fn audio(config: &AudioConfig) -> Result<Codec> {
    let entry = Audio {
        data_reference_index: 1,
        channel_count: config.channels,
        sample_size: 16,
        // 16 bits; a rate beyond stands in the AudioSpecificConfig, which players go by.
        sample_rate: u16::try_from(config.sample_rate).unwrap_or(0).into(),
    };
    match (config.codec, OpusHead::parse(&config.specific)) {
        (AudioCodec::Aac, _) => Ok(aac(config, entry)),
        (AudioCodec::Opus, Some(head)) => Ok(opus(head, entry)),
        (codec, _) => Err(unsupported(format!("{} is not written into MP4", codec.name()))),
    }
}

/// Encapsulation of Opus in ISO Base Media File Format §4.3.
fn opus(head: OpusHead, audio: Audio) -> Codec {
    let OpusHead { channels, pre_skip, input_sample_rate, output_gain } = head;
    let dops = Dops { output_channel_count: channels, pre_skip, input_sample_rate, output_gain, channel_mapping: None };
    Opus { audio, dops, btrt: None }.into()
}

fn aac(config: &AudioConfig, audio: Audio) -> Codec {
    let dec_config = DecoderConfig {
        object_type_indication: MPEG4_AUDIO,
        stream_type: AUDIO_STREAM,
        dec_specific: Some(DecoderSpecific { raw: config.specific.to_vec(), ..Default::default() }),
        ..Default::default()
    };
    let es_desc = EsDescriptor { dec_config, sl_config: SLConfig {}, ..Default::default() };
    Mp4a { audio, esds: Esds { es_desc }, btrt: None, taic: None }.into()
}

fn visual(config: &VideoConfig) -> Result<Visual> {
    let side = |pixels: u32| {
        u16::try_from(pixels).map_err(|_| unsupported(format!("MP4 holds no picture of {}", config.geometry)))
    };
    Ok(Visual {
        data_reference_index: 1,
        width: side(config.geometry.width)?,
        height: side(config.geometry.height)?,
        ..Default::default()
    })
}

fn avcc(config: &VideoConfig) -> Result<Avcc> {
    let sequence_parameter_sets = sets_of(config, H264_SPS)?;
    let picture_parameter_sets = sets_of(config, H264_PPS)?;
    if sequence_parameter_sets.len() > MAX_AVC_SPS || picture_parameter_sets.len() > MAX_AVC_PPS {
        return Err(unsupported("MP4 holds at most 31 SPS and 255 PPS".to_owned()));
    }
    let Some([_, profile, compatibility, level, ..]) = sequence_parameter_sets.first().map(Vec::as_slice) else {
        return Err(unsupported("the source's SPS ends early".to_owned()));
    };
    Ok(Avcc {
        configuration_version: 1,
        avc_profile_indication: *profile,
        profile_compatibility: *compatibility,
        avc_level_indication: *level,
        length_size: 4,
        ext: avcc_ext(&sequence_parameter_sets),
        sequence_parameter_sets,
        picture_parameter_sets,
    })
}

/// The part of `avcC` that the High profiles add (ISO/IEC 14496-15 §5.3.3.1.2). Players do without it, so an SPS that
/// cannot be read in full only leaves it out.
fn avcc_ext(sets: &[Vec<u8>]) -> Option<AvccExt> {
    let bits = BitReader::new(ByteReader::skipping_h264_header(sets.first()?.as_slice()));
    let sps = SeqParameterSet::from_bits(bits).ok()?;
    if !sps.profile_idc.has_chroma_info() {
        return None;
    }
    Some(AvccExt {
        chroma_format: match sps.chroma_info.chroma_format {
            ChromaFormat::Monochrome => 0,
            ChromaFormat::YUV420 => 1,
            ChromaFormat::YUV422 => 2,
            ChromaFormat::YUV444 => 3,
            ChromaFormat::Invalid(_) => return None,
        },
        bit_depth_luma: sps.chroma_info.bit_depth_luma_minus8.checked_add(8)?,
        bit_depth_chroma: sps.chroma_info.bit_depth_chroma_minus8.checked_add(8)?,
        sequence_parameter_sets_ext: Vec::new(),
    })
}

fn hvcc(config: &VideoConfig, place: ParameterSets) -> Result<Hvcc> {
    let mut arrays = Vec::with_capacity(3);
    for nal_unit_type in [HEVC_VPS, HEVC_SPS, HEVC_PPS] {
        // Complete means that no further set of this type stands in the samples.
        let completeness = place == ParameterSets::OutOfBand;
        arrays.push(HvcCArray { completeness, nal_unit_type, nalus: sets_of(config, nal_unit_type)? });
    }
    let sps = arrays.get(1).and_then(|array| array.nalus.first()).map(Vec::as_slice).unwrap_or_default();
    let record = read_hevc_sps(sps).map_err(|error| unsupported(format!("the source's SPS is broken: {error:?}")))?;
    Ok(Hvcc { arrays, ..record })
}

/// The fields of HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 §8.3.3.1) that stand in an SPS (ITU-T H.265
/// §7.3.2.2.1 and §7.3.3).
fn read_hevc_sps(sps: &[u8]) -> Result<Hvcc, BitReaderError> {
    let mut bits = BitReader::new(ByteReader::skipping_bytes(sps, HEVC_NAL_HEADER));
    bits.skip(4, "sps_video_parameter_set_id")?;
    let max_sub_layers_minus1 = bits.read::<3, u8>("sps_max_sub_layers_minus1")?;
    let mut record = Hvcc {
        configuration_version: 1,
        num_temporal_layers: max_sub_layers_minus1 + 1,
        temporal_id_nested: bits.read_bit("sps_temporal_id_nesting_flag")?,
        general_profile_space: bits.read::<2, u8>("general_profile_space")?,
        general_tier_flag: bits.read_bit("general_tier_flag")?,
        general_profile_idc: bits.read::<5, u8>("general_profile_idc")?,
        general_profile_compatibility_flags: bits.read_to("general_profile_compatibility_flags")?,
        general_constraint_indicator_flags: bits.read_to("general_constraint_indicator_flags")?,
        general_level_idc: bits.read::<8, u8>("general_level_idc")?,
        length_size_minus_one: 3,
        ..Hvcc::new()
    };
    skip_sub_layers(&mut bits, max_sub_layers_minus1)?;
    bits.read_ue("sps_seq_parameter_set_id")?;
    let chroma_format_idc = bits.read_ue("chroma_format_idc")?;
    if chroma_format_idc == 3 {
        bits.skip(1, "separate_colour_plane_flag")?;
    }
    bits.read_ue("pic_width_in_luma_samples")?;
    bits.read_ue("pic_height_in_luma_samples")?;
    if bits.read_bit("conformance_window_flag")? {
        for side in ["left", "right", "top", "bottom"] {
            bits.read_ue(side)?;
        }
    }
    // The boxes have 2 and 3 bits for these; the standard's own ranges fit.
    record.chroma_format_idc = (chroma_format_idc & 3) as u8;
    record.bit_depth_luma_minus8 = (bits.read_ue("bit_depth_luma_minus8")? & 7) as u8;
    record.bit_depth_chroma_minus8 = (bits.read_ue("bit_depth_chroma_minus8")? & 7) as u8;
    Ok(record)
}

fn skip_sub_layers(bits: &mut impl BitRead, max_sub_layers_minus1: u8) -> Result<(), BitReaderError> {
    let mut present = Vec::new();
    for _ in 0..max_sub_layers_minus1 {
        present
            .push((bits.read_bit("sub_layer_profile_present_flag")?, bits.read_bit("sub_layer_level_present_flag")?));
    }
    if max_sub_layers_minus1 > 0 {
        bits.skip(2 * u32::from(8 - max_sub_layers_minus1), "reserved_zero_2bits")?;
    }
    for (profile, level) in present {
        let length = if profile { 88 } else { 0 } + if level { 8 } else { 0 };
        bits.skip(length, "sub_layer_profile_tier_level")?;
    }
    Ok(())
}

/// The configuration's parameter sets of one type, of which there must be one.
fn sets_of(config: &VideoConfig, wanted: u8) -> Result<Vec<Vec<u8>>> {
    let is_wanted = |set: &&Bytes| unit_type(config.codec, set) == Some(wanted);
    let sets: Vec<Vec<u8>> = config.parameter_sets.iter().filter(is_wanted).map(|set| set.to_vec()).collect();
    let codec = config.codec.name();
    if sets.is_empty() {
        let message =
            format!("the source has no {codec} parameter set of type {wanted}: MP4 needs one before it starts");
        return Err(unsupported(message));
    }
    if sets.len() > usize::from(u16::MAX) || sets.iter().any(|set| set.len() > usize::from(u16::MAX)) {
        return Err(unsupported(format!(
            "an {codec} parameter set of type {wanted} is over MP4's limit of 65535 bytes"
        )));
    }
    Ok(sets)
}

fn unsupported(message: String) -> Error {
    Error::new(ErrorKind::UnsupportedMedia, message)
}
