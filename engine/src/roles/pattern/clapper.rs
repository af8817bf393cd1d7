//! A synthetic camera's clapper: once a second a beep, at the very time of the first picture of a white flash.

use camshaft::link::FromWorker;
use camshaft::media::{AudioCodec, FrameRate, Geometry, MediaTime, PacketHeader, Track, WallClock};
use std::f64::consts::TAU;

use crate::av::SoundEncoder;
use crate::roles::{End, Link};

/// How long flash and beep last, in seconds.
const LENGTH: f64 = 0.1;
/// The beep's frequency.
const TONE: f64 = 1000.0;
/// A third of full scale.
const VOLUME: f64 = 10_000.0;
/// Blocks of codecs that take any number of samples have this part of a second.
const BLOCKS: u32 = 50;
const WHITE: u8 = 235;
const NO_COLOUR: u8 = 128;

/// What a synthetic camera hears.
pub struct Microphone {
    encoder: SoundEncoder,
    sample_rate: u32,
    frame_rate: FrameRate,
    block: usize,
    /// Samples recorded so far.
    position: u64,
}

impl Microphone {
    /// A microphone at the codec's usual rate, beside a camera of `frame_rate`.
    ///
    /// # Errors
    /// What FFmpeg says.
    pub fn open(codec: AudioCodec, frame_rate: FrameRate) -> Result<Self, End> {
        let sample_rate = match codec {
            AudioCodec::PcmMulaw | AudioCodec::PcmAlaw => 8_000,
            AudioCodec::Aac | AudioCodec::PcmS16le => 16_000,
            AudioCodec::Opus => 48_000,
        };
        let mut encoder = SoundEncoder::open(codec, sample_rate, 1)?;
        let block = encoder.block().unwrap_or((sample_rate / BLOCKS) as usize);
        Ok(Self { encoder, sample_rate, frame_rate, block, position: 0 })
    }

    /// Says what its packets are to be read with.
    ///
    /// # Errors
    /// The link's.
    pub fn announce(&mut self, link: &mut Link) -> Result<(), End> {
        link.send(&FromWorker::AudioConfig(self.encoder.config()), &[])
    }

    /// Sends all sound up to `until`, as far as blocks are whole.
    ///
    /// # Errors
    /// The link's, and what FFmpeg says.
    pub fn record(&mut self, until: MediaTime, link: &mut Link) -> Result<(), End> {
        while self.time(self.position + self.block as u64) <= until {
            let block: Vec<i16> = (self.position..).take(self.block).map(|position| self.sample(position)).collect();
            self.encoder.encode(&block, self.time(self.position))?;
            self.position += self.block as u64;
            while let Some((data, pts)) = self.encoder.receive()? {
                let wall = WallClock::now();
                let header = PacketHeader { track: Track::Audio, pts, dts: pts, keyframe: true, wall };
                link.send(&FromWorker::Packet(header), &data)?;
            }
        }
        Ok(())
    }

    fn time(&self, position: u64) -> MediaTime {
        MediaTime::from_clock(position as i64, self.sample_rate)
    }

    fn sample(&self, position: u64) -> i16 {
        let time = position as f64 / f64::from(self.sample_rate);
        let since = time - clap_of(time as u64, self.frame_rate);
        let beeps = (0.0..LENGTH).contains(&since);
        if beeps { (VOLUME * (TAU * TONE * since).sin()) as i16 } else { 0 }
    }
}

/// Whether the picture `number` is white.
pub fn is_flash(number: u64, rate: FrameRate) -> bool {
    // A little later, as the quotient may come out just below a whole second.
    let time = number as f64 / rate.as_f64();
    let since = time - clap_of((time + 1e-6) as u64, rate);
    (-1e-6..LENGTH - 1e-6).contains(&since)
}

/// Makes an I420 picture of `size` white below its number.
pub fn whiten(picture: &mut [u8], size: Geometry) {
    let (width, height) = (size.width as usize, size.height as usize);
    let (luma, chroma) = picture.split_at_mut(width * height);
    luma.get_mut(width * height.div_ceil(4)..).unwrap_or_default().fill(WHITE);
    let (columns, rows) = (width.div_ceil(2), height.div_ceil(2));
    for plane in chroma.chunks_exact_mut((columns * rows).max(1)) {
        plane.get_mut(columns * rows.div_ceil(4)..).unwrap_or_default().fill(NO_COLOUR);
    }
}

/// When the first picture of a second is shown.
fn clap_of(second: u64, rate: FrameRate) -> f64 {
    let first = (u128::from(second) * u128::from(rate.num)).div_ceil(u128::from(rate.den.max(1)));
    first as f64 / rate.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flash_begins_with_the_first_picture_of_each_second() {
        let flashes = |num, den, count| -> Vec<u64> {
            let rate = FrameRate::new(num, den).unwrap();
            (0..count).filter(|number| is_flash(*number, rate)).collect()
        };
        assert_eq!(flashes(25, 1, 53), [0, 1, 2, 25, 26, 27, 50, 51, 52]);
        assert_eq!(flashes(30_000, 1001, 33), [0, 1, 2, 30, 31, 32]);
        assert_eq!(flashes(5, 1, 11), [0, 5, 10]);
    }
}
