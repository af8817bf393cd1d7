//! Takes a container apart, or speaks RTSP with a camera: bytes over the link or from a tunnel in, packets of one video and
//! one audio track out.
//!
//! ```text
//! ToWorker::Bytes ─▶ Input ─▶ av::Demuxer ─▶ Video (parameter sets, access units) ─┐
//!                                       └──▶ Audio (frames without headers) ───────┴─▶ Pacer ─▶ FromWorker::Packet
//! ```

mod audio;
mod input;
mod pacing;
mod video;

use bytes::Bytes;
use camshaft::link::{DemuxInput, DemuxTask, FailureKind, FromWorker, TunnelledCamera};
use camshaft::media::{
    AudioConfig, Container, DecodeTimes, MediaTime, Pace, PacketHeader, Track, Transport, VideoConfig, WallClock,
};
use camshaft::sandbox::Needs;
use std::time::Duration;

use super::{End, Link};
use crate::av::{self, CameraAddress, Demuxed, Demuxer};
use audio::{Audio, Heard};
use input::{Input, Patience};
use pacing::Pacer;
use video::{AccessUnit, Video};

/// Ticks of a picture where nothing says how long it lasts: 25 a second.
const USUAL_INTERVAL: i64 = MediaTime::HZ / 25;

/// What it takes to speak with a camera.
pub fn needs(camera: &TunnelledCamera) -> Needs {
    let port = camera.port;
    match camera.transport {
        Transport::Tcp => Needs::Tunnelled { port },
        Transport::Udp | Transport::Multicast => Needs::Camera { port },
    }
}

/// Runs until the bytes end, make no sense, or no picture comes of them.
///
/// # Errors
/// Why it ends.
pub fn run(task: &DemuxTask, link: &mut Link) -> Result<(), End> {
    link.send(&FromWorker::Ready, &[])?;
    let millis = |millis: u32| Duration::from_millis(millis.into());
    let patience = Patience::new(millis(task.first_media_ms), millis(task.idle_ms));
    let mut input = Input::new(link, patience);
    // RTP has presentation times only.
    let decode_times = matches!(task.input, DemuxInput::Rtsp(_)).then(DecodeTimes::default);
    let mut output = Output::new(task.pace, decode_times);
    loop {
        let before = output.pictures;
        input = take_apart(&task.input, input, &mut output)?;
        if output.pictures == before {
            return Err(nothing_found(&task.input, "it ended without a picture"));
        }
        match task.pace {
            Pace::Live => return Err(End::failed(FailureKind::Ended, "the source ended")),
            Pace::Loop => {
                input.begin_again();
                output.begin_again();
            }
        }
    }
}

/// One container, or one session, from its beginning to its end.
fn take_apart<'l>(source: &DemuxInput, input: Input<'l>, output: &mut Output) -> Result<Input<'l>, End> {
    let opened = match source {
        DemuxInput::Bytes(container) => Demuxer::open(*container, input),
        DemuxInput::Rtsp(camera) => Demuxer::open_camera(address(camera), input),
    };
    let mut demuxer = opened.map_err(|(error, mut input)| refused(source, &error, input.end()))?;
    let mut tracks = Tracks::default();
    loop {
        let part = match demuxer.next() {
            Ok(Some(packet)) => {
                let track = packet.track;
                let times = Times::of(&packet);
                let headers = packet.new_extradata.clone();
                // Copied once, so that the container may be asked about the track.
                let data = Bytes::copy_from_slice(packet.data);
                tracks.take(&demuxer, track, headers, data, times)?
            }
            Ok(None) => break,
            Err(error) => return Err(refused(source, &error, demuxer.reader().end())),
        };
        output.send(part, &tracks, demuxer.reader())?;
    }
    Ok(demuxer.into_reader())
}

fn address(camera: &TunnelledCamera) -> CameraAddress<'_> {
    let TunnelledCamera { port, target, username, password, transport } = camera;
    CameraAddress { port: *port, target, login: username.as_deref().zip(password.as_deref()), transport: *transport }
}

/// Why FFmpeg failed; where the camera said so itself, what it said, else why the input `ended`.
fn refused(source: &DemuxInput, error: &av::Error, ended: Option<End>) -> End {
    if let (DemuxInput::Rtsp(camera), Some(status)) = (source, error.status()) {
        return refused_by_camera(camera, status);
    }
    if let (DemuxInput::Rtsp(_), true) = (source, error.is_denied()) {
        // Nothing but the tunnel can be connected to.
        return redirected();
    }
    ended.unwrap_or_else(|| {
        if let av::Error::Unsupported(message) = error {
            return End::failed(FailureKind::Unsupported, message.clone());
        }
        if error.is_out_of_memory() {
            return End::failed(
                FailureKind::Limit,
                format!("the {} takes more memory than limits.ingest_memory", name(source)),
            );
        }
        nothing_found(source, &error.to_string())
    })
}

fn name(source: &DemuxInput) -> &'static str {
    match source {
        DemuxInput::Bytes(container) => container.name(),
        DemuxInput::Rtsp(_) => "RTSP session",
    }
}

fn nothing_found(source: &DemuxInput, why: &str) -> End {
    let name = name(source);
    let hint = match source {
        DemuxInput::Rtsp(_) => {
            let message = format!("the camera's RTSP cannot be used: {why}; try another transport");
            return End::failed(FailureKind::Protocol, message);
        }
        DemuxInput::Bytes(Container::Mp4) => {
            ", or its index stands behind the media (write it with -movflags +faststart or fragmented)"
        }
        DemuxInput::Bytes(Container::MpegTs | Container::Flv) => "",
    };
    End::failed(
        FailureKind::Protocol,
        format!("the source's bytes are no {name} that can be read: {why}; is it another format (input){hint}?"),
    )
}

fn redirected() -> End {
    End::failed(FailureKind::Refused, "the camera redirects, which is not followed: give the final URL")
}

fn refused_by_camera(camera: &TunnelledCamera, status: u16) -> End {
    let (kind, message) = match status {
        401 | 403 if camera.username.is_none() => {
            (FailureKind::Auth, "the camera wants credentials: give username and password")
        }
        401 | 403 => (FailureKind::Auth, "the camera refuses the credentials: check username and password"),
        404 => (FailureKind::Refused, "the camera has no such path: check the URL"),
        _ => (FailureKind::Refused, "the camera refuses to play the stream: try another transport"),
    };
    End::failed(kind, format!("{message} (RTSP status {status})"))
}

/// When a packet is decoded and shown.
#[derive(Clone, Copy, Debug)]
struct Times {
    pts: Option<MediaTime>,
    dts: Option<MediaTime>,
    duration: i64,
}

impl Times {
    fn of(packet: &Demuxed) -> Self {
        Self { pts: packet.pts, dts: packet.dts, duration: packet.duration }
    }
}

/// What came out of a packet.
enum Part {
    Nothing,
    Video(AccessUnit, Times),
    Audio(Vec<Heard>, Times),
}

/// The tracks of one container that are carried: the first of either kind in a codec that camshaft has.
#[derive(Default)]
struct Tracks {
    video: Option<(usize, Video)>,
    audio: Option<(usize, Audio)>,
    /// Tracks that are not carried.
    others: Vec<usize>,
}

impl Tracks {
    fn take<'l>(
        &mut self,
        demuxer: &Demuxer<Input<'l>>,
        track: usize,
        headers: Option<Vec<u8>>,
        data: Bytes,
        times: Times,
    ) -> Result<Part, End> {
        self.meet(demuxer, track);
        if let Some((index, video)) = &mut self.video
            && *index == track
        {
            if let Some(headers) = headers {
                video.take_headers(&headers);
            }
            return Ok(video.take(&data)?.map_or(Part::Nothing, |unit| Part::Video(unit, times)));
        }
        match &mut self.audio {
            Some((index, audio)) if *index == track => {
                Ok(Part::Audio(audio.take(&data, times.pts.or(times.dts)), times))
            }
            _ => Ok(Part::Nothing),
        }
    }

    /// Tracks show themselves by their first packets.
    fn meet<'l>(&mut self, demuxer: &Demuxer<Input<'l>>, track: usize) {
        let is = |known: Option<usize>| known == Some(track);
        let video = self.video.as_ref().map(|(index, _)| *index);
        if is(video) || is(self.audio.as_ref().map(|(index, _)| *index)) || self.others.contains(&track) {
            return;
        }
        let Some(facts) = demuxer.track(track) else { return };
        if let (None, Some(found)) = (&self.video, Video::of(&facts)) {
            self.video = Some((track, found));
        } else if let (None, Some(found)) = (&self.audio, Audio::of(&facts)) {
            self.audio = Some((track, found));
        } else {
            self.others.push(track);
        }
    }

    fn audio_config(&self) -> Option<&AudioConfig> {
        self.audio.as_ref().and_then(|(_, audio)| audio.config())
    }
}

/// What goes to the supervisor, on one timeline over all rounds of a loop.
struct Output {
    pacer: Pacer,
    pictures: u64,
    video: Option<VideoConfig>,
    audio: Option<AudioConfig>,
    /// What is added to this round's times; `None` until its first packet.
    shift: Option<i64>,
    /// Where the next round begins.
    end: MediaTime,
    last_dts: Option<MediaTime>,
    /// What gives decode times, where the source has none.
    decode_times: Option<DecodeTimes>,
    interval: i64,
    /// Where the sound that was sent ends.
    heard: MediaTime,
    /// Where that of the round before ended: files begin with sound from before their first picture.
    floor: MediaTime,
}

impl Output {
    fn new(pace: Pace, decode_times: Option<DecodeTimes>) -> Self {
        Self {
            pacer: Pacer::new(pace),
            pictures: 0,
            video: None,
            audio: None,
            shift: None,
            end: MediaTime(0),
            last_dts: None,
            decode_times,
            interval: USUAL_INTERVAL,
            heard: MediaTime(i64::MIN),
            floor: MediaTime(i64::MIN),
        }
    }

    /// The container has come to its end, and begins again.
    fn begin_again(&mut self) {
        self.shift = None;
        self.last_dts = None;
        self.floor = self.heard;
    }

    fn send(&mut self, part: Part, tracks: &Tracks, input: &mut Input) -> Result<(), End> {
        match part {
            Part::Nothing => Ok(()),
            Part::Video(unit, times) => self.send_video(unit, times, tracks, input),
            // Whoever joins at the first picture is to have its sound, and none from before.
            Part::Audio(..) if self.video.is_none() => Ok(()),
            Part::Audio(frames, times) => self.send_audio(&frames, times, tracks, input),
        }
    }

    fn send_video(&mut self, unit: AccessUnit, times: Times, tracks: &Tracks, input: &mut Input) -> Result<(), End> {
        self.announce(unit.config, tracks, input)?;
        let times = match &mut self.decode_times {
            Some(decode_times) => Times { dts: times.pts.map(|pts| decode_times.stamp(pts)), ..times },
            None => times,
        };
        if let (Some(last), Some(dts)) = (self.last_dts, times.dts) {
            let step = dts.since(last);
            self.interval = if (1..=MediaTime::HZ).contains(&step) { step } else { self.interval };
        }
        let next = self.last_dts.map_or(MediaTime(0), |last| last.offset(self.interval));
        let dts = times.dts.or(times.pts).unwrap_or(next);
        let pts = times.pts.unwrap_or(dts);
        self.last_dts = Some(dts);
        let shift = self.shift_at(dts);
        let (pts, dts) = (pts.offset(shift), dts.offset(shift));
        self.end = self.end.max(dts.offset(self.interval));
        self.pacer.wait(dts, input)?;
        let wall = WallClock::now();
        let header = PacketHeader { track: Track::Video, pts, dts, keyframe: unit.is_key, wall };
        input.send(&FromWorker::Packet(header), &unit.data)?;
        self.pictures += 1;
        input.patience().picture_came();
        Ok(())
    }

    fn send_audio(&mut self, frames: &[Heard], times: Times, tracks: &Tracks, input: &mut Input) -> Result<(), End> {
        self.announce_audio(tracks, input)?;
        if self.audio.is_none() {
            return Ok(());
        }
        for Heard { data, pts } in frames {
            let pts = pts.offset(self.shift_at(*pts));
            let lasts = times.duration.clamp(0, MediaTime::HZ) / frames.len().max(1) as i64;
            if pts < self.floor {
                continue;
            }
            self.heard = pts.offset(lasts);
            self.end = self.end.max(self.heard);
            let header = PacketHeader { track: Track::Audio, pts, dts: pts, keyframe: true, wall: WallClock::now() };
            input.send(&FromWorker::Packet(header), data)?;
        }
        Ok(())
    }

    /// What this round's times are moved by, if one at `dts` is its first.
    fn shift_at(&mut self, dts: MediaTime) -> i64 {
        *self.shift.get_or_insert(self.end.since(dts))
    }

    fn announce(&mut self, config: Option<VideoConfig>, tracks: &Tracks, input: &mut Input) -> Result<(), End> {
        let Some(config) = config else { return Ok(()) };
        self.announce_audio(tracks, input)?;
        let generation = self.video.as_ref().map_or(0, |known| known.generation);
        if self.video.as_ref() == Some(&VideoConfig { generation, ..config.clone() }) {
            return Ok(());
        }
        let generation = self.video.as_ref().map_or(0, |known| known.generation.wrapping_add(1));
        let config = VideoConfig { generation, ..config };
        input.send(&FromWorker::VideoConfig(config.clone()), &[])?;
        if let Some(decode_times) = &mut self.decode_times {
            decode_times.follow(config.reorder_depth, config.frame_rate);
        }
        self.video = Some(config);
        Ok(())
    }

    fn announce_audio(&mut self, tracks: &Tracks, input: &mut Input) -> Result<(), End> {
        match tracks.audio_config() {
            Some(config) if self.audio.as_ref() != Some(config) => {
                input.send(&FromWorker::AudioConfig(config.clone()), &[])?;
                self.audio = Some(config.clone());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
