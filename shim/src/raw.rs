//! What camshaft itself gives to standard output: raw pictures, or bare samples of sound.

use crate::filters::Shape;

/// Raw pictures or samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// Pictures.
    Pictures(Pictures),
    /// Sound.
    Samples(Samples),
}

/// Raw pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pictures {
    width: u32,
    height: u32,
    fps: String,
    format: Format,
}

/// Samples of 16 bits, little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples {
    rate: u32,
    channels: u16,
}

/// Pixel formats, with camshaft's names and ffmpeg's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    I420,
    Nv12,
    Gray,
    Bgr24,
    Rgb24,
}

impl Raw {
    /// The rest of the URL behind the stream's name.
    pub fn request(&self) -> String {
        match self {
            Self::Pictures(pictures) => format!("live.raw?{}", pictures.parameters()),
            Self::Samples(Samples { rate, channels }) => format!("live.s16le?rate={rate}&channels={channels}"),
        }
    }

    /// Bytes of one picture, or of 20 ms of sound: half of either would shift all that follows.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Pictures(pictures) => pictures.bytes(),
            Self::Samples(Samples { rate, channels }) => 2 * usize::from(*channels) * (*rate / 50) as usize,
        }
    }
}

impl Pictures {
    /// Pictures of `shape` in ffmpeg's `format`.
    ///
    /// # Errors
    /// What is missing, or not made by camshaft.
    pub fn new(shape: Shape, format: &str) -> Result<Self, String> {
        let format = Format::ALL.iter().find(|(name, ..)| *name == format);
        let (.., format) = format.ok_or("-pix_fmt is none that camshaft makes")?;
        match shape {
            Shape { width: Some(width), height: Some(height), fps: Some(fps) } => {
                Ok(Self { width, height, fps, format: *format })
            }
            _ => Err("raw pictures without a size and a rate of their own".into()),
        }
    }

    /// What camshaft is told of them.
    pub fn parameters(&self) -> String {
        let Self { width, height, fps, format } = self;
        format!("width={width}&height={height}&fps={fps}&format={}", format.name())
    }

    /// `WxH`
    pub fn size(&self) -> String {
        format!("{}x{}", self.width, self.height)
    }

    /// Frames a second, as ffmpeg writes them, and the filters that make the pictures.
    pub fn chain(&self) -> (&str, String) {
        let Self { width, height, fps, .. } = self;
        (fps, format!("fps={fps},scale={width}:{height}"))
    }

    fn bytes(&self) -> usize {
        let pixels = self.width as usize * self.height as usize;
        let chroma = self.width.div_ceil(2) as usize * self.height.div_ceil(2) as usize;
        match self.format {
            Format::I420 | Format::Nv12 => pixels + 2 * chroma,
            Format::Gray => pixels,
            Format::Bgr24 | Format::Rgb24 => 3 * pixels,
        }
    }
}

impl Samples {
    /// Samples at ffmpeg's `-ar` and `-ac`.
    ///
    /// # Errors
    /// If camshaft makes no such sound.
    pub fn new(rate: &str, channels: &str) -> Result<Self, String> {
        let rate = rate.parse().ok().filter(|rate| (8_000..=48_000).contains(rate));
        let channels = channels.parse().ok().filter(|channels| (1..=2).contains(channels));
        let (rate, channels) = rate.zip(channels).ok_or("-ar or -ac is none that camshaft makes")?;
        Ok(Self { rate, channels })
    }
}

impl Format {
    const ALL: [(&str, &str, Self); 5] = [
        ("yuv420p", "i420", Self::I420),
        ("nv12", "nv12", Self::Nv12),
        ("gray", "gray", Self::Gray),
        ("bgr24", "bgr24", Self::Bgr24),
        ("rgb24", "rgb24", Self::Rgb24),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(.., format)| *format == self).map_or("", |(_, name, _)| name)
    }
}
