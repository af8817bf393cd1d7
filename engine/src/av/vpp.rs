//! Crop and scale surfaces on the GPU, by FFmpeg's `scale_vaapi`.

use camshaft::media::{Crop, Geometry};
use ffmpeg_next::ffi;
use std::ffi::{CString, c_int};

use super::codec::Output;
use super::error::{Error, Result};
use super::frame::{Frame, PoolId};
use super::graph::Graph;

/// What becomes of a surface's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleRange {
    /// They stay in the range that they have.
    Same,
    /// Full range, as JPEG stores it.
    Full,
}

/// Which part of a surface is made, and how large. The result is NV12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurfaceView {
    /// Cut out first; a corner between two chroma samples moves up and left to the next one.
    pub crop: Option<Crop>,
    /// Size of the result.
    pub size: Geometry,
    /// Range of the result.
    pub range: SampleRange,
}

impl SurfaceView {
    /// Whether this shows the whole of `surface` in its own size.
    pub fn is_whole(&self, surface: &Frame) -> bool {
        self.crop.is_none() && self.size == surface.size()
    }

    /// Whether `surface` is already what this asks for.
    pub fn is_satisfied_by(&self, surface: &Frame) -> bool {
        self.is_whole(surface)
            && surface.corner() == (0, 0)
            && surface.sample_format() == ffi::AVPixelFormat::AV_PIX_FMT_NV12 as c_int
            && (self.range == SampleRange::Same || surface.color().is_full_range())
    }
}

/// Makes surfaces of one view from surfaces of one pool.
pub struct SurfaceScaler {
    graph: Graph,
    view: SurfaceView,
    pool: PoolId,
    source: Geometry,
    input: Frame,
    output: Frame,
}

impl SurfaceScaler {
    /// A scaler for surfaces like `example`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the crop lies outside the picture; [`Error::Device`] if the driver does not do it.
    pub fn new(example: &Frame, view: SurfaceView) -> Result<Self> {
        let source = example.size();
        if let Some(crop) = view.crop.filter(|crop| !crop.fits(source)) {
            let message = format!("crop {crop} (W:H:X:Y) does not fit into the source's {source}");
            return Err(Error::Unsupported(message));
        }
        let Some(pool) = example.pool() else {
            return Err(Error::Unsupported("a picture in memory cannot be scaled on a device".into()));
        };
        let steps = [(c"scale_vaapi", Some(options(&view)))];
        let graph = Graph::of_pictures(example, &steps).map_err(Error::of_device)?;
        let (input, output) = (Frame::empty()?, Frame::empty()?);
        Ok(Self { graph, view, pool, source, input, output })
    }

    /// Whether this scaler was made for surfaces like `surface`.
    pub fn takes(&self, surface: &Frame) -> bool {
        surface.pool() == Some(self.pool) && surface.size() == self.source
    }

    /// Makes the view of `surface`.
    pub fn scale(&mut self, surface: &Frame) -> Result<()> {
        self.input.refer_to(surface)?;
        if let Some(crop) = self.view.crop {
            self.input.narrow(crop);
        }
        self.output.clear();
        let scaled = self.graph.send(Some(&mut self.input)).and_then(|()| self.graph.receive(&mut self.output));
        self.input.clear();
        match scaled.map_err(Error::of_device)? {
            Output::Ready => Ok(()),
            Output::Nothing => Err(Error::Device("the device's scaler gave no picture".into())),
        }
    }

    /// What the last [`SurfaceScaler::scale`] made.
    pub fn output(&self) -> &Frame {
        &self.output
    }
}

fn options(view: &SurfaceView) -> CString {
    let SurfaceView { size, range, .. } = view;
    let range = match range {
        SampleRange::Same => "",
        SampleRange::Full => ":out_range=full",
    };
    let text = format!("w={}:h={}:format=nv12{range}", size.width, size.height);
    CString::new(text).unwrap_or_default()
}
