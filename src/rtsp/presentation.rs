//! What a stream looks like to a client: its tracks, and their description in SDP (RFC 4566).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rtsp_types::Url;
use sdp_types::{Attribute, Connection, Media, Origin, Session, Time};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use super::feed::Feed;
use super::rtp::{Format, JPEG_SIDE_MAX};
use super::target::track_url;
use crate::error::{Error, ErrorKind, Result};
use crate::media::{AudioCodec, AudioConfig, Geometry, MediaTime, Packet, Track, TrackConfig, VideoCodec, VideoConfig};

/// Payload types that are free for use (RFC 3551 §6).
const DYNAMIC_VIDEO: u8 = 96;
const DYNAMIC_AUDIO: u8 = 97;
/// Static payload types (RFC 3551 tables 4 and 5).
const PCMU: u8 = 0;
const PCMA: u8 = 8;
const JPEG: u8 = 26;

/// A track as a client is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackInfo {
    /// Which of the stream's.
    pub track: Track,
    /// What its packets must be like; they may change in the source.
    source: Source,
    /// How it is laid out.
    pub format: Format,
    /// The RTP payload type.
    pub payload_type: u8,
    /// Ticks a second.
    pub clock: u32,
    /// `rtpmap`'s encoding, behind the payload type.
    encoding: String,
    /// `fmtp`'s parameters, if any.
    parameters: Option<String>,
    /// Further attributes.
    attributes: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Video(VideoCodec),
    Audio(Arc<AudioConfig>),
    Pictures,
}

impl TrackInfo {
    /// Whether `packet` is what the description promised. Parameter sets may change, as they come along.
    pub fn carries(&self, packet: &Packet) -> bool {
        match (&self.source, &packet.config) {
            (Source::Video(codec), TrackConfig::Video(config)) => *codec == config.codec,
            (Source::Audio(own), TrackConfig::Audio(config)) => own == config,
            _ => false,
        }
    }
}

/// The tracks of `feed`, video first.
///
/// # Errors
/// [`ErrorKind::Impossible`] if RTP has no room for its pictures.
pub fn tracks(feed: &Feed) -> Result<Vec<TrackInfo>> {
    match feed {
        Feed::Packets(packets) => {
            let sound = packets.audio.as_ref().and_then(audio);
            Ok([video(&packets.video)?].into_iter().chain(sound).collect())
        }
        Feed::Pictures(pictures) => Ok(vec![jpeg(pictures.spec.size)?]),
    }
}

/// The description of `tracks` for a client that knows the stream as `url` and this host as `host`.
///
/// # Errors
/// [`ErrorKind::Internal`] if it could not be written.
pub fn sdp(name: &str, url: &Url, host: IpAddr, tracks: &[TrackInfo]) -> Result<Vec<u8>> {
    let host = host.to_canonical();
    let (family, anywhere) = if host.is_ipv4() { ("IP4", "0.0.0.0") } else { ("IP6", "::") };
    let session = Session {
        origin: Origin {
            username: None,
            sess_id: "0".into(),
            sess_version: 0,
            nettype: "IN".into(),
            addrtype: family.into(),
            unicast_address: host.to_string(),
        },
        session_name: name.into(),
        session_description: None,
        uri: None,
        emails: vec![],
        phones: vec![],
        connection: Some(Connection {
            nettype: "IN".into(),
            addrtype: family.into(),
            connection_address: anywhere.into(),
        }),
        bandwidths: vec![],
        times: vec![Time { start_time: 0, stop_time: 0, repeats: vec![] }],
        time_zones: vec![],
        key: None,
        attributes: vec![attribute("control", url.to_string())],
        medias: tracks.iter().enumerate().map(|(index, track)| media(track, &track_url(url, index))).collect(),
    };
    let mut text = Vec::new();
    session.write(&mut text).map_err(|error| Error::internal("a description came out wrong").with_source(error))?;
    Ok(text)
}

fn media(track: &TrackInfo, control: &Url) -> Media {
    let payload_type = track.payload_type;
    let mut attributes = vec![attribute("rtpmap", format!("{payload_type} {}", track.encoding))];
    if let Some(parameters) = &track.parameters {
        attributes.push(attribute("fmtp", format!("{payload_type} {parameters}")));
    }
    attributes.extend(track.attributes.iter().map(|(name, value)| attribute(name, value.clone())));
    attributes.push(attribute("control", control.to_string()));
    Media {
        media: if track.track == Track::Video { "video" } else { "audio" }.into(),
        port: 0,
        num_ports: None,
        proto: "RTP/AVP".into(),
        fmt: payload_type.to_string(),
        media_title: None,
        connections: vec![],
        bandwidths: vec![],
        key: None,
        attributes,
    }
}

fn attribute(name: &str, value: String) -> Attribute {
    Attribute { attribute: name.into(), value: Some(value) }
}

fn video(config: &VideoConfig) -> Result<TrackInfo> {
    let (format, encoding, parameters) = match config.codec {
        VideoCodec::H264 => (Format::H264, "H264/90000", h264_parameters(config)),
        VideoCodec::Hevc => (Format::H265, "H265/90000", h265_parameters(config)),
        other => {
            let message = format!("RTSP copies no {} here: add codec=mjpeg or codec=h264", other.name());
            return Err(Error::new(ErrorKind::Impossible, message));
        }
    };
    let rate = config.frame_rate.map(|rate| ("framerate", rate.to_string()));
    Ok(TrackInfo {
        track: Track::Video,
        source: Source::Video(config.codec),
        format,
        payload_type: DYNAMIC_VIDEO,
        clock: MediaTime::HZ as u32,
        encoding: encoding.into(),
        parameters: Some(parameters),
        attributes: rate.into_iter().collect(),
    })
}

/// RFC 6184 §8.1.
fn h264_parameters(config: &VideoConfig) -> String {
    let mut text = "packetization-mode=1".to_owned();
    if let Some([_, profile, constraints, level, ..]) = config.parameter_sets.first().map(|set| &set[..]) {
        // Writing into a string does not fail.
        let _ = write!(text, ";profile-level-id={profile:02X}{constraints:02X}{level:02X}");
    }
    let sets: Vec<String> = config.parameter_sets.iter().map(|set| BASE64.encode(set)).collect();
    text + ";sprop-parameter-sets=" + &sets.join(",")
}

/// RFC 7798 §7.1.
fn h265_parameters(config: &VideoConfig) -> String {
    let of_type = |wanted: u8| {
        let sets =
            config.parameter_sets.iter().filter(|set| set.first().is_some_and(|byte| (byte >> 1) & 0x3f == wanted));
        sets.map(|set| BASE64.encode(set)).collect::<Vec<String>>().join(",")
    };
    format!("sprop-vps={};sprop-sps={};sprop-pps={}", of_type(32), of_type(33), of_type(34))
}

fn jpeg(size: Geometry) -> Result<TrackInfo> {
    if size.width.max(size.height) > JPEG_SIDE_MAX {
        let message =
            format!("RTP carries JPEGs of at most {JPEG_SIDE_MAX} pixels a side, not {size}: ask for a smaller width");
        return Err(Error::new(ErrorKind::Impossible, message));
    }
    Ok(TrackInfo {
        track: Track::Video,
        source: Source::Pictures,
        format: Format::Jpeg,
        payload_type: JPEG,
        clock: MediaTime::HZ as u32,
        encoding: "JPEG/90000".into(),
        parameters: None,
        attributes: vec![],
    })
}

/// `None` for sound that RTP does not carry here.
fn audio(config: &Arc<AudioConfig>) -> Option<TrackInfo> {
    let AudioConfig { codec, sample_rate, channels, specific, .. } = &**config;
    let plain = (*sample_rate, *channels) == (8000, 1);
    let (name, payload_type, format) = match codec {
        AudioCodec::Aac => ("MPEG4-GENERIC", DYNAMIC_AUDIO, Format::Aac),
        AudioCodec::PcmMulaw => ("PCMU", if plain { PCMU } else { DYNAMIC_AUDIO }, g711(*channels)),
        AudioCodec::PcmAlaw => ("PCMA", if plain { PCMA } else { DYNAMIC_AUDIO }, g711(*channels)),
        AudioCodec::Opus => ("opus", DYNAMIC_AUDIO, Format::Opus),
        AudioCodec::PcmS16le => return None,
    };
    let parameters = match codec {
        // RFC 3640 §4.1.
        AudioCodec::Aac => {
            let config: String = specific.iter().map(|byte| format!("{byte:02X}")).collect();
            Some(format!(
                "streamtype=5;profile-level-id=1;mode=AAC-hbr;config={config};sizelength=13;indexlength=3;indexdeltalength=3"
            ))
        }
        // RFC 7587 §6.1.
        AudioCodec::Opus => Some(format!("sprop-stereo={}", u8::from(*channels == 2))),
        _ => None,
    };
    // RFC 7587 §7: Opus is always told as two channels at 48 kHz.
    let (sample_rate, channels) = if *codec == AudioCodec::Opus { (&48_000, &2) } else { (sample_rate, channels) };
    let channels = if *channels == 1 { String::new() } else { format!("/{channels}") };
    Some(TrackInfo {
        track: Track::Audio,
        source: Source::Audio(config.clone()),
        format,
        payload_type,
        clock: *sample_rate,
        encoding: format!("{name}/{sample_rate}{channels}"),
        parameters,
        attributes: vec![],
    })
}

fn g711(channels: u16) -> Format {
    Format::G711 { channels }
}
