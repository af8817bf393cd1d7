//! Tries what a device can do: with real pictures, compared with what the CPU makes of them.
//!
//! A driver's word is no proof: on a dead GPU it reports success for every call and gives back zeroes. Each trial stands
//! for itself; a driver that takes the process with it leaves the answers given so far.

mod clip;

use camshaft::link::{Capability, FromWorker};
use camshaft::media::{Crop, Geometry, MediaTime, PixelFormat, RateControl, VideoCodec};
use camshaft::plan::EncodeMode;
use camshaft::plan::va::RateControlMode;
use std::rc::Rc;

use super::{End, Gpu, Link};
use crate::av::{
    Copy, Device, Encoder, EncoderSettings, Error, Frame, Layout, PictureKind, ReadBack, SampleRange,
    SurfaceJpegEncoder, SurfacePool, SurfaceScaler, SurfaceView, Tuning, View, decode_jpeg,
};
use clip::{PICTURES, SIZE, convert, samples, settings};

/// Scalers differ in their filters: two good ones come this close, in dB of luma PSNR.
const SCALED_ALIKE: f64 = 30.0;
/// What is encoded at plenty of bits comes this close.
const ENCODED_ALIKE: f64 = 28.0;

/// Tries each of `capabilities`, and says each result as soon as it is known.
///
/// # Errors
/// If nobody is there to hear it.
pub fn run(gpu: &Gpu, capabilities: &[Capability], link: &mut Link) -> Result<(), End> {
    link.send(&FromWorker::Ready, &[])?;
    for &capability in capabilities {
        let failure = attempt(&gpu.device, capability).err().map(|failure| failure.to_string());
        link.send(&FromWorker::Tried { capability, failure }, &[])?;
    }
    link.send(&FromWorker::TrialsDone, &[])
}

/// Why a capability is not proved.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] Error),
    /// Pictures are missing.
    #[error("{0} of {1} pictures came out")]
    Missing(usize, usize),
    /// A picture is wrong.
    #[error("picture {0} is wrong: {1:.1} dB from what the CPU makes, where {2} is due")]
    Unlike(usize, f64, &'static str),
}

fn attempt(device: &Rc<Device>, capability: Capability) -> Result<(), Failure> {
    match capability {
        Capability::Decode { codec, bit_depth } => decode(device, codec, bit_depth),
        Capability::Scale => scale(device),
        Capability::Encode { codec, mode } => encode(device, codec, mode),
        Capability::EncodeJpeg => encode_jpeg(device),
    }
}

/// Codecs define their pictures to the bit.
fn decode(device: &Rc<Device>, codec: VideoCodec, bit_depth: u8) -> Result<(), Failure> {
    let clip = clip::encode(codec, bit_depth)?;
    let expected = clip.decode(None)?;
    let made = clip.decode(Some(device))?;
    compare(&expected, &made, bit_depth, |psnr| psnr == f64::INFINITY, "the very same")
}

/// Two pictures each, as a frozen surface shows in the second one only.
fn scale(device: &Device) -> Result<(), Failure> {
    let part = Crop { width: 400, height: 240, x: 120, y: 64 };
    let views = [(None, Geometry::new(SIZE.width / 2, SIZE.height / 2)), (Some(part), Geometry::new(200, 120))];
    let pool = SurfacePool::new(device, SIZE, 4)?;
    let (mut expected, mut made) = (Vec::new(), Vec::new());
    for (crop, size) in views {
        let view = View { crop, size, layout: Layout::Raw(PixelFormat::I420) };
        let mut scaler = None;
        for number in [0, PICTURES] {
            let picture = nv12(number)?;
            expected.push(samples(&picture, &view)?);
            let surface = pool.upload(&picture)?;
            let scaler = match &mut scaler {
                Some(scaler) => scaler,
                none => {
                    none.insert(SurfaceScaler::new(&surface, SurfaceView { crop, size, range: SampleRange::Same })?)
                }
            };
            scaler.scale(&surface)?;
            let mut copy = Copy::default();
            made.push(samples(read(device, scaler.output(), &mut copy)?, &View { crop: None, ..view })?);
        }
    }
    compare(&expected, &made, 8, |psnr| psnr >= SCALED_ALIKE, "30 dB")
}

fn encode(device: &Device, codec: VideoCodec, mode: EncodeMode) -> Result<(), Failure> {
    let rate_control = match mode.rate_control {
        RateControlMode::Cbr | RateControlMode::Vbr => RateControl::Bitrate(clip::BITRATE),
        _ => RateControl::Quality(80),
    };
    let pool = SurfacePool::new(device, SIZE, PICTURES as u8 + 4)?;
    let mut clip = clip::Clip::default();
    let mut encoder = None;
    let mut expected = Vec::new();
    for number in 0..PICTURES {
        let picture = nv12(number)?;
        expected.push(samples(&picture, &clip::WHOLE)?);
        let surface = pool.upload(&picture)?;
        let settings = EncoderSettings { rate_control, ..settings(codec, Tuning::Live, 8) };
        let encoder = match &mut encoder {
            Some(encoder) => encoder,
            none => none.insert(Encoder::open_for(&surface, device.wait_clock(), mode, settings)?),
        };
        encoder.encode(&surface, MediaTime(i64::from(number) * clip::TICKS), PictureKind::Any)?;
        clip.take(encoder)?;
    }
    if let Some(mut encoder) = encoder {
        encoder.finish()?;
        clip.take(&mut encoder)?;
    }
    compare(&expected, &clip.decode(None)?, 8, |psnr| psnr >= ENCODED_ALIKE, "28 dB")
}

fn encode_jpeg(device: &Device) -> Result<(), Failure> {
    let pool = SurfacePool::new(device, SIZE, 4)?;
    // As renditions are made: cameras send limited range, and JPEG is full range.
    let view = SurfaceView { crop: None, size: SIZE, range: SampleRange::Full };
    let (mut expected, mut made) = (Vec::new(), Vec::new());
    let mut stages = None;
    for number in [0, PICTURES] {
        let picture = nv12(number)?;
        expected.push(samples(&picture, &clip::WHOLE)?);
        let surface = pool.upload(&picture)?;
        let (scaler, encoder) = match &mut stages {
            Some(stages) => stages,
            none => {
                let mut scaler = SurfaceScaler::new(&surface, view)?;
                scaler.scale(&surface)?;
                let encoder = SurfaceJpegEncoder::open(scaler.output(), device.wait_clock(), 90)?;
                none.insert((scaler, encoder))
            }
        };
        scaler.scale(&surface)?;
        let decoded = decode_jpeg(encoder.encode(scaler.output())?)?;
        made.push(samples(&decoded, &clip::WHOLE)?);
    }
    compare(&expected, &made, 8, |psnr| psnr >= ENCODED_ALIKE, "28 dB")
}

fn nv12(number: u32) -> Result<Frame, Error> {
    let view = View { layout: Layout::Raw(PixelFormat::Nv12), ..clip::WHOLE };
    convert(&clip::draw(number)?, &view)
}

fn read<'a>(device: &Device, surface: &Frame, copy: &'a mut Copy) -> Result<&'a Frame, Error> {
    ReadBack::new(device).read(surface, copy)?;
    copy.picture().ok_or_else(|| Error::Device("nothing was read from the surface".into()))
}

/// Compares pictures one by one.
fn compare(
    expected: &[Vec<u8>],
    made: &[Vec<u8>],
    bit_depth: u8,
    is_alike: impl Fn(f64) -> bool,
    due: &'static str,
) -> Result<(), Failure> {
    if expected.len() != made.len() {
        return Err(Failure::Missing(made.len(), expected.len()));
    }
    for (index, (expected, made)) in expected.iter().zip(made).enumerate() {
        let psnr = clip::psnr(expected, made, bit_depth);
        if !is_alike(psnr) {
            return Err(Failure::Unlike(index, psnr, due));
        }
    }
    Ok(())
}
