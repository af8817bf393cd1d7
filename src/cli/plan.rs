//! `camshaft plan`: what would run where on this machine, and why not elsewhere.

use std::process::ExitCode;

use super::{logs, print_json, probe};
use crate::error::Result;
use crate::media::Geometry;
use crate::plan::{
    CandidateReport, Codec, DeviceChoice, Input, Job, PlanReport, Policy, Rate, Scale, StageReport, parse_bit_depth,
    parse_encode, plan,
};

/// Show what would run where, and why not elsewhere.
///
/// Ends with 0 if there is a way, 1 if there is none or it could not be found out, 2 if it was called wrongly.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  camshaft plan --codec h264 --profile high --width 1920 --height 1080
  camshaft plan --codec hevc --bit-depth 10 --encode h264 --policy require-hardware --json")]
pub struct Args {
    /// What comes in: h264, hevc, mjpeg, mpeg2, vp8, vp9 or av1
    #[arg(long)]
    codec: Codec,
    /// Its profile: baseline, main, high, main10, … [default: any]
    #[arg(long)]
    profile: Option<String>,
    /// Its bits a sample: 8 or 10
    #[arg(long, default_value = "8", value_parser = parse_bit_depth)]
    bit_depth: u8,
    /// Its width in pixels
    #[arg(long, requires = "height")]
    width: Option<u32>,
    /// Its height in pixels
    #[arg(long, requires = "width")]
    height: Option<u32>,
    /// What goes out, if it is encoded: h264, hevc or mjpeg
    #[arg(long, value_parser = parse_encode)]
    encode: Option<Codec>,
    /// How much the hardware is wanted
    #[arg(long, default_value = "prefer-hardware")]
    policy: Policy,
    /// Which device may be used: auto, the path of a render node, or pci:0000:00:02.0
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Print what GET /v1/plan answers
    #[arg(long)]
    json: bool,
}

/// Prints the plan.
///
/// # Errors
/// If the devices could not be looked at.
pub fn run(args: Args) -> Result<ExitCode> {
    logs::start(logs::Format::Text, logs::COMMAND);
    let devices = probe::look(args.device)?;
    let size = args.width.zip(args.height).map(|(width, height)| Geometry::new(width, height));
    let input = Input { codec: args.codec, profile: args.profile, bit_depth: args.bit_depth, size };
    let job = Job { input, scale: Scale::Needed, encode: args.encode, rate: Rate::Bitrate };
    let report = PlanReport::new(plan(&job, &devices.capabilities(), args.policy), args.policy);
    if args.json {
        print_json(&report)?;
    } else {
        print!("{}", text(&report));
    }
    Ok(if report.candidates.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text(report: &PlanReport) -> String {
    let mut text = String::new();
    for (number, candidate) in report.candidates.iter().enumerate() {
        let CandidateReport { decode, scale, encode, entrypoint, rate_control } = candidate;
        let encode = encode.as_ref().map(|stage| format!(", encode {}", place(stage))).unwrap_or_default();
        let mode = entrypoint.zip(*rate_control);
        let encode = encode + &mode.map(|(entrypoint, rate)| format!(" ({entrypoint}, {rate})")).unwrap_or_default();
        text += &format!("{}. decode {}, scale {}{encode}\n", number + 1, place(decode), place(scale));
    }
    for reason in &report.rejected {
        text += &format!("not: {reason}\n");
    }
    text
}

fn place(stage: &StageReport) -> String {
    stage.device.as_ref().map_or_else(|| stage.accel.to_owned(), |device| format!("on {device}"))
}
