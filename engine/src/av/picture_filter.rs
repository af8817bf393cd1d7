//! What is done to pictures between a decoder and an encoder: deinterlaced, scaled, turned, picked by rate.

use camshaft::media::{FrameRate, Geometry, MediaTime, PixelFormat};
use ffmpeg_next::ffi::{self, AVPixelFormat};
use std::ffi::{CStr, c_int};

use super::codec::Output;
use super::error::{Error, Result};
use super::frame::Frame;
use super::graph::{Graph, Step, option};
use super::pixel::{SourceFormat, native};
use super::time_base::TimeBase;

/// The form in which pictures are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureForm {
    /// Surfaces, for the encoder of the device that they are on.
    Surface,
    /// In memory, in limited range.
    Memory(PixelFormat),
    /// In memory, I420 in full range, as JPEG stores it.
    Jpeg,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Treatment {
    /// Size of the result, in pixels.
    pub size: Geometry,
    /// Form of the result.
    pub form: PictureForm,
    /// Degrees by which pictures are turned clockwise: 0, 90, 180 or 270. In memory only.
    pub turn: u32,
    /// Pictures a second; `None`: every one.
    pub fps: Option<FrameRate>,
    /// Whether surfaces are scaled on their device.
    pub scale_on_device: bool,
}

/// Does it, to pictures of one kind.
pub struct PictureFilter {
    graph: Graph,
    takes: Kind,
    output: Frame,
    source: Frame,
}

/// What a filter is made for; another kind needs another filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    width: c_int,
    height: c_int,
    format: c_int,
    pool: Option<super::frame::PoolId>,
    interlaced: bool,
}

impl Kind {
    /// Once interlaced, always deinterlaced: mixed streams would else be set up anew all the time.
    fn of(frame: &Frame, before: Option<&Self>) -> Self {
        let raw = frame.get();
        let interlaced = frame.is_interlaced() || before.is_some_and(|kind| kind.interlaced);
        Self { width: raw.width, height: raw.height, format: frame.format(), pool: frame.pool(), interlaced }
    }
}

impl PictureFilter {
    /// A filter for pictures like `example`, in place of one that took others.
    pub fn new(example: &Frame, treatment: &Treatment, before: Option<&Self>) -> Result<Self> {
        let takes = Kind::of(example, before.map(|filter| &filter.takes));
        let graph = Graph::of_pictures(example, &steps(example, treatment, takes.interlaced)?);
        let graph = graph.map_err(|error| if example.is_surface() { error.of_device() } else { error })?;
        Ok(Self { graph, takes, output: Frame::empty()?, source: Frame::empty()? })
    }

    /// Whether this filter was made for pictures like `frame`.
    pub fn takes(&self, frame: &Frame) -> bool {
        Kind::of(frame, Some(&self.takes)) == self.takes
    }

    /// Feeds the picture of time `pts`, or ends the stream.
    pub fn send(&mut self, picture: Option<(&Frame, MediaTime)>) -> Result<()> {
        let Some((frame, pts)) = picture else { return self.graph.send(None) };
        self.source.refer_to(frame)?;
        self.source.set_pts(pts);
        // Surfaces are cropped by the filters only where their corner is not the picture's.
        let sent = self.graph.send(Some(&mut self.source));
        self.source.clear();
        sent
    }

    /// The next picture and its time, if one is ready.
    pub fn receive(&mut self) -> Result<Option<(&Frame, MediaTime)>> {
        match self.graph.receive(&mut self.output)? {
            Output::Nothing => Ok(None),
            Output::Ready => {
                let base = TimeBase::from(self.graph.time_base());
                let pts = self.output.pts().map_or(MediaTime(0), |pts| base.media_time(pts.0));
                Ok(Some((&self.output, pts)))
            }
        }
    }
}

fn steps(example: &Frame, treatment: &Treatment, interlaced: bool) -> Result<Vec<Step>> {
    let Treatment { size, form, turn, fps, scale_on_device } = *treatment;
    let mut steps: Vec<Step> = Vec::new();
    let mut step = |name: &'static CStr, options: String| {
        steps.push((name, (!options.is_empty()).then(|| option(options))));
    };
    let on_device = example.is_surface();
    if let Some(fps) = fps {
        step(c"fps", format!("fps={}/{}", fps.num, fps.den));
    }
    if interlaced && on_device {
        step(c"deinterlace_vaapi", String::new());
    }
    // What is turned afterwards is scaled as it lies.
    let lying = if turn % 180 == 90 { Geometry::new(size.height, size.width) } else { size };
    if on_device && (form == PictureForm::Surface || scale_on_device) {
        step(c"scale_vaapi", format!("w={}:h={}:format=nv12", lying.width, lying.height));
    }
    if form == PictureForm::Surface {
        return if on_device { Ok(steps) } else { Err(Error::Device("the pictures are not on the device".into())) };
    }
    if on_device {
        step(c"hwdownload", String::new());
        let raw = if scale_on_device { AVPixelFormat::AV_PIX_FMT_NV12 as c_int } else { example.sample_format() };
        let format = SourceFormat::from_raw(raw)
            .ok_or_else(|| Error::Unsupported(format!("surfaces of FFmpeg's pixel format {raw} are not read back")))?;
        step(c"format", name(format.native()));
    } else if interlaced {
        step(c"bwdif", "mode=send_frame:deint=interlaced".into());
    }
    match turn {
        90 => step(c"transpose", "clock".into()),
        180 => {
            step(c"hflip", String::new());
            step(c"vflip", String::new());
        }
        270 => step(c"transpose", "cclock".into()),
        _ => {}
    }
    let range = if form == PictureForm::Jpeg { ":out_range=full" } else { "" };
    let shrinks = size.pixels() < example.size().pixels();
    let filter = if shrinks { "area" } else { "bicubic" };
    step(c"scale", format!("w={}:h={}:flags={filter}{range}", size.width, size.height));
    let format = match form {
        PictureForm::Memory(format) => native(format),
        PictureForm::Jpeg | PictureForm::Surface => AVPixelFormat::AV_PIX_FMT_YUV420P,
    };
    step(c"format", name(format));
    Ok(steps)
}

fn name(format: AVPixelFormat) -> String {
    // SAFETY: any format is allowed.
    let name = unsafe { ffi::av_get_pix_fmt_name(format) };
    // SAFETY: FFmpeg's own formats have names, which are static C strings.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}
