//! Packets to pictures, and pictures to what is asked for.

use camshaft::link::JobTask;
use camshaft::media::{EncodeSpec, FrameRate, JobStats, JobVideo, MediaTime, default_bitrate};
use camshaft::media::{JobFormat, RateControl};
use camshaft::plan::{Backend, Candidate};
use std::rc::Rc;

use super::super::{End, Gpu};
use super::source::Video;
use super::target::{Shape, Target};
use super::writer::Writer;
use super::{Flow, protocol};
use crate::av::{
    Device, Encoder, EncoderSettings, Frame, Packet, PictureFilter, PictureForm, PictureKind, StreamDecoder, TimeBase,
    Treatment, Tuning,
};

/// Decodes, treats and encodes the video of one job.
pub struct Pictures {
    decoder: StreamDecoder,
    base: TimeBase,
    untimed: bool,
    filter: Option<PictureFilter>,
    treatment: Treatment,
    source_rate: FrameRate,
    made: Made,
    last: Option<MediaTime>,
    most: Option<MediaTime>,
    single: bool,
}

/// The end of the line.
struct Made {
    target: Target,
    encode: Option<EncodeSpec>,
    encoder: Option<Encoder>,
    stages: Candidate,
    device: Option<Rc<Device>>,
    matrix: Option<[i32; 9]>,
    rate: FrameRate,
    threads: u32,
}

impl Pictures {
    /// Nothing is decoded yet.
    pub fn new(
        task: &JobTask,
        video: &Video,
        shape: Shape,
        stages: Candidate,
        gpu: Option<Gpu>,
        target: Target,
    ) -> Result<Self, End> {
        let JobTask { spec, threads, .. } = task;
        let device = gpu.map(|gpu| gpu.device);
        let on = |backend: &Backend| match (backend, &device) {
            (Backend::Software, _) => Ok(None),
            (Backend::Vaapi { .. }, Some(device)) => Ok(Some(device)),
            (Backend::Vaapi { .. }, None) => Err(protocol("the plan is for a device that the job was not given")),
        };
        let decode_on = on(&stages.decode)?.map(|device| (device, video.size));
        let decoder = StreamDecoder::open(&video.track.parameters, video.track.base, decode_on, *threads)?;
        let encodes_on_device = stages.encode.as_ref().map_or(Ok(None), on)?.is_some() && stages.mode.is_some();
        let rate = spec.fps.unwrap_or(video.rate);
        let encode = match spec.video {
            JobVideo::Encode { codec, rate_control, gop } => {
                let fitting = || RateControl::Bitrate(default_bitrate(codec, shape.size, rate.as_f64()));
                let gop = gop.unwrap_or((rate.as_f64() * 2.0).round().max(1.0) as u32);
                Some(EncodeSpec { codec, rate_control: rate_control.unwrap_or_else(fitting), gop })
            }
            JobVideo::Copy | JobVideo::Jpeg { .. } | JobVideo::Raw(_) => None,
        };
        let form = match spec.video {
            JobVideo::Encode { .. } if encodes_on_device => PictureForm::Surface,
            JobVideo::Encode { codec: camshaft::media::VideoCodec::Mjpeg, .. } | JobVideo::Jpeg { .. } => {
                PictureForm::Jpeg
            }
            JobVideo::Raw(format) => PictureForm::Memory(format),
            JobVideo::Encode { .. } | JobVideo::Copy => PictureForm::Memory(camshaft::media::PixelFormat::I420),
        };
        let scale_on_device = stages.scale != Backend::Software;
        let treatment = Treatment { size: shape.size, form, turn: shape.turn, fps: spec.fps, scale_on_device };
        let matrix = video.matrix.filter(|_| shape.turn == 0);
        let made = Made { target, encode, encoder: None, stages, device, matrix, rate, threads: *threads };
        Ok(Self {
            decoder,
            base: video.track.base,
            untimed: video.untimed,
            filter: None,
            treatment,
            source_rate: video.rate,
            made,
            last: None,
            most: spec.duration,
            single: spec.format == JobFormat::Jpg,
        })
    }

    /// What packets are written to, if that is what is made.
    pub fn writer(&mut self) -> Option<&mut Writer> {
        match &mut self.made.target {
            Target::Packets(writer) => Some(writer),
            Target::Jpegs { .. } | Target::Pixels { .. } => None,
        }
    }

    /// Decodes `packet`, or what is held back at the end. Times count from `zero`.
    pub fn feed(&mut self, packet: Option<&Packet>, zero: MediaTime, stats: &mut JobStats) -> Result<Flow, End> {
        if self.decoder.send(packet)?.is_err() {
            stats.broken += 1;
        }
        loop {
            match self.decoder.receive()? {
                Ok(Some(frame)) => {
                    stats.frames_in += 1;
                    if self.picture(frame, zero, stats)? == Flow::Enough {
                        return Ok(Flow::Enough);
                    }
                }
                Ok(None) => return Ok(Flow::More),
                Err(_) => stats.broken += 1,
            }
        }
    }

    /// Gives out what is held back.
    pub fn finish(&mut self, zero: MediaTime, stats: &mut JobStats) -> Result<(), End> {
        let is_enough =
            (self.single && stats.frames_out > 0) || self.most.zip(self.last).is_some_and(|(most, last)| last >= most);
        if !is_enough {
            self.feed(None, zero, stats)?;
        }
        if let Some(mut filter) = self.filter.take()
            && !(self.single && stats.frames_out > 0)
        {
            filter.send(None)?;
            self.drain(&mut filter, stats)?;
        }
        self.made.finish()
    }

    fn picture(&mut self, frame: Frame, zero: MediaTime, stats: &mut JobStats) -> Result<Flow, End> {
        let tick = MediaTime::HZ * i64::from(self.source_rate.den) / i64::from(self.source_rate.num.max(1));
        let following = self.last.map_or(MediaTime(0), |last| last.offset(tick));
        let told = frame.best_time().filter(|_| !self.untimed).map(|time| self.base.media_time(time).offset(-zero.0));
        let pts = match (told, self.untimed, self.last) {
            (Some(told), ..) => told,
            (None, true, None) => MediaTime(-zero.0),
            (None, ..) => following,
        };
        // Encoders want times that rise.
        let pts = self.last.map_or(pts, |last| pts.max(last.offset(1)));
        self.last = Some(pts);
        if pts < MediaTime(0) {
            return Ok(Flow::More);
        }
        if self.most.is_some_and(|most| pts >= most) {
            return Ok(Flow::Enough);
        }
        let mut filter = match self.filter.take() {
            Some(filter) if filter.takes(&frame) => filter,
            before => {
                let after = PictureFilter::new(&frame, &self.treatment, before.as_ref())?;
                if let Some(mut before) = before {
                    before.send(None)?;
                    self.drain(&mut before, stats)?;
                }
                after
            }
        };
        filter.send(Some((&frame, pts)))?;
        let flow = self.drain(&mut filter, stats);
        self.filter = Some(filter);
        flow
    }

    fn drain(&mut self, filter: &mut PictureFilter, stats: &mut JobStats) -> Result<Flow, End> {
        while let Some((frame, pts)) = filter.receive()? {
            self.made.send(frame, pts)?;
            stats.frames_out += 1;
            stats.position = pts;
            if self.single {
                return Ok(Flow::Enough);
            }
        }
        Ok(Flow::More)
    }
}

impl Made {
    fn send(&mut self, frame: &Frame, pts: MediaTime) -> Result<(), End> {
        let Some(spec) = self.encode else { return self.target.send(frame, self.rate) };
        let Target::Packets(writer) = &mut self.target else {
            return Err(protocol("what is encoded goes into a container"));
        };
        let encoder = match self.encoder.take().filter(|encoder| encoder.takes(frame)) {
            Some(same) => same,
            None => {
                let tuning = if writer.wants_global_headers() { Tuning::File } else { Tuning::Transport };
                let settings = EncoderSettings {
                    codec: spec.codec,
                    size: frame.size(),
                    frame_rate: self.rate,
                    rate_control: spec.rate_control,
                    gop: spec.gop,
                    tuning,
                    bit_depth: 8,
                    color: frame.color(),
                    threads: self.threads,
                };
                match (&self.device, self.stages.mode) {
                    (Some(device), Some(mode)) if frame.is_surface() => {
                        Encoder::open_for(frame, device.wait_clock(), mode, settings)?
                    }
                    _ => Encoder::open(settings)?,
                }
            }
        };
        let encoder = self.encoder.insert(encoder);
        encoder.encode(frame, pts, PictureKind::Any)?;
        drain(encoder, writer, self.matrix.as_ref())
    }

    fn finish(&mut self) -> Result<(), End> {
        let (Some(encoder), Target::Packets(writer)) = (&mut self.encoder, &mut self.target) else { return Ok(()) };
        encoder.finish()?;
        drain(encoder, writer, self.matrix.as_ref())
    }
}

/// Writes what is ready. Some encoders give their headers only with the first packet, so that the container begins there.
fn drain(encoder: &mut Encoder, writer: &mut Writer, matrix: Option<&[i32; 9]>) -> Result<(), End> {
    let mut beginning = (!writer.has_started()).then(|| encoder.parameters()).transpose()?;
    while let Some(packet) = encoder.packet()? {
        if let Some(mut parameters) = beginning.take() {
            if let (true, Some(headers)) = (parameters.extradata().is_empty(), packet.new_extradata()) {
                parameters.set_extradata(headers)?;
            }
            writer.start(&parameters, matrix)?;
        }
        writer.video(packet, TimeBase::MEDIA)?;
        packet.clear();
    }
    Ok(())
}
