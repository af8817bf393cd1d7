//! Decoding: pictures from the driver are bit for bit those of libavcodec.

use std::path::Path;

use crate::control::{Call, Counter};
use crate::machine::{Machine, NODE, output, run};
use crate::media::{clip, digests, software_digests};

/// Decodes on the GPU and reads the frames back.
fn hardware_digests(machine: &Machine, path: &Path, format: &str) -> Vec<String> {
    let filter = format!("hwdownload,format={format}");
    let mut command =
        machine.ffmpeg(&["-xerror", "-hwaccel", "vaapi", "-hwaccel_device", NODE, "-hwaccel_output_format", "vaapi"]);
    command.args(["-i", path.to_str().unwrap(), "-vf", &filter, "-f", "framemd5", "-"]);
    digests(&run(&mut command))
}

/// Fails unless each of these generations decodes `path` as libavcodec does, with the frames made `format` by `filter`.
fn assert_exact(personalities: &[&'static str], path: &Path, format: &str, filter: &str, counter: Counter) {
    let expected = software_digests(path, filter, format);
    assert_eq!(expected.len(), 30, "{}", path.display());
    for personality in personalities {
        let machine = Machine::new(personality);
        assert_eq!(hardware_digests(&machine, path, format), expected, "{} on {personality}", path.display());
        assert_eq!(machine.control.count(counter).unwrap(), expected.len() as u64, "the path was another");
        machine.assert_nothing_leaked();
    }
}

#[test]
fn h264_is_exact() {
    let clips = [
        ("base.mp4", "352x288", "-c:v libx264 -profile:v baseline -pix_fmt yuv420p"),
        ("main-cavlc.mp4", "352x288", "-c:v libx264 -profile:v main -x264-params cabac=0:bframes=2 -pix_fmt yuv420p"),
        ("high-b.mp4", "352x288", "-c:v libx264 -preset slow -bf 3 -refs 4 -pix_fmt yuv420p"),
        ("crop.mp4", "350x286", "-c:v libx264 -pix_fmt yuv420p"),
        ("slices.mp4", "352x288", "-c:v libx264 -x264-params slices=4:bframes=2 -pix_fmt yuv420p"),
        ("mbaff.mp4", "352x288", "-c:v libx264 -flags +ildct+ilme -x264-params tff=1:bframes=2 -pix_fmt yuv420p"),
        ("matrices.mp4", "352x288", "-c:v libx264 -x264-params cqm=jvt:bframes=2 -pix_fmt yuv420p"),
        (
            "open-gop.mp4",
            "352x288",
            "-c:v libx264 -x264-params open-gop=1:bframes=3:b-pyramid=2:keyint=10:weightp=2 -pix_fmt yuv420p",
        ),
        ("refresh.mp4", "352x288", "-c:v libx264 -x264-params intra-refresh=1:bframes=0:keyint=15 -pix_fmt yuv420p"),
    ];
    for (name, size, encoder) in clips {
        let path = clip(name, size, encoder);
        assert_exact(&["haswell", "alderlake"], &path, "nv12", "null", Counter::H264Decoded);
    }
}

#[test]
fn hevc_is_exact() {
    let clips = [
        ("hevc-b.mp4", "352x288", "bframes=3"),
        ("hevc-p.mp4", "352x288", "bframes=0"),
        ("hevc-slices.mp4", "352x288", "slices=3:wpp=1:weightb=1:open-gop=1:keyint=10"),
        ("hevc-crop.mp4", "350x286", "bframes=2"),
        ("hevc-matrices.mp4", "352x288", "scaling-list=default"),
    ];
    for (name, size, parameters) in clips {
        let encoder = format!("-c:v libx265 -preset fast -x265-params log-level=error:{parameters} -pix_fmt yuv420p");
        let path = clip(name, size, &encoder);
        assert_exact(&["skylake-free", "alderlake"], &path, "nv12", "null", Counter::HevcDecoded);
    }
}

#[test]
fn hevc_with_10_bits_is_exact() {
    let encoder = "-c:v libx265 -preset fast -x265-params log-level=error -pix_fmt yuv420p10le";
    assert_exact(&["alderlake"], &clip("hevc-10.mp4", "352x288", encoder), "p010le", "null", Counter::HevcDecoded);
}

#[test]
fn mpeg2_is_exact() {
    let clips = [
        ("mpeg2-b.mkv", "352x288", "-c:v mpeg2video -b:v 2M -bf 2 -pix_fmt yuv420p"),
        (
            "mpeg2-p.mkv",
            "350x286",
            "-c:v mpeg2video -b:v 2M -intra_vlc 1 -dc 10 -non_linear_quant 1 -qmax 28 -pix_fmt yuv420p",
        ),
        ("mpeg2-interlaced.mkv", "352x288", "-c:v mpeg2video -b:v 2M -flags +ildct+ilme -bf 2 -pix_fmt yuv420p"),
    ];
    for (name, size, encoder) in clips {
        let path = clip(name, size, encoder);
        assert_exact(&["haswell", "alderlake"], &path, "nv12", "null", Counter::Mpeg2Decoded);
    }
}

#[test]
fn jpeg_is_exact() {
    // Software would take the range of JPEG down on its way to these formats.
    let keep_range = "scale=in_range=full:out_range=full";
    let formats = [("420", "nv12"), ("422", "yuv422p"), ("444", "yuv444p")];
    for (chroma, format) in formats {
        let path = clip(&format!("jpeg-{chroma}.mkv"), "352x288", &format!("-c:v mjpeg -q:v 3 -pix_fmt yuvj{chroma}p"));
        assert_exact(&["skylake-free", "alderlake"], &path, format, keep_range, Counter::JpegDecoded);
    }
}

#[test]
fn haswell_decodes_jpeg_of_which_it_reads_only_4_2_0_back() {
    let path = clip("jpeg-420.mkv", "352x288", "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p");
    assert_exact(&["haswell"], &path, "yuv420p", "scale=in_range=full:out_range=full", Counter::JpegDecoded);

    let machine = Machine::new("haswell");
    let path = clip("jpeg-422.mkv", "352x288", "-c:v mjpeg -q:v 3 -pix_fmt yuvj422p");
    let input =
        ["-hwaccel", "vaapi", "-hwaccel_device", NODE, "-hwaccel_output_format", "vaapi", "-i", path.to_str().unwrap()];
    let read_back = ["-vf", "hwdownload,format=yuv422p", "-f", "null", "-"];
    assert!(!output(&mut machine.ffmpeg(&[&input[..], &read_back].concat())).status.success());
    let converted = ["-vf", "scale_vaapi=format=nv12,hwdownload,format=nv12", "-f", "null", "-"];
    run(&mut machine.ffmpeg(&[&input[..], &converted].concat()));
}

#[test]
fn what_a_generation_lacks_is_decoded_in_software() {
    let machine = Machine::new("haswell");
    let encoder = "-c:v libx265 -preset fast -x265-params log-level=error:bframes=3 -pix_fmt yuv420p";
    let path = clip("hevc-b.mp4", "352x288", encoder);
    let mut command =
        machine.ffmpeg(&["-v", "fatal", "-hwaccel", "vaapi", "-hwaccel_device", NODE, "-i", path.to_str().unwrap()]);
    let frames = digests(&output(command.args(["-pix_fmt", "nv12", "-f", "framemd5", "-"])).stdout);
    assert_eq!(frames, software_digests(&path, "null", "nv12"));
    assert_eq!(machine.control.calls(Call::EndDecode).unwrap(), 0);
}
