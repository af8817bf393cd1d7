//! MPEG-TS (ITU-T H.222.0): one program, one PES packet an access unit, written as it arrives.

use bytes::{BufMut, Bytes, BytesMut};
use mpeg2ts::es::{StreamId, StreamType};
use mpeg2ts::pes::PesHeader;
use mpeg2ts::time::{ClockReference, Timestamp};
use mpeg2ts::ts::payload::{Bytes as TsBytes, Pat, Pes, Pmt};
use mpeg2ts::ts::{
    AdaptationField, ContinuityCounter, Descriptor, EsInfo, Pid, ProgramAssociation, TransportScramblingControl,
    TsHeader, TsPacket, TsPacketWriter, TsPayload, VersionNumber, WriteTsPacket,
};

use super::audio_specific::AudioSpecific;
use super::opus::{OpusHead, write_control_header};
use super::timeline::{Placement, Timeline};
use super::{Flow, PacketMuxer, access_unit};
use crate::error::{Error, Result};
use crate::media::{AudioCodec, AudioConfig, MediaTime, Packet, TrackConfig, VideoCodec, VideoConfig, nal};

const PROGRAM: u16 = 1;
const PAT_PID: u8 = 0;
const PMT_PID: u8 = 0x40;
const VIDEO_PID: u8 = 0x41;
const AUDIO_PID: u8 = 0x42;
/// The tables stand before every keyframe, and before the first packet that comes this many ticks (0.4 s) after the
/// last, so that they are no more than half a second apart.
const TABLE_INTERVAL: u64 = MediaTime::HZ as u64 * 4 / 10;
/// Presentation lags the program clock by this many ticks (0.7 s), so that a receiver has time to fill its buffers.
const CLOCK_LEAD: u64 = MediaTime::HZ as u64 * 7 / 10;
/// Payload of a packet without adaptation field, in bytes.
const PAYLOAD: usize = TsPacket::SIZE - 4;
/// An adaptation field that holds a PCR, in bytes.
const PCR_FIELD: usize = 8;
/// From the start of a packet to the PCR's fifth byte, in which six reserved bits stand.
const PCR_RESERVED_AT: usize = 4 + 2 + 4;

/// A transport stream with one video track and, where it has a place, one of sound.
#[derive(Debug)]
pub struct MpegTs {
    video_codec: VideoCodec,
    audio_codec: Option<AudioConfig>,
    version: VersionNumber,
    pat: Stream,
    pmt: Stream,
    video: Stream,
    audio: Stream,
    timeline: Timeline,
    tables_at: Option<u64>,
}

/// One PID and its counter.
#[derive(Debug)]
struct Stream {
    pid: Pid,
    counter: ContinuityCounter,
}

/// What a PES packet starts with.
struct PesStart {
    stream_id: u8,
    pts: Timestamp,
    dts: Option<Timestamp>,
    adaptation_field: Option<AdaptationField>,
}

impl MpegTs {
    /// A transport stream of `video` and, where MPEG-TS can carry it, `audio`.
    pub fn new(video: &VideoConfig, audio: Option<&AudioConfig>) -> Self {
        Self {
            video_codec: video.codec,
            audio_codec: audio.filter(|audio| Self::carries_audio(audio)).cloned(),
            version: VersionNumber::new(),
            pat: Stream::new(PAT_PID),
            pmt: Stream::new(PMT_PID),
            video: Stream::new(VIDEO_PID),
            audio: Stream::new(AUDIO_PID),
            timeline: Timeline::default(),
            tables_at: None,
        }
    }

    /// Whether MPEG-TS carries `audio`: AAC whose configuration fits into ADTS headers, and Opus. G.711 has no stream type.
    pub fn carries_audio(audio: &AudioConfig) -> bool {
        match audio.codec {
            AudioCodec::Aac => AudioSpecific::parse(&audio.specific).is_some_and(AudioSpecific::fits_adts),
            AudioCodec::Opus => OpusHead::parse(&audio.specific).is_some(),
            AudioCodec::PcmMulaw | AudioCodec::PcmAlaw | AudioCodec::PcmS16le => false,
        }
    }

    fn write_video(&mut self, packet: &Packet, config: &VideoConfig, out: &mut BytesMut) -> Result<()> {
        let Some(at) = self.timeline.place(&packet.header) else { return Ok(()) };
        if config.codec != self.video_codec {
            self.video_codec = config.codec;
            self.version.increment();
            self.tables_at = None;
        }
        if packet.header.keyframe {
            self.tables_at = None;
        }
        self.write_tables_if_due(at, out)?;

        let mut unit = BytesMut::new();
        write_byte_stream(packet, config, &mut unit);
        let start = PesStart {
            stream_id: StreamId::VIDEO_MIN,
            pts: timestamp(at.pts)?,
            dts: if at.dts == at.pts { None } else { Some(timestamp(at.dts)?) },
            adaptation_field: Some(clock_field(at.dts, packet.header.keyframe)?),
        };
        self.video.write_pes(start, &unit, out)
    }

    fn write_audio(&mut self, packet: &Packet, config: &AudioConfig, out: &mut BytesMut) -> Result<()> {
        if self.audio_codec.as_ref().is_none_or(|own| own.codec != config.codec) {
            return Ok(());
        }
        let mut unit = BytesMut::new();
        let stream_id = match config.codec {
            AudioCodec::Opus => {
                write_control_header(packet.data.len(), &mut unit);
                StreamId::PRIVATE_STREAM_1
            }
            _ => {
                let specific = AudioSpecific::parse(&config.specific);
                let adts = specific.and_then(|specific| specific.adts_header(packet.data.len()));
                let Some(adts) = adts else { return Ok(()) };
                unit.put_slice(&adts);
                StreamId::AUDIO_MIN
            }
        };
        let Some(at) = self.timeline.place(&packet.header) else { return Ok(()) };
        self.write_tables_if_due(at, out)?;

        unit.put_slice(&packet.data);
        let start = PesStart { stream_id, pts: timestamp(at.pts)?, dts: None, adaptation_field: None };
        self.audio.write_pes(start, &unit, out)
    }

    fn write_tables_if_due(&mut self, at: Placement, out: &mut BytesMut) -> Result<()> {
        if self.tables_at.is_some_and(|last| at.dts.saturating_sub(last) < TABLE_INTERVAL) {
            return Ok(());
        }
        self.tables_at = Some(at.dts);
        let association = ProgramAssociation { program_num: PROGRAM, program_map_pid: self.pmt.pid };
        let pat = Pat { transport_stream_id: 1, version_number: self.version, table: vec![association] };
        let mut es_info = vec![EsInfo {
            stream_type: match self.video_codec {
                VideoCodec::H264 => StreamType::H264,
                VideoCodec::Hevc => StreamType::H265,
                // The standard has no number for the others: "PES packets with private data".
                _ => StreamType::Mpeg2PacketizedData,
            },
            elementary_pid: self.video.pid,
            descriptors: Vec::new(),
        }];
        es_info.extend(self.audio_codec.as_ref().map(|audio| audio_info(audio, self.audio.pid)));
        let pmt = Pmt {
            program_num: PROGRAM,
            pcr_pid: Some(self.video.pid),
            version_number: self.version,
            program_info: Vec::new(),
            es_info,
        };
        self.pat.write(None, TsPayload::Pat(pat), out)?;
        self.pmt.write(None, TsPayload::Pmt(pmt), out)
    }
}

impl PacketMuxer for MpegTs {
    fn content_type(&self) -> String {
        "video/mp2t".to_owned()
    }

    fn header(&self) -> Bytes {
        Bytes::new()
    }

    fn packet(&mut self, packet: &Packet, out: &mut BytesMut) -> Result<Flow> {
        match &packet.config {
            TrackConfig::Video(config) => self.write_video(packet, config, out)?,
            TrackConfig::Audio(config) => self.write_audio(packet, config, out)?,
        }
        Ok(Flow::Continue)
    }
}

impl Stream {
    fn new(pid: u8) -> Self {
        Self { pid: Pid::from(pid), counter: ContinuityCounter::new() }
    }

    fn write_pes(&mut self, start: PesStart, data: &[u8], out: &mut BytesMut) -> Result<()> {
        let times = if start.dts.is_some() { 10 } else { 5 };
        let field = if start.adaptation_field.is_some() { PCR_FIELD } else { 0 };
        let room = PAYLOAD - field - 9 - times;
        let (first, rest) = data.split_at(data.len().min(room));
        out.reserve((2 + rest.len() / PAYLOAD) * TsPacket::SIZE);
        // Three bytes of flags, then the times. 0 means unbounded, which is allowed for video; told lengths let
        // readers hand a frame on without waiting for the next.
        let pes_packet_len = u16::try_from(3 + times + data.len()).unwrap_or(0);
        let header = PesHeader {
            stream_id: StreamId::new(start.stream_id),
            priority: false,
            data_alignment_indicator: true,
            copyright: false,
            original_or_copy: false,
            pts: Some(start.pts),
            dts: start.dts,
            escr: None,
        };
        let pes = Pes { header, pes_packet_len, data: TsBytes::new(first).map_err(ts_error)? };
        self.write(start.adaptation_field, TsPayload::PesStart(pes), out)?;
        for chunk in rest.chunks(PAYLOAD) {
            self.write(None, TsPayload::PesContinuation(TsBytes::new(chunk).map_err(ts_error)?), out)?;
        }
        Ok(())
    }

    fn write(&mut self, field: Option<AdaptationField>, payload: TsPayload, out: &mut BytesMut) -> Result<()> {
        let header = TsHeader {
            transport_error_indicator: false,
            transport_priority: false,
            pid: self.pid,
            transport_scrambling_control: TransportScramblingControl::NotScrambled,
            continuity_counter: self.counter,
        };
        self.counter.increment();
        let start = out.len();
        let has_clock = field.as_ref().is_some_and(|field| field.pcr.is_some());
        let packet = TsPacket { header, adaptation_field: field, payload: Some(payload) };
        TsPacketWriter::new((&mut *out).writer()).write_ts_packet(&packet).map_err(ts_error)?;
        // The library leaves the PCR's reserved bits at 0; H.222.0 §2.1 has them at 1.
        if let Some(byte) = out.get_mut(start + PCR_RESERVED_AT).filter(|_| has_clock) {
            *byte |= 0x7e;
        }
        Ok(())
    }
}

fn audio_info(audio: &AudioConfig, elementary_pid: Pid) -> EsInfo {
    if audio.codec != AudioCodec::Opus {
        return EsInfo { stream_type: StreamType::AdtsAac, elementary_pid, descriptors: Vec::new() };
    }
    // ETSI TS 103 491 annex B: a registration descriptor, and in an extension descriptor the channels.
    let registration = Descriptor { tag: 0x05, data: b"Opus".to_vec() };
    let channels = Descriptor { tag: 0x7f, data: vec![0x80, audio.channels.clamp(1, 2) as u8] };
    let descriptors = vec![registration, channels];
    EsInfo { stream_type: StreamType::Mpeg2PacketizedData, elementary_pid, descriptors }
}

/// A delimiter, the parameter sets where they are due, and the rest of the access unit (H.222.0 §2.14.1 and §2.17.1).
fn write_byte_stream(packet: &Packet, config: &VideoConfig, unit: &mut BytesMut) {
    let delimiter = access_unit::delimiter(config.codec, &packet.data);
    let sets = access_unit::parameter_sets_before(packet, config);
    let others = nal::units(&packet.data).filter(|unit| !access_unit::is_delimiter(config.codec, unit));
    unit.reserve(packet.data.len() + 256);
    nal::write_annexb(unit, [&delimiter[..]]);
    nal::write_annexb(unit, sets.iter().map(|set| &set[..]));
    nal::write_annexb(unit, others);
}

/// The program clock at the moment when an access unit begins to arrive. It goes out with every access unit; below 10
/// frames a second that is less often than H.222.0 §2.7.2 asks of broadcasts.
fn clock_field(dts: u64, random_access_indicator: bool) -> Result<AdaptationField> {
    let base = Timestamp::new(dts & Timestamp::MAX).map_err(ts_error)?;
    Ok(AdaptationField {
        discontinuity_indicator: false,
        random_access_indicator,
        es_priority_indicator: false,
        pcr: Some(ClockReference::from(base)),
        opcr: None,
        splice_countdown: None,
        transport_private_data: Vec::new(),
        extension: None,
    })
}

/// A PTS or DTS; wraps at 33 bits.
fn timestamp(ticks: u64) -> Result<Timestamp> {
    Timestamp::new(ticks.wrapping_add(CLOCK_LEAD) & Timestamp::MAX).map_err(ts_error)
}

fn ts_error(error: mpeg2ts::Error) -> Error {
    Error::internal("an MPEG-TS packet could not be written").with_source(error)
}
