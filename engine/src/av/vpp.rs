//! Crop and scale surfaces on the GPU, by FFmpeg's `scale_vaapi`.

use camshaft::media::{Crop, Geometry, MediaTime};
use ffmpeg_next::ffi;
use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};

use super::error::{Error, Result, check, check_pointer};
use super::frame::{Frame, PoolId};

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
    /// Whether `surface` is already what this asks for.
    pub fn is_satisfied_by(&self, surface: &Frame) -> bool {
        self.crop.is_none()
            && self.size == surface.size()
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
        let graph = Graph::new(example, &view).map_err(Error::of_device)?;
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
        let scaled = self.graph.run(&mut self.input, &mut self.output);
        self.input.clear();
        scaled.map_err(Error::of_device)
    }

    /// What the last [`SurfaceScaler::scale`] made.
    pub fn output(&self) -> &Frame {
        &self.output
    }
}

/// `buffer` → `scale_vaapi` → `buffersink`. The contexts live as long as the graph.
struct Graph {
    source: NonNull<ffi::AVFilterContext>,
    sink: NonNull<ffi::AVFilterContext>,
    _filters: Filters,
}

/// Owns the filters.
struct Filters(NonNull<ffi::AVFilterGraph>);

impl Graph {
    fn new(example: &Frame, view: &SurfaceView) -> Result<Self> {
        // SAFETY: no preconditions; null means that memory ran out.
        let filters = Filters(check_pointer("allocate filters", unsafe { ffi::avfilter_graph_alloc() })?);
        let source = filters.add(c"buffer")?;
        describe_source(source, example)?;
        initialise(source, None)?;
        let scale = filters.add(c"scale_vaapi")?;
        initialise(scale, Some(&options(view)))?;
        let sink = filters.add(c"buffersink")?;
        initialise(sink, None)?;
        link(source, scale)?;
        link(scale, sink)?;
        // SAFETY: the graph is whole and not configured yet; it wants no other context for its log.
        let code = unsafe { ffi::avfilter_graph_config(filters.0.as_ptr(), ptr::null_mut()) };
        check("set up scaling on the device", code)?;
        Ok(Self { source, sink, _filters: filters })
    }

    fn run(&mut self, input: &mut Frame, output: &mut Frame) -> Result<()> {
        // SAFETY: the graph is configured; the source takes over the frame's references.
        let code = unsafe { ffi::av_buffersrc_add_frame_flags(self.source.as_ptr(), input.as_mut_ptr(), 0) };
        check("scale on the device", code)?;
        // SAFETY: the graph is configured, the frame empty.
        let code = unsafe { ffi::av_buffersink_get_frame(self.sink.as_ptr(), output.as_mut_ptr()) };
        check("scale on the device", code)?;
        Ok(())
    }
}

impl Filters {
    fn add(&self, name: &CStr) -> Result<NonNull<ffi::AVFilterContext>> {
        // SAFETY: the name is a C string; the result is null or static.
        let filter = unsafe { ffi::avfilter_get_by_name(name.as_ptr()) };
        if filter.is_null() {
            return Err(Error::NoCodec(format!("filter {}", name.to_string_lossy())));
        }
        // SAFETY: graph, filter and name are valid; the graph owns what comes of it.
        let context = unsafe { ffi::avfilter_graph_alloc_filter(self.0.as_ptr(), filter, name.as_ptr()) };
        check_pointer("allocate filter", context)
    }
}

impl Drop for Filters {
    fn drop(&mut self) {
        let mut raw = self.0.as_ptr();
        // SAFETY: the graph is ours and is not used again; its filters go with it.
        unsafe { ffi::avfilter_graph_free(&mut raw) };
    }
}

fn initialise(context: NonNull<ffi::AVFilterContext>, options: Option<&CStr>) -> Result<()> {
    let options = options.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: the filter is allocated and not initialised; the options are a C string or null.
    check("set up filter", unsafe { ffi::avfilter_init_str(context.as_ptr(), options) })?;
    Ok(())
}

/// Tells the source what will come.
fn describe_source(source: NonNull<ffi::AVFilterContext>, example: &Frame) -> Result<()> {
    // FFmpeg 5 does not know these two; FFmpeg 7 warns of every picture that differs from them.
    let color = example.color();
    for (option, value) in [(c"range", color.range), (c"colorspace", color.space)] {
        let children = ffi::AV_OPT_SEARCH_CHILDREN as c_int;
        // SAFETY: the filter's context starts with its AVClass, as the call wants. A missing option is no error.
        unsafe { ffi::av_opt_set_int(source.as_ptr().cast(), option.as_ptr(), value.into(), children) };
    }
    // SAFETY: no preconditions; null means that memory ran out.
    let parameters = check_pointer("describe surfaces", unsafe { ffi::av_buffersrc_parameters_alloc() })?;
    let parameters = Parameters(parameters);
    // SAFETY: the parameters are new and nobody else knows them.
    let fields = unsafe { &mut *parameters.0.as_ptr() };
    let frame = example.get();
    (fields.format, fields.width, fields.height) = (frame.format, frame.width, frame.height);
    (fields.time_base.num, fields.time_base.den) = (1, MediaTime::HZ as c_int);
    fields.hw_frames_ctx = frame.hw_frames_ctx;
    // SAFETY: the filter is a source of pictures; it takes its own reference to the pool.
    let code = unsafe { ffi::av_buffersrc_parameters_set(source.as_ptr(), parameters.0.as_ptr()) };
    check("describe surfaces", code)?;
    Ok(())
}

struct Parameters(NonNull<ffi::AVBufferSrcParameters>);

impl Drop for Parameters {
    fn drop(&mut self) {
        // SAFETY: the parameters are ours; the pool in them was only lent.
        unsafe { ffi::av_free(self.0.as_ptr().cast()) };
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

fn link(from: NonNull<ffi::AVFilterContext>, to: NonNull<ffi::AVFilterContext>) -> Result<()> {
    // SAFETY: both filters are initialised, belong to one graph and have a free pad 0.
    check("link filters", unsafe { ffi::avfilter_link(from.as_ptr(), 0, to.as_ptr(), 0) })?;
    Ok(())
}
