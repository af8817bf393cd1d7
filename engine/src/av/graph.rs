//! FFmpeg's filters in a row.

use camshaft::media::MediaTime;
use ffmpeg_next::ffi;
use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};

use super::codec::Output;
use super::error::{END_OF_STREAM, Error, Result, TRY_AGAIN, check, check_pointer};
use super::frame::Frame;

/// A filter's name, and its options as FFmpeg spells them.
pub(super) type Step = (&'static CStr, Option<CString>);

/// Source → filters → sink. The contexts live as long as the graph.
pub(super) struct Graph {
    source: NonNull<ffi::AVFilterContext>,
    sink: NonNull<ffi::AVFilterContext>,
    _filters: Filters,
}

/// Owns the filters.
struct Filters(NonNull<ffi::AVFilterGraph>);

impl Graph {
    /// Filters for pictures like `example`, whose times are in ticks of [`MediaTime`].
    pub(super) fn of_pictures(example: &Frame, steps: &[Step]) -> Result<Self> {
        let filters = Filters::new()?;
        let source = filters.add(c"buffer")?;
        describe_source(source, example)?;
        initialise(source, None)?;
        filters.connect(source, steps, c"buffersink")
    }

    /// Feeds one frame, whose references are taken over; `None` ends the stream.
    pub(super) fn send(&mut self, input: Option<&mut Frame>) -> Result<()> {
        let frame = input.map_or(ptr::null_mut(), Frame::as_mut_ptr);
        // SAFETY: the graph is configured; the frame is valid or null, and the source takes over its references.
        check("filter", unsafe { ffi::av_buffersrc_add_frame_flags(self.source.as_ptr(), frame, 0) })?;
        Ok(())
    }

    /// Takes the next frame into `output`.
    pub(super) fn receive(&mut self, output: &mut Frame) -> Result<Output> {
        output.clear();
        // SAFETY: the graph is configured, the frame empty.
        match unsafe { ffi::av_buffersink_get_frame(self.sink.as_ptr(), output.as_mut_ptr()) } {
            TRY_AGAIN | END_OF_STREAM => Ok(Output::Nothing),
            code => check("filter", code).map(|_| Output::Ready),
        }
    }

    /// What the times that come out are counted in, as a fraction of a second.
    pub(super) fn time_base(&self) -> ffi::AVRational {
        // SAFETY: the graph is configured and the sink is its own.
        unsafe { ffi::av_buffersink_get_time_base(self.sink.as_ptr()) }
    }
}

impl Filters {
    fn new() -> Result<Self> {
        // SAFETY: no preconditions; null means that memory ran out.
        let raw = check_pointer("allocate filters", unsafe { ffi::avfilter_graph_alloc() })?;
        // SAFETY: the graph is new and nobody else knows it. Streams run side by side instead.
        unsafe { (*raw.as_ptr()).nb_threads = 1 };
        Ok(Self(raw))
    }

    fn connect(self, source: NonNull<ffi::AVFilterContext>, steps: &[Step], sink: &CStr) -> Result<Graph> {
        let mut last = source;
        for (name, options) in steps {
            let next = self.add(name)?;
            initialise(next, options.as_deref())?;
            link(last, next)?;
            last = next;
        }
        let sink = self.add(sink)?;
        initialise(sink, None)?;
        link(last, sink)?;
        // SAFETY: the graph is whole and not configured yet; it wants no other context for its log.
        let code = unsafe { ffi::avfilter_graph_config(self.0.as_ptr(), ptr::null_mut()) };
        check("set up filters", code)?;
        Ok(Graph { source, sink, _filters: self })
    }

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
    let parameters = check_pointer("describe pictures", unsafe { ffi::av_buffersrc_parameters_alloc() })?;
    let parameters = Parameters(parameters);
    // SAFETY: the parameters are new and nobody else knows them.
    let fields = unsafe { &mut *parameters.0.as_ptr() };
    let frame = example.get();
    (fields.format, fields.width, fields.height) = (frame.format, frame.width, frame.height);
    fields.sample_aspect_ratio = frame.sample_aspect_ratio;
    (fields.time_base.num, fields.time_base.den) = (1, MediaTime::HZ as c_int);
    fields.hw_frames_ctx = frame.hw_frames_ctx;
    // SAFETY: the filter is a source of pictures; it takes its own reference to the pool.
    let code = unsafe { ffi::av_buffersrc_parameters_set(source.as_ptr(), parameters.0.as_ptr()) };
    check("describe pictures", code)?;
    Ok(())
}

struct Parameters(NonNull<ffi::AVBufferSrcParameters>);

impl Drop for Parameters {
    fn drop(&mut self) {
        // SAFETY: the parameters are ours; the pool in them was only lent.
        unsafe { ffi::av_free(self.0.as_ptr().cast()) };
    }
}

fn link(from: NonNull<ffi::AVFilterContext>, to: NonNull<ffi::AVFilterContext>) -> Result<()> {
    // SAFETY: both filters are initialised, belong to one graph and have a free pad 0.
    check("link filters", unsafe { ffi::avfilter_link(from.as_ptr(), 0, to.as_ptr(), 0) })?;
    Ok(())
}

/// An option's text, in which a NUL is not possible for what is written here.
pub(super) fn option(text: String) -> CString {
    CString::new(text).unwrap_or_default()
}
