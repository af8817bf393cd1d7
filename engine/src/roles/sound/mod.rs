//! Makes one sound of a source's: decodes, resamples, cuts into blocks, encodes.

pub mod grid;

use camshaft::link::{FailureKind, FromWorker, SoundTask, ToWorker};
use camshaft::media::{AudioCodec, MediaTime, PacketHeader, SoundCoding, SoundSpec, Track, WallClock};

use super::{End, Link};
use crate::av::{Resampler, SoundDecoder, SoundEncoder};
use grid::Grid;

/// Blocks of bare samples have this part of a second (20 ms).
const PCM_BLOCKS: u32 = 50;

/// Works until told to stop.
///
/// # Errors
/// Why it cannot go on; damaged packets are left out and counted.
pub fn run(task: &SoundTask, link: &mut Link) -> Result<(), End> {
    let mut maker = Maker::open(task)?;
    link.send(&FromWorker::Ready, &[])?;
    loop {
        match link.receive()? {
            (ToWorker::Packet(header), data) if header.track == Track::Audio => maker.take(&header, &data, link)?,
            (ToWorker::Stop, _) => return Ok(()),
            _ => return Err(super::protocol("a sound worker takes packets of sound and Stop")),
        }
    }
}

struct Maker {
    decoder: SoundDecoder,
    resampler: Resampler,
    samples: Vec<i16>,
    grid: Grid,
    output: Output,
    decoded: u64,
    broken: u64,
}

enum Output {
    Encoded(SoundEncoder),
    Bare,
}

impl Maker {
    fn open(task: &SoundTask) -> Result<Self, End> {
        let SoundTask { config, spec } = task;
        if !spec.is_possible() {
            return Err(End::failed(FailureKind::Limit, format!("a sound of {spec} is not possible")));
        }
        let SoundSpec { coding, sample_rate, channels } = *spec;
        let (output, block) = match coding {
            SoundCoding::Pcm => (Output::Bare, (sample_rate / PCM_BLOCKS) as usize),
            SoundCoding::Aac => {
                let mut encoder = SoundEncoder::open(AudioCodec::Aac, sample_rate, channels)?;
                let block = encoder.block().unwrap_or(1024);
                (Output::Encoded(encoder), block)
            }
        };
        Ok(Self {
            decoder: SoundDecoder::open(config)?,
            resampler: Resampler::new(sample_rate, channels),
            samples: Vec::new(),
            grid: Grid::new(sample_rate, channels, block),
            output,
            decoded: 0,
            broken: 0,
        })
    }

    fn take(&mut self, header: &PacketHeader, data: &[u8], link: &mut Link) -> Result<(), End> {
        match self.decoder.send(data, header.pts)? {
            Ok(()) => self.decode(header.pts)?,
            Err(_) => self.broken += 1,
        }
        while let Some((time, block)) = self.grid.pop() {
            self.give(time, &block, header.wall, link)?;
        }
        link.send(&FromWorker::Consumed { decoded: self.decoded, broken: self.broken }, &[])
    }

    fn decode(&mut self, pts: MediaTime) -> Result<(), End> {
        loop {
            match self.decoder.receive()? {
                Ok(None) => return Ok(()),
                Err(_) => {
                    self.broken += 1;
                    return Ok(());
                }
                Ok(Some(frame)) => {
                    let start = self.resampler.convert(frame, &mut self.samples)?;
                    self.grid.push(start.unwrap_or(pts), &self.samples);
                    self.decoded += 1;
                }
            }
        }
    }

    fn give(&mut self, time: MediaTime, block: &[i16], wall: WallClock, link: &mut Link) -> Result<(), End> {
        let Output::Encoded(encoder) = &mut self.output else {
            let bytes: Vec<u8> = block.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            return send(time, wall, &bytes, link);
        };
        encoder.encode(block, time)?;
        while let Some((data, pts)) = encoder.receive()? {
            send(pts, wall, &data, link)?;
        }
        Ok(())
    }
}

fn send(pts: MediaTime, wall: WallClock, data: &[u8], link: &mut Link) -> Result<(), End> {
    let header = PacketHeader { track: Track::Audio, pts, dts: pts, keyframe: true, wall };
    link.send(&FromWorker::Packet(header), data)
}

#[cfg(test)]
mod tests;
