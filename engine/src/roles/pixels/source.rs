//! Packets in, pictures out.

use camshaft::link::Effort;
use camshaft::media::{MediaTime, PacketHeader, VideoConfig, WallClock};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::End;
use crate::av::{self, Decoder, Device, Frame, Omission, Refusal, SourceShape};

/// A decoded picture.
pub struct Picture {
    /// Its pixels, in memory or in a device's surface.
    pub frame: Frame,
    /// Presentation time.
    pub pts: MediaTime,
    /// When its packet was received.
    pub wall: WallClock,
    /// Whether its packet was a keyframe.
    pub is_keyframe: bool,
    /// Counts the pictures of this source.
    pub serial: u64,
}

/// The decoder of the one source, and what it has been through.
pub struct Source {
    decoder: Decoder,
    walls: Walls,
    /// Times of the last keyframes.
    keyframes: VecDeque<MediaTime>,
    decoded: u64,
    broken: u64,
    state: State,
    effort: Effort,
}

/// No codec holds more of them back.
const MOST_KEYFRAMES: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Decoding,
    /// After a packet that the decoder refused: what refers to its picture would come out smeared.
    AwaitingKeyframe,
}

impl Source {
    /// A source of the pictures that `config` describes, decoded on `device` or, without one, on the CPU.
    pub fn open(config: &VideoConfig, device: Option<&Rc<Device>>) -> Result<Self, av::Error> {
        let decoder = Decoder::open(config, device)?;
        Ok(Self {
            decoder,
            walls: Walls::default(),
            keyframes: VecDeque::new(),
            decoded: 0,
            broken: 0,
            state: State::Decoding,
            effort: Effort::Full,
        })
    }

    /// Pictures that have come out so far.
    pub fn decoded(&self) -> u64 {
        self.decoded
    }

    /// Packets that the decoder refused so far.
    pub fn broken(&self) -> u64 {
        self.broken
    }

    /// How much work goes into the access units that follow.
    pub fn set_effort(&mut self, effort: Effort) {
        self.effort = effort;
        self.decoder.leave_out(match effort {
            Effort::Full => Omission::Nothing,
            Effort::SkipNonReference | Effort::HalveDetect => Omission::NonReference,
            Effort::SkipLoopFilter | Effort::KeyframesOnly => Omission::NonReferenceAndLoopFilter,
        });
    }

    /// Decodes one access unit; each picture that comes out goes to `show`.
    pub fn feed(
        &mut self,
        header: &PacketHeader,
        access_unit: &[u8],
        show: impl FnMut(Rc<Picture>) -> Result<(), End>,
    ) -> Result<(), End> {
        if header.keyframe {
            self.state = State::Decoding;
            self.remember_keyframe(header.pts);
        }
        if self.effort == Effort::KeyframesOnly && !header.keyframe {
            // When all is decoded again, what refers to pictures left out would come out smeared.
            self.state = State::AwaitingKeyframe;
        }
        if self.state == State::AwaitingKeyframe {
            return Ok(());
        }
        self.walls.remember(header.pts, header.wall);
        match self.decoder.send(access_unit, header.pts)? {
            Ok(()) | Err(Refusal::NoPicture) => {}
            Err(Refusal::Damaged) => self.refuse(),
        }
        if self.effort == Effort::KeyframesOnly {
            // Nothing follows that would make a decoder with reordering give it out.
            return self.drain(show);
        }
        self.take_pictures(show)
    }

    /// Gives out what the decoder holds back.
    pub fn drain(&mut self, show: impl FnMut(Rc<Picture>) -> Result<(), End>) -> Result<(), End> {
        self.decoder.finish()?;
        self.take_pictures(show)?;
        self.decoder.restart();
        Ok(())
    }

    fn take_pictures(&mut self, mut show: impl FnMut(Rc<Picture>) -> Result<(), End>) -> Result<(), End> {
        loop {
            match self.decoder.receive()? {
                Ok(Some(frame)) => {
                    self.decoded += 1;
                    // Every packet has a time; a picture that lost its own cannot be placed.
                    let Some(pts) = frame.pts() else { continue };
                    if SourceShape::of(&frame).is_err() {
                        self.refuse();
                        continue;
                    }
                    let wall = self.walls.of(pts);
                    let is_keyframe = self.keyframes.contains(&pts);
                    show(Rc::new(Picture { frame, pts, wall, is_keyframe, serial: self.decoded }))?;
                }
                Ok(None) => return Ok(()),
                Err(_) => self.refuse(),
            }
        }
    }

    fn remember_keyframe(&mut self, pts: MediaTime) {
        if self.keyframes.len() >= MOST_KEYFRAMES {
            self.keyframes.pop_front();
        }
        self.keyframes.push_back(pts);
    }

    fn refuse(&mut self) {
        self.broken += 1;
        self.state = State::AwaitingKeyframe;
    }
}

/// When the packets of the last pictures were received, by presentation time: codecs give times back, but no more.
#[derive(Debug, Default)]
pub struct Walls(BTreeMap<MediaTime, WallClock>);

impl Walls {
    /// More than any codec holds back.
    const MOST: usize = 64;

    /// Keeps the wall clock that belongs to `pts`.
    pub fn remember(&mut self, pts: MediaTime, wall: WallClock) {
        if self.0.len() >= Self::MOST {
            self.0.pop_first();
        }
        self.0.insert(pts, wall);
    }

    /// The wall clock that belongs to `pts`, or to the nearest time before it; the present if none is known.
    pub fn of(&self, pts: MediaTime) -> WallClock {
        self.0.range(..=pts).next_back().map_or_else(WallClock::now, |(_, wall)| *wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walls_are_found_by_time_and_bounded() {
        let mut walls = Walls::default();
        for n in 0..1000 {
            walls.remember(MediaTime(n * 10), WallClock(n));
        }
        assert_eq!(walls.of(MediaTime(9_990)), WallClock(999));
        assert_eq!(walls.of(MediaTime(9_985)), WallClock(998));
        assert_eq!(walls.0.len(), Walls::MOST);
    }
}
