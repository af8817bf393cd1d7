//! NAL units, and the gate that every parameter set passes before a decoder sees it.

use bytes::Bytes;
use camshaft::media::{MAX_PIXELS, VideoCodec, nal, parse_parameter_sets};

/// What the gate lets pass is within the limits; units that are written are read as they were. The first byte chooses the
/// codec.
pub fn nal(data: &[u8]) {
    let Some((first, stream)) = data.split_first() else { return };
    let codec = if first & 1 == 0 { VideoCodec::H264 } else { VideoCodec::Hevc };
    let units = nal::annexb_units(stream);
    let prefixed = nal::length_prefixed(units.iter().copied());
    assert!(nal::units(&prefixed).eq(units.iter().copied()));
    assert_eq!(nal::is_well_formed(&prefixed), !units.is_empty());
    for unit in nal::units(stream).chain(units.iter().copied()) {
        nal::kind(codec, unit);
        nal::unreferenced_layer(codec, unit);
    }
    let owned: Vec<Bytes> = units.iter().map(|unit| Bytes::copy_from_slice(unit)).collect();
    if let Ok(said) = parse_parameter_sets(codec, &owned) {
        assert!((1..=MAX_PIXELS).contains(&said.geometry.pixels()), "{}", said.geometry);
        assert!(matches!(said.bit_depth, 8 | 10) && said.reorder_depth <= 16, "{said:?}");
    }
}
