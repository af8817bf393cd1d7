//! The synthetic camera's picture: a still, grainy scene, things that move, and the frame's number as a block code
//! that survives scaling and encoding. [`draw`] and [`read_number`] are each other's inverse.
//!
//! ```text
//! ┌────────────────────────────────┐
//! │ 24 bits of number │ 8 of check │  top quarter: two rows of 16 black (0) or white (1) blocks
//! ├────────────────────────────────┤
//! │   scene with moving objects    │
//! └────────────────────────────────┘
//! ```

use super::Geometry;

const COLUMNS: usize = 16;
const ROWS: usize = 2;
const BLACK: u8 = 32;
const WHITE: u8 = 220;

/// Numbers above this wrap to 0.
pub const MAX_NUMBER: u32 = (1 << 24) - 1;

/// Draws frames of one size. Keeps the still part of the scene, so that a frame costs a copy and a few rectangles.
#[derive(Debug)]
pub struct Painter {
    size: Geometry,
    scene: Vec<u8>,
}

impl Painter {
    /// A painter of I420 pictures of `size`; sides are expected even.
    pub fn new(size: Geometry) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        let mut scene = Vec::with_capacity(width * height + 2 * chroma);
        for y in 0..height {
            for x in 0..width {
                let slope = 60 + (x * 80 / width.max(1)) + (y * 50 / height.max(1));
                let grain = (hash((y * width + x) as u32) % 7) as usize;
                scene.push((slope + grain) as u8);
            }
        }
        for (plane, base) in [(1u32, 118u8), (2, 134)] {
            for index in 0..chroma as u32 {
                scene.push(base + (hash(index ^ (plane << 24)) % 3) as u8);
            }
        }
        Self { size, scene }
    }

    /// The I420 picture number `number` (planes without padding), into `out`, which is resized to fit.
    pub fn draw(&self, number: u32, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.scene);
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let luma = out.get_mut(..width * height).unwrap_or_default();
        let code = encode(number & MAX_NUMBER);
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let bit = code >> (31 - (row * COLUMNS + column)) & 1;
                let shade = if bit == 1 { WHITE } else { BLACK };
                let (top, bottom) = (row * height / (4 * ROWS), (row + 1) * height / (4 * ROWS));
                let (left, right) = (column * width / COLUMNS, (column + 1) * width / COLUMNS);
                fill(luma, width, (left, top, right, bottom), shade);
            }
        }
        // Three things at different speeds, so that every frame differs from its neighbours.
        let ground = height / 4;
        let side = (height / 10).max(2);
        for (index, speed) in [3usize, 7, 13].into_iter().enumerate() {
            let span = width.saturating_sub(side).max(1);
            let left = (number as usize * speed * width / 1920 + index * width / 3) % span;
            let top = ground + (index + 1) * (height - ground) / 5;
            let bounds = (left, top, left + side, (top + side).min(height));
            fill(luma, width, bounds, 200 - 50 * index as u8);
        }
    }
}

/// The noise of a sensor: uniform, and another on every picture.
#[derive(Debug)]
pub struct SensorNoise {
    table: Vec<i8>,
}

impl SensorNoise {
    /// A prime, so that the table falls differently on every row.
    const LENGTH: u32 = 65_521;

    /// Noise of at most so many steps of luma either way; 0: none.
    pub fn new(steps: u8) -> Self {
        let steps = steps.min(i8::MAX as u8);
        let length = if steps == 0 { 0 } else { Self::LENGTH };
        let level = |index| (hash(index) % (2 * u32::from(steps) + 1)) as i8 - steps as i8;
        Self { table: (0..length).map(level).collect() }
    }

    /// Adds that of picture `number` to its luma.
    pub fn add(&self, number: u32, luma: &mut [u8]) {
        if self.table.is_empty() {
            return;
        }
        let mut rest = luma;
        let mut from = hash(number) as usize % self.table.len();
        while !rest.is_empty() {
            let noise = self.table.get(from..).unwrap_or_default();
            let (piece, behind) = rest.split_at_mut(noise.len().min(rest.len()));
            for (sample, noise) in piece.iter_mut().zip(noise) {
                *sample = sample.saturating_add_signed(*noise);
            }
            (rest, from) = (behind, 0);
        }
    }
}

/// Reads the number back from a luma plane of any size with `stride` bytes a row; `None` if the check bits do not match.
pub fn read_number(luma: &[u8], size: Geometry, stride: usize) -> Option<u32> {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut code = 0u32;
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            let y = (2 * row + 1) * height / (8 * ROWS);
            let x = (2 * column + 1) * width / (2 * COLUMNS);
            let shade = *luma.get(y * stride + x)?;
            code = code << 1 | u32::from(shade > BLACK / 2 + WHITE / 2);
        }
    }
    let number = code >> 8;
    (encode(number) == code).then_some(number)
}

fn encode(number: u32) -> u32 {
    number << 8 | (hash(number) & 0xff)
}

/// A small integer mix (multiply and xor-shift): grain and check bits need spread, not secrecy.
fn hash(value: u32) -> u32 {
    let mut mixed = value.wrapping_add(0x9e37_79b9);
    mixed = (mixed ^ (mixed >> 16)).wrapping_mul(0x85eb_ca6b);
    mixed = (mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35);
    mixed ^ (mixed >> 16)
}

fn fill(luma: &mut [u8], stride: usize, (left, top, right, bottom): (usize, usize, usize, usize), shade: u8) {
    for row in luma.chunks_exact_mut(stride).take(bottom).skip(top) {
        row.get_mut(left.min(stride)..right.min(stride)).unwrap_or_default().fill(shade);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_another_on_every_picture_and_hides_no_number() {
        let size = Geometry::new(320, 180);
        let (mut clean, painter) = (Vec::new(), Painter::new(size));
        painter.draw(7, &mut clean);
        let noisy = |steps, number| {
            let mut picture = clean.clone();
            SensorNoise::new(steps).add(number, &mut picture[..size.pixels() as usize]);
            picture
        };
        assert_eq!(noisy(0, 7), clean);
        assert_ne!(noisy(10, 7), noisy(10, 8));
        assert_eq!(read_number(&noisy(10, 7), size, 320), Some(7));
        let off = noisy(3, 7).iter().zip(&clean).map(|(noisy, clean)| noisy.abs_diff(*clean)).max();
        assert_eq!(off, Some(3));
    }

    #[test]
    fn every_number_comes_back_at_any_size() {
        for (width, height) in [(64, 36), (320, 180), (1920, 1080)] {
            let size = Geometry::new(width, height);
            let painter = Painter::new(size);
            let mut picture = Vec::new();
            for number in [0, 1, 2, 77, 65_535, MAX_NUMBER] {
                painter.draw(number, &mut picture);
                assert_eq!(read_number(&picture, size, width as usize), Some(number));
            }
        }
    }

    #[test]
    fn a_flat_picture_has_no_number() {
        let size = Geometry::new(64, 36);
        for shade in [0, 128, 255] {
            assert_eq!(read_number(&[shade; 64 * 36], size, 64), None);
        }
        assert_eq!(read_number(&[], size, 64), None);
    }
}
