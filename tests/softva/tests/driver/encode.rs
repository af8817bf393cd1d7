//! Encoding, scaling, and both with decoding.

use std::path::{Path, PathBuf};

use crate::control::{Call, Counter};
use crate::machine::{Machine, NODE, run};
use crate::media::{clip, digests, picture_types, pixels, psnr, software, software_digests, stream_field};

const FRAMES: u64 = 30;

/// A clip without loss.
fn source(size: &str) -> PathBuf {
    clip(&format!("source-{size}.y4m"), size, "-pix_fmt yuv420p")
}

/// Uploads `source` and encodes it with these options.
fn encode(machine: &Machine, source: &Path, options: &str, name: &str) -> PathBuf {
    let path = machine.path(name);
    let mut command = machine.ffmpeg(&["-vaapi_device", NODE, "-i", source.to_str().unwrap()]);
    run(command.args(["-vf", "format=nv12,hwupload"]).args(options.split(' ')).arg(&path));
    path
}

/// Fails unless the stream decodes without complaint and looks like the source.
fn assert_alike(path: &Path, source: &Path, least: f64) {
    let found = psnr(&pixels(path), &pixels(source));
    assert!(found > least, "{}: {found} dB, not {least}", path.display());
}

#[test]
fn h264_decodes_and_looks_right() {
    let haswell = [
        ("-c:v h264_vaapi -bf 0 -g 10 -b:v 400k -maxrate 400k", "High", "IPPPPPPPPP", 30.0),
        ("-c:v h264_vaapi -bf 0 -g 10 -b:v 400k", "High", "IPPPPPPPPP", 30.0),
        ("-c:v h264_vaapi -bf 0 -g 10 -qp 24", "High", "IPPPPPPPPP", 42.0),
        ("-c:v h264_vaapi -bf 0 -g 10 -qp 28 -coder cavlc", "High", "IPPPPPPPPP", 39.0),
        ("-c:v h264_vaapi -bf 0 -g 10 -qp 28 -profile:v main", "Main", "IPPPPPPPPP", 39.0),
        (
            "-c:v h264_vaapi -bf 0 -g 10 -qp 28 -profile:v constrained_baseline",
            "Constrained Baseline",
            "IPPPPPPPPP",
            39.0,
        ),
        ("-c:v h264_vaapi -bf 0 -g 5 -idr_interval 3 -qp 28", "High", "IPPPPIPPPP", 39.0),
        // The driver codes B pictures as intra pictures, without being references.
        ("-c:v h264_vaapi -bf 2 -g 10 -qp 28", "High", "IIIPIIPIIP", 38.0),
    ];
    for (options, profile, types, least) in haswell {
        for size in ["352x288", "350x286"] {
            assert_h264("haswell", size, options, profile, types, least);
        }
    }
}

#[test]
fn h264_on_the_low_power_entrypoint_decodes_and_looks_right() {
    for personality in ["skylake-free", "alderlake"] {
        for (options, least) in [
            ("-c:v h264_vaapi -low_power 1 -g 10 -b:v 400k -maxrate 400k", 30.0),
            ("-c:v h264_vaapi -low_power 1 -g 10 -qp 28 -async_depth 4", 39.0),
        ] {
            assert_h264(personality, "352x288", options, "High", "IPPPPPPPPP", least);
        }
    }
}

fn assert_h264(personality: &'static str, size: &str, options: &str, profile: &str, types: &str, least: f64) {
    let machine = Machine::new(personality);
    let source = source(size);
    let path = encode(&machine, &source, options, "encoded.mp4");
    assert_alike(&path, &source, least);
    assert_eq!(stream_field(&path, "profile"), profile, "{options}");
    assert_eq!(stream_field(&path, "width,height"), size.replace('x', ","), "{options}");
    let found = picture_types(&path);
    assert!(found.starts_with(types), "{options}: {found}");
    assert_eq!(machine.control.count(Counter::H264Encoded).unwrap(), FRAMES);
    machine.assert_nothing_leaked();
}

#[test]
fn a_bitrate_is_kept_to() {
    let machine = Machine::new("haswell");
    let source = clip("long.y4m", "352x288", "-vf loop=3:30 -pix_fmt yuv420p");
    let size = |bitrate: &str| {
        let options = format!("-c:v h264_vaapi -bf 0 -g 25 -b:v {bitrate} -maxrate {bitrate}");
        std::fs::metadata(encode(&machine, &source, &options, "encoded.h264")).unwrap().len()
    };
    let (low, high) = (size("200k"), size("800k"));
    // 4.8 seconds.
    for (found, bitrate) in [(low, 200_000), (high, 800_000)] {
        let expected = f64::from(bitrate) * 4.8 / 8.0;
        let ratio = found as f64 / expected;
        assert!((0.6..1.4).contains(&ratio), "{found} bytes, not {expected}");
    }
}

#[test]
fn waiting_is_for_the_buffer_where_the_driver_has_that_and_for_the_surface_elsewhere() {
    for (personality, options, waits_for_buffers) in
        [("haswell", "-c:v h264_vaapi -bf 0 -qp 28", false), ("alderlake", "-c:v h264_vaapi -low_power 1 -qp 28", true)]
    {
        let machine = Machine::new(personality);
        encode(&machine, &source("352x288"), options, "encoded.mp4");
        // ffmpeg calls once to see whether it is there.
        let buffers = machine.control.calls(Call::SyncBuffer).unwrap();
        assert_eq!(buffers > FRAMES / 2, waits_for_buffers, "{personality}: {buffers} calls");
    }
}

#[test]
fn jpeg_decodes_and_looks_right() {
    for personality in ["skylake-free", "alderlake"] {
        for size in ["352x288", "350x286"] {
            let machine = Machine::new(personality);
            // Full range goes in, as JPEG has it.
            let source = clip(&format!("full-{size}.mkv"), size, "-vf scale=out_range=full,format=nv12 -c:v ffv1");
            let path = encode(&machine, &source, "-c:v mjpeg_vaapi -global_quality 90", "encoded.mkv");
            let decoded = |path: &Path| {
                let keep = "scale=in_range=full:out_range=full,format=yuv420p";
                run(&mut software(&["-i", path.to_str().unwrap(), "-vf", keep, "-f", "rawvideo", "-"]))
            };
            let found = psnr(&decoded(&path), &decoded(&source));
            assert!(found > 35.0, "{personality}, {size}: {found} dB");
            assert_eq!(stream_field(&path, "pix_fmt"), "yuvj420p");
            assert_eq!(machine.control.count(Counter::JpegEncoded).unwrap(), FRAMES);
            machine.assert_nothing_leaked();
        }
    }
}

/// Uploads `source`, filters it on the GPU and reads it back as `format`.
fn process(machine: &Machine, source: &Path, filter: &str, format: &str) -> Vec<u8> {
    let filter = format!("format=nv12,hwupload,{filter},hwdownload,format={format}");
    let mut command = machine.ffmpeg(&["-vaapi_device", NODE, "-i", source.to_str().unwrap()]);
    run(command.args(["-vf", &filter, "-f", "rawvideo", "-"]))
}

fn process_in_software(source: &Path, filter: &str) -> Vec<u8> {
    run(&mut software(&["-i", source.to_str().unwrap(), "-vf", filter, "-f", "rawvideo", "-"]))
}

#[test]
fn scaling_looks_right() {
    for personality in ["haswell", "alderlake"] {
        let machine = Machine::new(personality);
        let source = source("352x288");
        for (filter, format, software_filter, least) in [
            ("scale_vaapi=176:144", "nv12", "scale=176:144,format=nv12", 30.0),
            ("scale_vaapi=640:480", "nv12", "scale=640:480,format=nv12", 30.0),
            ("scale_vaapi=format=bgr0", "bgr0", "format=bgr0", 30.0),
            ("crop=100:80:20:40,scale_vaapi=200:160", "nv12", "crop=100:80:20:40,scale=200:160,format=nv12", 30.0),
        ] {
            let found = process(&machine, &source, filter, format);
            let found = psnr(&found, &process_in_software(&source, software_filter));
            assert!(found > least, "{personality}: {filter}: {found} dB");
        }
        assert_eq!(machine.control.count(Counter::Scaled).unwrap(), 4 * FRAMES);
        machine.assert_nothing_leaked();
    }
}

#[test]
fn cropping_and_reading_back_change_nothing() {
    let machine = Machine::new("alderlake");
    let source = source("352x288");
    for (filter, format, software_filter) in [
        ("crop=200:100:30:40,scale_vaapi=200:100", "nv12", "crop=200:100:30:40,format=nv12"),
        ("scale_vaapi=352:288", "yuv420p", "null"),
    ] {
        let found = process(&machine, &source, filter, format);
        assert!(found == process_in_software(&source, software_filter), "{filter}");
    }
    assert_eq!(machine.control.count(Counter::ImagesRead).unwrap(), 2 * FRAMES);
}

#[test]
fn range_is_converted_when_it_is_asked_for() {
    let machine = Machine::new("alderlake");
    let source = source("352x288");
    let found = process(&machine, &source, "scale_vaapi=out_range=full", "nv12");
    let filter = "scale=in_range=limited:out_range=full,format=nv12";
    let found = psnr(&found, &process_in_software(&source, filter));
    assert!(found > 45.0, "{found} dB");
}

#[test]
fn a_surface_can_be_mapped() {
    let machine = Machine::new("haswell");
    let path = clip("base.mp4", "352x288", "-c:v libx264 -profile:v baseline -pix_fmt yuv420p");
    let mut command =
        machine.ffmpeg(&["-hwaccel", "vaapi", "-hwaccel_device", NODE, "-hwaccel_output_format", "vaapi"]);
    command.args(["-i", path.to_str().unwrap(), "-vf", "hwmap=mode=read+direct,format=nv12", "-f", "framemd5", "-"]);
    assert_eq!(digests(&run(&mut command)), software_digests(&path, "null", "nv12"));
    let (derived, read) =
        (machine.control.count(Counter::ImagesDerived).unwrap(), machine.control.count(Counter::ImagesRead).unwrap());
    assert!(derived >= FRAMES && read == 0, "{derived} derived, {read} read");
    machine.assert_nothing_leaked();
}

#[test]
fn one_decoder_feeds_two_scalers_and_encoders_on_the_gpu() {
    for (personality, low_power) in [("haswell", "0"), ("alderlake", "1")] {
        let machine = Machine::new(personality);
        let path = clip("high-b.mp4", "352x288", "-c:v libx264 -preset slow -bf 3 -refs 4 -pix_fmt yuv420p");
        let (large, small) = (machine.path("large.mp4"), machine.path("small.mp4"));
        let mut command =
            machine.ffmpeg(&["-hwaccel", "vaapi", "-hwaccel_device", NODE, "-hwaccel_output_format", "vaapi"]);
        command.args(["-extra_hw_frames", "8", "-i", path.to_str().unwrap()]);
        command.args(["-filter_complex", "split[a][b];[a]scale_vaapi=320:240[l];[b]scale_vaapi=160:120[s]"]);
        for (label, output) in [("[l]", &large), ("[s]", &small)] {
            let options = ["-map", label, "-c:v", "h264_vaapi", "-bf", "0", "-qp", "26", "-low_power", low_power];
            command.args(options).arg(output);
        }
        run(&mut command);
        for (output, size) in [(&large, "320:240"), (&small, "160:120")] {
            let scaled = process_in_software(&path, &format!("scale={size},format=yuv420p"));
            let found = psnr(&pixels(output), &scaled);
            assert!(found > 30.0, "{personality}: {}: {found} dB", output.display());
        }
        let count = |counter| machine.control.count(counter).unwrap();
        assert_eq!(count(Counter::H264Decoded), FRAMES);
        assert_eq!((count(Counter::Scaled), count(Counter::H264Encoded)), (2 * FRAMES, 2 * FRAMES));
        assert_eq!((count(Counter::ImagesRead), count(Counter::ImagesWritten)), (0, 0), "pictures left the GPU");
        machine.assert_nothing_leaked();
    }
}
