//! Where a job's stages run, and what they cost.

use crate::admission::{Admission, Claimant, Grant};
use crate::error::{Error, ErrorKind, Result};
use crate::media::{Geometry, JobSource, JobSpec, JobVideo, RateControl};
use crate::plan::{
    Backend, Breaker, Candidate, Capabilities, Codec, Cost, Input, Job, Policy, Rate, Resource, Scale, Work, plan,
};
use std::sync::Arc;

/// The name of all jobs in metrics and messages of admission.
const CLAIMANT: &str = "jobs";

/// The device that a job may use: the least loaded that is open for work. What the input is shows only once the worker
/// reads it, and the worker opens its device before.
pub fn device(spec: &JobSpec, policy: Policy, capabilities: &Capabilities) -> Option<String> {
    if policy == Policy::Software || spec.video == JobVideo::Copy {
        return None;
    }
    let open = capabilities.devices.iter().filter(|device| {
        capabilities.choice.admits(device) && device.error.is_none() && matches!(device.breaker, Breaker::Closed)
    });
    open.min_by_key(|device| device.load).map(|device| device.path.clone())
}

/// What was decided.
#[derive(Debug)]
pub struct Decision {
    /// Where the stages run.
    pub stages: Candidate,
    /// Why not on hardware, where that is so.
    pub reason: Option<String>,
    /// Leave to work; none for what costs nothing.
    pub grant: Option<Grant>,
}

/// Decides for an input.
///
/// # Errors
/// [`ErrorKind::Impossible`] if the policy excludes all; [`ErrorKind::Overloaded`] if there is no room.
pub fn decide(
    spec: &JobSpec,
    source: &JobSource,
    policy: Policy,
    capabilities: &Capabilities,
    device: Option<&str>,
    admission: &Arc<Admission>,
) -> Result<Decision> {
    if spec.video == JobVideo::Copy {
        return Ok(Decision { stages: software(None), reason: Some("nothing is decoded".into()), grant: None });
    }
    let encode = match spec.video {
        JobVideo::Encode { codec, .. } => Some(codec),
        JobVideo::Copy | JobVideo::Jpeg { .. } | JobVideo::Raw(_) => None,
    };
    // Devices encode these two; others are encoded on the CPU behind any decoder.
    let planned = encode.filter(|codec| matches!(codec, Codec::H264 | Codec::Hevc) && !source.turned);
    let (mut ways, reason) = match source.codec {
        Some(codec) => {
            let found = plan(&job(spec, source, codec, planned), &on(capabilities, device), policy);
            (found.candidates, found.rejected.first().cloned())
        }
        None if policy == Policy::RequireHardware => (vec![], None),
        None => (vec![software(encode)], Some(format!("no device decodes {}", source.codec_name))),
    };
    for way in &mut ways {
        if encode.is_some() && way.encode.is_none() {
            way.encode = Some(Backend::Software);
        }
    }
    if ways.is_empty() {
        let why = reason.unwrap_or_else(|| format!("no device decodes {}", source.codec_name));
        return Err(Error::new(ErrorKind::Impossible, format!("policy require-hardware cannot be kept: {why}")));
    }
    let costs: Vec<Cost> = ways.iter().map(|way| cost(way, source, encode)).collect();
    // Cameras go before jobs, which can be done later.
    let claimant = Claimant { stream: CLAIMANT.to_owned(), priority: 0 };
    let admitted = admission.admit(&claimant, &costs)?;
    let stages = ways.swap_remove(admitted.option);
    let is_all_hardware = stages.decode != Backend::Software && stages.encode != Some(Backend::Software);
    Ok(Decision { reason: reason.filter(|_| !is_all_hardware), stages, grant: Some(admitted.grant) })
}

fn software(encode: Option<Codec>) -> Candidate {
    let encode = encode.map(|_| Backend::Software);
    Candidate { decode: Backend::Software, scale: Backend::Software, encode, mode: None }
}

fn on(capabilities: &Capabilities, device: Option<&str>) -> Capabilities {
    let mut only = capabilities.clone();
    only.devices.retain(|known| Some(known.path.as_str()) == device);
    only
}

fn job(spec: &JobSpec, source: &JobSource, codec: Codec, encode: Option<Codec>) -> Job {
    let input = Input { codec, profile: source.profile.clone(), bit_depth: source.bit_depth, size: Some(source.size) };
    let rate = match spec.video {
        JobVideo::Encode { rate_control: Some(RateControl::Quality(_)), .. } => Rate::Quality,
        _ => Rate::Bitrate,
    };
    let scale = if source.made == source.size && !source.turned { Scale::Unneeded } else { Scale::Needed };
    Job { input, scale, encode, rate }
}

/// As for a camera of the same size and rate: a job that runs faster ends sooner.
fn cost(way: &Candidate, source: &JobSource, encode: Option<Codec>) -> Cost {
    let a_second = |size: Geometry| (size.pixels() as f64 * source.rate.as_f64()) as u64;
    let mut cost = Cost::default();
    cost.add(&way.decode, Work::Decode(source.codec.unwrap_or(Codec::H264)), a_second(source.size));
    if source.made != source.size {
        cost.add(&way.scale, Work::Scale, a_second(source.made));
    }
    if let Some((place, codec)) = way.encode.as_ref().zip(encode) {
        cost.add(place, Work::Encode(codec), a_second(source.made));
    }
    debug_assert!(cost.of(&Resource::Software) < u64::MAX);
    cost
}
