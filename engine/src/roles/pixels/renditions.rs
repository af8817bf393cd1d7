//! The renditions that are being made.

use camshaft::link::{Effort, FailureKind, FromWorker, RenditionId};
use camshaft::media::{Cadence, FrameRate, MAX_PIXELS, MediaTime, RenditionSpec};
use camshaft::plan::{Backend, Candidate};
use std::rc::Rc;

use super::output::{Output, Stages};
use super::pacing::{Due, Pacing, Share};
use super::source::Picture;
use super::views::{Place, Views};
use super::{End, Fault, Link};
use crate::av::Device;

/// The most renditions of one worker.
const MOST: usize = 8;

/// What an encoder is told of a source that does not say its rate, as most cameras have it.
const USUAL_RATE: FrameRate = FrameRate { num: 25, den: 1 };

/// Every rendition of the source, and the views that they share.
pub struct Renditions {
    list: Vec<Rendition>,
    views: Views,
    /// What the source is decoded on, if not the CPU.
    device: Option<Rc<Device>>,
    source_rate: FrameRate,
    effort: Effort,
}

/// Which of the source's pictures are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// All of them.
    Everything,
    /// One in each slot of so many ticks, or a longer one.
    Grid {
        /// The shortest slot of all renditions.
        slot: i64,
    },
    /// Keyframes.
    Keyframes,
}

/// The length of a slot of `rate`, in ticks.
fn slot_ticks(rate: FrameRate) -> i64 {
    MediaTime::HZ * i64::from(rate.den) / i64::from(rate.num.max(1))
}

struct Rendition {
    id: RenditionId,
    spec: RenditionSpec,
    pacing: Pacing,
    due: Option<Due>,
    /// The picture that holds the last slot.
    previous: Option<Rc<Picture>>,
    output: Output,
}

impl Renditions {
    /// None yet, of a source with that nominal rate that is decoded on `device`.
    pub fn new(source_rate: Option<FrameRate>, views: Views, device: Option<Rc<Device>>) -> Self {
        Self { list: Vec::new(), views, device, source_rate: source_rate.unwrap_or(USUAL_RATE), effort: Effort::Full }
    }

    /// Starts a rendition; one that cannot be made is answered with `RenditionFailed`.
    pub fn add(
        &mut self,
        id: RenditionId,
        spec: &RenditionSpec,
        stages: &Candidate,
        after: Option<MediaTime>,
        link: &mut Link,
    ) -> Result<(), End> {
        if self.list.iter().any(|rendition| rendition.id == id) {
            return Err(super::protocol("a rendition's id was used twice"));
        }
        let stages = match self.check(spec).and_then(|()| self.place(stages)) {
            Ok(stages) => stages,
            Err(message) => {
                let kind = FailureKind::Unsupported;
                return link.send(&FromWorker::RenditionFailed { id, kind, message }, &[]);
            }
        };
        let output = Output::new(id, spec, stages, self.source_rate);
        let pacing = Pacing::new(spec.cadence.grid(), after);
        let mut rendition = Rendition { id, spec: *spec, pacing, due: None, previous: None, output };
        rendition.set_effort(self.effort);
        self.list.push(rendition);
        Ok(())
    }

    /// Makes a rendition elsewhere from the next picture on. Its times go on as they were.
    pub fn restage(&mut self, id: RenditionId, stages: &Candidate, link: &mut Link) -> Result<(), End> {
        match self.place(stages) {
            Ok(stages) => {
                let rate = self.source_rate;
                let mut stages = Some(stages);
                self.each(link, |rendition, _, link| {
                    let Some(stages) = stages.take_if(|_| rendition.id == id) else { return Ok(()) };
                    rendition.output.finish(link)?;
                    rendition.output = Output::new(id, &rendition.spec, stages, rate);
                    Ok(())
                })
            }
            Err(message) => {
                self.remove(id);
                let kind = FailureKind::Unsupported;
                link.send(&FromWorker::RenditionFailed { id, kind, message }, &[])
            }
        }
    }

    fn check(&self, spec: &RenditionSpec) -> Result<(), String> {
        if self.list.len() >= MOST {
            return Err(format!("one worker makes at most {MOST} renditions: stop another one first"));
        }
        let pixels = spec.size.pixels();
        if pixels == 0 || pixels > MAX_PIXELS {
            return Err(format!("{} is not possible: a picture has 1 to {MAX_PIXELS} pixels", spec.size));
        }
        if spec.cadence.grid().is_some_and(|fps| FrameRate::new(fps.num, fps.den).is_none()) {
            return Err(format!("a frame rate is above 0 and at most {}", FrameRate::MAX));
        }
        Ok(())
    }

    /// Finds the stages' places in this worker.
    fn place(&self, stages: &Candidate) -> Result<Stages, String> {
        let is_here = |stage: &Backend| match (stage, &self.device) {
            (Backend::Software, _) => Ok(false),
            (Backend::Vaapi { device }, Some(own)) if device == own.path() => Ok(true),
            (Backend::Vaapi { device }, _) => Err(format!("the pictures are not on {device}: plan this in software")),
        };
        let scale = if is_here(&stages.scale)? { Place::Device } else { Place::Cpu };
        let encodes_here = stages.encode.as_ref().map_or(Ok(false), is_here)?;
        let encode_on = self.device.clone().filter(|_| encodes_here);
        Ok(Stages { scale, encode_on, mode: stages.mode })
    }

    /// Stops a rendition; one that is not there has failed before.
    pub fn remove(&mut self, id: RenditionId) {
        self.list.retain(|rendition| rendition.id != id);
        let wanted: Vec<_> = self.list.iter().map(|rendition| *rendition.output.view()).collect();
        self.views.retain(&wanted);
    }

    /// Makes the next picture of an encoded rendition an IDR.
    pub fn force_keyframe(&mut self, id: RenditionId) {
        if let Some(rendition) = self.list.iter_mut().find(|rendition| rendition.id == id) {
            rendition.output.force_keyframe();
        }
    }

    /// How much work goes into the pictures that follow.
    pub fn set_effort(&mut self, effort: Effort) {
        self.effort = effort;
        self.list.iter_mut().for_each(|rendition| rendition.set_effort(effort));
    }

    /// Which of the source's pictures are wanted.
    pub fn demand(&self) -> Demand {
        let rates = || self.list.iter().map(|rendition| rendition.spec.cadence);
        if self.list.is_empty() || rates().any(|rate| rate == Cadence::Every) {
            return Demand::Everything;
        }
        rates().filter_map(Cadence::grid).map(slot_ticks).min().map_or(Demand::Keyframes, |slot| Demand::Grid { slot })
    }

    /// Whether no rendition takes a picture of time `pts`, or of any time before it, that is no keyframe.
    pub fn is_settled(&self, pts: MediaTime) -> bool {
        let settled = |rendition: &Rendition| match rendition.spec.cadence {
            Cadence::Every => false,
            Cadence::Fps(_) => rendition.pacing.is_past(pts),
            Cadence::Keyframes => true,
        };
        !self.list.is_empty() && self.list.iter().all(settled)
    }

    /// Makes of `picture` what is due.
    pub fn show(&mut self, picture: &Rc<Picture>, link: &mut Link) -> Result<(), End> {
        for rendition in &mut self.list {
            let is_wanted = picture.is_keyframe || rendition.spec.cadence != Cadence::Keyframes;
            rendition.due = is_wanted.then(|| rendition.pacing.next(picture.pts)).flatten();
        }
        // All repeats come before all that is new, so that a shared view is made once of each picture.
        self.each(link, |rendition, views, link| rendition.fill(views, link))?;
        self.each(link, |rendition, views, link| rendition.show(picture, views, link))
    }

    /// Gives out what encoders hold back, and ends all renditions.
    pub fn finish(&mut self, link: &mut Link) -> Result<(), End> {
        self.each(link, |rendition, _, link| rendition.output.finish(link))?;
        self.list.clear();
        self.views.retain(&[]);
        Ok(())
    }

    /// Does `act` for each rendition; one that fails is ended without touching the others.
    fn each(
        &mut self,
        link: &mut Link,
        mut act: impl FnMut(&mut Rendition, &mut Views, &mut Link) -> Result<(), Fault>,
    ) -> Result<(), End> {
        let mut failed = Vec::new();
        for rendition in &mut self.list {
            match act(rendition, &mut self.views, link) {
                Ok(()) => {}
                Err(Fault::Rendition(error)) => failed.push((rendition.id, End::from(error))),
                Err(Fault::Worker(end)) => return Err(end),
            }
        }
        for (id, end) in failed {
            self.remove(id);
            let End::Failed { kind, message } = end else { return Err(end) };
            link.send(&FromWorker::RenditionFailed { id, kind, message }, &[])?;
        }
        Ok(())
    }
}

impl Rendition {
    /// An encoder needs every picture that there is: its viewers see each one missing.
    fn set_effort(&mut self, effort: Effort) {
        let halve = effort >= Effort::HalveDetect && !self.output.is_encoded();
        self.pacing.set_share(if halve { Share::Half } else { Share::All });
    }

    /// Sends the previous picture again for the slots between it and the new one.
    fn fill(&mut self, views: &mut Views, link: &mut Link) -> Result<(), Fault> {
        let (Some(due), Some(previous)) = (&self.due, &self.previous) else { return Ok(()) };
        for time in self.pacing.fill_times(due) {
            self.output.send(previous, time, views, link)?;
        }
        Ok(())
    }

    fn show(&mut self, picture: &Rc<Picture>, views: &mut Views, link: &mut Link) -> Result<(), Fault> {
        let Some(due) = self.due.take() else { return Ok(()) };
        if self.pacing.repeats() {
            self.previous = Some(Rc::clone(picture));
        }
        match self.pacing.picture_time(&due) {
            Some(time) => self.output.send(picture, time, views, link),
            None => Ok(()),
        }
    }
}
