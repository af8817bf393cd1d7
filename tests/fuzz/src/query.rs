//! Query parameters of media and of transcode requests.

use camshaft::media::query::OutputKind;
use camshaft::media::{Geometry, MAX_PIXELS, VideoCodec};
use camshaft::query::{Media, MediaParams, Query, TranscodeRequest};

use crate::media::video_config;

/// What is accepted can be resolved for a camera, to pictures within the limit, or is refused then.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = TranscodeRequest::parse(Some(text), None);
    let kinds = [OutputKind::Raw, OutputKind::Jpeg, OutputKind::Frames, OutputKind::Encode(VideoCodec::H264)];
    for kind in kinds {
        let Ok(mut query) = Query::read(Some(text), &MediaParams::names()) else { return };
        let params = MediaParams::take(&mut query);
        let media = params.copy_or_rendition(&mut query, |query, params| query.settle(params.request(kind)));
        let Ok(Media::Rendition(request, _)) = query.finish(media) else { continue };
        for size in [Geometry::new(1920, 1080), Geometry::new(2, 4096), Geometry::new(1, 1)] {
            if let Ok(spec) = request.resolve(&video_config(VideoCodec::H264, size)) {
                assert!((1..=MAX_PIXELS).contains(&spec.size.pixels()), "{text}: {}", spec.size);
            }
        }
    }
}
