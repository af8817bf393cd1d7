//! Raw pictures one after another: YUV4MPEG2 and headerless.

use bytes::Bytes;

use super::FrameWriter;
use crate::error::{Error, Result};
use crate::media::{Frame, FrameRate, Geometry, PixelFormat};

/// What stands before each frame of a YUV4MPEG2 stream.
const Y4M_FRAME: Bytes = Bytes::from_static(b"FRAME\n");

/// YUV4MPEG2 (mjpegtools' yuv4mpeg(5)): a line of text, then frames, each behind `FRAME`.
#[derive(Debug)]
pub struct Y4m {
    frames: RawFrames,
    rate: FrameRate,
    /// The chroma tag. `C420mpeg2` says that chroma sits as H.264 and H.265 place it by default, and is what ffmpeg
    /// writes for them.
    chroma: &'static str,
}

impl Y4m {
    /// A stream of pictures of `size` in `format` at the nominal `rate`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::InvalidArgument`] unless `format` is `i420` or `gray`, which are all that it has.
    pub fn new(format: PixelFormat, size: Geometry, rate: FrameRate) -> Result<Self> {
        let chroma = match format {
            PixelFormat::I420 => "C420mpeg2",
            PixelFormat::Gray => "Cmono",
            PixelFormat::Nv12 | PixelFormat::Rgb24 | PixelFormat::Bgr24 => {
                let name = format.name();
                let message =
                    format!("y4m holds no {name}: ask for format=i420 or format=gray, or take {name} from live.raw");
                return Err(Error::invalid(message));
            }
        };
        Ok(Self { frames: RawFrames::new(format, size), rate, chroma })
    }
}

impl FrameWriter for Y4m {
    fn content_type(&self) -> String {
        "video/x-yuv4mpeg".to_owned()
    }

    fn header(&self) -> Bytes {
        let (Geometry { width, height }, FrameRate { num, den }) = (self.frames.size, self.rate);
        let chroma = self.chroma;
        format!("YUV4MPEG2 W{width} H{height} F{num}:{den} Ip A1:1 {chroma}\n").into()
    }

    fn frame(&mut self, frame: &Frame, _dropped: u64, out: &mut Vec<Bytes>) -> Result<()> {
        let pixels = self.frames.pixels(frame)?;
        out.extend([Y4M_FRAME, pixels]);
        Ok(())
    }
}

/// Pictures without anything between them; size and format are told elsewhere.
#[derive(Debug)]
pub struct RawFrames {
    format: PixelFormat,
    size: Geometry,
}

impl RawFrames {
    /// Pictures of `size` in `format`.
    pub fn new(format: PixelFormat, size: Geometry) -> Self {
        Self { format, size }
    }

    /// The frame's bytes, if they are one picture: a single wrong length would shift all that follow.
    fn pixels(&self, frame: &Frame) -> Result<Bytes> {
        let expected = self.format.frame_bytes(self.size);
        if frame.header.size != self.size || frame.data.len() != expected {
            return Err(Error::internal(format!(
                "a frame of {} with {} bytes came where {} {} with {expected} bytes was due",
                frame.header.size,
                frame.data.len(),
                self.size,
                self.format.name(),
            )));
        }
        Ok(frame.data.clone())
    }
}

impl FrameWriter for RawFrames {
    fn content_type(&self) -> String {
        "application/octet-stream".to_owned()
    }

    fn header(&self) -> Bytes {
        Bytes::new()
    }

    fn frame(&mut self, frame: &Frame, _dropped: u64, out: &mut Vec<Bytes>) -> Result<()> {
        out.push(self.pixels(frame)?);
        Ok(())
    }
}
