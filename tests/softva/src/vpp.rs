//! Video processing: crop, scale, convert.

use crate::av::{Filter, Picture, Ranges, Region, Scaler};
use crate::surface::Surface;
use crate::va::*;

/// The processor of a context.
#[derive(Debug)]
pub(crate) struct Processor {
    scaler: Scaler,
}

/// What a pipeline buffer asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipeline {
    pub(crate) source: VASurfaceID,
    source_region: Option<Region>,
    target_region: Option<Region>,
    ranges: Ranges,
}

impl Pipeline {
    /// Reads a pipeline buffer. Its pointers are followed, so it must be what the application has just handed over.
    pub(crate) fn of(parameters: &VAProcPipelineParameterBuffer) -> Self {
        let is_full = |range: u8| u32::from(range) == VA_SOURCE_RANGE_FULL;
        let source_is_full = is_full(parameters.input_color_properties.color_range);
        let target_is_full = match parameters.output_color_properties.color_range.into() {
            VA_SOURCE_RANGE_UNKNOWN => source_is_full,
            range => range == VA_SOURCE_RANGE_FULL,
        };
        Self {
            source: parameters.surface,
            source_region: region(parameters.surface_region),
            target_region: region(parameters.output_region),
            ranges: Ranges { source_is_full, target_is_full },
        }
    }
}

fn region(rectangle: *const VARectangle) -> Option<Region> {
    // SAFETY: the pipeline buffer's pointers are null or to rectangles that live until vaEndPicture returns (va_vpp.h).
    let rectangle = unsafe { rectangle.as_ref() }?;
    Some(Region {
        x: rectangle.x.max(0).unsigned_abs().into(),
        y: rectangle.y.max(0).unsigned_abs().into(),
        width: rectangle.width.into(),
        height: rectangle.height.into(),
    })
}

impl Processor {
    pub(crate) fn new() -> Self {
        Self { scaler: Scaler::new() }
    }

    /// Makes `target` from `source`.
    ///
    /// # Errors
    /// [`Status::INVALID_SURFACE`] if they are the same; [`Status::INVALID_PARAMETER`] for empty regions.
    pub(crate) fn process(&mut self, pipeline: &Pipeline, source: &Surface, target: &Surface) -> Result<()> {
        // What the source could not show, the target cannot.
        target.finish(source.outcome().err());
        let part = |surface: &Surface, region: Option<Region>| {
            let picture = region
                .map_or_else(|| surface.picture(), |region| Picture::part(&surface.layout, &surface.memory, region));
            (picture.width > 0 && picture.height > 0).then_some(picture).ok_or(Status::INVALID_PARAMETER)
        };
        let (from, to) = (part(source, pipeline.source_region)?, part(target, pipeline.target_region)?);
        let _guards = Surface::read_and_write(source, target)?;
        self.scaler.convert(&from, &to, Filter::Bilinear, pipeline.ranges)
    }
}
