//! Plans for every capability table in `tests/golden/capabilities`, compared with `tests/golden/plans`. The tables are
//! what the real Intel drivers say, printed by `vainfo`, with execution disabled.

use std::fmt::Write;
use std::path::Path;

use super::va::{Entrypoint, Profile, RateControlMode, RtFormat};
use super::*;
use crate::media::Geometry;

/// Files, and the generation that they were made for.
const TABLES: [(&str, &str); 15] = [
    ("hsw_attrs", "Haswell"),
    ("vainfo_nf_HSW", "Haswell"),
    ("vainfo_BDW", "Broadwell"),
    ("vainfo_nf_SKL965free", "Skylake"),
    ("vainfo_nf_SKL", "Skylake"),
    ("vainfo_KBL", "Kaby Lake"),
    ("vainfo_CFL", "Coffee Lake"),
    ("vainfo_CML", "Comet Lake"),
    ("vainfo_ICL", "Ice Lake"),
    ("vainfo_TGL", "Tiger Lake"),
    ("vainfo_nf_TGL", "Tiger Lake"),
    ("vainfo_ADL-S", "Alder Lake-S"),
    ("vainfo_ADL-N", "Alder Lake-N"),
    ("vainfo_nf_ADLN", "Alder Lake-N"),
    ("vainfo_RPL", "Raptor Lake"),
];

fn golden(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

/// Reads `vainfo`'s list (`PROFILE: ENTRYPOINT` lines) and that of `vainfo -a` (`PROFILE/ENTRYPOINT`, attributes below).
fn parse(text: &str) -> DeviceTable {
    let mut table = DeviceTable::default();
    let mut attribute = "";
    for line in text.lines().map(str::trim) {
        if let Some(vendor) = line.strip_prefix("vainfo: Driver version: ") {
            table.vendor_string = vendor.to_owned();
            table.va_driver = vendor.split_whitespace().nth(1).map(str::to_owned);
            continue;
        }
        let named = line.split_once(':').filter(|_| line.starts_with("VAProfile")).or(line.split_once('/'));
        if let Some((profile, entrypoint)) = named
            && let Some(profile) = by_name(Profile::ALL, Profile::name, profile.trim())
        {
            let entrypoint = by_name(Entrypoint::ALL, Entrypoint::name, entrypoint.trim());
            table.entries.extend(entrypoint.map(|entrypoint| entry(profile, entrypoint)));
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((attribute, line));
        attribute = name.trim();
        let Some(entry) = table.entries.last_mut() else { continue };
        match attribute {
            "VAConfigAttribRateControl" => {
                entry.rate_control.extend(by_name(RateControlMode::ALL, RateControlMode::name, value.trim()));
            }
            "VAConfigAttribRTFormat" => {
                entry.rt_formats.extend(by_name(RtFormat::ALL, RtFormat::name, value.trim()));
            }
            _ => {}
        }
    }
    table
}

fn by_name<T: Copy>(all: &[(T, i32)], name: impl Fn(T) -> &'static str, wanted: &str) -> Option<T> {
    all.iter().map(|(value, _)| *value).find(|value| name(*value) == wanted)
}

fn entry(profile: Profile, entrypoint: Entrypoint) -> TableEntry {
    let (rate_control, rt_formats, surface_formats) = (vec![], vec![], vec![]);
    TableEntry { profile, entrypoint, rate_control, max_size: None, rt_formats, surface_formats }
}

fn table(file: &str) -> DeviceTable {
    let path = golden("capabilities").join(file).with_extension("txt");
    parse(&std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// A device whose driver says `table`, each claim with this proof.
fn device(path: &str, table: DeviceTable, generation: &str, proof: Proof) -> DeviceCapabilities {
    let claim = |entry: TableEntry| {
        // `vainfo` without -a does not say.
        let usual = || vec![RateControlMode::Cbr, RateControlMode::Vbr, RateControlMode::Cqp];
        let proved_rates = if entry.rate_control.is_empty() { usual() } else { entry.rate_control.clone() };
        Claim { entry, proof: proof.clone(), proved_rates }
    };
    let claims = table.entries.into_iter().map(claim).collect();
    DeviceCapabilities {
        path: path.into(),
        pci: None,
        name: format!("{} on {generation}", table.va_driver.unwrap()),
        claims,
        breaker: Breaker::Closed,
        load: 0,
        error: None,
    }
}

fn only(device: DeviceCapabilities) -> Capabilities {
    Capabilities { devices: vec![device], choice: DeviceChoice::Auto }
}

const NODE: &str = "/dev/dri/renderD128";

fn haswell(proof: Proof) -> DeviceCapabilities {
    device(NODE, table("hsw_attrs"), "Haswell", proof)
}

fn job(codec: Codec, profile: Option<&str>, bit_depth: u8, encode: Option<Codec>) -> Job {
    let size = Some(Geometry::new(1920, 1080));
    let input = Input { codec, profile: profile.map(str::to_owned), bit_depth, size };
    Job { input, scale: Scale::Needed, encode, rate: Rate::Bitrate }
}

fn h264(encode: Option<Codec>) -> Job {
    job(Codec::H264, Some("high"), 8, encode)
}

/// Every job of the golden listings.
fn jobs() -> Vec<Job> {
    let inputs = [
        (Codec::H264, Some("baseline"), 8),
        (Codec::H264, Some("main"), 8),
        (Codec::H264, Some("high"), 8),
        (Codec::H264, Some("high10"), 10),
        (Codec::Hevc, Some("main"), 8),
        (Codec::Hevc, Some("main10"), 10),
        (Codec::Mjpeg, None, 8),
        (Codec::Mpeg2, None, 8),
        (Codec::Vp8, None, 8),
        (Codec::Vp9, None, 8),
        (Codec::Av1, None, 8),
    ];
    let to_pictures = inputs.into_iter().map(|(codec, profile, depth)| job(codec, profile, depth, None));
    let transcoded = [
        h264(Some(Codec::H264)),
        Job { scale: Scale::Unneeded, ..h264(Some(Codec::H264)) },
        Job { rate: Rate::Quality, ..h264(Some(Codec::H264)) },
        h264(Some(Codec::Hevc)),
        h264(Some(Codec::Mjpeg)),
        job(Codec::Hevc, Some("main"), 8, Some(Codec::H264)),
        job(Codec::Hevc, Some("main10"), 10, Some(Codec::H264)),
        job(Codec::Mjpeg, None, 8, Some(Codec::H264)),
    ];
    to_pictures.chain(transcoded).collect()
}

fn listing(capabilities: &Capabilities) -> String {
    let mut text = String::new();
    for job in jobs() {
        let Job { input, scale, encode, rate } = &job;
        let profile = input.profile.as_deref().map(|profile| format!(" {profile}")).unwrap_or_default();
        let encode = encode.map_or("pictures".to_owned(), |codec| codec.to_string());
        let how = if *scale == Scale::Needed { "scaled" } else { "as it is" };
        let encode = if *rate == Rate::Quality { encode + " of a quality" } else { encode };
        writeln!(text, "{}{profile}, {} bit, {how}, to {encode}", input.codec, input.bit_depth).unwrap();
        let plan = plan(&job, capabilities, Policy::PreferHardware);
        for candidate in plan.candidates {
            let encode = candidate.encode.map(|encode| format!(", {} encode", encode.accel())).unwrap_or_default();
            let (decode, scale) = (candidate.decode.accel(), candidate.scale.accel());
            let name = |mode: EncodeMode| {
                format!(" by {} with {}", mode.entrypoint.short_name(), mode.rate_control.short_name())
            };
            let mode = candidate.mode.map(name).unwrap_or_default();
            writeln!(text, "  {decode} decode, {scale} scale{encode}{mode}").unwrap();
        }
        for reason in plan.rejected {
            writeln!(text, "  - {reason}").unwrap();
        }
    }
    text
}

fn assert_listing(name: &str, capabilities: &Capabilities) {
    insta::with_settings!({
        snapshot_path => golden("plans"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, listing(capabilities)) });
}

#[test]
fn every_table_has_its_plans() {
    for (file, generation) in TABLES {
        assert_listing(file, &only(device(NODE, table(file), generation, Proof::Proved)));
    }
}

#[test]
fn every_table_is_read_whole() {
    let listed = std::fs::read_dir(golden("capabilities")).unwrap().flatten();
    let mut names: Vec<String> =
        listed.map(|entry| entry.path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let mut known = TABLES.map(|(file, _)| file.to_owned()).to_vec();
    names.sort();
    known.sort();
    assert_eq!(names, known);
    let haswell = table("hsw_attrs");
    assert_eq!(haswell.vendor_string, "Intel i965 driver for Intel(R) Haswell Server - 2.4.1");
    let key = |entry: &TableEntry| (entry.profile, entry.entrypoint);
    let mut with_attributes: Vec<_> = haswell.entries.iter().map(key).collect();
    let mut listed: Vec<_> = table("vainfo_nf_HSW").entries.iter().map(key).collect();
    with_attributes.sort();
    listed.sort();
    assert_eq!(with_attributes, listed);
    let encoder = haswell.entries.iter().find(|entry| key(entry) == (Profile::H264High, Entrypoint::EncSlice)).unwrap();
    assert_eq!(encoder.rate_control, [RateControlMode::Cbr, RateControlMode::Vbr, RateControlMode::Cqp]);
    assert_eq!(encoder.rt_formats, [RtFormat::Yuv420]);
    let low_power =
        table("vainfo_nf_ADLN").entries.iter().filter(|entry| entry.entrypoint == Entrypoint::EncSliceLp).count();
    assert_eq!(low_power, 15);
}

#[test]
fn claims_without_proof_are_not_planned_with() {
    assert_listing("nothing_proved", &only(haswell(Proof::Untried)));
    let failed = Proof::Failed { reason: "pictures differ: PSNR 9 dB".into() };
    let plan = plan(&h264(None), &only(haswell(failed)), Policy::PreferHardware);
    assert_eq!(plan.candidates.len(), 1);
    assert_eq!(
        plan.rejected,
        ["H.264 decode: i965 on Haswell failed its trial of VAProfileH264High with VAEntrypointVLD: \
          pictures differ: PSNR 9 dB"]
    );
}

#[test]
fn hardware_required_is_hardware_throughout() {
    let capabilities = only(haswell(Proof::Proved));
    let all = plan(&h264(Some(Codec::H264)), &capabilities, Policy::RequireHardware);
    let here = || Backend::Vaapi { device: NODE.into() };
    let mode = Some(EncodeMode { entrypoint: Entrypoint::EncSlice, rate_control: RateControlMode::Cbr });
    assert_eq!(all.candidates, [Candidate { decode: here(), scale: here(), encode: Some(here()), mode }]);
    let mixed = plan(&h264(Some(Codec::Hevc)), &capabilities, Policy::RequireHardware);
    assert_eq!(mixed.candidates, []);
    assert!(mixed.rejected.contains(&"HEVC encode: i965 on Haswell has no encoder for HEVC".to_owned()));
    let none = plan(&h264(None), &Capabilities::default(), Policy::RequireHardware);
    assert_eq!(none.rejected, ["hardware: this machine shows no device", "software: the policy is 'require-hardware'"]);
}

#[test]
fn an_encoder_without_the_rate_control_that_is_asked_for_is_left_out() {
    let mut gpu = haswell(Proof::Proved);
    for claim in &mut gpu.claims {
        claim.proved_rates = vec![RateControlMode::Cqp];
    }
    let encode = |rate| plan(&Job { rate, ..h264(Some(Codec::H264)) }, &only(gpu.clone()), Policy::PreferHardware);
    let cqp = Some(EncodeMode { entrypoint: Entrypoint::EncSlice, rate_control: RateControlMode::Cqp });
    assert_eq!(encode(Rate::Quality).candidates[0].mode, cqp);
    let plan = encode(Rate::Bitrate);
    assert_eq!(plan.candidates[0].encode, Some(Backend::Software));
    assert_eq!(
        plan.rejected,
        ["H.264 encode: i965 on Haswell has not proved CBR or VBR for VAProfileH264High with VAEntrypointEncSlice"]
    );
}

#[test]
fn software_is_always_last_and_may_be_all() {
    let capabilities = only(haswell(Proof::Proved));
    let software =
        Candidate { decode: Backend::Software, scale: Backend::Software, encode: Some(Backend::Software), mode: None };
    let preferred = plan(&h264(Some(Codec::H264)), &capabilities, Policy::PreferHardware);
    assert_eq!(preferred.candidates.len(), 3);
    assert_eq!(preferred.candidates.last(), Some(&software));
    let never = plan(&h264(Some(Codec::H264)), &capabilities, Policy::Software);
    assert_eq!(never.candidates, [software]);
    let impossible = plan(&h264(Some(Codec::Vp9)), &capabilities, Policy::Software);
    assert_eq!(impossible.candidates, []);
}

#[test]
fn the_least_loaded_device_comes_first_and_a_choice_leaves_the_others_out() {
    let busy = DeviceCapabilities { load: 3, ..haswell(Proof::Proved) };
    let free = DeviceCapabilities { path: "/dev/dri/renderD129".into(), load: 1, ..haswell(Proof::Proved) };
    let both = Capabilities { devices: vec![busy, free], choice: DeviceChoice::Auto };
    let order = |capabilities: &Capabilities| -> Vec<Option<String>> {
        let plan = plan(&h264(None), capabilities, Policy::PreferHardware);
        plan.candidates.iter().map(|candidate| candidate.decode.device().map(str::to_owned)).collect()
    };
    let (first, second) = (Some("/dev/dri/renderD129".to_owned()), Some(NODE.to_owned()));
    assert_eq!(order(&both), [first, second.clone(), None]);
    let chosen = Capabilities { choice: DeviceChoice::Path(NODE.into()), ..both.clone() };
    assert_eq!(order(&chosen), [second, None]);
    let absent = Capabilities { choice: "pci:0000:03:00.0".parse().unwrap(), ..both };
    let plan = plan(&h264(None), &absent, Policy::PreferHardware);
    assert_eq!(
        plan.rejected,
        [
            "hardware: there is no pci:0000:03:00.0 (hardware.device) here, only /dev/dri/renderD128, /dev/dri/renderD129"
        ]
    );
}

#[test]
fn trouble_breakers_and_sizes_are_reasons() {
    let reasons = |device: DeviceCapabilities| plan(&h264(None), &only(device), Policy::PreferHardware).rejected;
    let error = Some("no VA driver is installed".to_owned());
    assert_eq!(
        reasons(DeviceCapabilities { error, ..haswell(Proof::Proved) }),
        ["/dev/dri/renderD128: no VA driver is installed"]
    );
    let breaker = Breaker::Open { reason: "3 streams failed on it".into() };
    assert_eq!(
        reasons(DeviceCapabilities { breaker, ..haswell(Proof::Proved) }),
        ["i965 on Haswell: its breaker is open: 3 streams failed on it"]
    );
    let mut small = haswell(Proof::Proved);
    for claim in &mut small.claims {
        claim.entry.max_size = Some(Geometry::new(1280, 720));
    }
    assert_eq!(
        reasons(small),
        ["H.264 decode: i965 on Haswell takes at most 1280x720 as VAProfileH264High, and this is 1920x1080"]
    );
}
