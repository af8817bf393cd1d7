//! Where the stages of one rendition run, given where the worker decodes.

use crate::error::{Error, ErrorKind, Result};
use crate::media::{OutputRequest, OutputSpec, RenditionRequest, VideoConfig};
use crate::plan::{Backend, Candidate, Capabilities, Codec, Input, Job, Policy, Rate, Scale, plan};

/// What `request` takes, made from what `source` sends.
///
/// # Errors
/// If the source does not allow it.
pub fn job(request: &RenditionRequest, source: &VideoConfig) -> Result<Job> {
    let spec = request.resolve(source)?;
    let same = spec.crop.is_none() && spec.size == source.geometry;
    let encode = match request.output {
        OutputRequest::Raw(_) => None,
        OutputRequest::Jpeg { .. } => Some(Codec::Mjpeg),
        OutputRequest::Encode { codec, .. } => Some(codec),
    };
    let rate = match spec.output {
        OutputSpec::Encode(encode) => encode.rate_control.into(),
        OutputSpec::Raw(_) | OutputSpec::Jpeg { .. } => Rate::default(),
    };
    Ok(Job { input: Input::from(source), scale: if same { Scale::Unneeded } else { Scale::Needed }, encode, rate })
}

/// The best way to do `job` in a worker that decodes where `decode` says.
///
/// # Errors
/// [`ErrorKind::Impossible`] if the policy requires hardware, and the device cannot do all of it.
pub fn stages(job: &Job, capabilities: &Capabilities, policy: Policy, decode: &Backend) -> Result<Candidate> {
    let plan = plan(job, capabilities, policy);
    match plan.candidates.into_iter().find(|candidate| candidate.decode == *decode) {
        Some(candidate) => Ok(candidate),
        None if policy == Policy::RequireHardware => {
            let message = format!("nothing here can make this: {}", plan.rejected.join("; "));
            Err(Error::new(ErrorKind::Impossible, message))
        }
        None => Ok(Candidate {
            decode: decode.clone(),
            scale: Backend::Software,
            encode: job.encode.map(|_| Backend::Software),
            mode: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::va::{Entrypoint, Profile, RateControlMode};
    use crate::plan::{Claim, DeviceCapabilities, DeviceChoice, Proof, TableEntry};

    const NODE: &str = "/dev/dri/renderD128";

    fn gpu(proved: &[(Profile, Entrypoint)]) -> Capabilities {
        let entry = |(profile, entrypoint): &(Profile, Entrypoint)| TableEntry {
            profile: *profile,
            entrypoint: *entrypoint,
            rate_control: vec![],
            max_size: None,
            rt_formats: vec![],
            surface_formats: vec![],
        };
        let proved_rates = vec![RateControlMode::Cbr];
        let claim = |claim| Claim { entry: entry(claim), proof: Proof::Proved, proved_rates: proved_rates.clone() };
        let claims = proved.iter().map(claim).collect();
        let device = DeviceCapabilities {
            path: NODE.into(),
            pci: None,
            name: "iHD on Skylake".into(),
            claims,
            breaker: Default::default(),
            load: 0,
            error: None,
        };
        Capabilities { devices: vec![device], choice: DeviceChoice::Auto }
    }

    fn here() -> Backend {
        Backend::Vaapi { device: NODE.into() }
    }

    fn job(encode: Option<Codec>) -> Job {
        let input = Input { codec: Codec::H264, profile: Some("main".into()), bit_depth: 8, size: None };
        Job { input, scale: Scale::Needed, encode, rate: Rate::Bitrate }
    }

    #[test]
    fn each_rendition_gets_what_the_device_has_for_it() {
        let capabilities = gpu(&[
            (Profile::H264Main, Entrypoint::Vld),
            (Profile::None, Entrypoint::VideoProc),
            (Profile::H264High, Entrypoint::EncSlice),
        ]);
        let encodes = |codec| stages(&job(Some(codec)), &capabilities, Policy::PreferHardware, &here()).unwrap().encode;
        assert_eq!(encodes(Codec::H264), Some(here()));
        assert_eq!(encodes(Codec::Hevc), Some(Backend::Software));
        let required = stages(&job(Some(Codec::Hevc)), &capabilities, Policy::RequireHardware, &here());
        assert!(required.unwrap_err().message().contains("no encoder for HEVC"));
    }

    #[test]
    fn a_software_worker_makes_everything_in_software() {
        let capabilities = gpu(&[(Profile::H264Main, Entrypoint::Vld), (Profile::None, Entrypoint::VideoProc)]);
        let software = Candidate { decode: Backend::Software, scale: Backend::Software, encode: None, mode: None };
        let made = stages(&job(None), &capabilities, Policy::PreferHardware, &Backend::Software).unwrap();
        assert_eq!(made, software);
        // A consumer who wants software shares a worker that decodes on the device for others.
        let made = stages(&job(None), &capabilities, Policy::Software, &here()).unwrap();
        assert_eq!((made.decode, made.scale), (here(), Backend::Software));
    }
}
