//! A container's video track as camshaft has it: 4-byte NAL lengths, parameter sets in the configuration; MPEG-4 part 2 with
//! its headers in band.

use bytes::Bytes;
use camshaft::error::ErrorKind;
use camshaft::link::FailureKind;
use camshaft::media::nal::{self, NalKind};
use camshaft::media::{
    MAX_ACCESS_UNIT, MAX_PIXELS, StreamParameters, VideoCodec, VideoConfig, mpeg4, parse_parameter_sets,
};

use crate::av::{TrackCodec, TrackFacts};
use crate::roles::End;

/// One picture.
pub(super) struct AccessUnit {
    /// NAL units behind their lengths.
    pub(super) data: Bytes,
    /// Whether decoding can start here.
    pub(super) is_key: bool,
    /// What it is read with, if that is new to this track.
    pub(super) config: Option<VideoConfig>,
}

/// A video track.
pub(super) struct Video {
    codec: VideoCodec,
    framing: Framing,
    parameter_sets: Vec<Bytes>,
    /// The parameter sets that were described last.
    described: Option<Vec<Bytes>>,
    facts: TrackFacts,
}

/// How NAL units stand in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Behind start codes (ITU-T H.264 annex B).
    StartCodes,
    /// Behind their lengths, in so many bytes (ISO/IEC 14496-15).
    Lengths(usize),
}

impl Video {
    /// The track that `facts` describe, if it is video that is carried.
    pub(super) fn of(facts: &TrackFacts) -> Option<Self> {
        let codec = match facts.codec {
            TrackCodec::H264 => VideoCodec::H264,
            TrackCodec::Hevc => VideoCodec::Hevc,
            TrackCodec::Mpeg4 => VideoCodec::Mpeg4,
            _ => return None,
        };
        let mut video =
            Self { codec, framing: Framing::StartCodes, parameter_sets: vec![], described: None, facts: facts.clone() };
        video.take_headers(&facts.extradata);
        Some(video)
    }

    /// Reads what stands beside the packets: avcC, hvcC, or parameter sets behind start codes.
    pub(super) fn take_headers(&mut self, headers: &[u8]) {
        if self.codec == VideoCodec::Mpeg4 {
            self.parameter_sets = vec![Bytes::copy_from_slice(headers)];
            return;
        }
        let record = match (self.codec, headers.first()) {
            (VideoCodec::H264, Some(1)) => read_avcc(headers),
            (_, Some(1)) => read_hvcc(headers),
            _ => None,
        };
        let sets = match record {
            Some((framing, sets)) => {
                self.framing = framing;
                sets
            }
            None => nal::annexb_units(headers).into_iter().map(Bytes::copy_from_slice).collect(),
        };
        self.note_parameter_sets(sets.iter().map(|set| &set[..]));
    }

    /// The access unit in a packet; `None` if it holds no picture that could be read yet.
    pub(super) fn take(&mut self, data: &[u8]) -> Result<Option<AccessUnit>, End> {
        if self.codec == VideoCodec::Mpeg4 {
            return self.take_mpeg4(data);
        }
        let units = match self.framing {
            Framing::StartCodes => nal::annexb_units(data),
            Framing::Lengths(length) => prefixed_units(data, length),
        };
        let kinds = || units.iter().map(|unit| nal::kind(self.codec, unit));
        let is_key = kinds().any(|kind| kind == NalKind::KeySlice);
        let is_picture = is_key || kinds().any(|kind| kind == NalKind::Slice);
        let codec = self.codec;
        self.note_parameter_sets(units.iter().copied().filter(|unit| nal::kind(codec, unit) == NalKind::ParameterSet));
        if !is_picture || self.described.is_none() && !is_key {
            return Ok(None);
        }
        let config = if is_key { self.describe()? } else { None };
        if self.described.is_none() {
            return Ok(None);
        }
        let data = nal::length_prefixed(units.iter().copied().filter(|unit| !is_delimiter(codec, unit)));
        if data.len() > MAX_ACCESS_UNIT {
            return Err(too_large());
        }
        Ok(Some(AccessUnit { data, is_key, config }))
    }

    /// One picture of MPEG-4 part 2, whose headers may stand in the SDP alone.
    fn take_mpeg4(&mut self, data: &[u8]) -> Result<Option<AccessUnit>, End> {
        let Some(is_key) = mpeg4::is_intra(data) else { return Ok(None) };
        let in_band = mpeg4::parse_layer(data);
        let beside = self.parameter_sets.first().cloned().unwrap_or_default();
        let said = if is_key { in_band.clone().or_else(|| mpeg4::parse_layer(&beside)) } else { None };
        if is_key && said.is_none() || !is_key && self.described.is_none() {
            return Ok(None);
        }
        let headers = if is_key && in_band.is_none() { &beside[..] } else { &[] };
        let data = Bytes::from([headers, data].concat());
        if data.len() > MAX_ACCESS_UNIT {
            return Err(too_large());
        }
        let config = said.map(|said| self.configuration(said, vec![])).transpose()?;
        self.described.get_or_insert_default();
        Ok(Some(AccessUnit { data, is_key, config }))
    }

    /// New sets replace those of their kind.
    fn note_parameter_sets<'a>(&mut self, sets: impl Iterator<Item = &'a [u8]>) {
        let new: Vec<Bytes> = sets.map(Bytes::copy_from_slice).collect();
        if new.is_empty() {
            return;
        }
        let kind = |set: &Bytes| set_kind(self.codec, set);
        self.parameter_sets.retain(|known| !new.iter().any(|set| kind(set) == kind(known)));
        for set in new {
            if !self.parameter_sets.contains(&set) {
                self.parameter_sets.push(set);
            }
        }
        let codec = self.codec;
        self.parameter_sets.sort_by_key(|set| set_kind(codec, set));
    }

    /// What the parameter sets say, if they are new.
    fn describe(&mut self) -> Result<Option<VideoConfig>, End> {
        let kinds = if self.codec == VideoCodec::H264 { 2 } else { 3 };
        let mut known: Vec<u8> = self.parameter_sets.iter().map(|set| set_kind(self.codec, set)).collect();
        known.dedup();
        if known.len() < kinds || self.described.as_ref() == Some(&self.parameter_sets) {
            return Ok(None);
        }
        let said = parse_parameter_sets(self.codec, &self.parameter_sets).map_err(|error| {
            let kind = match error.kind() {
                ErrorKind::Impossible => FailureKind::Limit,
                _ => FailureKind::Protocol,
            };
            End::failed(kind, error.chain())
        })?;
        self.described = Some(self.parameter_sets.clone());
        Ok(Some(self.configuration(said, self.parameter_sets.clone())?))
    }

    fn configuration(&self, said: StreamParameters, parameter_sets: Vec<Bytes>) -> Result<VideoConfig, End> {
        if said.geometry.pixels() > MAX_PIXELS {
            let message = format!("a picture of {} is past the limit of {MAX_PIXELS} pixels", said.geometry);
            return Err(End::failed(FailureKind::Limit, message));
        }
        Ok(VideoConfig {
            generation: 0,
            codec: self.codec,
            parameter_sets,
            profile: said.profile,
            rfc6381: said.rfc6381,
            geometry: said.geometry,
            frame_rate: said.frame_rate.or(self.facts.frame_rate),
            bit_depth: said.bit_depth,
            reorder_depth: said.reorder_depth,
        })
    }
}

fn too_large() -> End {
    let message = format!("an access unit is past the limit of {} MiB", MAX_ACCESS_UNIT >> 20);
    End::failed(FailureKind::Limit, message)
}

/// `nal_unit_type`.
fn set_kind(codec: VideoCodec, unit: &[u8]) -> u8 {
    let first = unit.first().copied().unwrap_or_default();
    if codec == VideoCodec::H264 { first & 0x1f } else { (first >> 1) & 0x3f }
}

/// Access unit delimiters (ITU-T H.264 table 7-1, H.265 table 7-1): outputs that need one make it.
fn is_delimiter(codec: VideoCodec, unit: &[u8]) -> bool {
    set_kind(codec, unit) == if codec == VideoCodec::H264 { 9 } else { 35 }
}

/// NAL units behind lengths of `size` bytes; stops at the first one that does not fit.
fn prefixed_units(data: &[u8], size: usize) -> Vec<&[u8]> {
    let mut units = Vec::new();
    let mut rest = data;
    while let Some((length, tail)) = rest.split_at_checked(size) {
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let Some((unit, tail)) = tail.split_at_checked(length) else { break };
        if !unit.is_empty() {
            units.push(unit);
        }
        rest = tail;
    }
    units
}

/// AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1).
fn read_avcc(record: &[u8]) -> Option<(Framing, Vec<Bytes>)> {
    let framing = Framing::Lengths(usize::from(record.get(4)? & 3) + 1);
    let mut rest = record.get(5..)?;
    let mut sets = Vec::new();
    for mask in [0x1f, 0xff] {
        let count = take_byte(&mut rest)? & mask;
        take_sets(&mut rest, count.into(), &mut sets)?;
    }
    Some((framing, sets))
}

/// HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 §8.3.3.1).
fn read_hvcc(record: &[u8]) -> Option<(Framing, Vec<Bytes>)> {
    let framing = Framing::Lengths(usize::from(record.get(21)? & 3) + 1);
    let mut rest = record.get(22..)?;
    let mut sets = Vec::new();
    for _ in 0..take_byte(&mut rest)? {
        take_byte(&mut rest)?;
        let count = u16::from_be_bytes([take_byte(&mut rest)?, take_byte(&mut rest)?]);
        take_sets(&mut rest, count, &mut sets)?;
    }
    sets.retain(|set| nal::kind(VideoCodec::Hevc, set) == NalKind::ParameterSet);
    Some((framing, sets))
}

fn take_sets(rest: &mut &[u8], count: u16, sets: &mut Vec<Bytes>) -> Option<()> {
    for _ in 0..count {
        let length = u16::from_be_bytes([take_byte(rest)?, take_byte(rest)?]);
        let (set, tail) = rest.split_at_checked(length.into())?;
        if !set.is_empty() {
            sets.push(Bytes::copy_from_slice(set));
        }
        *rest = tail;
    }
    Some(())
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_whole_or_not_at_all() {
        let avcc = [1, 0x64, 0, 31, 0xff, 0xe1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 3];
        let (framing, sets) = read_avcc(&avcc).unwrap();
        assert_eq!((framing, &sets[0][..], &sets[1][..]), (Framing::Lengths(4), &[0x67, 1, 2][..], &[0x68, 3][..]));
        assert!((0..avcc.len()).all(|length| read_avcc(&avcc[..length]).is_none()));
        let mut hvcc = vec![1; 21];
        hvcc.extend([0xf3, 2, 0xa0, 0, 1, 0, 3, 0x40, 1, 7, 0xa7, 0, 1, 0, 3, 0x4e, 1, 7]);
        let (framing, sets) = read_hvcc(&hvcc).unwrap();
        assert_eq!((framing, sets.len()), (Framing::Lengths(4), 1), "an SEI is no parameter set");
        assert!((0..hvcc.len()).all(|length| read_hvcc(&hvcc[..length]).is_none()));
    }

    #[test]
    fn lengths_of_any_size_are_followed() {
        assert_eq!(prefixed_units(&[0, 2, 1, 2, 0, 1, 3], 2), [&[1, 2][..], &[3]]);
        assert_eq!(prefixed_units(&[1, 9, 200, 1], 1), [&[9][..]]);
    }
}
