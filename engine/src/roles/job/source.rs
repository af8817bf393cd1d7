//! The packets of an input, and what must be known of them before the first picture is decoded. As little as possible is
//! read for that: packets up to the first keyframe.

use bytes::Bytes;
use camshaft::link::FailureKind;
use camshaft::media::nal::{self, NalKind};
use camshaft::media::{
    AudioConfig, FrameRate, Geometry, MAX_PIXELS, MediaTime, StreamParameters, VideoCodec, parse_parameter_sets,
};
use std::collections::VecDeque;

use super::super::End;
use super::super::adts::Header;
use crate::av::{self, FileDemuxer, FileForm, Packet, Parameters, StreamKind, TimeBase};

/// Packets read before the first keyframe of a stream; more are a stream without any.
const MOST_PACKETS: usize = 2000;
/// Packets of video among which the first of a sound track must be, for the track to count.
const SOUND_WITHIN: usize = 25;
/// Taken for inputs that do not say their rate.
const USUAL_RATE: FrameRate = FrameRate { num: 25, den: 1 };

/// One track.
pub struct Track {
    /// The demuxer's number of it.
    pub index: usize,
    /// What its packets are to be read with.
    pub parameters: Parameters,
    /// What its times are counted in.
    pub base: TimeBase,
    /// Its first packet.
    pub first: Bytes,
}

/// What the video is.
pub struct Video {
    /// The track.
    pub track: Track,
    /// Size in pixels.
    pub size: Geometry,
    /// Frames a second.
    pub rate: FrameRate,
    /// From the parameter sets, where the codec has such.
    pub described: Option<StreamParameters>,
    /// How it is to be shown.
    pub matrix: Option<[i32; 9]>,
    /// Whether its packets come without times.
    pub untimed: bool,
}

/// The packets of one input.
pub struct Source {
    demuxer: FileDemuxer,
    container: FileForm,
    queue: VecDeque<Packet>,
    /// What counts as 0.
    origin: MediaTime,
    video: usize,
    untimed: i64,
    read: u64,
}

impl Source {
    /// Reads what must be known.
    pub fn probe(mut demuxer: FileDemuxer, container: FileForm) -> Result<(Self, Video, Option<Track>), End> {
        let mut queue: VecDeque<Packet> = VecDeque::new();
        let (mut video, mut sound) = (None, None);
        let mut videos = 0;
        while queue.len() < MOST_PACKETS {
            let find = |kind| (0..demuxer.streams()).find(|index| demuxer.kind(*index) == kind);
            let is_of = |index: Option<usize>| queue.back().is_some_and(|packet| Some(packet.stream()) == index);
            let (found_video, found_sound) = (find(StreamKind::Video), find(StreamKind::Audio));
            if is_of(found_video) {
                videos += 1;
                let keyframe = queue.back().is_some_and(Packet::is_keyframe);
                video = video.or(found_video.filter(|_| keyframe));
            }
            let needs_packet = |index: &usize| demuxer.parameters(*index).is_ok_and(|track| !is_described(&track));
            sound = found_sound.filter(|index| is_of(Some(*index)) || !needs_packet(index)).or(sound);
            let waits_for_sound = found_sound.is_some() && sound.is_none() && videos < SOUND_WITHIN;
            if video.is_some() && !waits_for_sound {
                break;
            }
            match demuxer.read() {
                Ok(Some(packet)) => queue.push_back(packet),
                Ok(None) => break,
                Err(error) if queue.is_empty() => return Err(error.into()),
                Err(_) => break,
            }
        }
        let Some(index) = video else { return Err(no_video(&demuxer, videos)) };
        let track = |index: usize| -> Result<Track, End> {
            let first = queue.iter().find(|packet| packet.stream() == index);
            let first = first.map_or_else(Bytes::new, |packet| Bytes::copy_from_slice(packet.data()));
            Ok(Track { index, parameters: demuxer.parameters(index)?, base: demuxer.time_base(index), first })
        };
        let keyframe = queue.iter().find(|packet| packet.stream() == index && packet.is_keyframe());
        let video = describe(&demuxer, container, track(index)?, keyframe.map_or(&[][..], Packet::data))?;
        let sound = match sound {
            Some(index) => complete_sound(track(index)?),
            None => None,
        };
        let starts = queue.iter().filter(|packet| {
            packet.stream() == index || sound.as_ref().is_some_and(|sound| sound.index == packet.stream())
        });
        let time = |packet: &Packet| {
            let (pts, dts) = packet.times();
            Some(demuxer.time_base(packet.stream()).media_time(pts.or(dts)?))
        };
        let origin = starts.filter_map(time).min().unwrap_or_default();
        // What comes before the first keyframe shows nothing.
        let first = queue.iter().position(|packet| packet.stream() == index && packet.is_keyframe()).unwrap_or(0);
        let mut at = 0;
        let skipped = queue.iter().take(first).filter(|packet| packet.stream() == index).count() as u64;
        queue.retain(|packet| {
            at += 1;
            at > first || packet.stream() != index
        });
        let source = Self { demuxer, container, queue, origin, video: index, untimed: 0, read: skipped };
        Ok((source, video, sound))
    }

    /// How long the input says it is.
    pub fn duration(&self) -> Option<MediaTime> {
        self.demuxer.duration()
    }

    /// The demuxer's number of the video.
    pub fn video(&self) -> usize {
        self.video
    }

    /// The container's name, for people.
    pub fn container(&self) -> &'static str {
        self.container.name()
    }

    /// What counts as 0.
    pub fn origin(&self) -> MediaTime {
        self.origin
    }

    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// If the input ends before what it says of itself is there.
    pub fn next(&mut self, rate: FrameRate) -> Result<Option<Packet>, End> {
        let next = match self.queue.pop_front() {
            Some(packet) => Some(packet),
            None => self.demuxer.read().map_err(|error| self.broken(&error.to_string()))?,
        };
        let Some(mut packet) = next else {
            // Others count pictures that were left out.
            let said = self.demuxer.packets(self.video).filter(|_| self.container == FileForm::Mp4);
            let whole = said.is_none_or(|count| self.read >= count);
            let cut = || self.broken(&format!("it ends after {} pictures, and says that it has more", self.read));
            return if whole { Ok(None) } else { Err(cut()) };
        };
        if packet.stream() == self.video {
            self.read += 1;
            if packet.is_cut() && self.container == FileForm::Mp4 {
                return Err(self.broken("it ends within a picture"));
            }
            if self.container.is_untimed() && packet.times() == (None, None) {
                let base = self.demuxer.time_base(self.video);
                let tick = |count: i64| {
                    let ticks = count * MediaTime::HZ * i64::from(rate.den) / i64::from(rate.num.max(1));
                    base.of_media(MediaTime(ticks))
                };
                packet.set_duration(tick(self.untimed + 1) - tick(self.untimed));
                packet.set_times(None, Some(tick(self.untimed)));
                self.untimed += 1;
            }
        }
        Ok(Some(packet))
    }

    fn broken(&self, what: &str) -> End {
        let message = format!("the {} input is damaged or cut short: {what}", self.container.name());
        End::failed(FailureKind::Input, message)
    }
}

fn no_video(demuxer: &FileDemuxer, videos: usize) -> End {
    let has_track = (0..demuxer.streams()).any(|index| demuxer.kind(index) == StreamKind::Video);
    let message = match (has_track, videos) {
        (false, _) => "the input has no video".to_owned(),
        (true, 0) => "the input has a video track without a picture in it".to_owned(),
        (true, count) => format!("no keyframe is among the first {count} pictures of the input"),
    };
    End::failed(FailureKind::Input, message)
}

fn describe(demuxer: &FileDemuxer, container: FileForm, mut track: Track, keyframe: &[u8]) -> Result<Video, End> {
    let codec = track.parameters.video_codec();
    let mut described = None;
    if let Some(codec) = codec.filter(|codec| codec.has_nal_units()) {
        let beside = parameter_sets(codec, track.parameters.extradata());
        let sets = if beside.is_empty() { parameter_sets(codec, keyframe) } else { beside };
        let parsed = parse_parameter_sets(codec, &sets);
        let parsed = parsed.map_err(|error| End::failed(FailureKind::Input, error.chain()))?;
        if track.parameters.extradata().is_empty() {
            let mut extradata = bytes::BytesMut::new();
            nal::write_annexb(&mut extradata, sets.iter().map(|set| &set[..]));
            track.parameters.set_extradata(&extradata)?;
        }
        track.parameters.set_size(parsed.geometry);
        described = Some(parsed);
    }
    if track.parameters.size().pixels() == 0
        && let Some(size) = size_of_picture(&track, keyframe)?
    {
        track.parameters.set_size(size);
    }
    let size = track.parameters.size();
    if size.pixels() == 0 || size.pixels() > MAX_PIXELS {
        let message = format!("pictures of {size} are past the limit of {MAX_PIXELS} pixels, or of no size");
        return Err(End::failed(FailureKind::Input, message));
    }
    let said = demuxer.frame_rate(track.index);
    let coded = described.as_ref().and_then(|described| described.frame_rate);
    let rate = said.or(coded).unwrap_or(USUAL_RATE);
    let matrix = demuxer.display_matrix(track.index);
    Ok(Video { size, rate, described, matrix, untimed: container.is_untimed(), track })
}

/// The size of the picture in a packet, where neither the container nor parameter sets say it.
fn size_of_picture(track: &Track, keyframe: &[u8]) -> Result<Option<Geometry>, End> {
    let mut decoder = av::StreamDecoder::open(&track.parameters, track.base, None, 1)?;
    let mut packet = Packet::empty()?;
    packet.renew(keyframe.len())?.copy_from_slice(keyframe);
    let _ = decoder.send(Some(&packet))?;
    let _ = decoder.send(None)?;
    let frame = decoder.receive()?.ok().flatten();
    Ok(frame.map(|frame| frame.size()))
}

/// The parameter sets in headers of either form, or in a packet of Annex B.
fn parameter_sets(codec: VideoCodec, bytes: &[u8]) -> Vec<Bytes> {
    let units: Vec<&[u8]> = match (bytes.first(), codec) {
        (Some(1), VideoCodec::H264) => avcc_units(bytes).unwrap_or_default(),
        (Some(1), VideoCodec::Hevc) => hvcc_units(bytes).unwrap_or_default(),
        _ => nal::annexb_units(bytes),
    };
    let is_set = |unit: &&[u8]| nal::kind(codec, unit) == NalKind::ParameterSet;
    units.into_iter().filter(is_set).map(Bytes::copy_from_slice).collect()
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(taken)
}

fn take_bytes<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    take(rest, N)?.try_into().ok()
}

fn take_unit<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_be_bytes(take_bytes(rest)?);
    take(rest, length.into())
}

/// ISO/IEC 14496-15 §5.3.3.1: AVCDecoderConfigurationRecord.
fn avcc_units(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = bytes.get(5..)?;
    let mut units = Vec::new();
    for mask in [0x1f, 0xff] {
        let [count] = take_bytes(&mut rest)?;
        for _ in 0..count & mask {
            units.push(take_unit(&mut rest)?);
        }
    }
    Some(units)
}

/// ISO/IEC 14496-15 §8.3.3.1: HEVCDecoderConfigurationRecord.
fn hvcc_units(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = bytes.get(22..)?;
    let mut units = Vec::new();
    let [arrays] = take_bytes(&mut rest)?;
    for _ in 0..arrays {
        let [_, high, low] = take_bytes(&mut rest)?;
        for _ in 0..u16::from_be_bytes([high, low]) {
            units.push(take_unit(&mut rest)?);
        }
    }
    Some(units)
}

/// Whether a container says of its sound all that must be known before the first packet, which may come late.
fn is_described(parameters: &Parameters) -> bool {
    parameters.sample_rate() > 0 && !(parameters.is_aac() && parameters.extradata().is_empty())
}

/// A sound track with what its container left out; `None` for one that nothing can be known of.
fn complete_sound(mut track: Track) -> Option<Track> {
    let first = &track.first[..];
    if track.parameters.is_aac() && track.parameters.extradata().is_empty() {
        let AudioConfig { sample_rate, channels, specific, .. } = Header::read(first)?.config;
        track.parameters.set_sound(sample_rate, channels.max(1));
        track.parameters.set_extradata(&specific).ok()?;
    }
    if track.parameters.sample_rate() == 0 {
        let (rate, channels) = av::SoundDecoder::measure(&track.parameters, first).ok()?;
        track.parameters.set_sound(rate, channels);
    }
    Some(track)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_mp4_are_taken_apart() {
        let avcc = [1, 0x4d, 0, 0x1f, 0xff, 0xe1, 0, 2, 0x67, 9, 1, 0, 1, 0x68];
        assert_eq!(parameter_sets(VideoCodec::H264, &avcc), [&[0x67u8, 9][..], &[0x68]]);
        for cut in 0..avcc.len() {
            let _ = parameter_sets(VideoCodec::H264, &avcc[..cut]);
        }
        assert!(parameter_sets(VideoCodec::Hevc, &[1; 23]).is_empty());
    }
}
