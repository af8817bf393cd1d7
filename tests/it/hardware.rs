//! The hardware path, on a GPU in software. The driver counts what it does, so that no test passes by falling back to
//! the CPU in silence.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::support::{
    Action, Call, Camera, Camshaft, Clip, Coding, Counter, Gpu, Picture, Y4m, command_output, eventually,
    ffprobe_packets, numbers_in, whole_boxes,
};

const CLOCK: &str = "  clock: { source: \"test:?width=320&height=180&fps=25&gop=25\" }\n";

/// The tests count what is read back.
const NO_SAMPLES: &str = "hardware: { sample_every: 1h }";

fn h264(extra: &'static [&'static str]) -> Coding {
    // A size that is no multiple of a macroblock's: the decoder must crop.
    Coding { size: (318, 178), gop: 25, frames: 500, extra, ..Coding::default() }
}

/// RTP carries JPEGs of whole blocks of 8 (RFC 2435 §3.1.5); their height is no multiple of 16, so the decoder must crop.
fn jpeg() -> Coding {
    Coding { encoder: "mjpeg", size: (320, 184), ..h264(&[]) }
}

fn hevc(extra: &'static [&'static str]) -> Coding {
    Coding { encoder: "libx265", ..h264(extra) }
}

/// The next `count` pictures by their number.
fn by_number(mut raw: Y4m<impl Read>, count: usize) -> BTreeMap<u32, Vec<u8>> {
    let number = |picture: Picture| (picture.number().expect("a number in the picture"), picture.data);
    (0..count).map(|_| number(raw.next().expect("a picture"))).collect()
}

/// Pictures of the same camera, decoded on the GPU and on the CPU, are the same to the bit.
fn compare_decoders(gpu: &Gpu, codings: &[Coding]) {
    const PICTURES: usize = 60;
    let cameras: Vec<Camera> = codings.iter().map(|coding| Camera::start(&Clip::make(*coding), &[])).collect();
    let stream = |(at, camera): (usize, &Camera)| {
        let url = camera.url();
        format!(
            "  hard{at}: {{ source: \"{url}\", on_demand: true }}\n  \
             soft{at}: {{ source: \"{url}\", on_demand: true, policy: software }}\n"
        )
    };
    let server = Camshaft::start_on(gpu, "", &cameras.iter().enumerate().map(stream).collect::<String>());
    for (at, coding) in codings.iter().enumerate() {
        let counter = match coding.encoder {
            "libx265" => Counter::HevcDecoded,
            "mjpeg" => Counter::JpegDecoded,
            _ => Counter::H264Decoded,
        };
        let before = gpu.count(counter);
        let raw = |kind: &str| Y4m::new(server.open(&format!("/v1/streams/{kind}{at}/live.y4m")));
        let (hard, soft) = (raw("hard"), raw("soft"));
        let soft = std::thread::spawn(move || by_number(soft, PICTURES));
        let hard = by_number(hard, PICTURES);
        let soft = soft.join().unwrap();
        assert!(gpu.count(counter) >= before + PICTURES as u64, "{coding:?} was not decoded on the GPU");
        let common: Vec<_> = hard.keys().filter(|number| soft.contains_key(number)).collect();
        assert!(common.len() >= PICTURES / 2, "{coding:?}: only {} pictures to compare", common.len());
        let differing: Vec<_> = common.iter().filter(|number| hard[number] != soft[number]).collect();
        assert!(differing.is_empty(), "{coding:?}: these pictures differ: {differing:?}");
    }
}

/// Whether the device has proved what it claims for this profile and entrypoint, and why not.
fn proof(server: &Camshaft, profile: &str, entrypoint: &str) -> (Option<bool>, String) {
    let report = server.get("/v1/devices").json();
    let claims = report["devices"][0]["profiles"].as_array().unwrap().clone();
    let is_it = |claim: &&Value| {
        claim["profile"].as_str().unwrap().ends_with(profile)
            && claim["entrypoint"].as_str().unwrap().ends_with(entrypoint)
    };
    let claim = claims.iter().find(is_it).unwrap_or_else(|| panic!("no {profile} {entrypoint} in {report:#}"));
    (claim["proved"].as_bool(), claim["reason"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_claim_counts_once_it_is_proved() {
    let proved = (Some(true), String::new());
    let gpu = Gpu::alderlake();
    let server = Camshaft::start_on(&gpu, "", "");
    for (profile, entrypoint) in [
        ("H264Main", "VLD"),
        ("HEVCMain", "VLD"),
        ("HEVCMain10", "VLD"),
        ("JPEGBaseline", "VLD"),
        ("MPEG2Main", "VLD"),
        ("None", "VideoProc"),
        ("H264High", "EncSliceLP"),
        ("JPEGBaseline", "EncPicture"),
    ] {
        assert_eq!(proof(&server, profile, entrypoint), proved, "{profile} {entrypoint}");
    }
    assert!(gpu.count(Counter::Mpeg2Decoded) > 0 && gpu.count(Counter::JpegDecoded) > 0);
    // Drivers that report success for what the GPU never did, and one that dies of it.
    for (call, after, action, profile, entrypoint, reason) in [
        (Call::EndDecode, 0, Action::FrozenPicture, "H264Main", "VLD", "is wrong"),
        (Call::EndProcess, 0, Action::ZeroPicture, "None", "VideoProc", "is wrong"),
        (Call::EndEncode, 0, Action::EmptyCoded, "H264High", "EncSlice", "0 bytes"),
        (Call::EndEncode, 1, Action::StaleCoded, "H264High", "EncSlice", "picture"),
        (Call::EndEncode, 0, Action::Abort, "H264High", "EncSlice", "signal 6"),
    ] {
        let gpu = Gpu::haswell();
        gpu.break_for_good(call, after, action);
        let server = Camshaft::start_on(&gpu, "", "");
        let (proved, why) = proof(&server, profile, entrypoint);
        assert!(proved == Some(false) && why.contains(reason), "{action:?}: {proved:?} {why}");
        let others = if call == Call::EndDecode { ("None", "VideoProc") } else { ("H264Main", "VLD") };
        assert_eq!(proof(&server, others.0, others.1).0, Some(true), "{action:?}: {others:?}");
    }
}

#[test]
fn h264_is_decoded_on_every_generation_as_on_the_cpu() {
    let codings = [
        h264(&["-profile:v", "baseline", "-slices", "4"]),
        // CABAC, unlike the next one.
        Coding { bframes: 2, ..h264(&["-preset", "medium", "-refs", "4"]) },
        Coding { bframes: 1, ..h264(&["-profile:v", "high", "-preset", "medium", "-coder", "vlc"]) },
        // What is cut off at the left and at the top is no multiple of anything either.
        h264(&["-bsf:v", "h264_metadata=crop_left=6:crop_top=4"]),
    ];
    compare_decoders(&Gpu::haswell(), &codings);
    compare_decoders(&Gpu::alderlake(), &codings[..3]);
}

#[test]
fn hevc_of_8_and_10_bits_is_decoded_on_the_gpu_as_on_the_cpu() {
    let slices = hevc(&["-x265-params", "keyint=25:slices=3:bframes=0:log-level=error"]);
    let codings = [Coding { bframes: 2, ..hevc(&[]) }, slices, hevc(&["-pix_fmt", "yuv420p10le"])];
    compare_decoders(&Gpu::alderlake(), &codings);
    // No 10 bits here, and no video processing.
    compare_decoders(&Gpu::skylake_free(), &codings[..2]);
}

#[test]
fn jpegs_of_a_camera_are_copied_as_they_are() {
    let camera = Camera::start(&Clip::make(jpeg()), &[]);
    let server = Camshaft::start(&format!("  cam: {{ source: \"{}\" }}\n", camera.url()));
    server.wait_live("cam");
    let mut bytes = vec![0; 100_000];
    server.open("/v1/streams/cam/live.mjpeg").read_exact(&mut bytes).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("live.mjpeg");
    std::fs::write(&file, &bytes).unwrap();
    let arguments =
        ["-v", "fatal", "-f", "mpjpeg", "-i", file.to_str().unwrap(), "-f", "rawvideo", "-pix_fmt", "gray", "-"];
    let luma = command_output("ffmpeg", &arguments);
    let size = camshaft::media::Geometry::new(320, 184);
    let number = |luma: &[u8]| camshaft::media::pattern::read_number(luma, size, size.width as usize);
    let mut numbers: Vec<_> = luma.chunks_exact(size.pixels() as usize).filter_map(number).collect();
    // The bytes end in the middle of a picture, for which ffmpeg shows the one before.
    numbers.pop();
    assert!(numbers.len() > 5 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    let status = server.status("cam");
    assert_eq!((&status["source"]["codec"], &status["workers"]["pixels"]), (&"mjpeg".into(), &Value::Null));
    for extension in ["mp4", "ts", "h264"] {
        let refused = server.get(&format!("/v1/streams/cam/live.{extension}"));
        assert!(refused.status == 422 && refused.text().contains("ask for live.mjpeg"), "{}", refused.text());
    }
    let encoded = server.get("/v1/streams/cam/frame.jpg?width=160").body;
    assert!(encoded.starts_with(&[0xff, 0xd8]));
}

#[test]
fn jpegs_are_decoded_on_every_generation_as_on_the_cpu() {
    for gpu in [Gpu::haswell(), Gpu::alderlake(), Gpu::skylake_free()] {
        compare_decoders(&gpu, &[jpeg()]);
    }
}

#[test]
fn scaled_pictures_are_read_back_and_no_others() {
    let gpu = Gpu::haswell();
    let server = Camshaft::start_on(&gpu, NO_SAMPLES, CLOCK);
    server.wait_live("clock");
    let read = || gpu.count(Counter::ImagesRead) + gpu.count(Counter::ImagesDerived);
    let (decoded, scaled, reads) = (gpu.count(Counter::H264Decoded), gpu.count(Counter::Scaled), read());
    let mapped = gpu.count(Counter::ImagesDerived);
    let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m?width=160&height=90&fps=5"));
    let mut cropped = Y4m::new(server.open("/v1/streams/clock/live.y4m?crop=160:90:20:40&fps=5"));
    // The first slot of the grid may have begun before the first picture.
    let numbers = raw.numbers(15).split_off(1);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 5), "{numbers:?}");
    assert_eq!(cropped.next().unwrap().size, raw.next().unwrap().size);
    let status = server.status("clock");
    assert_eq!(status["renditions"][0]["decode_scale"], "hardware");
    assert_eq!(status["workers"]["pixels"]["gpu_seconds"], Value::Null);
    let (decoded, scaled, reads) =
        (gpu.count(Counter::H264Decoded) - decoded, gpu.count(Counter::Scaled) - scaled, read() - reads);
    assert!(decoded >= 70, "{decoded} pictures were decoded on the GPU");
    // What is dropped is dropped before it is scaled.
    assert!((20..decoded / 2).contains(&scaled), "{scaled} of {decoded} pictures were scaled on the GPU");
    // FFmpeg tries each new pool once, and a way of reading is tried that may be dropped.
    assert!((20..=scaled + 6).contains(&reads), "{reads} pictures were read back of {scaled} that were scaled");
    // Both ways are measured before one is taken, and the log says which.
    assert!(gpu.count(Counter::ImagesDerived) >= mapped + 3);
    server.log().wait("the way of reading", |line| {
        line.contains("surfaces are read by va") && line.contains("a megapixel took")
    });
    server.wait_metric("camshaft_gpu_wait_seconds_total{stream=\"clock\"}", 1e-6);
}

/// The numbers of the first `count` pictures of 160x90 in `file`, which was cut off anywhere.
fn first_numbers(file: &Path, count: usize) -> Vec<u32> {
    let whole = file.with_extension("whole.ts");
    let (count, from, to) = (count.to_string(), file.to_str().unwrap(), whole.to_str().unwrap());
    command_output("ffmpeg", &["-v", "fatal", "-y", "-i", from, "-c", "copy", "-frames:v", &count, to]);
    numbers_in(to, (160, 90)).into_iter().map(|number| number.expect("a number in the picture")).collect()
}

#[test]
fn an_encode_never_leaves_the_gpu_and_decodes_cleanly() {
    for gpu in [Gpu::haswell(), Gpu::alderlake()] {
        let server = Camshaft::start_on(&gpu, NO_SAMPLES, CLOCK);
        server.wait_live("clock");
        let touched = || {
            let counters = [Counter::ImagesRead, Counter::ImagesDerived, Counter::ImagesWritten];
            counters.map(|counter| gpu.count(counter)).iter().sum::<u64>()
        };
        let (encoded, before) = (gpu.count(Counter::H264Encoded), touched());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("live.mp4");
        let mut live = server.open("/v1/streams/clock/live.mp4?codec=h264&width=160&height=90&bitrate=500k&gop=10");
        let mut bytes = vec![0; 150_000];
        live.read_exact(&mut bytes).unwrap();
        std::fs::write(&file, &bytes).unwrap();
        // FFmpeg tries each new pool once.
        assert!(touched() - before <= 3, "{} pictures went through memory", touched() - before);
        assert_eq!(server.status("clock")["renditions"][0]["encode"], "hardware");
        let packets = ffprobe_packets(file.to_str().unwrap(), "v:0");
        assert!(packets.len() > 30, "{} packets", packets.len());
        assert!(gpu.count(Counter::H264Encoded) >= encoded + packets.len() as u64);
        let keys: Vec<_> = packets.iter().enumerate().filter(|(_, packet)| packet.key).map(|(at, _)| at).collect();
        assert!(keys[0] == 0 && keys.windows(2).all(|pair| pair[1] - pair[0] <= 10), "{keys:?}");
        let numbers = first_numbers(&file, 30);
        assert!(numbers.len() == 30 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    }
}

#[test]
fn an_encoder_is_used_in_the_mode_that_it_proved() {
    for (gpu, entrypoint) in [
        (Gpu::haswell(), "VAEntrypointEncSlice"),
        (Gpu::alderlake(), "VAEntrypointEncSliceLP"),
        // It has no video processing: pictures are scaled in software and go up to the encoder.
        (Gpu::skylake_free(), "VAEntrypointEncSliceLP"),
    ] {
        let server = Camshaft::start_on(&gpu, "", CLOCK);
        server.wait_live("clock");
        let plan = server.get("/v1/plan?codec=h264&encode=h264").json();
        let best = &plan["candidates"][0];
        assert_eq!((&best["entrypoint"], &best["rate_control"]), (&entrypoint.into(), &"VA_RC_CBR".into()), "{plan:#}");
        for rate in ["bitrate=300k", "quality=60"] {
            let encoded = gpu.count(Counter::H264Encoded);
            let dir = tempfile::tempdir().unwrap();
            let (file, bare) = (dir.path().join("live.mp4"), dir.path().join("bare.mp4"));
            let url = format!("/v1/streams/clock/live.mp4?codec=h264&width=160&height=90&gop=10&{rate}");
            let mut bytes = vec![0; 60_000];
            server.open(&url).read_exact(&mut bytes).unwrap();
            std::fs::write(&file, whole_boxes(&bytes)).unwrap();
            // What stands in the header is enough to decode with.
            let (from, to) = (file.to_str().unwrap(), bare.to_str().unwrap());
            let without_sets = ["-c", "copy", "-bsf:v", "filter_units=remove_types=7-8", "-frames:v", "20", to];
            command_output("ffmpeg", &[&["-v", "fatal", "-y", "-i", from], &without_sets[..]].concat());
            let numbers: Vec<_> = numbers_in(to, (160, 90)).into_iter().flatten().collect();
            assert!(
                numbers.len() == 20 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
                "{rate}: {numbers:?}"
            );
            assert!(gpu.count(Counter::H264Encoded) >= encoded + 20, "{entrypoint} {rate}: not encoded on the GPU");
            if rate.starts_with("bitrate") {
                let times = ffprobe_packets(from, "v:0");
                let seconds = times.last().unwrap().pts - times[0].pts;
                let bits = bytes.len() as f64 * 8.0 / seconds;
                assert!(bits < 400_000.0, "{entrypoint}: {bits} bits a second");
            }
        }
    }
}

#[test]
fn each_stream_goes_to_the_least_loaded_of_two_gpus() {
    let gpu = Gpu::haswell().twice();
    let second = CLOCK.replace("clock:", "other:");
    let server = Camshaft::start_on(&gpu, "", &format!("{CLOCK}{second}"));
    let mut used: Vec<Value> = Vec::new();
    for id in ["clock", "other"] {
        server.wait_live(id);
        let mut raw = Y4m::new(server.open(&format!("/v1/streams/{id}/live.y4m?width=160&height=90")));
        raw.numbers(5);
        used.push(server.status(id)["accel"]["device"].clone());
    }
    used.sort_by_key(Value::to_string);
    assert_eq!(used, ["/dev/dri/renderD128", "/dev/dri/renderD129"]);
}

#[test]
fn jpegs_are_encoded_on_a_gpu_that_can() {
    for (gpu, on_gpu) in [(Gpu::haswell(), false), (Gpu::alderlake(), true)] {
        let server = Camshaft::start_on(&gpu, "", CLOCK);
        server.wait_live("clock");
        let before = gpu.count(Counter::JpegEncoded);
        let mut live = server.open("/v1/streams/clock/live.mjpeg?width=160&height=90&quality=80");
        let mut bytes = vec![0; 60_000];
        live.read_exact(&mut bytes).unwrap();
        assert_eq!(gpu.count(Counter::JpegEncoded) > before, on_gpu);
        assert!(gpu.count(Counter::Scaled) > 0);
        let still = server.get("/v1/streams/clock/frame.jpg?width=160").body;
        assert!(still.starts_with(&[0xff, 0xd8]) && still.ends_with(&[0xff, 0xd9]));
    }
}

#[test]
fn nothing_is_left_on_the_gpu_when_a_stream_ends() {
    let gpu = Gpu::haswell();
    let server = Camshaft::start_on(&gpu, "", CLOCK);
    server.wait_live("clock");
    let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m?width=160&height=90"));
    let mut encoded = server.open("/v1/streams/clock/live.ts?codec=h264&width=160&height=90");
    raw.numbers(10);
    encoded.read_exact(&mut [0; 10_000]).unwrap();
    assert!(gpu.objects() > 5, "{} objects while a stream is decoded", gpu.objects());
    assert_eq!(server.delete("clock").status, 204);
    eventually("the driver has all its objects back", || server.log().pause(), || (gpu.objects() == 0).then_some(()));
}

#[test]
fn a_codec_that_the_device_lacks_is_decoded_on_the_cpu_unless_hardware_is_required() {
    let gpu = Gpu::haswell();
    let camera = Camera::start(&Clip::make(hevc(&[])), &[]);
    let server = Camshaft::start_on(&gpu, "", &format!("  cam: {{ source: \"{}\" }}\n", camera.url()));
    server.wait_live("cam");
    let refused = server.get("/v1/streams/cam/live.y4m?policy=require-hardware");
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("has no HEVC profile"), "{}", refused.text());
    Y4m::new(server.open("/v1/streams/cam/live.y4m")).numbers(5);
    let accel = server.status("cam")["accel"].clone();
    assert_eq!(accel["decode"], "software");
    assert!(accel["reason"].as_str().unwrap().contains("has no HEVC profile"), "{accel}");
    assert_eq!(gpu.count(Counter::HevcDecoded), 0);
}

/// VA_STATUS_ERROR_DECODING_ERROR and its like; FFmpeg makes EIO of all of them.
const DECODING_ERROR: u32 = 0x17;
const ENCODING_ERROR: u32 = 0x18;

#[test]
fn a_device_that_fails_in_mid_stream_is_left_for_the_cpu_and_pictures_go_on() {
    for (call, action) in [
        (Call::EndDecode, Action::Status(DECODING_ERROR)),
        (Call::EndProcess, Action::StatusAtSync(DECODING_ERROR)),
        (Call::EndDecode, Action::Abort),
    ] {
        let gpu = Gpu::haswell();
        let server = Camshaft::start_on(&gpu, "", CLOCK);
        server.wait_live("clock");
        let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m?width=160&height=90"));
        let mut numbers = raw.numbers(20);
        assert_eq!(server.status("clock")["accel"]["decode"], "hardware");
        let fault = gpu.break_for_good(call, 0, action);
        numbers.extend(raw.numbers(60));
        assert!(gpu.hits(fault) > 0);
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{action:?}: numbers go back: {numbers:?}");
        let lost = numbers.last().unwrap() - numbers[0] + 1 - numbers.len() as u32;
        assert!(lost <= 4, "{action:?}: {lost} pictures were lost: {numbers:?}");
        server.wait_status("clock", "software", |status| status["accel"]["decode"] == "software");
        assert!(server.status("clock")["workers"]["pixels"]["restarts"] == 1, "{action:?}");
    }
}

#[test]
fn an_encoder_that_fails_is_replaced_alone() {
    for (action, reason) in [(Action::EmptyCoded, "empty_packets"), (Action::Status(ENCODING_ERROR), "device")] {
        let gpu = Gpu::haswell();
        let server = Camshaft::start_on(&gpu, "", CLOCK);
        server.wait_live("clock");
        let mut raw = Y4m::new(server.open("/v1/streams/clock/live.y4m?width=160&height=90"));
        raw.numbers(1);
        let numbers = std::thread::spawn(move || raw.numbers(80));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("live.ts");
        let mut live = server.open("/v1/streams/clock/live.ts?codec=h264&width=160&height=90&bitrate=500k");
        let mut bytes = vec![0; 180_000];
        live.read_exact(&mut bytes[..20_000]).unwrap();
        let pid = server.pixels_pid("clock");
        gpu.break_for_good(Call::EndEncode, 0, action);
        live.read_exact(&mut bytes[20_000..]).unwrap();
        std::fs::write(&file, &bytes).unwrap();
        let numbers = numbers.join().unwrap();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{action:?}: {numbers:?}");
        assert_eq!(server.pixels_pid("clock"), pid, "{action:?}: the decoder had to go as well");
        let renditions = server.status("clock")["renditions"].clone();
        let find = |encode: &str| renditions.as_array().unwrap().iter().any(|rendition| rendition["encode"] == encode);
        assert!(find("software") && !find("hardware"), "{renditions:#}");
        let encoded = first_numbers(&file, 60);
        assert!(encoded.len() == 60 && encoded.windows(2).all(|pair| pair[0] < pair[1]), "{encoded:?}");
        let fallbacks = format!("camshaft_fallbacks_total{{reason=\"{reason}\",stream=\"clock\"}}");
        assert_eq!(server.metric(&fallbacks), Some(1.0));
    }
}
