//! One input, one output: demux, decode, treat, encode, mux. The input is asked for piece by piece, the output goes out
//! as it is made, and no more of either is held than the work needs.

mod pictures;
mod sniff;
mod sound;
mod source;
mod target;
mod wire;
mod writer;

use camshaft::link::{FailureKind, FromWorker, InputAccess, JobTask, ToWorker};
use camshaft::media::{FrameRate, JobFormat, JobSource, JobSpec, JobStats, JobVideo, MediaTime};
use camshaft::plan::Candidate;
use std::time::{Duration, Instant};

use super::{End, Gpu, Link, protocol};
use crate::av::{self, FileDemuxer, Packet};
use pictures::Pictures;
use sound::{Sound, Span};
use source::{Source, Track, Video};
use target::{Shape, Target};
use wire::{Input, Wire};
use writer::Writer;

/// How often the supervisor is told how far the job is.
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More may come.
    More,
    /// All that was asked for is made.
    Enough,
}

/// Does one job.
///
/// # Errors
/// Why it could not be done; what was sent until then is a piece of nothing.
pub fn run(task: &JobTask, gpu: Option<Gpu>, link: &mut Link) -> Result<(), End> {
    let wire = Wire::new(link.share()?);
    let done = transcode(task, gpu, &wire);
    match (done, wire.take_end()) {
        (Err(_), Some(end)) => Err(end),
        (done, _) => done,
    }
}

fn transcode(task: &JobTask, gpu: Option<Gpu>, wire: &Wire) -> Result<(), End> {
    let spec = &task.spec;
    let (source, video, track) = open(spec, wire)?;
    let sound = Sound::choose(spec, track)?;
    let shape = Shape::of(spec, &video);
    let stages = plan(spec, &source, &video, &shape, wire)?;
    let rate = video.rate;
    let mut job = Job { video: Way::new(task, &video, shape, stages, gpu, &sound, wire)?, sound, source, rate, wire };
    let stats = job.run(spec)?;
    wire.tell(&FromWorker::Finished(stats), &[])
}

fn open(spec: &JobSpec, wire: &Wire) -> Result<(Source, Video, Option<Track>), End> {
    let mut input = Input::new(wire.clone());
    let Some((container, access)) = sniff::sniff(&mut input, spec.input)? else {
        let message = "the input is empty or in no form that is read here: mp4, mov, mkv, webm, MPEG-TS, flv, avi, \
                       Annex B H.264 or H.265, JPEGs, y4m; for bare pixels say input=raw and their size";
        return Err(End::failed(FailureKind::Input, message));
    };
    wire.tell(&FromWorker::Access(access), &[])?;
    let demuxer = match access {
        InputAccess::Sequential => FileDemuxer::sequential(input, container),
        InputAccess::Random => FileDemuxer::seeking(input, container),
    };
    let refuse = |error: av::Error| {
        let message = format!("the input looks like {}, but cannot be read: {error}", container.name());
        End::failed(FailureKind::Input, message)
    };
    let probed = Source::probe(demuxer.map_err(refuse)?, container);
    probed.map_err(|end| match end {
        End::Failed { kind: FailureKind::Codec, message } => End::failed(FailureKind::Input, message),
        other => other,
    })
}

/// Tells what the input is, and learns where the stages run.
fn plan(spec: &JobSpec, source: &Source, video: &Video, shape: &Shape, wire: &Wire) -> Result<Candidate, End> {
    let described = video.described.as_ref();
    let told = JobSource {
        container: source.container().to_owned(),
        codec: video.track.parameters.video_codec(),
        codec_name: video.track.parameters.codec_name(),
        profile: described.map(|described| described.profile.clone()).filter(|profile| !profile.is_empty()),
        bit_depth: described.map_or(8, |described| described.bit_depth),
        size: video.size,
        rate: spec.fps.unwrap_or(video.rate),
        turned: shape.turn != 0,
        made: shape.size,
        duration: source.duration(),
    };
    match wire.ask(&FromWorker::JobSource(told))? {
        (ToWorker::JobStages(stages), _) => Ok(stages),
        _ => Err(protocol("a plan was asked for, and something else came")),
    }
}

/// What becomes of the video.
enum Way {
    Copy(Copying),
    Anew(Box<Pictures>),
}

impl Way {
    fn new(
        task: &JobTask,
        video: &Video,
        shape: Shape,
        stages: Candidate,
        gpu: Option<Gpu>,
        sound: &Option<Sound>,
        wire: &Wire,
    ) -> Result<Self, End> {
        let spec = &task.spec;
        let target = Target::new(spec, sound, wire)?;
        match (spec.video, target) {
            (JobVideo::Copy, Target::Packets(mut writer)) => {
                let depth = video.described.as_ref().map_or(0, |described| described.reorder_depth);
                let untimed = video.untimed;
                if untimed && depth > 0 {
                    let message = "a bare stream with B frames says no times, without which it cannot be copied: \
                                   encode it anew, such as with codec=h264";
                    return Err(End::failed(FailureKind::Input, message));
                }
                writer.start(&video.track.parameters, video.matrix.as_ref())?;
                Ok(Self::Copy(Copying { writer, base: video.track.base, begun: false, untimed, most: spec.duration }))
            }
            (JobVideo::Copy, _) => Err(protocol("only containers take copies")),
            (_, target) => Ok(Self::Anew(Box::new(Pictures::new(task, video, shape, stages, gpu, target)?))),
        }
    }
}

impl Way {
    fn writer(&mut self) -> Option<&mut Writer> {
        match self {
            Self::Copy(copying) => Some(&mut copying.writer),
            Self::Anew(pictures) => pictures.writer(),
        }
    }
}

struct Job<'a> {
    source: Source,
    video: Way,
    sound: Option<Sound>,
    rate: FrameRate,
    wire: &'a Wire,
}

impl Job<'_> {
    fn run(&mut self, spec: &JobSpec) -> Result<JobStats, End> {
        let (mut stats, mut told) = (JobStats::default(), Instant::now());
        let zero = self.source.origin().offset(spec.start.0);
        let index = self.source.video();
        while let Some(mut packet) = self.source.next(self.rate)? {
            let flow = if packet.stream() == index {
                match &mut self.video {
                    Way::Copy(copying) => copying.feed(&mut packet, zero, &mut stats)?,
                    Way::Anew(pictures) => pictures.feed(Some(&packet), zero, &mut stats)?,
                }
            } else {
                if let (Some(sound), Some(writer)) = (&mut self.sound, self.video.writer()) {
                    sound.feed(&mut packet, Span { zero, most: spec.duration }, writer)?;
                }
                Flow::More
            };
            if flow == Flow::Enough {
                break;
            }
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                self.wire.tell(&FromWorker::Progress(stats), &[])?;
            }
        }
        self.finish(zero, spec, &mut stats)?;
        Ok(stats)
    }

    fn finish(&mut self, zero: MediaTime, spec: &JobSpec, stats: &mut JobStats) -> Result<(), End> {
        if let Way::Anew(pictures) = &mut self.video {
            pictures.finish(zero, stats)?;
        }
        if let (Some(sound), Some(writer)) = (&mut self.sound, self.video.writer()) {
            sound.finish(Span { zero, most: spec.duration }, writer)?;
        }
        if stats.frames_out == 0 {
            let message = match (stats.frames_in, spec.format) {
                (0, _) => "no picture of the input could be decoded".to_owned(),
                (_, JobFormat::Jpg) => {
                    format!("the input ends before {:.3} s (at): ask for an earlier picture", spec.start.seconds())
                }
                _ => format!("the input ends before {:.3} s (start)", spec.start.seconds()),
            };
            return Err(End::failed(FailureKind::Input, message));
        }
        match self.video.writer() {
            Some(writer) => Ok(writer.finish()?),
            None => Ok(()),
        }
    }
}

/// Copies packets of video, from the first keyframe that is asked for on.
struct Copying {
    writer: Writer,
    base: av::TimeBase,
    begun: bool,
    /// Packets have no times of presentation, and are shown in the order in which they come.
    untimed: bool,
    most: Option<MediaTime>,
}

impl Copying {
    fn feed(&mut self, packet: &mut Packet, zero: MediaTime, stats: &mut JobStats) -> Result<Flow, End> {
        let zero = self.base.of_media(zero);
        let (pts, dts) = packet.times();
        let pts = if self.untimed { pts.or(dts) } else { pts };
        let (pts, dts) = (pts.map(|pts| pts - zero), dts.map(|dts| dts - zero));
        let Some(time) = pts.or(dts).map(|time| self.base.media_time(time)) else { return Ok(Flow::More) };
        self.begun |= packet.is_keyframe() && time >= MediaTime(0);
        if !self.begun {
            return Ok(Flow::More);
        }
        if self.most.is_some_and(|most| time >= most) {
            return Ok(Flow::Enough);
        }
        packet.set_times(pts, dts);
        (stats.frames_in, stats.frames_out) = (stats.frames_in + 1, stats.frames_out + 1);
        stats.position = stats.position.max(time);
        self.writer.video(packet, self.base)?;
        Ok(Flow::More)
    }
}
