//! Devices that fail, each in its way, under one stream; the others are decoded in software.

use std::io::Read;
use std::time::{Duration, Instant};

use super::bench::Bench;
use super::{DEATH, HANG, Hurt, Row};
use crate::support::{Action, ArmedFault, Call, Camera, Camshaft, Clip, Coding, Counter, Gpu, eventually, kill};

/// VA_STATUS_ERROR_DECODING_ERROR; FFmpeg makes EIO of it.
const DECODING_ERROR: u32 = 0x17;
/// VA_STATUS_ERROR_OPERATION_FAILED.
const OPERATION_FAILED: u32 = 0x01;
/// VA_CODED_BUF_STATUS_BAD_BITSTREAM.
const BAD_BITSTREAM: u32 = 0x8000;
/// Silent faults show in samples: pictures come all the time, and then those of the CPU.
const SILENT: Duration = Duration::from_secs(3);
const STREAM: &str = "gpu";

const ROWS: &[Row<Gpu>] = &[
    row("device node gone and back", Hurt::Nobody, DEATH, |_, bench| {
        Gpu::unplug(&bench.server);
        wait_accel(bench, "software");
        Gpu::plug(&bench.server);
        wait_accel(bench, "hardware");
        Instant::now()
    }),
    row("device: EIO once", Hurt::Nobody, DEATH, |gpu, bench| {
        costs_nothing(gpu, bench, Call::SyncSurface, Action::Status(OPERATION_FAILED));
        Instant::now()
    }),
    hurt("device: EIO for ever", DEATH, |gpu, bench| {
        fails(gpu, bench, Call::EndDecode, Action::Status(DECODING_ERROR), &["device"])
    }),
    hurt("device: EIO only when pictures are waited for", DEATH, |gpu, bench| {
        fails(gpu, bench, Call::EndDecode, Action::StatusAtSync(DECODING_ERROR), &["device"])
    }),
    hurt("device: hang", HANG, |gpu, bench| fails(gpu, bench, Call::EndDecode, Action::BlockForEver, &["hang"])),
    hurt("device: driver aborts", DEATH, |gpu, bench| fails(gpu, bench, Call::EndDecode, Action::Abort, &["signal"])),
    hurt("device: driver segfaults", DEATH, |gpu, bench| {
        fails(gpu, bench, Call::EndDecode, Action::SegmentationFault, &["signal"])
    }),
    hurt("device: frozen pictures", SILENT, |gpu, bench| {
        fails(gpu, bench, Call::EndDecode, Action::FrozenPicture, &["frozen", "mismatch"])
    }),
    hurt("device: empty pictures", SILENT, |gpu, bench| {
        fails(gpu, bench, Call::EndDecode, Action::ZeroPicture, &["flat", "mismatch", "frozen"])
    }),
    hurt("device: wrong pictures", SILENT, |gpu, bench| {
        fails(gpu, bench, Call::EndDecode, Action::WrongPicture, &["mismatch"])
    }),
    hurt("device: ten times as slow", DEATH, |gpu, bench| {
        let fault = gpu.break_for_good(Call::EndDecode, 0, Action::Slow(10));
        let start = Instant::now();
        struck(gpu, bench, fault, 50);
        gpu.mend(fault);
        wait_accel(bench, "hardware");
        start
    }),
    hurt("device: limit of contexts", DEATH, |gpu, bench| {
        fails_at_start(gpu, bench, Call::CreateContext, Action::Limit(0))
    }),
    hurt("device: failure only at init", DEATH, |gpu, bench| {
        fails_at_start(gpu, bench, Call::Initialize, Action::Status(OPERATION_FAILED))
    }),
    encoder("encoder: error", |gpu, bench| {
        fails_to_encode(gpu, bench, Action::Status(OPERATION_FAILED), &["device", "codec", "encoder"])
    }),
    encoder("encoder: empty packets", |gpu, bench| {
        fails_to_encode(gpu, bench, Action::EmptyCoded, &["empty_packets", "device"])
    }),
    encoder("encoder: the same packet again", |gpu, bench| {
        fails_to_encode(gpu, bench, Action::StaleCoded, &["stale_packets"])
    }),
    // Nobody but a decoder of the encode finds these.
    encoder("encoder: damaged packets", |gpu, bench| fails_to_encode(gpu, bench, Action::CorruptCoded, &["damaged"])),
    // The packets are whole.
    encoder("encoder: packets whose status says broken", |gpu, bench| {
        goes_unnoticed(gpu, bench, Action::CodedStatus(BAD_BITSTREAM))
    }),
];

const fn row(fault: &'static str, hurt: Hurt, bound: Duration, inject: fn(&Gpu, &Bench) -> Instant) -> Row<Gpu> {
    Row { fault, hurt, bound, inject }
}

const fn hurt(fault: &'static str, bound: Duration, inject: fn(&Gpu, &Bench) -> Instant) -> Row<Gpu> {
    row(fault, Hurt::Pictures(STREAM), bound, inject)
}

/// Raw pictures are no affair of an encoder.
const fn encoder(fault: &'static str, inject: fn(&Gpu, &Bench) -> Instant) -> Row<Gpu> {
    row(fault, Hurt::Nobody, DEATH, inject)
}

fn wait_accel(bench: &Bench, decode: &str) {
    bench.server.wait_status(STREAM, decode, |status| status["accel"]["decode"] == decode);
}

fn wait_encode(bench: &Bench, encode: &str) {
    bench.server.wait_status(STREAM, &format!("encoding in {encode}"), |status| {
        let renditions = status["renditions"].as_array();
        renditions.is_some_and(|all| all.iter().any(|rendition| rendition["encode"] == encode))
    });
}

fn fallbacks(bench: &Bench, reasons: &[&str]) -> f64 {
    let series = |reason: &&str| format!("camshaft_fallbacks_total{{reason=\"{reason}\",stream=\"{STREAM}\"}}");
    reasons.iter().map(|reason| bench.counted(&series(reason))).sum()
}

/// Waits until a fault has struck so often.
fn struck(gpu: &Gpu, bench: &Bench, fault: ArmedFault, times: u64) {
    let is_struck = || (gpu.hits(fault) >= times).then_some(());
    eventually(&format!("the fault strikes {times} times"), || bench.server.log().pause(), is_struck);
}

/// What strikes once moves nobody.
fn costs_nothing(gpu: &Gpu, bench: &Bench, call: Call, action: Action) {
    let moves = || bench.server.status(STREAM)["accel"]["since"].clone();
    let (since, decoded) = (moves(), gpu.count(Counter::H264Decoded));
    let fault = gpu.break_once(call, action);
    struck(gpu, bench, fault, 1);
    gpu.mend(fault);
    let goes_on = || (gpu.count(Counter::H264Decoded) > decoded + 50).then_some(());
    eventually("it still decodes", || bench.server.log().pause(), goes_on);
    assert_eq!(moves(), since, "{call:?} {action:?}: the stream left the device");
}

/// The stream leaves the device for one of `reasons`, and comes back when it works.
fn fails(gpu: &Gpu, bench: &Bench, call: Call, action: Action, reasons: &[&str]) -> Instant {
    let before = fallbacks(bench, reasons);
    let fault = gpu.break_for_good(call, 0, action);
    let start = Instant::now();
    let left = || (fallbacks(bench, reasons) > before).then_some(());
    eventually(&format!("the stream leaves the device: {reasons:?}"), || bench.server.log().pause(), left);
    gpu.mend(fault);
    wait_accel(bench, "hardware");
    start
}

/// A worker that is to replace a dead one cannot use the device.
fn fails_at_start(gpu: &Gpu, bench: &Bench, call: Call, action: Action) -> Instant {
    let fault = gpu.break_for_good(call, 0, action);
    let start = Instant::now();
    kill(bench.server.pixels_pid(STREAM));
    wait_accel(bench, "software");
    struck(gpu, bench, fault, 1);
    gpu.mend(fault);
    wait_accel(bench, "hardware");
    start
}

/// The encode goes on in software, and back.
fn fails_to_encode(gpu: &Gpu, bench: &Bench, action: Action, reasons: &[&str]) -> Instant {
    wait_encode(bench, "hardware");
    let before = fallbacks(bench, reasons);
    let fault = gpu.break_for_good(Call::EndEncode, 0, action);
    wait_encode(bench, "software");
    assert!(fallbacks(bench, reasons) > before, "{}", bench.server.admin("/metrics").text());
    gpu.mend(fault);
    wait_encode(bench, "hardware");
    Instant::now()
}

/// The encode goes on on the device with what it gives, and is whole again afterwards.
fn goes_unnoticed(gpu: &Gpu, bench: &Bench, action: Action) -> Instant {
    wait_encode(bench, "hardware");
    let since = bench.server.status(STREAM)["accel"]["since"].clone();
    let fault = gpu.break_for_good(Call::EndEncode, 0, action);
    struck(gpu, bench, fault, 25);
    let status = bench.server.status(STREAM);
    assert!(status["accel"]["since"] == since, "{action:?}: {status:#}");
    gpu.mend(fault);
    wait_encode(bench, "hardware");
    Instant::now()
}

#[test]
fn faults_of_devices() {
    let gpu = Gpu::haswell();
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &[]);
    let test = "source: \"test:?width=320&height=180&fps=25&gop=25\"";
    let server = Camshaft::start_on(
        &gpu,
        "hardware: { cool_down: 1s, failures: 1000, sample_every: 200ms, verify_every: 2s, canary_every: 1s }",
        &format!(
            "  {STREAM}: {{ {test} }}\n  one: {{ {test}, policy: software }}\n  two: {{ {test}, policy: software }}\n  \
             cam: {{ source: \"{}\", policy: software }}\n",
            camera.url()
        ),
    );
    server.wait_live(STREAM);
    let mut encoded = server.open(&format!("/v1/streams/{STREAM}/live.ts?codec=h264&width=160&height=90&bitrate=300k"));
    let encoded = std::thread::spawn(move || {
        let mut sink = std::io::sink();
        std::io::copy(&mut encoded.by_ref(), &mut sink)
    });
    let bench = Bench::watch(server, &[STREAM, "one", "two", "cam"]);
    wait_accel(&bench, "hardware");
    bench.run(&gpu, ROWS);
    assert!(!encoded.is_finished(), "the encode has gone on in one response");
}

/// The faults that the rows inject.
pub fn faults() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.fault).collect()
}
