//! What a byte stream needs of an access unit beyond its own bytes: delimiters and parameter sets.

use bytes::Bytes;

use crate::media::{Packet, VideoCodec, VideoConfig, nal};

/// `nal_unit_type` of an H.264 access unit delimiter (ITU-T H.264 table 7-1).
const H264_DELIMITER: u8 = 9;
/// `nal_unit_type` of an H.265 access unit delimiter (ITU-T H.265 table 7-1).
const HEVC_DELIMITER: u8 = 35;

/// `nal_unit_type` of a bare NAL unit; `None` if it is empty, or of a codec that has none.
pub(super) fn unit_type(codec: VideoCodec, unit: &[u8]) -> Option<u8> {
    let first = unit.first()?;
    match codec {
        VideoCodec::H264 => Some(first & 0x1f),
        VideoCodec::Hevc => Some((first >> 1) & 0x3f),
        _ => None,
    }
}

/// Whether a bare NAL unit is an access unit delimiter.
pub(super) fn is_delimiter(codec: VideoCodec, unit: &[u8]) -> bool {
    let delimiter = match codec {
        VideoCodec::Hevc => HEVC_DELIMITER,
        _ => H264_DELIMITER,
    };
    unit_type(codec, unit) == Some(delimiter)
}

/// The delimiter to put before `access_unit`, as a bare NAL unit that allows every slice type: the camera's own if it
/// has one.
pub(super) fn delimiter(codec: VideoCodec, access_unit: &[u8]) -> Vec<u8> {
    if let Some(own) = nal::units(access_unit).find(|unit| is_delimiter(codec, unit)) {
        return own.to_vec();
    }
    match codec {
        VideoCodec::H264 => vec![H264_DELIMITER, 0xf0],
        VideoCodec::Hevc => vec![HEVC_DELIMITER << 1, temporal_id_plus1(access_unit), 0x50],
        _ => vec![],
    }
}

/// An H.265 delimiter has the TemporalId of its access unit (ITU-T H.265 §7.4.2.2).
fn temporal_id_plus1(access_unit: &[u8]) -> u8 {
    let is_slice =
        |unit: &&[u8]| matches!(nal::kind(VideoCodec::Hevc, unit), nal::NalKind::KeySlice | nal::NalKind::Slice);
    let second_byte = nal::units(access_unit).find(is_slice).and_then(|slice| slice.get(1));
    second_byte.map_or(1, |byte| (byte & 7).max(1))
}

/// The parameter sets to put before this packet: all of its configuration's at a keyframe, none if the access unit
/// already carries every kind itself.
pub fn parameter_sets_before<'a>(packet: &Packet, config: &'a VideoConfig) -> &'a [Bytes] {
    let carries = |set: &Bytes| {
        let wanted = unit_type(config.codec, set);
        nal::units(&packet.data).any(|unit| unit_type(config.codec, unit) == wanted)
    };
    if !packet.header.keyframe || config.parameter_sets.iter().all(carries) {
        return &[];
    }
    &config.parameter_sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_has_the_temporal_id_of_its_access_unit() {
        let slice_of_layer_1 = nal::length_prefixed([&[0x02, 0x02, 0xff][..]]);
        assert_eq!(delimiter(VideoCodec::Hevc, &slice_of_layer_1), [0x46, 2, 0x50]);
        assert_eq!(delimiter(VideoCodec::Hevc, &[]), [0x46, 1, 0x50]);
        assert_eq!(delimiter(VideoCodec::H264, &[]), [9, 0xf0]);
    }

    #[test]
    fn the_cameras_own_delimiter_is_kept() {
        let access_unit = nal::length_prefixed([&[9, 0x10][..], &[0x65, 1]]);
        assert_eq!(delimiter(VideoCodec::H264, &access_unit), [9, 0x10]);
    }
}
