//! All stages on a device, for `make sanitize`: the same worker, every byte of it watched.

use camshaft::link::{FromWorker, PixelsTask, Role, ToWorker};
use camshaft::media::nal;
use camshaft::media::{Cadence, EncodeSpec, Geometry, OutputSpec, PixelFormat, RateControl, RenditionSpec, VideoCodec};
use camshaft::plan::va::{Entrypoint, RateControlMode};
use camshaft::plan::{Backend, Candidate, EncodeMode};

use crate::support::{Worker, frames, h264_clip, number, raw};

const PICTURES: usize = 24;

#[test]
#[ignore = "needs a device, which make sanitize has made up by tests/support/with-softva.sh"]
fn decodes_scales_and_encodes() {
    let device = Backend::Vaapi { device: "/dev/dri/renderD128".to_owned() };
    let clip = h264_clip(Geometry::new(640, 360), PICTURES);
    let task = PixelsTask { config: clip.config.clone(), decode: device.clone(), sample_ticks: Some(9000) };
    let worker = Worker::begin(Role::Pixels(task));
    let (first, _) = worker.next();
    assert!(matches!(first, FromWorker::Ready), "{first:?}");
    let size = Geometry::new(320, 180);
    let stages = Candidate { decode: device.clone(), scale: device.clone(), encode: None, mode: None };
    worker.send(&ToWorker::AddRendition {
        id: 0,
        spec: raw(PixelFormat::Nv12, size),
        stages: stages.clone(),
        after: None,
    });
    let codec = VideoCodec::H264;
    let encode = EncodeSpec { codec, rate_control: RateControl::Bitrate(500_000), gop: 10 };
    let spec = RenditionSpec { crop: None, size, cadence: Cadence::Every, output: OutputSpec::Encode(encode) };
    let mode = EncodeMode { entrypoint: Entrypoint::EncSlice, rate_control: RateControlMode::Cbr };
    let stages = Candidate { encode: Some(device), mode: Some(mode), ..stages };
    worker.send(&ToWorker::AddRendition { id: 1, spec, stages, after: None });
    let out = worker.play(&clip);
    let made = frames(&out, 0);
    let numbers: Vec<_> = made.iter().map(|(header, pixels)| number(PixelFormat::Nv12, header, pixels)).collect();
    assert_eq!(numbers, (0..PICTURES as u32).map(Some).collect::<Vec<_>>());
    let encoded = out
        .iter()
        .filter(|(message, data)| matches!(message, FromWorker::Encoded { id: 1, .. }) && nal::is_well_formed(data));
    assert_eq!(encoded.count(), PICTURES);
}
