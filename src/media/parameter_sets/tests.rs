use super::*;
use h264_reader::rbsp::{BitWrite, BitWriter};
use proptest::prelude::*;

fn unit(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn h264(sps: &str) -> Result<StreamParameters> {
    parse_parameter_sets(VideoCodec::H264, &[unit(sps), unit("68ebe3cb22c0")])
}

fn refusal(result: Result<StreamParameters>) -> (ErrorKind, String) {
    let error = result.unwrap_err();
    (error.kind(), error.message().to_owned())
}

// Made by x264 of 322x242 pictures, so that cropping shows.
const H264_BASELINE: &str = "6742c00dd90150878888c044000003000400000300c83c50a920";
const H264_MAIN_B: &str = "674d400deca0a843c4446022000003000200000300641e28532c";
const H264_HIGH10: &str = "676e000da6cd94150878888c0440000003004000000c83c50a6580";
const H264_HIGH422: &str = "677a000dbcd9415087888fc044000003000400000300c83c50a658";
const H264_FULL_HD: &str = "67640028acd940780227e5c044000003000400000300c83c60c658";
// Made by x265, likewise.
const H265_MAIN: [&str; 3] = [
    "40010c01ffff01600000030090000003000003003c959009",
    "42010101600000030090000003000003003ca00a480f9c926595924932bc05a02000007d20000ea601",
    "4401c172b46240",
];
const H265_MAIN10_SPS: &str =
    "42010102200000030090000003000003003ca00a480f9c92365959a4932bc05a020000030002000003003210";

#[test]
fn x264_streams_are_described() {
    let parameters = h264(H264_BASELINE).unwrap();
    assert_eq!(parameters.geometry, Geometry::new(322, 242));
    assert_eq!((parameters.profile.as_str(), parameters.rfc6381.as_str()), ("baseline", "avc1.42C00D"));
    assert_eq!(parameters.frame_rate, FrameRate::new(50, 2));
    assert_eq!((parameters.bit_depth, parameters.reorder_depth), (8, 0));

    let parameters = h264(H264_MAIN_B).unwrap();
    assert_eq!((parameters.profile.as_str(), parameters.rfc6381.as_str()), ("main", "avc1.4D400D"));
    assert_eq!(parameters.reorder_depth, 2);

    let parameters = h264(H264_HIGH10).unwrap();
    assert_eq!((parameters.profile.as_str(), parameters.bit_depth), ("high10", 10));

    let parameters = h264(H264_FULL_HD).unwrap();
    assert_eq!(parameters.geometry, Geometry::new(1920, 1080));
    assert_eq!((parameters.profile.as_str(), parameters.rfc6381.as_str()), ("high", "avc1.640028"));
    assert_eq!(parameters.reorder_depth, 2);
}

#[test]
fn x265_streams_are_described() {
    let parameters = parse_parameter_sets(VideoCodec::Hevc, &H265_MAIN.map(unit)).unwrap();
    assert_eq!(parameters.geometry, Geometry::new(322, 242));
    assert_eq!((parameters.profile.as_str(), parameters.rfc6381.as_str()), ("main", "hvc1.1.6.L60.90"));
    assert_eq!(parameters.frame_rate, FrameRate::new(30000, 1001));
    assert_eq!((parameters.bit_depth, parameters.reorder_depth), (8, 2));

    let parameters = parse_parameter_sets(VideoCodec::Hevc, &[unit(H265_MAIN10_SPS)]).unwrap();
    assert_eq!((parameters.profile.as_str(), parameters.rfc6381.as_str()), ("main10", "hvc1.2.4.L60.90"));
    assert_eq!((parameters.bit_depth, parameters.frame_rate), (10, FrameRate::new(25, 1)));
}

#[test]
fn a_level_below_the_picture_and_a_stray_byte_are_forgiven() {
    let mut understated = unit(H264_FULL_HD).to_vec();
    understated[3] = 30;
    understated.push(0x80);
    let parameters = parse_parameter_sets(VideoCodec::H264, &[understated.into()]).unwrap();
    assert_eq!(parameters.geometry, Geometry::new(1920, 1080));
    assert_eq!(parameters.rfc6381, "avc1.64001E");
}

#[test]
fn streams_past_a_limit_are_refused_by_name() {
    let (kind, message) = refusal(h264(H264_HIGH422));
    assert_eq!(kind, ErrorKind::Impossible);
    assert!(message.contains("4:2:2"), "{message}");

    let huge = Picture { width: 8192, height: 8192, ..Picture::default() };
    let (kind, message) = refusal(huge.parse());
    assert_eq!(kind, ErrorKind::Impossible);
    assert!(message.contains("8192x8192") && message.contains("17000000"), "{message}");

    let hoarding = Picture { width: 5120, height: 3200, dpb_frames: 16, bits: 10, ..Picture::default() };
    let (kind, message) = refusal(hoarding.parse());
    assert_eq!(kind, ErrorKind::Impossible);
    assert!(message.contains("sps_max_dec_pic_buffering") && message.contains("512 MiB"), "{message}");

    let (kind, message) = refusal(Picture { bits: 12, ..Picture::default() }.parse());
    assert_eq!(kind, ErrorKind::Impossible);
    assert!(message.contains("12 bits"), "{message}");

    let padded = [unit(H264_BASELINE), vec![0; 17 << 10].into()];
    assert_eq!(parse_parameter_sets(VideoCodec::H264, &padded).unwrap_err().kind(), ErrorKind::Impossible);
}

#[test]
fn tiles_past_the_standard_are_refused() {
    let sps = Picture::default().nal();
    let pps = |columns, rows| parse_parameter_sets(VideoCodec::Hevc, &[sps.clone(), tiled_pps(columns, rows)]);
    assert!(pps(20, 22).is_ok());
    let (kind, message) = refusal(pps(21, 1));
    assert_eq!(kind, ErrorKind::Impossible);
    assert!(message.contains("21 columns"), "{message}");
    assert!(pps(1, 23).is_err());
}

#[test]
fn without_a_readable_sps_the_media_is_unsupported() {
    for bad in ["", "67", "6742c0", "6742c00d", "68ebe3cb22c0"] {
        assert_eq!(refusal(h264(bad)).0, ErrorKind::UnsupportedMedia, "{bad}");
    }
    assert_eq!(parse_parameter_sets(VideoCodec::Hevc, &[]).unwrap_err().kind(), ErrorKind::UnsupportedMedia);
}

#[test]
fn the_rate_is_found_behind_every_coding_tool() {
    let parameters = Picture { every_tool: true, ..Picture::default() }.parse().unwrap();
    assert_eq!(parameters.frame_rate, FrameRate::new(15, 1));
    assert_eq!(parameters.geometry, Geometry::new(1280, 720));
    assert_eq!(parameters.reorder_depth, 3);
}

/// An H.265 SPS as the test wants it.
struct Picture {
    width: u32,
    height: u32,
    bits: u32,
    dpb_frames: u32,
    /// Sub-layers, scaling lists, PCM, predicted and explicit reference sets, long-term references, a full VUI.
    every_tool: bool,
}

impl Default for Picture {
    fn default() -> Self {
        Self { width: 1280, height: 720, bits: 8, dpb_frames: 5, every_tool: false }
    }
}

impl Picture {
    fn parse(&self) -> Result<StreamParameters> {
        parse_parameter_sets(VideoCodec::Hevc, &[self.nal()])
    }

    fn nal(&self) -> Bytes {
        let mut rbsp = Vec::new();
        self.write(&mut BitWriter::new(&mut rbsp)).unwrap();
        escaped([0x42, 0x01], &rbsp)
    }

    fn write(&self, bits: &mut impl BitWrite) -> std::io::Result<()> {
        let sub_layers_minus1 = u8::from(self.every_tool);
        bits.write::<4, u8>(0)?;
        bits.write::<3, u8>(sub_layers_minus1)?;
        bits.write_bit(true)?;
        bits.write::<8, u8>(0x01)?;
        bits.write::<32, u32>(0x6000_0000)?;
        bits.write::<8, u8>(0x90)?;
        bits.write::<32, u32>(0)?;
        bits.write::<8, u8>(0)?;
        bits.write::<8, u8>(93)?;
        if self.every_tool {
            bits.write::<2, u8>(0b11)?;
            bits.write::<14, u16>(0)?;
            bits.write::<32, u32>(u32::MAX)?;
            bits.write::<32, u32>(u32::MAX)?;
            bits.write::<32, u32>(u32::MAX)?;
        }
        for value in [0, 1, self.width, self.height] {
            bits.write_ue(value)?;
        }
        bits.write_bit(false)?;
        for value in [self.bits - 8, self.bits - 8, 4] {
            bits.write_ue(value)?;
        }
        bits.write_bit(true)?;
        for layer in 0..=u32::from(sub_layers_minus1) {
            bits.write_ue(self.dpb_frames - 1)?;
            bits.write_ue(2 + layer)?;
            bits.write_ue(0)?;
        }
        for value in [0, 3, 0, 3, 0, 0] {
            bits.write_ue(value)?;
        }
        if self.every_tool {
            self.write_tools(bits)?
        } else {
            self.write_no_tools(bits)?
        }
        bits.write_rbsp_trailing_bits()
    }

    fn write_no_tools(&self, bits: &mut impl BitWrite) -> std::io::Result<()> {
        bits.write::<4, u8>(0)?;
        bits.write_ue(0)?;
        bits.write::<4, u8>(0)
    }

    fn write_tools(&self, bits: &mut impl BitWrite) -> std::io::Result<()> {
        bits.write::<2, u8>(0b11)?;
        for list in 0..20 {
            let (coefficients, has_dc) = if list < 6 { (16, false) } else { (64, list >= 12) };
            if list % 3 == 1 {
                bits.write_bit(false)?;
                bits.write_ue(1)?;
                continue;
            }
            bits.write_bit(true)?;
            for _ in 0..coefficients + u32::from(has_dc) {
                bits.write_se(-1)?;
            }
        }
        bits.write::<3, u8>(0b111)?;
        bits.write::<8, u8>(0x77)?;
        bits.write_ue(0)?;
        bits.write_ue(2)?;
        bits.write_bit(true)?;
        self.write_reference_sets(bits)?;
        bits.write_bit(true)?;
        bits.write_ue(1)?;
        bits.write::<8, u8>(0x55)?;
        bits.write_bit(true)?;
        bits.write::<2, u8>(0b11)?;
        self.write_vui(bits)
    }

    /// {-1, -3, +2}; then the same moved by +1, which drops the picture that falls on 0: {-2, +1, +3}; then moved again.
    fn write_reference_sets(&self, bits: &mut impl BitWrite) -> std::io::Result<()> {
        bits.write_ue(3)?;
        for value in [2, 1] {
            bits.write_ue(value)?;
        }
        for delta_minus1 in [0, 1, 1] {
            bits.write_ue(delta_minus1)?;
            bits.write_bit(true)?;
        }
        for references in [3, 3] {
            bits.write_bit(true)?;
            bits.write_bit(false)?;
            bits.write_ue(0)?;
            for _ in 0..=references {
                bits.write_bit(true)?;
            }
        }
        Ok(())
    }

    fn write_vui(&self, bits: &mut impl BitWrite) -> std::io::Result<()> {
        bits.write_bit(true)?;
        bits.write_bit(true)?;
        bits.write::<8, u8>(255)?;
        bits.write::<32, u32>(0x0001_0001)?;
        bits.write::<2, u8>(0b11)?;
        bits.write::<6, u8>(0b10_1011)?;
        bits.write::<24, u32>(0x01_01_01)?;
        bits.write_bit(true)?;
        bits.write_ue(1)?;
        bits.write_ue(1)?;
        bits.write::<3, u8>(0)?;
        bits.write_bit(true)?;
        for edge in 0..4 {
            bits.write_ue(edge)?;
        }
        bits.write_bit(true)?;
        bits.write::<32, u32>(1)?;
        bits.write::<32, u32>(15)?;
        bits.write_bit(false)
    }
}

fn tiled_pps(columns: u32, rows: u32) -> Bytes {
    let mut rbsp = Vec::new();
    let mut bits = BitWriter::new(&mut rbsp);
    let mut write = || -> std::io::Result<()> {
        bits.write_ue(0)?;
        bits.write_ue(0)?;
        bits.write::<7, u8>(0)?;
        bits.write_ue(0)?;
        bits.write_ue(0)?;
        bits.write_se(-3)?;
        bits.write::<3, u8>(0b001)?;
        bits.write_ue(1)?;
        bits.write_se(2)?;
        bits.write_se(-2)?;
        bits.write::<4, u8>(0)?;
        bits.write::<2, u8>(0b10)?;
        bits.write_ue(columns - 1)?;
        bits.write_ue(rows - 1)?;
        bits.write_bit(true)?;
        bits.write_rbsp_trailing_bits()
    };
    write().unwrap();
    escaped([0x44, 0x01], &rbsp)
}

/// Emulation prevention (H.265 §7.4.2).
fn escaped(header: [u8; 2], rbsp: &[u8]) -> Bytes {
    let mut out = header.to_vec();
    for byte in rbsp {
        if out.ends_with(&[0, 0]) && *byte <= 3 {
            out.push(3);
        }
        out.push(*byte);
    }
    out.into()
}

proptest! {
    #[test]
    fn garbage_never_panics(tail in proptest::collection::vec(any::<u8>(), 0..200), hevc in any::<bool>(), kind in 0usize..4) {
        let (codec, header) = if hevc {
            (VideoCodec::Hevc, [&[0x42, 1][..], &[0x44, 1], &[0x40], &[]][kind])
        } else {
            (VideoCodec::H264, [&[0x67][..], &[0x67, 100, 0, 40], &[0x68], &[]][kind])
        };
        let _ = parse_parameter_sets(codec, &[[header, &tail].concat().into()]);
    }

    #[test]
    fn damaged_sets_never_panic(at in 0usize..40, byte in any::<u8>(), cut in 1usize..41) {
        for (codec, hex) in [(VideoCodec::H264, H264_MAIN_B), (VideoCodec::Hevc, H265_MAIN[1])] {
            let mut damaged = unit(hex).to_vec();
            if let Some(target) = damaged.get_mut(at) {
                *target = byte;
            }
            let _ = parse_parameter_sets(codec, &[damaged.clone().into()]);
            damaged.truncate(cut);
            let _ = parse_parameter_sets(codec, &[damaged.into()]);
        }
    }
}
