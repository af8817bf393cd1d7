//! Fragmented MP4 (ISO/IEC 14496-12, CMAF's low-latency shape): one fragment an access unit, written as it arrives.

use bytes::{BufMut, Bytes, BytesMut};
use mp4_atom::{
    Codec, Dinf, Dref, DrefEntry, Encode, FourCC, Ftyp, Hdlr, Mdhd, Mdia, Mfhd, Minf, Moof, Moov, Mvex, Mvhd, Smhd,
    Stbl, Stco, Stsd, Tfdt, Tfhd, Tkhd, Traf, Trak, Trex, Trun, TrunEntry, Url, Vmhd,
};

use super::timeline::{Placement, Timeline};
use super::{
    Flow, PacketMuxer, ParameterSets, access_unit, audio_specific::AudioSpecific, opus::OpusHead, sample_entry,
};
use crate::error::{Error, Result};
use crate::media::{
    AudioCodec, AudioConfig, FrameRate, MediaTime, Packet, PacketHeader, Track, TrackConfig, VideoConfig,
};

const VIDEO_TRACK: u32 = 1;
const AUDIO_TRACK: u32 = 2;
const TIMESCALE: u32 = MediaTime::HZ as u32;
/// Size and type before a box's body.
const BOX_HEADER: usize = 8;
/// Samples in an AAC frame.
const AAC_FRAME: i64 = 1024;
/// The duration given out while nothing is known: 1/25 s.
const DEFAULT_DURATION: u32 = TIMESCALE / 25;
/// Sample flags (ISO/IEC 14496-12 §8.8.3.1): depends on no other sample.
const SYNC_SAMPLE: u32 = 0x0200_0000;
/// Depends on others, and is no sync sample.
const NON_SYNC_SAMPLE: u32 = 0x0101_0000;

/// Fragmented MP4 with the clock of 90 kHz for both tracks, starting at 0.
#[derive(Debug)]
pub struct Fmp4 {
    parameter_sets: ParameterSets,
    video: VideoConfig,
    audio: Option<AudioConfig>,
    header: Bytes,
    /// From the start of a `moof` to the sample; the same for every fragment, as all have the same fields.
    data_offset: i32,
    sequence_number: u32,
    timeline: Timeline,
    video_durations: Durations,
    audio_durations: Durations,
}

impl Fmp4 {
    /// A file of `video` and, where MP4 can carry it, `audio`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::UnsupportedMedia`] if the parameter sets are missing, broken or too large for MP4.
    pub fn new(video: &VideoConfig, audio: Option<&AudioConfig>, parameter_sets: ParameterSets) -> Result<Self> {
        let audio = audio.filter(|audio| Self::carries_audio(audio));
        let video_entry = sample_entry::video(video, parameter_sets)?;
        let audio_entry = audio.map(sample_entry::audio).transpose()?;
        Ok(Self {
            parameter_sets,
            video: video.clone(),
            audio: audio.cloned(),
            header: initialization_segment(video, video_entry, audio_entry)?,
            data_offset: measure_data_offset()?,
            sequence_number: 0,
            timeline: Timeline::default(),
            video_durations: Durations::new(video.frame_rate.and_then(frame_duration)),
            audio_durations: Durations::new(audio.and_then(aac_duration)),
        })
    }

    /// Whether MP4 carries `audio`: AAC with its AudioSpecificConfig, Opus with its header. G.711 has no place in it that
    /// players read.
    pub fn carries_audio(audio: &AudioConfig) -> bool {
        match audio.codec {
            AudioCodec::Aac => AudioSpecific::parse(&audio.specific).is_some(),
            AudioCodec::Opus => OpusHead::parse(&audio.specific).is_some(),
            AudioCodec::PcmMulaw | AudioCodec::PcmAlaw | AudioCodec::PcmS16le => false,
        }
    }

    fn write_video(&mut self, packet: &Packet, config: &VideoConfig, out: &mut BytesMut) -> Result<Flow> {
        let changed = match self.parameter_sets {
            ParameterSets::OutOfBand => config.parameter_sets != self.video.parameter_sets,
            ParameterSets::InBand => false,
        };
        if changed || config.codec != self.video.codec {
            return Ok(Flow::End);
        }
        let Some(at) = self.timeline.place(&packet.header) else { return Ok(Flow::Continue) };
        let sets = match self.parameter_sets {
            ParameterSets::OutOfBand => &[],
            ParameterSets::InBand => access_unit::parameter_sets_before(packet, config),
        };
        let duration = self.video_durations.next(at.dts);
        self.write_fragment(Sample { header: &packet.header, at, duration, sets, data: &packet.data }, out)?;
        Ok(Flow::Continue)
    }

    fn write_audio(&mut self, packet: &Packet, config: &AudioConfig, out: &mut BytesMut) -> Result<Flow> {
        let Some(audio) = &self.audio else { return Ok(Flow::Continue) };
        if config != audio {
            return Ok(Flow::End);
        }
        let Some(at) = self.timeline.place(&packet.header) else { return Ok(Flow::Continue) };
        let duration = self.audio_durations.next(at.dts);
        self.write_fragment(Sample { header: &packet.header, at, duration, sets: &[], data: &packet.data }, out)?;
        Ok(Flow::Continue)
    }

    fn write_fragment(&mut self, sample: Sample<'_>, out: &mut BytesMut) -> Result<()> {
        let length = sample.length()?;
        self.sequence_number = self.sequence_number.wrapping_add(1);
        out.reserve(self.data_offset.unsigned_abs() as usize + length as usize);
        moof(self.sequence_number, self.data_offset, &sample, length).encode(out).map_err(mp4_error)?;
        out.put_u32(length.saturating_add(BOX_HEADER as u32));
        out.put_slice(b"mdat");
        for set in sample.sets {
            out.put_u32(set.len() as u32);
            out.put_slice(set);
        }
        out.put_slice(sample.data);
        Ok(())
    }
}

impl PacketMuxer for Fmp4 {
    fn content_type(&self) -> String {
        let video = match self.parameter_sets {
            ParameterSets::OutOfBand => self.video.rfc6381.clone(),
            ParameterSets::InBand => self.video.rfc6381.replacen("avc1", "avc3", 1).replacen("hvc1", "hev1", 1),
        };
        match &self.audio {
            Some(audio) => format!("video/mp4; codecs=\"{video}, {}\"", audio.rfc6381),
            None => format!("video/mp4; codecs=\"{video}\""),
        }
    }

    fn header(&self) -> Bytes {
        self.header.clone()
    }

    fn packet(&mut self, packet: &Packet, out: &mut BytesMut) -> Result<Flow> {
        match &packet.config {
            TrackConfig::Video(config) => self.write_video(packet, config, out),
            TrackConfig::Audio(config) => self.write_audio(packet, config, out),
        }
    }
}

/// One sample on its way into a fragment.
struct Sample<'a> {
    header: &'a PacketHeader,
    at: Placement,
    duration: u32,
    sets: &'a [Bytes],
    data: &'a [u8],
}

impl Sample<'_> {
    fn length(&self) -> Result<u32> {
        let sets: usize = self.sets.iter().map(|set| 4 + set.len()).sum();
        let length = sets.saturating_add(self.data.len());
        u32::try_from(length).map_err(|_| Error::internal(format!("a sample of {length} bytes does not fit into MP4")))
    }
}

/// How long a track's samples last. A fragment leaves before the next packet is known, so this is foretold: the nominal
/// duration, or that of the sample before. Players go by the decode times, which are exact.
#[derive(Debug)]
struct Durations {
    nominal: Option<u32>,
    last_dts: Option<u64>,
}

impl Durations {
    fn new(nominal: Option<u32>) -> Self {
        Self { nominal, last_dts: None }
    }

    fn next(&mut self, dts: u64) -> u32 {
        let before = self.last_dts.replace(dts).map(|last| u32::try_from(dts.saturating_sub(last)).unwrap_or(u32::MAX));
        self.nominal.or(before).unwrap_or(DEFAULT_DURATION)
    }
}

fn frame_duration(rate: FrameRate) -> Option<u32> {
    let ticks = u64::from(TIMESCALE) * u64::from(rate.den) / u64::from(rate.num.max(1));
    u32::try_from(ticks).ok()
}

/// Opus packets may last anything from 2.5 to 120 ms.
fn aac_duration(audio: &AudioConfig) -> Option<u32> {
    if audio.codec != AudioCodec::Aac {
        return None;
    }
    let rate = AudioSpecific::parse(&audio.specific)?.sample_rate;
    u32::try_from(MediaTime::from_clock(AAC_FRAME, rate).0).ok()
}

fn moof(sequence_number: u32, data_offset: i32, sample: &Sample<'_>, length: u32) -> Moof {
    let track_id = match sample.header.track {
        Track::Video => VIDEO_TRACK,
        Track::Audio => AUDIO_TRACK,
    };
    let entry = TrunEntry {
        duration: Some(sample.duration),
        size: Some(length),
        flags: Some(if sample.header.keyframe { SYNC_SAMPLE } else { NON_SYNC_SAMPLE }),
        cts: Some(i64::from(i32::try_from(sample.at.pts.saturating_sub(sample.at.dts)).unwrap_or(i32::MAX))),
    };
    Moof {
        mfhd: Mfhd { sequence_number },
        traf: vec![Traf {
            tfhd: Tfhd { track_id, default_base_is_moof: true, ..Default::default() },
            tfdt: Some(Tfdt { base_media_decode_time: sample.at.dts }),
            trun: vec![Trun { data_offset: Some(data_offset), samples: vec![entry].into() }],
            ..Default::default()
        }],
    }
}

fn measure_data_offset() -> Result<i32> {
    let header = PacketHeader {
        track: Track::Video,
        pts: MediaTime::default(),
        dts: MediaTime::default(),
        keyframe: true,
        wall: Default::default(),
    };
    let sample = Sample { header: &header, at: Placement { dts: 0, pts: 0 }, duration: 0, sets: &[], data: &[] };
    let mut bytes = BytesMut::new();
    moof(0, 0, &sample, 0).encode(&mut bytes).map_err(mp4_error)?;
    i32::try_from(bytes.len() + BOX_HEADER).map_err(|error| Error::internal("oversized moof").with_source(error))
}

fn initialization_segment(video: &VideoConfig, video_entry: Codec, audio_entry: Option<Codec>) -> Result<Bytes> {
    let mut trak = vec![video_trak(video, video_entry)];
    let mut trex = vec![track_defaults(VIDEO_TRACK)];
    if let Some(entry) = audio_entry {
        trak.push(audio_trak(entry));
        trex.push(track_defaults(AUDIO_TRACK));
    }
    let ftyp = Ftyp {
        major_brand: FourCC::new(b"iso5"),
        minor_version: 512,
        compatible_brands: [b"iso5", b"iso6", b"mp41"].map(FourCC::new).to_vec(),
    };
    let mvhd = Mvhd {
        timescale: TIMESCALE,
        rate: 1.into(),
        volume: 1.into(),
        next_track_id: AUDIO_TRACK + 1,
        ..Default::default()
    };
    let mut bytes = BytesMut::new();
    ftyp.encode(&mut bytes).map_err(mp4_error)?;
    Moov { mvhd, trak, mvex: Some(Mvex { mehd: None, trex }), ..Default::default() }
        .encode(&mut bytes)
        .map_err(mp4_error)?;
    Ok(bytes.freeze())
}

fn track_defaults(track_id: u32) -> Trex {
    Trex { track_id, default_sample_description_index: 1, ..Default::default() }
}

fn video_trak(video: &VideoConfig, entry: Codec) -> Trak {
    let side = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX).into();
    let tkhd =
        Tkhd { width: side(video.geometry.width), height: side(video.geometry.height), ..track_header(VIDEO_TRACK) };
    let minf = Minf { vmhd: Some(Vmhd::default()), ..media_information(entry) };
    trak(tkhd, Hdlr { handler: FourCC::new(b"vide"), name: "video".to_owned() }, minf)
}

fn audio_trak(entry: Codec) -> Trak {
    let tkhd = Tkhd { volume: 1.into(), alternate_group: 1, ..track_header(AUDIO_TRACK) };
    let minf = Minf { smhd: Some(Smhd::default()), ..media_information(entry) };
    trak(tkhd, Hdlr { handler: FourCC::new(b"soun"), name: "audio".to_owned() }, minf)
}

fn track_header(track_id: u32) -> Tkhd {
    Tkhd { track_id, enabled: true, in_movie: true, ..Default::default() }
}

/// The samples stand in the same file, and none of them in the header.
fn media_information(entry: Codec) -> Minf {
    let stbl = Stbl { stsd: Stsd { codecs: vec![entry] }, stco: Some(Stco::default()), ..Default::default() };
    let dinf = Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } };
    Minf { dinf, stbl, ..Default::default() }
}

fn trak(tkhd: Tkhd, hdlr: Hdlr, minf: Minf) -> Trak {
    let mdhd = Mdhd { timescale: TIMESCALE, language: "und".to_owned(), ..Default::default() };
    Trak { tkhd, mdia: Mdia { mdhd, hdlr, minf }, ..Default::default() }
}

fn mp4_error(error: mp4_atom::Error) -> Error {
    Error::internal("an MP4 box could not be written").with_source(error)
}
