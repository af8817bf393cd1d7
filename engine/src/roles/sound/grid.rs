//! Samples as they come, cut into blocks that begin at fixed times: two workers that hear the same sound cut it alike, so
//! that one can go on where another ended.

use camshaft::media::MediaTime;

/// Steps of the source's clock up to this part of a second are jitter.
const JITTER: u32 = 50;
/// Gaps up to so many seconds are filled with silence; after longer ones the sound begins anew.
const SILENCE: i64 = 2;

/// Interleaved samples on their way into blocks.
#[derive(Debug)]
pub struct Grid {
    sample_rate: u32,
    channels: usize,
    /// Samples of each channel in a block.
    block: usize,
    /// Where the samples held begin, counted in samples from the timeline's moment 0; a multiple of the block.
    at: Option<i64>,
    held: Vec<i16>,
}

impl Grid {
    /// A grid of blocks of `block` samples of each channel.
    pub fn new(sample_rate: u32, channels: u16, block: usize) -> Self {
        let (channels, block) = (usize::from(channels.max(1)), block.max(1));
        Self { sample_rate, channels, block, at: None, held: Vec::new() }
    }

    /// Adds samples that begin at `time`.
    pub fn push(&mut self, time: MediaTime, samples: &[i16]) {
        let start = self.position(time);
        let gap = self.at.map(|at| start - at - (self.held.len() / self.channels) as i64);
        let (jitter, longest) = (i64::from(self.sample_rate / JITTER), i64::from(self.sample_rate) * SILENCE);
        match gap {
            Some(gap) if gap.abs() <= jitter => {}
            Some(gap) if (0..=longest).contains(&gap) => self.add_silence(gap),
            _ => {
                let at = start.div_euclid(self.block as i64) * self.block as i64;
                self.held.clear();
                self.at = Some(at);
                self.add_silence(start - at);
            }
        }
        self.held.extend_from_slice(samples);
    }

    /// The next whole block, and when it begins.
    pub fn pop(&mut self) -> Option<(MediaTime, Vec<i16>)> {
        let at = self.at?;
        let length = self.block * self.channels;
        if self.held.len() < length {
            return None;
        }
        let rest = self.held.split_off(length);
        self.at = Some(at + self.block as i64);
        Some((self.time(at), std::mem::replace(&mut self.held, rest)))
    }

    /// Fills the last block with silence; nothing is held afterwards.
    pub fn finish(&mut self) -> Option<(MediaTime, Vec<i16>)> {
        if !self.held.is_empty() {
            self.held.resize(self.block * self.channels, 0);
        }
        self.pop()
    }

    fn add_silence(&mut self, samples: i64) {
        let samples = usize::try_from(samples).unwrap_or(0);
        self.held.resize(self.held.len() + samples * self.channels, 0);
    }

    fn position(&self, time: MediaTime) -> i64 {
        let (rate, hz) = (i128::from(self.sample_rate), i128::from(MediaTime::HZ));
        ((i128::from(time.0) * rate + hz / 2).div_euclid(hz)) as i64
    }

    fn time(&self, position: i64) -> MediaTime {
        let ticks = (i128::from(position) * i128::from(MediaTime::HZ)).div_euclid(i128::from(self.sample_rate.max(1)));
        MediaTime(ticks as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(grid: &mut Grid) -> Vec<(i64, Vec<i16>)> {
        std::iter::from_fn(|| grid.pop()).map(|(time, samples)| (time.0, samples)).collect()
    }

    #[test]
    fn blocks_begin_at_fixed_times_wherever_the_sound_begins() {
        // 9 000 samples a second: one in ten ticks.
        let mut grid = Grid::new(9_000, 1, 4);
        grid.push(MediaTime(60), &[1, 2, 3]);
        assert_eq!(blocks(&mut grid), [(40, vec![0, 0, 1, 2])]);
        grid.push(MediaTime(90), &[4, 5, 6]);
        assert_eq!(blocks(&mut grid), [(80, vec![3, 4, 5, 6])]);
        let mut other = Grid::new(9_000, 1, 4);
        other.push(MediaTime(80), &[3, 4, 5, 6]);
        assert_eq!(blocks(&mut other), [(80, vec![3, 4, 5, 6])]);
    }

    #[test]
    fn short_gaps_are_silent_and_long_ones_a_new_start() {
        let mut grid = Grid::new(9_000, 2, 2_000);
        grid.push(MediaTime(0), &[7; 2_000]);
        grid.push(MediaTime(20_000), &[8; 4_000]);
        let made = blocks(&mut grid);
        assert_eq!((made.len(), made[0].1[1_999], made[0].1[2_000], made[0].1[3_999]), (2, 7, 0, 0));
        assert_eq!((made[1].0, made[1].1[0]), (20_000, 8));
        grid.push(MediaTime(9_000_000), &[9; 4_000]);
        assert_eq!(blocks(&mut grid), [(9_000_000, vec![9; 4_000])]);
        grid.push(MediaTime(-100_000), &[6; 4_000]);
        assert_eq!(blocks(&mut grid), [(-100_000, vec![6; 4_000])]);
    }

    #[test]
    fn jitter_is_no_gap() {
        let mut grid = Grid::new(9_000, 1, 4);
        grid.push(MediaTime(0), &[1, 2, 3]);
        grid.push(MediaTime(35), &[4]);
        assert_eq!(blocks(&mut grid), [(0, vec![1, 2, 3, 4])]);
    }
}
