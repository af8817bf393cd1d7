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
/// Plenty of bits a second.
pub const BITRATE: u32 = 4_000_000;
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

/// The layout in which pictures are encoded and compared.
fn layout(codec: VideoCodec, bit_depth: u8) -> Layout {
    match (codec, bit_depth) {
        (_, 10) => Layout::TenBit,
        (VideoCodec::Mjpeg, _) => Layout::Jpeg,
        _ => WHOLE.layout,
    }
}

/// Settings with [`BITRATE`].
pub fn settings(codec: VideoCodec, tuning: Tuning, bit_depth: u8) -> EncoderSettings {
    EncoderSettings {
        codec,
        size: SIZE,
        frame_rate: FrameRate { num: 25, den: 1 },
        rate_control: RateControl::Bitrate(BITRATE),
        gop: 50,
        tuning,
        bit_depth,
        color: ColorTags::UNSPECIFIED,
        threads: 1,
    }
}

/// A clip, with B frames where the codec has them, made on the CPU.
pub fn encode(codec: VideoCodec, bit_depth: u8) -> Result<Clip, Error> {
    let layout = layout(codec, bit_depth);
    let bframes = match codec {
        VideoCodec::H264 | VideoCodec::Hevc | VideoCodec::Mpeg2 => 2,
        VideoCodec::Mjpeg | VideoCodec::Mpeg4 | VideoCodec::Vp8 | VideoCodec::Vp9 | VideoCodec::Av1 => 0,
    };
    let mut encoder = Encoder::open(settings(codec, Tuning::Camera { bframes }, bit_depth))?;
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

    /// The pictures' samples, in the layout that they were encoded from, decoded on `device` or, without one, on the CPU.
    pub fn decode(&self, device: Option<&Rc<Device>>) -> Result<Vec<Vec<u8>>, Error> {
        let Some(config) = &self.config else { return Ok(Vec::new()) };
        let mut decoder = Decoder::open(config, device)?;
        let mut reader = device.map(|device| ReadBack::new(device));
        let layout = layout(config.codec, config.bit_depth);
        let mut made = Vec::new();
        for (pts, data) in &self.packets {
            if let Err(refusal) = decoder.send(data, *pts)? {
                return Err(Error::Unsupported(format!("the decoder refused an access unit ({refusal:?})")));
            }
            take_pictures(&mut decoder, &mut reader, layout, &mut made)?;
        }
        decoder.finish()?;
        take_pictures(&mut decoder, &mut reader, layout, &mut made)?;
        Ok(made)
    }
}

fn take_pictures(
    decoder: &mut Decoder,
    reader: &mut Option<ReadBack>,
    layout: Layout,
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
        made.push(samples(copy.picture().unwrap_or(&frame), &View { layout, ..WHOLE })?);
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
    Ok(scaler.into_output())
}

/// The samples of the `view` of a picture in memory.
pub fn samples(frame: &Frame, view: &View) -> Result<Vec<u8>, Error> {
    convert(frame, view)?.samples()
}

/// How alike the samples of two pictures are, in dB; infinite if they are the same.
pub fn psnr(one: &[u8], other: &[u8], bit_depth: u8) -> f64 {
    let bytes = if bit_depth > 8 { 2 } else { 1 };
    let peak = f64::from((1u32 << bit_depth) - 1);
    let sample = |bytes: &[u8]| bytes.iter().rev().fold(0, |value, byte| value << 8 | i64::from(*byte));
    let differences = one.chunks(bytes).zip(other.chunks(bytes)).map(|(a, b)| sample(a) - sample(b));
    let squares: i64 = differences.map(|difference| difference * difference).sum();
    let missing = one.len().abs_diff(other.len()) as f64;
    let error = (squares as f64 + missing * peak * peak) / (one.len() / bytes).max(1) as f64;
    10.0 * (peak * peak / error).log10()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::av::{JpegEncoder, decode_jpeg};

    #[test]
    fn a_clip_decodes_to_what_was_drawn_and_no_other_picture_is_taken_for_it() {
        for (codec, bit_depth) in [
            (VideoCodec::H264, 8),
            (VideoCodec::Hevc, 8),
            (VideoCodec::Hevc, 10),
            (VideoCodec::Mjpeg, 8),
            (VideoCodec::Mpeg2, 8),
            (VideoCodec::Vp8, 8),
            (VideoCodec::Vp9, 8),
            (VideoCodec::Vp9, 10),
            (VideoCodec::Av1, 8),
        ] {
            let decoded = encode(codec, bit_depth).unwrap().decode(None).unwrap();
            assert_eq!(decoded.len(), PICTURES as usize);
            for (number, picture) in (0..).zip(&decoded) {
                let view = View { layout: layout(codec, bit_depth), ..WHOLE };
                let drawn = samples(&draw(number).unwrap(), &view).unwrap();
                let own = psnr(&drawn, picture, bit_depth);
                assert!(own > 35.0, "{codec:?} {bit_depth} {number}: {own}");
                let next = samples(&draw(number + 1).unwrap(), &view).unwrap();
                let others = psnr(&next, picture, bit_depth);
                assert!(others < 28.0, "{codec:?} {bit_depth} {number}: {others}");
            }
        }
    }

    #[test]
    fn a_jpeg_decodes_to_what_was_drawn() {
        let picture = draw(7).unwrap();
        let full = convert(&picture, &View { layout: Layout::Jpeg, ..WHOLE }).unwrap();
        let decoded = decode_jpeg(JpegEncoder::open(SIZE).unwrap().encode(&full, 90).unwrap()).unwrap();
        let psnr = psnr(&samples(&picture, &WHOLE).unwrap(), &samples(&decoded, &WHOLE).unwrap(), 8);
        assert!(psnr > 35.0, "{psnr}");
    }

    #[test]
    fn equal_pictures_are_infinitely_alike_and_missing_samples_are_not() {
        assert_eq!(psnr(&[1, 2, 3], &[1, 2, 3], 8), f64::INFINITY);
        assert!((psnr(&[0; 4], &[1; 4], 8) - 48.13).abs() < 0.01);
        assert!((psnr(&[0; 4], &[4, 0, 4, 0], 10) - 48.16).abs() < 0.1);
        assert!(psnr(&[7; 4], &[7; 2], 8) < 4.0);
    }
}
