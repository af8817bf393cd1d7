//! What a consumer asks for, and what that means for a given source.

use serde::{Deserialize, Serialize};

use super::{Cadence, Crop, FrameRate, Geometry, MAX_PIXELS, PixelFormat, VideoCodec, VideoConfig};
use crate::error::{Error, ErrorKind, Result};

/// How an encoder spends bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RateControl {
    /// At most this many bits a second.
    Bitrate(u32),
    /// A constant quality of 1 (worst) to 100 (best).
    Quality(u8),
}

/// An encoded rendition's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EncodeSpec {
    /// The codec.
    pub codec: VideoCodec,
    /// How bits are spent.
    pub rate_control: RateControl,
    /// Frames from one IDR to the next.
    pub gop: u32,
}

/// What form pictures leave the worker in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutputSpec {
    /// Raw pixels.
    Raw(PixelFormat),
    /// One JPEG (4:2:0, full range) a picture, quality 1–100.
    Jpeg {
        /// 1 (worst) to 100 (best).
        quality: u8,
    },
    /// An encoded stream.
    Encode(EncodeSpec),
}

/// The same, as asked for: what is left open is filled in from the source by [`RenditionRequest::resolve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutputRequest {
    /// Raw pixels.
    Raw(PixelFormat),
    /// JPEGs, quality 1–100.
    Jpeg {
        /// 1 (worst) to 100 (best).
        quality: u8,
    },
    /// An encoded stream.
    Encode {
        /// The codec.
        codec: VideoCodec,
        /// `None`: a bit rate that fits size and rate.
        rate_control: Option<RateControl>,
        /// Frames from IDR to IDR; `None`: two seconds.
        gop: Option<u32>,
    },
}

/// A rendition as a consumer asks for it. Equal requests share one rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RenditionRequest {
    /// The form of the output.
    pub output: OutputRequest,
    /// Width in pixels; one of the two keeps the aspect ratio.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
    /// Which pictures.
    pub cadence: Cadence,
    /// Part of the source picture, cut out before scaling.
    pub crop: Option<Crop>,
}

/// A rendition with nothing left open; what the worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RenditionSpec {
    /// Cut out of the source picture first, in source pixels.
    pub crop: Option<Crop>,
    /// Size of the output in pixels.
    pub size: Geometry,
    /// Which pictures.
    pub cadence: Cadence,
    /// The form of the output.
    pub output: OutputSpec,
}

/// One picture on request, as JPEG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StillSpec {
    /// Width in pixels; one of the two keeps the aspect ratio; none: the source's size.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
    /// Part of the source picture.
    pub crop: Option<Crop>,
    /// 1 (worst) to 100 (best).
    pub quality: u8,
}

impl RenditionRequest {
    /// Fills in what the request left open from the source's facts.
    ///
    /// # Errors
    /// [`ErrorKind::Impossible`] if the size is past [`MAX_PIXELS`] or the crop lies outside the picture.
    pub fn resolve(&self, source: &VideoConfig) -> Result<RenditionSpec> {
        let size = resolve_size(source.geometry, self.crop, self.width, self.height)?;
        let output = match self.output {
            OutputRequest::Raw(format) => OutputSpec::Raw(format),
            OutputRequest::Jpeg { quality } => OutputSpec::Jpeg { quality },
            OutputRequest::Encode { codec, rate_control, gop } => {
                // Encoders with 4:2:0 chroma take even sides only.
                if size.width % 2 == 1 || size.height % 2 == 1 {
                    return Err(Error::new(
                        ErrorKind::Impossible,
                        format!(
                            "an encoded stream needs even sides, but the size is {size}: give an even width and height"
                        ),
                    ));
                }
                let source_rate = source.frame_rate.unwrap_or(FrameRate { num: 25, den: 1 });
                let fps = self.cadence.nominal(source_rate).as_f64();
                let default_bitrate = || RateControl::Bitrate(default_bitrate(codec, size, fps));
                OutputSpec::Encode(EncodeSpec {
                    codec,
                    rate_control: rate_control.unwrap_or_else(default_bitrate),
                    gop: gop.unwrap_or((fps * 2.0).round().max(1.0) as u32),
                })
            }
        };
        Ok(RenditionSpec { crop: self.crop, size, cadence: self.cadence, output })
    }
}

/// The output size for `source` after `crop`, with either side replaced.
///
/// # Errors
/// [`ErrorKind::Impossible`] if the size is past [`MAX_PIXELS`] or the crop lies outside the picture.
pub fn resolve_size(source: Geometry, crop: Option<Crop>, width: Option<u32>, height: Option<u32>) -> Result<Geometry> {
    if let Some(crop) = crop.filter(|crop| !crop.fits(source)) {
        let message = format!("crop {crop} (W:H:X:Y) does not fit into the source's {source}");
        return Err(Error::new(ErrorKind::Impossible, message));
    }
    let size = crop.map_or(source, Crop::geometry).scaled_to(width, height);
    if size.pixels() > MAX_PIXELS {
        let message =
            format!("{size} is past the limit of {MAX_PIXELS} pixels a picture: ask for a smaller width or height");
        return Err(Error::new(ErrorKind::Impossible, message));
    }
    Ok(size)
}

/// A bit rate that looks clean on camera pictures: 0.1 bit a pixel for H.264, two thirds of it for H.265.
pub fn default_bitrate(codec: VideoCodec, size: Geometry, fps: f64) -> u32 {
    let bits_a_pixel = match codec {
        VideoCodec::Hevc => 0.066,
        _ => 0.1,
    };
    (size.pixels() as f64 * fps * bits_a_pixel).clamp(100_000.0, 40_000_000.0) as u32
}
