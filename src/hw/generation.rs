//! GPU generations by PCI id.

/// Intel's PCI vendor id.
pub const INTEL: u16 = 0x8086;

/// First and last device id of a range, and the generation's name. Ids as of Linux 6.18,
/// `include/drm/intel/pciids.h`; most generations own whole ranges, so that a late variant is recognised as well.
const RANGES: &[(u16, u16, &str)] = &[
    (0x0402, 0x042e, "Haswell"),
    (0x0a02, 0x0a2e, "Haswell"),
    (0x0a84, 0x0a84, "Apollo Lake"),
    (0x0c02, 0x0c2e, "Haswell"),
    (0x0d02, 0x0d2e, "Haswell"),
    (0x0f30, 0x0f33, "Bay Trail"),
    (0x1602, 0x163e, "Broadwell"),
    (0x1902, 0x193d, "Skylake"),
    (0x1a84, 0x1a85, "Apollo Lake"),
    (0x22b0, 0x22b3, "Braswell"),
    (0x3184, 0x3185, "Gemini Lake"),
    (0x3e90, 0x3e9c, "Coffee Lake"),
    (0x3ea0, 0x3ea4, "Whiskey Lake"),
    (0x3ea5, 0x3ea9, "Coffee Lake"),
    (0x4541, 0x4571, "Elkhart Lake"),
    (0x4626, 0x462a, "Alder Lake-P"),
    (0x4680, 0x4693, "Alder Lake-S"),
    (0x46a0, 0x46c3, "Alder Lake-P"),
    (0x46d0, 0x46d4, "Alder Lake-N"),
    (0x4905, 0x4909, "DG1"),
    (0x4c80, 0x4c9a, "Rocket Lake"),
    (0x4e51, 0x4e71, "Jasper Lake"),
    (0x5690, 0x5697, "DG2"),
    (0x56a0, 0x56c2, "DG2"),
    (0x5902, 0x593b, "Kaby Lake"),
    (0x5a84, 0x5a85, "Apollo Lake"),
    (0x6420, 0x64b0, "Lunar Lake"),
    (0x7d40, 0x7d40, "Meteor Lake"),
    (0x7d41, 0x7d41, "Arrow Lake"),
    (0x7d45, 0x7d45, "Meteor Lake"),
    (0x7d51, 0x7d51, "Arrow Lake"),
    (0x7d55, 0x7d60, "Meteor Lake"),
    (0x7d67, 0x7d67, "Arrow Lake"),
    (0x7dd1, 0x7dd1, "Arrow Lake"),
    (0x7dd5, 0x7dd5, "Meteor Lake"),
    (0x87c0, 0x87c0, "Kaby Lake"),
    (0x87ca, 0x87ca, "Coffee Lake"),
    (0x8a50, 0x8a71, "Ice Lake"),
    (0x9a40, 0x9af8, "Tiger Lake"),
    (0x9b21, 0x9bf6, "Comet Lake"),
    (0xa720, 0xa7ad, "Raptor Lake"),
    (0xb080, 0xb0b0, "Panther Lake"),
    (0xb640, 0xb640, "Arrow Lake"),
    (0xe202, 0xe223, "Battlemage"),
];

/// The generation of a GPU, if it is one of Intel's that this table knows.
pub fn generation(vendor: u16, device: u16) -> Option<&'static str> {
    let known = |&&(first, last, _): &&(u16, u16, &str)| (first..=last).contains(&device);
    RANGES.iter().find(known).filter(|_| vendor == INTEL).map(|(.., name)| *name)
}

/// The Debian package whose VA driver does most on a generation. Intel's iHD begins at Broadwell, where it only decodes;
/// its free build can neither scale nor (fully) encode before Ice Lake.
pub fn driver_package(vendor: u16, generation: Option<&str>) -> &'static str {
    match (vendor, generation) {
        (INTEL, Some("Haswell" | "Bay Trail" | "Broadwell" | "Braswell")) => "i965-va-driver",
        (INTEL, _) => "intel-media-va-driver-non-free",
        _ => "mesa-va-drivers",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_known_by_their_ids() {
        for (id, name) in [
            (0x041a, "Haswell"),
            (0x0a2e, "Haswell"),
            (0x1912, "Skylake"),
            (0x5912, "Kaby Lake"),
            (0x3e92, "Coffee Lake"),
            (0x3ea0, "Whiskey Lake"),
            (0x9bc8, "Comet Lake"),
            (0x3185, "Gemini Lake"),
            (0x4e61, "Jasper Lake"),
            (0x8a56, "Ice Lake"),
            (0x9a49, "Tiger Lake"),
            (0x4680, "Alder Lake-S"),
            (0x46a6, "Alder Lake-P"),
            (0x46d1, "Alder Lake-N"),
            (0xa780, "Raptor Lake"),
            (0x7d55, "Meteor Lake"),
            (0x7d67, "Arrow Lake"),
            (0x64a0, "Lunar Lake"),
            (0x56a5, "DG2"),
            (0xe20b, "Battlemage"),
        ] {
            assert_eq!(generation(INTEL, id), Some(name), "{id:04x}");
        }
        assert_eq!(generation(INTEL, 0x0042), None);
        assert_eq!(generation(0x1002, 0x041a), None);
    }

    #[test]
    fn ranges_are_in_order_and_apart() {
        for pair in RANGES.windows(2) {
            assert!(pair[0].0 <= pair[0].1 && pair[0].1 < pair[1].0, "{pair:04x?}");
        }
    }
}
