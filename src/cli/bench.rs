//! `camshaft bench`: the same job through camshaft and through ffmpeg as it is used today. `camshaft bench machine` asks
//! instead what this machine can do.
//!
//! Runs alternate, so that the machine's load meets both sides alike. Ratios are medians over pairs of neighbouring
//! runs. Steady state only: CPU time is the difference between two instants, so start-up drops out.

mod baseline;
mod clip;
mod cost;
mod frigate;
mod instructions;
mod issue;
mod jobs;
mod latency;
mod machine;
mod process;
mod report;
mod server;
mod stage;
mod transcode;
mod viewers;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::Result;
use report::{Format, Report};
use stage::Stage;

/// Run the same job through camshaft and through ffmpeg as it is used today, and print the ratios
///
/// Ends with 0 if everything could be measured, however fast it was, 1 if not, 2 if it was called wrongly. Needs ffmpeg and
/// GStreamer's RTSP server: `make bench` installs them. `bench machine` needs neither.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  camshaft bench machine --quick
  camshaft bench detect four --pairs 3
  camshaft bench transcode --format json
  camshaft bench --report-for-issue"
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure [default: everything]
    #[arg(value_enum)]
    jobs: Vec<Job>,
    /// How often each side runs; ratios are medians over the pairs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// Seconds of steady state measured in each run; even numbers cover whole GOPs
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(4..=90))]
    seconds: u64,
    /// Where the clips, logs and recordings go [default: camshaft-bench in the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// The program that serves a clip over RTSP
    #[arg(long, value_name = "FILE", default_value = "tests/support/rtsp_camera.py")]
    camera: PathBuf,
    /// Print what to paste into an issue about your GPU: what it is, what it proved and how fast it is
    #[arg(long, conflicts_with_all = ["jobs", "pairs", "seconds", "camera", "format"])]
    report_for_issue: bool,
    /// How the results are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Machine(machine::Args),
}

/// A job that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Job {
    /// 1280x720 raw frames at 5 a second, as a detector takes them
    Detect,
    /// Detector, live view, a JPEG a second and a recorder on one camera: CPU and memory
    Four,
    /// The same jobs in instructions, of the engine and of ffmpeg, by valgrind: minutes, on every machine the same
    Instructions,
    /// What is left on Frigate's side: CPU of the process that hands it 1280x720 pictures, 5 a second
    Frigate,
    /// From adding a camera to its first raw frame
    FirstFrame,
    /// A still, of a stream that is being decoded and of one that is not
    Snapshot,
    /// From a viewer's request to its first byte
    Join,
    /// 200 viewers of one copy: CPU and memory
    Viewers,
    /// A file into another, by `POST /v1/transcode`: pictures a second, peak memory, first byte
    Transcode,
}

impl Job {
    const ALL: [Self; 9] = [
        Self::Detect,
        Self::Four,
        Self::Instructions,
        Self::Frigate,
        Self::FirstFrame,
        Self::Snapshot,
        Self::Join,
        Self::Viewers,
        Self::Transcode,
    ];

    fn measure(self, stage: &Stage, report: &mut Report) -> Result<()> {
        match self {
            Self::Detect => report.rows.extend(jobs::detect(stage)?),
            Self::Four => report.rows.extend(jobs::four(stage)?),
            Self::Instructions => report.rows.extend(instructions::instructions(stage)?),
            Self::Frigate => report.rows.extend(frigate::frigate(stage)?),
            Self::FirstFrame => report.rows.extend(latency::first_frame(stage)?),
            Self::Snapshot => report.rows.extend(latency::snapshot(stage)?),
            Self::Join => report.rows.extend(latency::join(stage)?),
            Self::Viewers => report.rows.extend(viewers::viewers(stage)?),
            Self::Transcode => report.rows.extend(transcode::transcode(stage)?),
        }
        Ok(())
    }
}

/// Measures and prints. The exit code says whether everything could be measured, not whether it was fast.
pub fn run(args: Args) -> Result<ExitCode> {
    if let Some(Command::Machine(args)) = args.command {
        return machine::run(&args);
    }
    if args.report_for_issue {
        issue::run(&args)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::of_this_machine(&args)?; // its load, too, before the clip is made
    let stage = Stage::prepare(&args)?;
    let format = if args.json { Format::Json } else { args.format };
    let jobs = if args.jobs.is_empty() { Job::ALL.to_vec() } else { args.jobs };
    for job in jobs {
        job.measure(&stage, &mut report)?;
    }
    print!("{}", report.render(format)?);
    Ok(ExitCode::SUCCESS)
}
