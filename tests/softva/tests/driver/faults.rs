//! Faults as a program meets them in mid-stream.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::control::{Action, Call, Counter, Object, Times};
use crate::machine::{Machine, NODE, output};
use crate::media::{clip, digests, sizes, software_digests};
use crate::process::Running;

const FRAMES: usize = 30;
const DECODING_ERROR: u32 = 0x17;
const HW_BUSY: u32 = 0x22;
const ALLOCATION_FAILED: u32 = 0x2;

fn video() -> PathBuf {
    clip("base.mp4", "352x288", "-c:v libx264 -profile:v baseline -pix_fmt yuv420p")
}

/// Decodes on the GPU and reads back, one line a frame.
fn decode(machine: &Machine) -> Output {
    let video = video();
    let mut command =
        machine.ffmpeg(&["-hwaccel", "vaapi", "-hwaccel_device", NODE, "-hwaccel_output_format", "vaapi"]);
    command.args(["-i", video.to_str().unwrap(), "-vf", "hwdownload,format=nv12", "-f", "framemd5", "-"]);
    output(&mut command)
}

/// Encodes on the GPU, one line a packet.
fn encode(machine: &Machine) -> Output {
    let source = clip("source-352x288.y4m", "352x288", "-pix_fmt yuv420p");
    let mut command = machine.ffmpeg(&["-vaapi_device", NODE, "-i", source.to_str().unwrap()]);
    command.args(["-vf", "format=nv12,hwupload", "-c:v", "h264_vaapi", "-bf", "0", "-qp", "28"]);
    output(command.args(["-flags:v", "+bitexact", "-f", "framemd5", "-"]))
}

fn expected() -> Vec<String> {
    software_digests(&video(), "null", "nv12")
}

#[test]
fn an_error_in_one_picture_loses_it() {
    let machine = Machine::new("haswell");
    let fault = machine.arm(Call::EndDecode, 10, Times::Count(1), Action::Status(DECODING_ERROR));
    let found = decode(&machine);
    assert!(String::from_utf8_lossy(&found.stderr).contains("decoding error"), "{found:?}");
    assert!(digests(&found.stdout).len() < FRAMES);
    assert_eq!(machine.control.hits(fault).unwrap(), 1);
    assert_eq!(machine.control.count(Counter::H264Decoded).unwrap(), FRAMES as u64 - 1);
}

#[test]
fn a_hang_shows_when_the_picture_is_wanted() {
    for personality in ["haswell", "alderlake"] {
        let machine = Machine::new(personality);
        let fault = machine.arm(Call::EndDecode, 10, Times::Sticky, Action::StatusAtSync(HW_BUSY));
        let found = decode(&machine);
        assert!(!found.status.success(), "{found:?}");
        assert!(machine.control.hits(fault).unwrap() >= 1);
        assert!(digests(&found.stdout).len() <= 10);
    }
}

#[test]
fn coded_buffers_are_empty_and_nobody_says_so() {
    let machine = Machine::new("haswell");
    let fault = machine.arm(Call::EndEncode, 5, Times::Count(3), Action::EmptyCoded);
    let found = encode(&machine);
    assert!(found.status.success(), "{found:?}");
    let empty: Vec<bool> = sizes(&found.stdout).iter().map(|size| size == "0").collect();
    let expected: Vec<bool> = (0..empty.len()).map(|number| (5..8).contains(&number)).collect();
    assert_eq!((empty.len(), empty), (FRAMES, expected));
    assert_eq!(machine.control.hits(fault).unwrap(), 3);
}

#[test]
fn coded_buffers_are_stale_and_nobody_says_so() {
    let machine = Machine::new("haswell");
    machine.arm(Call::EndEncode, 5, Times::Count(1), Action::StaleCoded);
    let found = encode(&machine);
    assert!(found.status.success(), "{found:?}");
    let packets = digests(&found.stdout);
    let repeated: Vec<usize> = (1..packets.len()).filter(|at| packets[*at] == packets[at - 1]).collect();
    assert_eq!(repeated, [5]);
}

#[test]
fn coded_buffers_are_wrong_and_nobody_says_so() {
    let right = digests(&encode(&Machine::new("haswell")).stdout);
    let machine = Machine::new("haswell");
    machine.arm(Call::EndEncode, 5, Times::Count(1), Action::CorruptCoded);
    let found = encode(&machine);
    assert!(found.status.success(), "{found:?}");
    let packets = digests(&found.stdout);
    let changed: Vec<usize> = (0..FRAMES).filter(|at| packets[*at] != right[*at]).collect();
    assert_eq!(changed, [5]);
}

#[test]
fn pictures_freeze_and_nobody_says_so() {
    let machine = Machine::new("alderlake");
    machine.arm(Call::EndDecode, 10, Times::Sticky, Action::FrozenPicture);
    let found = decode(&machine);
    assert!(found.status.success(), "{found:?}");
    let (frames, expected) = (digests(&found.stdout), expected());
    assert_eq!(frames.len(), FRAMES);
    assert_eq!(frames[..10], expected[..10]);
    assert!(frames[10..].iter().all(|frame| *frame == frames[9]), "{frames:?}");
}

#[test]
fn pictures_are_green_and_nobody_says_so() {
    let machine = Machine::new("haswell");
    machine.arm(Call::EndDecode, 3, Times::Count(2), Action::ZeroPicture);
    let found = decode(&machine);
    assert!(found.status.success(), "{found:?}");
    let (frames, expected) = (digests(&found.stdout), expected());
    assert_eq!(frames[3], frames[4]);
    let changed: Vec<usize> = (0..FRAMES).filter(|at| frames[*at] != expected[*at]).collect();
    assert_eq!(changed, [3, 4], "the decoder's references stay right");
}

#[test]
fn without_a_context_ffmpeg_decodes_in_software() {
    for (call, action) in [
        (Call::CreateContext, Action::Limit(0)),
        (Call::CreateContext, Action::Status(ALLOCATION_FAILED)),
        (Call::CreateConfig, Action::Status(0xc)),
    ] {
        let machine = Machine::new("haswell");
        let fault = machine.arm(call, 0, Times::Sticky, action);
        let video = video();
        let mut command =
            machine.ffmpeg(&["-hwaccel", "vaapi", "-hwaccel_device", NODE, "-i", video.to_str().unwrap()]);
        let found = output(command.args(["-pix_fmt", "nv12", "-f", "framemd5", "-"]));
        assert_eq!(digests(&found.stdout), expected(), "{call:?}");
        assert_eq!(machine.control.count(Counter::H264Decoded).unwrap(), 0);
        assert!(machine.control.hits(fault).unwrap() >= 1);
    }
}

#[test]
fn a_driver_that_does_not_open_opens_no_device() {
    let machine = Machine::new("haswell");
    machine.arm(Call::Initialize, 0, Times::Sticky, Action::Status(1));
    let found = output(machine.command("vainfo").args(["--display", "drm", "--device", NODE]));
    assert!(!found.status.success());
    assert!(String::from_utf8_lossy(&found.stderr).contains("va_openDriver() returns 1"), "{found:?}");
}

#[test]
fn a_driver_that_aborts_or_strays_takes_the_process_with_it() {
    const SIGABRT: i32 = 6;
    const SIGSEGV: i32 = 11;
    for (action, signal) in [(Action::Abort, SIGABRT), (Action::SegmentationFault, SIGSEGV)] {
        let machine = Machine::new("haswell");
        let fault = machine.arm(Call::EndDecode, 5, Times::Count(1), action);
        let found = decode(&machine);
        assert_eq!(found.status.signal(), Some(signal), "{found:?}");
        assert_eq!(machine.control.hits(fault).unwrap(), 1);
        assert_eq!(machine.control.live(Object::Surface).unwrap(), 0, "the process has ended");
    }
}

#[test]
fn a_call_that_blocks_for_ever_does_so() {
    let machine = Machine::new("haswell");
    let fault = machine.arm(Call::SyncSurface, 5, Times::Count(1), Action::BlockForEver);
    let video = video();
    let mut command =
        machine.ffmpeg(&["-hwaccel", "vaapi", "-hwaccel_device", NODE, "-hwaccel_output_format", "vaapi"]);
    command.args(["-i", video.to_str().unwrap(), "-vf", "hwdownload,format=nv12", "-f", "null", "-"]);
    let mut running = Running::start(&mut command);
    running.wait_until(|| machine.control.hits(fault).unwrap() == 1);
    assert!(running.is_running());
    assert!(machine.control.live(Object::Surface).unwrap() > 0);
    running.kill();
    assert_eq!(machine.control.live(Object::Surface).unwrap(), 0, "the process was killed");
}

#[test]
fn a_call_that_blocks_for_a_while_goes_on() {
    let wait = Duration::from_millis(400);
    let machine = Machine::new("haswell");
    let fault = machine.arm(Call::SyncSurface, 5, Times::Count(1), Action::Block(wait));
    let start = Instant::now();
    let found = decode(&machine);
    assert_eq!(digests(&found.stdout), expected());
    assert!(start.elapsed() >= wait);
    assert_eq!(machine.control.hits(fault).unwrap(), 1);
}
