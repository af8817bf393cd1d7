//! The material of trials: the synthetic camera's pictures, and clips that the CPU makes of them.

use bytes::Bytes;
use camshaft::media::pattern::Painter;
use camshaft::media::{FrameRate, Geometry, MediaTime, PixelFormat, RateControl, VideoCodec, VideoConfig};
use std::rc::Rc;

use crate::av::{
    ColorTags, Copy, Decoder, Device, Encoder, EncoderSettings, Error, Frame, Layout, PictureKind, ReadBack, Scaler,
    SourceShape, Tuning, View,
};

/// Every device takes this size; its height is no multiple of a macroblock's, so that codecs must crop.
pub const SIZE: Geometry = Geometry { width: 640, height: 360 };
/// Pictures of a clip: two groups of B frames and what follows.
pub const PICTURES: u32 = 10;
/// From one picture to the next.
pub const TICKS: i64 = MediaTime::HZ / 25;
/// The whole picture in memory.
pub const WHOLE: View = View { crop: None, size: SIZE, layout: Layout::Raw(PixelFormat::I420) };

/// Encoded pictures, in decoding order.
#[derive(Default)]
pub struct Clip {
    config: Option<VideoConfig>,
    packets: Vec<(MediaTime, Bytes)>,
}

/// Settings with plenty of bits.
pub fn settings(codec: VideoCodec, tuning: Tuning, bit_depth: u8) -> EncoderSettings {
    EncoderSettings {
        codec,
        size: SIZE,
        frame_rate: FrameRate { num: 25, den: 1 },
        rate_control: RateControl::Bitrate(4_000_000),
        gop: 50,
        tuning,
        bit_depth,
        color: ColorTags::UNSPECIFIED,
    }
}

/// A clip with B frames, made on the CPU.
pub fn encode(codec: VideoCodec, bit_depth: u8) -> Result<Clip, Error> {
    let layout = if bit_depth == 10 { Layout::TenBit } else { WHOLE.layout };
    let mut encoder = Encoder::open(settings(codec, Tuning::Camera { bframes: 2 }, bit_depth))?;
    let mut clip = Clip::default();
    for number in 0..PICTURES {
        let picture = convert(&draw(number)?, &View { layout, ..WHOLE })?;
        encoder.encode(&picture, MediaTime(i64::from(number) * TICKS), PictureKind::Any)?;
        clip.take(&mut encoder)?;
    }
    encoder.finish()?;
    clip.take(&mut encoder)?;
    Ok(clip)
}

impl Clip {
    /// Adds what `encoder` has ready.
    pub fn take(&mut self, encoder: &mut Encoder) -> Result<(), Error> {
        while let Some(unit) = encoder.receive()? {
            self.config = self.config.take().or(unit.config);
            self.packets.push((unit.pts, unit.data));
        }
        Ok(())
    }

    /// The pictures as I420 without padding, decoded on `device` or, without one, on the CPU.
    pub fn decode(&self, device: Option<&Rc<Device>>) -> Result<Vec<Vec<u8>>, Error> {
        let Some(config) = &self.config else { return Ok(Vec::new()) };
        let mut decoder = Decoder::open(config, device)?;
        let mut reader = device.map(|device| ReadBack::new(device));
        let mut made = Vec::new();
        for (pts, data) in &self.packets {
            if let Err(refusal) = decoder.send(data, *pts)? {
                return Err(Error::Unsupported(format!("the decoder refused an access unit ({refusal:?})")));
            }
            take_pictures(&mut decoder, &mut reader, &mut made)?;
        }
        decoder.finish()?;
        take_pictures(&mut decoder, &mut reader, &mut made)?;
        Ok(made)
    }
}

fn take_pictures(
    decoder: &mut Decoder,
    reader: &mut Option<ReadBack>,
    made: &mut Vec<Vec<u8>>,
) -> Result<(), Error> {
    loop {
        let frame = match decoder.receive()? {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(refusal) => return Err(Error::Unsupported(format!("the decoder gave no picture ({refusal:?})"))),
        };
        let mut copy = Copy::default();
        if let Some(reader) = reader {
            reader.read(&frame, &mut copy)?;
        }
        made.push(i420(copy.picture().unwrap_or(&frame), &WHOLE)?);
    }
}

/// The synthetic camera's picture.
pub fn draw(number: u32) -> Result<Frame, Error> {
    let mut drawing = Vec::new();
    Painter::new(SIZE).draw(number, &mut drawing);
    let mut frame = Frame::i420(SIZE)?;
    frame.draw_i420(&drawing)?;
    Ok(frame)
}

/// The `view` of a picture in memory.
pub fn convert(frame: &Frame, view: &View) -> Result<Frame, Error> {
    let mut scaler = Scaler::new(SourceShape::of(frame)?, view)?;
    scaler.scale(frame)?;
    scaler.into_output()
}

/// The same as I420 without padding.
pub fn i420(frame: &Frame, view: &View) -> Result<Vec<u8>, Error> {
    let mut pixels = Vec::new();
    convert(frame, view)?.copy_to(PixelFormat::I420, &mut pixels)?;
    Ok(pixels)
}

/// How alike two pictures of one size are, in dB; infinite if they are the same.
pub fn psnr(one: &[u8], other: &[u8]) -> f64 {
    let squares: u64 = one.iter().zip(other).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    let differing = one.len().abs_diff(other.len()) as u64;
    let error = (squares + differing * 255 * 255) as f64 / one.len().max(1) as f64;
    10.0 * (255.0 * 255.0 / error).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_decodes_to_what_was_drawn_and_no_other_picture_is_taken_for_it() {
        for (codec, bit_depth) in [(VideoCodec::H264, 8), (VideoCodec::Hevc, 8), (VideoCodec::Hevc, 10)] {
            let decoded = encode(codec, bit_depth).unwrap().decode(None).unwrap();
            assert_eq!(decoded.len(), PICTURES as usize);
            for (number, picture) in (0..).zip(&decoded) {
                let drawn = i420(&draw(number).unwrap(), &WHOLE).unwrap();
                assert!(psnr(&drawn, picture) > 35.0, "{codec:?} {bit_depth} {number}: {}", psnr(&drawn, picture));
                let next = i420(&draw(number + 1).unwrap(), &WHOLE).unwrap();
                assert!(psnr(&next, picture) < 28.0, "{codec:?} {number}: {}", psnr(&next, picture));
            }
        }
    }

    #[test]
    fn equal_pictures_are_infinitely_alike_and_missing_samples_are_not() {
        assert_eq!(psnr(&[1, 2, 3], &[1, 2, 3]), f64::INFINITY);
        assert!((psnr(&[0; 4], &[1; 4]) - 48.13).abs() < 0.01);
        assert!(psnr(&[7; 4], &[7; 2]) < 4.0);
    }
}
