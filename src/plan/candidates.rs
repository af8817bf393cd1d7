//! From a job, what devices have proved and the policy to the ordered candidates.

use super::capabilities::{Breaker, Capabilities, Claim, DeviceCapabilities, Proof, TableEntry};
use super::job::{Input, Job, Rate, Scale};
use super::va::{Entrypoint, Profile, RtFormat};
use super::{Backend, Candidate, Codec, EncodeMode, Plan, Policy};
use crate::media::Geometry;

/// Every way to do `job`, best first: all stages on a device; software encoding behind a device; where a device has no
/// video processing, software scaling behind it, and its own encoder behind that; software. Among equals the least loaded device comes first.
pub fn plan(job: &Job, capabilities: &Capabilities, policy: Policy) -> Plan {
    let mut plan = match policy {
        Policy::Software => {
            Plan { candidates: vec![], rejected: vec!["hardware: the policy is 'software'".to_owned()] }
        }
        Policy::PreferHardware | Policy::RequireHardware => on_devices(job, capabilities, policy),
    };
    match (policy, job.encode.filter(|codec| !Codec::ENCODED.contains(codec))) {
        (Policy::RequireHardware, _) => plan.rejected.push("software: the policy is 'require-hardware'".into()),
        (_, Some(codec)) => plan.rejected.push(format!("software: camshaft does not encode {codec}")),
        (_, None) => plan.candidates.push(Candidate {
            decode: Backend::Software,
            scale: Backend::Software,
            encode: job.encode.map(|_| Backend::Software),
            mode: None,
        }),
    }
    plan
}

fn on_devices(job: &Job, capabilities: &Capabilities, policy: Policy) -> Plan {
    let Capabilities { devices, choice } = capabilities;
    if devices.is_empty() {
        return Plan { candidates: vec![], rejected: vec!["hardware: this machine shows no device".into()] };
    }
    let mut found = Vec::new();
    let mut rejected = Vec::new();
    if !devices.iter().any(|device| choice.admits(device)) {
        let paths: Vec<&str> = devices.iter().map(|device| device.path.as_str()).collect();
        rejected.push(format!("hardware: there is no {choice} (hardware.device) here, only {}", paths.join(", ")));
    }
    for device in devices.iter().filter(|device| choice.admits(device)) {
        let judge = Judge { device, label: label(device, devices.len()) };
        if let Err(reason) = judge.open_for_work() {
            rejected.push(reason);
            continue;
        }
        let judged = judge.judge(job);
        let stages = judged.candidates(job, device);
        found.extend(stages.into_iter().map(|(rank, candidate)| (rank, device.load, &device.path, candidate)));
        rejected.extend(judged.reasons());
    }
    if policy == Policy::RequireHardware {
        found.retain(|(rank, ..)| *rank == Rank::AllStages);
    }
    found.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
    Plan { candidates: found.into_iter().map(|(.., candidate)| candidate).collect(), rejected }
}

fn label(device: &DeviceCapabilities, devices: usize) -> String {
    if devices > 1 { format!("{} ({})", device.name, device.path) } else { device.name.clone() }
}

/// How much of a job runs on a device; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    AllStages,
    DecodeAndScale,
    DecodeAndEncode,
    DecodeOnly,
}

/// One device, and what it is called in reasons.
struct Judge<'a> {
    device: &'a DeviceCapabilities,
    label: String,
}

/// What a device can do of a job: each stage, or why not.
struct Judged {
    decode: Result<(), String>,
    process: Result<(), String>,
    /// With the mode of a video encoder.
    encode: Result<Option<EncodeMode>, String>,
}

impl Judged {
    fn candidates(&self, job: &Job, device: &DeviceCapabilities) -> Vec<(Rank, Candidate)> {
        if self.decode.is_err() {
            return vec![];
        }
        let here = || Backend::Vaapi { device: device.path.clone() };
        let (scale, mixed) = match self.process {
            Ok(()) => (here(), Rank::DecodeAndScale),
            Err(_) => (Backend::Software, Rank::DecodeOnly),
        };
        let software = Candidate { decode: here(), scale, encode: job.encode.map(|_| Backend::Software), mode: None };
        let (mode, rank) = match (&self.encode, &self.process) {
            _ if job.encode.is_none() => return vec![(self.rank_of_pictures(), software)],
            (Ok(mode), Ok(())) => (*mode, Rank::AllStages),
            // JPEG is full range, which surfaces are not filled with.
            (Ok(Some(mode)), Err(_)) => (Some(*mode), Rank::DecodeAndEncode),
            _ => return vec![(mixed, software)],
        };
        vec![(rank, Candidate { encode: Some(here()), mode, ..software.clone() }), (mixed, software)]
    }

    fn rank_of_pictures(&self) -> Rank {
        if self.process.is_ok() { Rank::AllStages } else { Rank::DecodeOnly }
    }

    /// Later stages are of no interest where pictures cannot even be decoded.
    fn reasons(self) -> Vec<String> {
        match self.decode {
            Err(reason) => vec![reason],
            Ok(()) => [self.process, self.encode.map(drop)].into_iter().filter_map(Result::err).collect(),
        }
    }
}

impl Judge<'_> {
    fn open_for_work(&self) -> Result<(), String> {
        if let Some(error) = &self.device.error {
            return Err(format!("{}: {error}", self.device.path));
        }
        match &self.device.breaker {
            Breaker::Closed => Ok(()),
            Breaker::Open { reason } => Err(format!("{}: its breaker is open: {reason}", self.label)),
            Breaker::Held { reason } => Err(format!("{}: its breaker is held open by hand: {reason}", self.label)),
        }
    }

    fn judge(&self, job: &Job) -> Judged {
        let process = if job.needs_processing() { self.process() } else { Ok(()) };
        let encoded_size = job.input.size.filter(|_| job.scale == Scale::Unneeded);
        let encode = job.encode.map_or(Ok(None), |codec| self.encode(codec, job.rate, encoded_size));
        Judged { decode: self.decode(&job.input), process, encode }
    }

    fn decode(&self, input: &Input) -> Result<(), String> {
        let (codec, label) = (input.codec, &self.label);
        let mut decoders = self.device.claims.iter().map(|claim| &claim.entry);
        if !decoders.any(|entry| entry.entrypoint == Entrypoint::Vld && input.is_family(entry.profile)) {
            return Err(format!("{codec} decode: {label} has no {codec} profile"));
        }
        let wanted = input.profiles();
        if wanted.is_empty() {
            let profile = input.profile.as_deref().unwrap_or("of this kind");
            let depth = input.bit_depth;
            return Err(format!("{codec} decode: no VA-API profile is used for {codec} {profile} with {depth} bits"));
        }
        let fits = |entry: &TableEntry| {
            large_enough(entry, input.size)?;
            let has_surfaces = entry.rt_formats.is_empty() || entry.rt_formats.contains(&RtFormat::Yuv420_10);
            if input.bit_depth > 8 && !has_surfaces { Err("has no 10-bit surfaces".to_owned()) } else { Ok(()) }
        };
        let found = self.first(&[Entrypoint::Vld], wanted, fits).map(drop);
        found.map_err(|reason| format!("{codec} decode: {label} {reason}"))
    }

    fn process(&self) -> Result<(), String> {
        let found = self.first(&[Entrypoint::VideoProc], &[Profile::None], |_| Ok(())).map(drop);
        found.map_err(|reason| format!("scaling: {} {reason}", self.label))
    }

    fn encode(&self, codec: Codec, rate: Rate, size: Option<Geometry>) -> Result<Option<EncodeMode>, String> {
        let (profiles, entrypoints) = (codec.encode_profiles(), codec.encode_entrypoints());
        if profiles.is_empty() {
            return Err(format!("{codec} encode: camshaft does not encode {codec}"));
        }
        let any =
            |claim: &Claim| profiles.contains(&claim.entry.profile) && entrypoints.contains(&claim.entry.entrypoint);
        let label = &self.label;
        if !self.device.claims.iter().any(any) {
            return Err(format!("{codec} encode: {label} has no encoder for {codec}"));
        }
        let is_video = codec != Codec::Mjpeg;
        let fits = |claim: &Claim| {
            large_enough(&claim.entry, size)?;
            proved(claim)?;
            if is_video { mode(claim, rate).map(drop) } else { Ok(()) }
        };
        let found = self.first_claim(entrypoints, profiles, fits);
        let claim = found.map_err(|reason| format!("{codec} encode: {label} {reason}"))?;
        Ok(mode(claim, rate).ok().filter(|_| is_video))
    }

    /// The first claim of these profiles and entrypoints that `fits` and is proved; else what is wrong with the best one.
    fn first(
        &self,
        entrypoints: &[Entrypoint],
        profiles: &[Profile],
        fits: impl Fn(&TableEntry) -> Result<(), String>,
    ) -> Result<&Claim, String> {
        self.first_claim(entrypoints, profiles, |claim| fits(&claim.entry).and_then(|()| proved(claim)))
    }

    fn first_claim(
        &self,
        entrypoints: &[Entrypoint],
        profiles: &[Profile],
        fits: impl Fn(&Claim) -> Result<(), String>,
    ) -> Result<&Claim, String> {
        let mut problem = None;
        for (entrypoint, profile) in entrypoints.iter().flat_map(|e| profiles.iter().map(move |p| (*e, *p))) {
            let matching = |claim: &&Claim| (claim.entry.entrypoint, claim.entry.profile) == (entrypoint, profile);
            let Some(claim) = self.device.claims.iter().find(matching) else { continue };
            match fits(claim) {
                Ok(()) => return Ok(claim),
                Err(reason) => _ = problem.get_or_insert(reason),
            }
        }
        Err(problem.unwrap_or_else(|| match (profiles, entrypoints) {
            ([Profile::None], _) | ([], _) => "has no VideoProc".into(),
            ([profile, ..], _) => format!("has no {profile}, which this needs"),
        }))
    }
}

/// How the encoder of `claim` holds `rate`.
fn mode(claim: &Claim, rate: Rate) -> Result<EncodeMode, String> {
    let TableEntry { profile, entrypoint, .. } = claim.entry;
    let found = rate.modes().iter().find(|mode| claim.proved_rates.contains(mode));
    let rate_control = *found.ok_or_else(|| {
        let names: Vec<&str> = rate.modes().iter().map(|mode| mode.short_name()).collect();
        format!("has not proved {} for {profile} with {entrypoint}", names.join(" or "))
    })?;
    Ok(EncodeMode { entrypoint, rate_control })
}

fn large_enough(entry: &TableEntry, size: Option<Geometry>) -> Result<(), String> {
    match (entry.max_size, size) {
        (Some(most), Some(size)) if size.width > most.width || size.height > most.height => {
            Err(format!("takes at most {most} as {}, and this is {size}", entry.profile))
        }
        _ => Ok(()),
    }
}

fn proved(claim: &Claim) -> Result<(), String> {
    let TableEntry { profile, entrypoint, .. } = &claim.entry;
    match &claim.proof {
        Proof::Proved => Ok(()),
        Proof::Untried => Err(format!("has not proved {profile} with {entrypoint} yet")),
        Proof::Failed { reason } => Err(format!("failed its trial of {profile} with {entrypoint}: {reason}")),
    }
}
