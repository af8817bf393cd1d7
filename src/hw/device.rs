//! One device: its node, its driver's claims, and what came of trying them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use super::ask::Trials;
use super::breaker::Breaker;
use super::nodes::{Gpu, Node};
use super::remedy::{Trouble, without_node};
use super::report::DeviceReport;
use crate::link::Capability;
use crate::media::{VideoCodec, WallClock};
use crate::plan::va::{Entrypoint, Profile, RateControlMode};
use crate::plan::{self, Claim, Codec, DeviceCapabilities, DeviceTable, EncodeMode, Proof, TableEntry};

/// The rate control that encoders are used with.
const RATES: [RateControlMode; 4] =
    [RateControlMode::Cbr, RateControlMode::Vbr, RateControlMode::Icq, RateControlMode::Cqp];

/// What the trials try: first what cameras need, as a driver that dies of one is not asked for the rest.
fn all_trials() -> Vec<Capability> {
    let decode = |(codec, bit_depth)| Capability::Decode { codec, bit_depth };
    let encoders = [VideoCodec::H264, VideoCodec::Hevc].into_iter().flat_map(|codec| {
        let modes = codec.encode_entrypoints().iter().flat_map(|entrypoint| RATES.map(|rate| (*entrypoint, rate)));
        modes.map(move |(entrypoint, rate_control)| Capability::Encode {
            codec,
            mode: EncodeMode { entrypoint, rate_control },
        })
    });
    let of_cameras = [(VideoCodec::H264, 8), (VideoCodec::Hevc, 8), (VideoCodec::Hevc, 10)].map(decode);
    let others = [
        (VideoCodec::Mjpeg, 8),
        (VideoCodec::Mpeg2, 8),
        (VideoCodec::Vp8, 8),
        (VideoCodec::Vp9, 8),
        (VideoCodec::Vp9, 10),
        (VideoCodec::Av1, 8),
    ];
    of_cameras
        .into_iter()
        .chain([Capability::Scale])
        .chain(encoders)
        .chain([Capability::EncodeJpeg])
        .chain(others.map(decode))
        .collect()
}

/// What is known of a device.
#[derive(Debug)]
pub(super) struct Device {
    /// The path that it is opened by.
    pub path: String,
    /// Its facts; `None` for a chosen path that is no render node.
    pub node: Option<Node>,
    /// What its driver says, or why there is no saying.
    pub table: Result<DeviceTable, Trouble>,
    /// The claims of the table with their proofs.
    pub claims: Vec<Claim>,
    /// When it was asked.
    pub asked: Instant,
    /// The same by the clock on the wall.
    pub asked_at: SystemTime,
    /// Streams that it works for now.
    pub load: Arc<AtomicUsize>,
    /// Whether new work may go to it.
    pub breaker: Breaker,
}

impl Device {
    /// A device that was just asked.
    pub fn new(path: String, node: Option<Node>, table: Result<DeviceTable, Trouble>) -> Self {
        let entries = table.as_ref().map_or(vec![], |table| table.entries.clone());
        let claims =
            entries.into_iter().map(|entry| Claim { entry, proof: Proof::Untried, proved_rates: vec![] }).collect();
        let (asked, asked_at) = (Instant::now(), SystemTime::now());
        Self { path, node, table, claims, asked, asked_at, load: Arc::default(), breaker: Breaker::default() }
    }

    /// Takes over what trials have shown.
    pub fn apply(&mut self, trials: &Trials) {
        for claim in &mut self.claims {
            claim.proof = proof(&claim.entry, trials);
            claim.proved_rates = proved_rates(&claim.entry, trials);
        }
    }

    /// Whether trials prove all that was proved before.
    pub fn still_holds(&self, trials: &Trials) -> bool {
        let mut proved = self.claims.iter().filter(|claim| claim.proof == Proof::Proved).peekable();
        proved.peek().is_some() && proved.all(|claim| proof(&claim.entry, trials) == Proof::Proved)
    }

    /// The last part of its path: how it is named in URLs.
    pub fn node_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// What a plan must know.
    pub fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities {
            path: self.path.clone(),
            pci: self.gpu().and_then(|gpu| gpu.pci.clone()),
            name: self.name(),
            claims: self.claims.clone(),
            breaker: self.breaker.state().clone(),
            load: self.load.load(Ordering::Relaxed),
            error: self.table.as_ref().err().map(|trouble| trouble.message.clone()),
        }
    }

    /// What it is, for people: `i965 on Haswell`.
    pub fn name(&self) -> String {
        let driver = self.table.as_ref().ok().and_then(|table| table.va_driver.as_deref()).unwrap_or("the VA driver");
        match self.gpu() {
            Some(gpu) => match gpu.generation() {
                Some(generation) => format!("{driver} on {generation}"),
                None => format!("{driver} on {}", gpu.describe()),
            },
            None => driver.to_owned(),
        }
    }

    /// As the API shows it.
    pub fn report(&self) -> DeviceReport {
        let table = self.table.as_ref().ok();
        DeviceReport {
            path: Some(self.path.clone()),
            by_path: self.node.as_ref().and_then(|node| Some(node.by_path.as_ref()?.to_string_lossy().into_owned())),
            va_driver: table.and_then(|table| table.va_driver.clone()),
            vendor_string: table.map(|table| table.vendor_string.clone()),
            profiles: self.claims.iter().map(From::from).collect(),
            tried: Some(WallClock::from(self.asked_at).to_string()),
            breaker: self.breaker.state().name().to_owned(),
            breaker_reason: self.breaker.state().reason().map(str::to_owned),
            error: self.table.as_ref().err().cloned(),
            ..gpu_report(self.gpu().unwrap_or(&Gpu::default()))
        }
    }

    fn gpu(&self) -> Option<&Gpu> {
        self.node.as_ref().map(|node| &node.gpu)
    }
}

/// A GPU without a render node, as the API shows it.
pub(super) fn gpu_report(gpu: &Gpu) -> DeviceReport {
    let hex = |id: u16| format!("{id:04x}");
    DeviceReport {
        path: None,
        by_path: None,
        pci: gpu.pci.as_ref().map(ToString::to_string),
        vendor_id: gpu.vendor_id.map(hex),
        device_id: gpu.device_id.map(hex),
        generation: gpu.generation().map(str::to_owned),
        kernel_driver: gpu.kernel_driver.clone(),
        va_driver: None,
        vendor_string: None,
        profiles: vec![],
        tried: None,
        breaker: plan::Breaker::Closed.name().to_owned(),
        error: Some(without_node(gpu)),
        breaker_reason: None,
    }
}

/// What trials say about a claim. One success proves it: an encoder need not have every rate control. What the trials
/// never got to counts as failed: a driver that ended its own trial is not to be trusted with what came after.
fn proof(entry: &TableEntry, trials: &Trials) -> Proof {
    let mut failures = Vec::new();
    for tried in trials.tried.iter().filter(|tried| covers(tried.capability, entry)) {
        match &tried.failure {
            None => return Proof::Proved,
            Some(reason) => failures.push(reason),
        }
    }
    let is_tried = || all_trials().into_iter().any(|capability| covers(capability, entry));
    match (failures.first(), &trials.cut_short) {
        (Some(reason), _) => Proof::Failed { reason: (*reason).clone() },
        (None, Some(reason)) if is_tried() => Proof::Failed { reason: reason.clone() },
        (None, _) => Proof::Untried,
    }
}

fn proved_rates(entry: &TableEntry, trials: &Trials) -> Vec<RateControlMode> {
    let proved = trials.tried.iter().filter(|tried| tried.failure.is_none() && covers(tried.capability, entry));
    let rates = proved.filter_map(|tried| match tried.capability {
        Capability::Encode { mode, .. } => Some(mode.rate_control),
        _ => None,
    });
    rates.collect()
}

/// What a driver claims that there is a trial for.
pub(super) fn worth_trying(table: &DeviceTable) -> Vec<Capability> {
    let is_claimed = |capability: &Capability| table.entries.iter().any(|entry| covers(*capability, entry));
    all_trials().into_iter().filter(is_claimed).collect()
}

/// Whether a trial of `capability` speaks for `entry`. One trial speaks for all profiles of H.264: they run on the same
/// engine, and differ in tools that all of them are tried with.
fn covers(capability: Capability, entry: &TableEntry) -> bool {
    let encodes = |codec: Codec| {
        codec.encode_profiles().contains(&entry.profile) && codec.encode_entrypoints().contains(&entry.entrypoint)
    };
    match capability {
        Capability::Decode { codec, bit_depth } => {
            let decoded: &[Profile] = match (codec, bit_depth) {
                (Codec::H264, 8) => &[Profile::H264ConstrainedBaseline, Profile::H264Main, Profile::H264High],
                (Codec::Hevc, 8) => &[Profile::HevcMain],
                (Codec::Hevc, 10) => &[Profile::HevcMain10],
                (Codec::Mjpeg, 8) => &[Profile::JpegBaseline],
                (Codec::Mpeg2, 8) => &[Profile::Mpeg2Simple, Profile::Mpeg2Main],
                (Codec::Vp8, 8) => &[Profile::Vp8Version0To3],
                (Codec::Vp9, 8) => &[Profile::Vp9Profile0],
                (Codec::Vp9, 10) => &[Profile::Vp9Profile2],
                (Codec::Av1, 8) => &[Profile::Av1Profile0],
                _ => &[],
            };
            entry.entrypoint == Entrypoint::Vld && decoded.contains(&entry.profile)
        }
        Capability::Scale => entry.entrypoint == Entrypoint::VideoProc,
        Capability::Encode { codec, mode: EncodeMode { entrypoint, rate_control } } => {
            // Where a driver does not say, FFmpeg takes it to have constant quantisers.
            let is_claimed = match entry.rate_control.as_slice() {
                [] => rate_control == RateControlMode::Cqp,
                claimed => claimed.contains(&rate_control),
            };
            encodes(codec) && entry.entrypoint == entrypoint && is_claimed
        }
        Capability::EncodeJpeg => encodes(Codec::Mjpeg),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::ask::Tried;
    use crate::hw::remedy::not_probed;

    fn device() -> Device {
        let entry = |profile, entrypoint| TableEntry {
            profile,
            entrypoint,
            rate_control: vec![],
            max_size: None,
            rt_formats: vec![],
            surface_formats: vec![],
        };
        let entries = vec![
            entry(Profile::H264Main, Entrypoint::Vld),
            entry(Profile::H264Main, Entrypoint::EncSliceLp),
            entry(Profile::HevcMain10, Entrypoint::Vld),
            entry(Profile::None, Entrypoint::VideoProc),
            entry(Profile::Vc1Main, Entrypoint::Vld),
        ];
        let table = DeviceTable { va_driver: Some("iHD".into()), vendor_string: "Intel iHD".into(), entries };
        Device::new("/dev/dri/renderD128".into(), None, Ok(table))
    }

    fn proofs(trials: &Trials) -> Vec<Proof> {
        let mut device = device();
        device.apply(trials);
        device.claims.into_iter().map(|claim| claim.proof).collect()
    }

    fn encode(rate_control: RateControlMode) -> Capability {
        Capability::Encode {
            codec: VideoCodec::H264,
            mode: EncodeMode { entrypoint: Entrypoint::EncSliceLp, rate_control },
        }
    }

    fn tried(capability: Capability, failure: Option<&str>) -> Tried {
        Tried { capability, failure: failure.map(str::to_owned) }
    }

    #[test]
    fn trials_speak_for_the_claims_that_they_cover() {
        let results = vec![
            tried(Capability::Decode { codec: VideoCodec::H264, bit_depth: 8 }, None),
            tried(Capability::Decode { codec: VideoCodec::Hevc, bit_depth: 8 }, Some("it has no such profile")),
            tried(encode(RateControlMode::Cqp), Some("packets of 0 bytes")),
        ];
        let failed = Proof::Failed { reason: "packets of 0 bytes".into() };
        let expected = [Proof::Proved, failed.clone(), Proof::Untried, Proof::Untried, Proof::Untried];
        assert_eq!(proofs(&Trials { tried: results.clone(), cut_short: None }), expected);
        // The driver aborted in its third trial: what was to come is not to be trusted, what needs no trial is left.
        let reason = "the trial's worker ended (killed by signal 6 (ABORT))";
        let cut = Proof::Failed { reason: reason.into() };
        let expected = [Proof::Proved, failed, cut.clone(), cut, Proof::Untried];
        assert_eq!(proofs(&Trials { tried: results, cut_short: Some(reason.into()) }), expected);
    }

    #[test]
    fn an_encoder_is_used_with_the_rate_control_that_it_has_proved() {
        let mut device = device();
        for claim in &mut device.claims {
            claim.entry.rate_control = vec![RateControlMode::Cbr, RateControlMode::Cqp];
        }
        let cbr_fails =
            vec![tried(encode(RateControlMode::Cbr), Some("no HuC")), tried(encode(RateControlMode::Cqp), None)];
        device.apply(&Trials { tried: cbr_fails, cut_short: None });
        let claim = &device.claims[1];
        assert_eq!((&claim.proof, claim.proved_rates.as_slice()), (&Proof::Proved, &[RateControlMode::Cqp][..]));
    }

    #[test]
    fn only_what_is_claimed_is_tried() {
        let table = device().table.unwrap();
        let expected = [
            Capability::Decode { codec: VideoCodec::H264, bit_depth: 8 },
            Capability::Decode { codec: VideoCodec::Hevc, bit_depth: 10 },
            Capability::Scale,
            encode(RateControlMode::Cqp),
        ];
        assert_eq!(worth_trying(&table), expected);
        assert_eq!(worth_trying(&DeviceTable::default()), []);
    }

    #[test]
    fn a_device_in_trouble_claims_nothing() {
        let device = Device::new("/dev/dri/renderD128".into(), None, Err(not_probed("no engine")));
        assert!(!device.capabilities().is_usable());
        assert_eq!(device.report().profiles, []);
        assert!(device.report().error.unwrap().message.contains("no engine"));
        assert_eq!(device.node_name(), "renderD128");
    }
}
