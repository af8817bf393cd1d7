//! `camshaft bench machine`: what this machine can do. Every way to decode, scale and encode that its devices have proved,
//! and the CPUs', as fast as they go; then cameras on a real service, one more after another, until they are late.

mod budgets;
mod cameras;
mod clip;
mod compare;
mod ffmpeg;
mod files;
mod html;
mod progress;
mod rate;
mod report;
mod run;
mod svg;
pub mod table;
mod work;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::stage;
use crate::cli::{print_json, probe};
use crate::error::{Error, Result};
use crate::hw::Devices;
use crate::media::{Geometry, WallClock};
use crate::plan::{Codec, DeviceChoice};
use budgets::{Budgets, Fragment};
use clip::Kind;
use compare::Earlier;
use files::Pending;
pub use report::Report;
use report::{FORMAT, Machine, VERSION};
use run::Bench;

/// Find out what this machine can do: how fast it decodes, scales and encodes, and how many cameras fit
///
/// Nothing else should run meanwhile; the report says if something did. Needs no ffmpeg, but measures it too where there is
/// one. Ends with 0 if everything was measured, 1 if something could not be (the report says what), 2 if it was called wrongly.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  camshaft bench machine --quick
  camshaft bench machine --html machine.html --json >machine.json
  camshaft bench machine --sizes 1080p --compare machine.json
  camshaft bench machine --calibrate /etc/camshaft/conf.d/budgets.yaml")]
pub struct Args {
    /// One kind of camera, each figure once: rough figures in about a minute
    #[arg(long)]
    quick: bool,
    /// What cameras send: h264, hevc [default: both; with --quick h264]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CODEC,…")]
    codecs: Vec<CameraCodec>,
    /// How large their pictures are [default: 720p,1080p,2160p; with --quick 1080p]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SIZE,…")]
    sizes: Vec<Size>,
    /// How often each figure is taken, 1 to 20 [default: 3; with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20))]
    repeats: Option<u32>,
    /// Seconds of each, 1 to 60 [default: 2; with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: Option<u64>,
    /// The most cameras that are tried, 0 to 200; 0 leaves this part out
    #[arg(long, value_name = "MOST", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=200))]
    cameras: u32,
    /// Do not measure the ffmpeg program
    #[arg(long)]
    no_ffmpeg: bool,
    /// Print the report as JSON, with every sample
    #[arg(long)]
    json: bool,
    /// Write the report as one HTML page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Say what is better or worse than in a report that --json has printed
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Compare even if that report is of another machine
    #[arg(long, requires = "compare")]
    other_machine: bool,
    /// Write what admission should be given (limits.software_pixels, device_pixels) to a file for conf.d/
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// Where clips and logs go [default: camshaft-bench in the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

/// What cameras send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CameraCodec {
    /// H.264
    H264,
    /// H.265
    Hevc,
}

/// How large their pictures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Size {
    /// 640x360
    #[value(name = "360p")]
    P360,
    /// 1280x720
    #[value(name = "720p")]
    P720,
    /// 1920x1080
    #[value(name = "1080p")]
    P1080,
    /// 3840x2160
    #[value(name = "2160p")]
    P2160,
}

impl From<CameraCodec> for Codec {
    fn from(codec: CameraCodec) -> Self {
        match codec {
            CameraCodec::H264 => Self::H264,
            CameraCodec::Hevc => Self::Hevc,
        }
    }
}

impl From<Size> for Geometry {
    fn from(size: Size) -> Self {
        match size {
            Size::P360 => Self::new(640, 360),
            Size::P720 => Self::new(1280, 720),
            Size::P1080 => Self::new(1920, 1080),
            Size::P2160 => Self::new(3840, 2160),
        }
    }
}

/// Something could not be measured.
const INCOMPLETE: u8 = 1;

/// Measures, prints and writes. What is asked for is checked before anything is measured.
///
/// # Errors
/// If a file cannot be read or written, the engine is missing, or nothing can be measured.
pub fn run(args: &Args) -> Result<ExitCode> {
    if args.calibrate.is_some() && args.cameras == 0 {
        return Err(Error::invalid(
            "--calibrate takes what cameras come to: give --cameras more than 0, or leave it out",
        ));
    }
    let earlier = args.compare.as_deref().map(Earlier::read).transpose()?;
    let page = args.html.as_deref().map(|path| Pending::create("the page", path)).transpose()?;
    let fragment = args.calibrate.as_deref().map(Fragment::prepare).transpose()?;
    let devices = probe::look(DeviceChoice::Auto)?;
    let machine = Machine::here(&devices.report());
    if let Some(earlier) = earlier.as_ref().filter(|_| !args.other_machine) {
        earlier.check_machine(&machine)?;
    }
    let ffmpeg = if args.no_ffmpeg { None } else { ffmpeg::version()? };
    let work = stage::work(args.work.as_deref())?;
    let bench = Bench {
        kinds: args.kinds(),
        repeats: args.repeats.unwrap_or(if args.quick { 1 } else { 3 }),
        length: Duration::from_secs(args.seconds.unwrap_or(if args.quick { 1 } else { 2 })),
        most_cameras: args.cameras,
        has_ffmpeg: ffmpeg.is_some(),
        capabilities: devices.capabilities(),
        work: &work,
    };
    let report = measure(&bench, machine, ffmpeg, earlier.as_ref())?;
    if let Some(page) = page {
        let html = html::page(&report)?;
        written(&page.keep(|file| file.write_all(html.as_bytes()))?);
    }
    if let Some(fragment) = fragment {
        let about = format!("{}, {} CPUs, camshaft {}", report.machine.cpu, report.machine.cpus, report.camshaft);
        written(&fragment.write(report.budgets, &about)?);
    }
    if args.json {
        print_json(&report)?;
    } else {
        print!("{}", table::text(&report));
    }
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

fn measure(bench: &Bench, machine: Machine, ffmpeg: Option<String>, earlier: Option<&Earlier>) -> Result<Report> {
    let taken = WallClock::now().to_string();
    let gpus = machine.devices.len();
    let (rates, cameras) = bench.run()?;
    let mut report = Report {
        format: FORMAT.to_owned(),
        version: VERSION,
        camshaft: env!("CARGO_PKG_VERSION").to_owned(),
        taken,
        machine,
        ffmpeg,
        repeats: bench.repeats,
        seconds: bench.length.as_secs(),
        budgets: Budgets::of(&rates, &cameras, gpus),
        rates,
        cameras,
        noise: vec![],
        compared: None,
    };
    report.noise = report.doubts();
    report.compared = earlier.map(|earlier| earlier.compare(&report));
    Ok(report)
}

/// What an issue about a GPU is to hold: 1080p of both codecs, each figure once, and no cameras.
///
/// # Errors
/// As [`run`].
pub fn survey(devices: &Devices, work: &Path) -> Result<Report> {
    let ffmpeg = ffmpeg::version()?;
    let kind = |codec| Kind { codec, size: Size::P1080.into() };
    let bench = Bench {
        kinds: [Codec::H264, Codec::Hevc].map(kind).to_vec(),
        repeats: 1,
        length: Duration::from_secs(4),
        most_cameras: 0,
        has_ffmpeg: ffmpeg.is_some(),
        capabilities: devices.capabilities(),
        work,
    };
    measure(&bench, Machine::here(&devices.report()), ffmpeg, None)
}

fn written(path: &Path) {
    eprintln!("wrote {}", path.display());
}

impl Args {
    fn kinds(&self) -> Vec<Kind> {
        let codecs = match (self.codecs.is_empty(), self.quick) {
            (false, _) => self.codecs.clone(),
            (true, true) => vec![CameraCodec::H264],
            (true, false) => vec![CameraCodec::H264, CameraCodec::Hevc],
        };
        let sizes = match (self.sizes.is_empty(), self.quick) {
            (false, _) => self.sizes.clone(),
            (true, true) => vec![Size::P1080],
            (true, false) => vec![Size::P720, Size::P1080, Size::P2160],
        };
        let of = |codec: &CameraCodec| {
            sizes.iter().map(|size| Kind { codec: (*codec).into(), size: (*size).into() }).collect::<Vec<_>>()
        };
        codecs.iter().flat_map(of).collect()
    }
}
