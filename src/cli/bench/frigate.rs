//! What is left on Frigate's side: the process that hands it pictures, and nothing of camshaft.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::cost::{Side, observe};
use super::process::OwnedChild;
use super::report::{Comparison, Row, Unit};
use super::server::{Consumer, RAW_FRAME_BYTES, Server, read_raw_frame};
use super::stage::{Camera, Stage};
use crate::error::{Error, Result};

/// Frigate's global arguments.
const GLOBAL: &str = "-hide_banner -loglevel warning -threads 2";
/// Frigate's arguments for an RTSP camera.
const GENERIC: &str = "-user_agent FFmpeg_Frigate/0.18.0 -avoid_negative_ts make_zero -fflags +genpts+discardcorrupt \
    -rtsp_transport tcp -timeout 10000000 -use_wallclock_as_timestamps 1";
/// Frigate's output for a detector, in software.
const OUTPUT: &str = "-r 5 -vf fps=5,scale=1280:720 -threads 2 -f rawvideo -pix_fmt yuv420p pipe:";
const QUERY: &str = "width=1280&height=720&fps=5";

/// Who hands Frigate its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The stand-in ffmpeg, through shared memory.
    StandIn,
    /// The stand-in ffmpeg with camshaft's memory kept to itself.
    StandInSocket,
    /// The reader in C that maps the memory.
    Memfd,
    Y4m,
    Raw,
    /// ffmpeg decodes the camera's stream itself.
    Decoding,
}

/// What one run took.
struct Figures {
    /// CPU milliseconds per second of the stream.
    cpu: f64,
    /// Milliseconds to the first picture.
    first: f64,
}

/// Each way against the ffmpeg that decodes.
pub fn frigate(stage: &Stage) -> Result<Vec<Row>> {
    let ways = [
        (Way::StandIn, "stand-in"),
        (Way::StandInSocket, "stand-in-socket"),
        (Way::Memfd, "memfd"),
        (Way::Y4m, "frigate-y4m"),
        (Way::Raw, "frigate-raw"),
    ];
    let mut ours = ways.map(|_| Vec::new());
    let mut theirs = Vec::new();
    for pair in 1..=stage.pairs {
        eprintln!("Frigate's side: round {pair} of {}", stage.pairs);
        for ((way, _), figures) in ways.iter().zip(&mut ours) {
            figures.push(run(stage, *way)?);
        }
        theirs.push(run(stage, Way::Decoding)?);
    }
    let cpu = |figures: &[Figures]| figures.iter().map(|figures| figures.cpu).collect::<Vec<_>>();
    let first = |figures: &[Figures]| figures.iter().map(|figures| figures.first).collect::<Vec<_>>();
    let baseline = "ffmpeg that decodes";
    let rows = ways.iter().zip(&ours).flat_map(|((_, job), ours)| {
        let compare = |unit| Comparison { job, unit, baseline, reach: 0.5 };
        [
            compare(Unit::CpuPerSecond).row(&cpu(ours), &cpu(&theirs)),
            compare(Unit::Wait).row(&first(ours), &first(&theirs)),
        ]
    });
    Ok(rows.collect())
}

/// Frigate's process, read as Frigate reads it.
struct Frigate {
    ffmpeg: OwnedChild,
    pictures: Consumer,
    _server: Option<Server>,
    _camera: Camera,
}

impl Side for Frigate {
    fn pids(&self) -> Vec<u32> {
        vec![self.ffmpeg.pid()]
    }

    fn raw_frames(&self) -> Result<f64> {
        Ok(self.pictures.bytes() as f64 / RAW_FRAME_BYTES as f64)
    }

    fn check_alive(&mut self) -> Result<()> {
        self.pictures.check_alive()?;
        self.ffmpeg.check_alive()
    }
}

fn run(stage: &Stage, way: Way) -> Result<Figures> {
    let camera = stage.camera()?;
    let server = match way {
        Way::Decoding => None,
        _ => {
            let section = if way == Way::StandInSocket { "limits: { shm_readers: 0 }" } else { "limits: {}" };
            let mut server = Server::start_with(&stage.program, &stage.work, section)?;
            server.add_live_stream("cam", &camera.url)?;
            Some(server)
        }
    };
    let command = match (way, &server) {
        (Way::Memfd, Some(server)) => reader(server, &stage.work)?,
        _ => command(way, &camera, server.as_ref())?,
    };
    let begun = Instant::now();
    let mut ffmpeg = OwnedChild::start(command, "frigate", &stage.work)?;
    let mut stdout = ffmpeg.take_stdout().ok_or_else(|| ffmpeg.complain("has no standard output"))?;
    read_raw_frame(&mut stdout)?;
    let first = begun.elapsed().as_secs_f64() * 1e3;
    let pictures = Consumer::start(stdout);
    let cpu = observe(Frigate { ffmpeg, pictures, _server: server, _camera: camera }, stage.steady)?.cpu;
    Ok(Figures { cpu, first })
}

fn command(way: Way, camera: &Camera, server: Option<&Server>) -> Result<Command> {
    let of_server = |path: &str| server.map(|server| server.url(path)).unwrap_or_default();
    let input = match way {
        Way::StandIn | Way::StandInSocket | Way::Memfd | Way::Decoding => format!("{GENERIC} -i {}", camera.url),
        Way::Y4m => format!("-rw_timeout 10000000 -i {}", of_server(&format!("cam/live.y4m?{QUERY}"))),
        Way::Raw => format!(
            "-f rawvideo -pix_fmt yuv420p -video_size 1280x720 -framerate 5 -rw_timeout 10000000 -i {}",
            of_server(&format!("cam/live.raw?{QUERY}"))
        ),
    };
    let mut command = match (way, server) {
        (Way::StandIn | Way::StandInSocket, Some(server)) => {
            let mut command = Command::new(stand_in()?);
            command.env("CAMSHAFT_URL", format!("unix://{}", server.socket().display()));
            command
        }
        _ => Command::new("ffmpeg"),
    };
    command.args(format!("{GLOBAL} {input} {OUTPUT}").split_whitespace()).stdout(Stdio::piped());
    Ok(command)
}

/// The reader in C, built for this machine.
fn reader(server: &Server, work: &Path) -> Result<Command> {
    let sources = [
        ("camshaft_shm.h", include_str!("../../../clients/c/camshaft_shm.h")),
        ("reader.c", include_str!("../../../clients/c/reader.c")),
    ];
    for (name, text) in sources {
        let path = work.join(name);
        fs::write(&path, text)
            .map_err(|error| Error::unavailable(format!("cannot write {}", path.display())).with_source(error))?;
    }
    let (source, program) = (work.join("reader.c"), work.join("reader"));
    let built = Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(&source).status();
    if !built.is_ok_and(|status| status.success()) {
        return Err(Error::unavailable(format!("cannot build {}: apt-get install gcc libc6-dev", source.display())));
    }
    let mut command = Command::new(program);
    command.arg(server.socket()).args(["cam", QUERY]).stdout(Stdio::piped());
    Ok(command)
}

/// The stand-in beside this program.
fn stand_in() -> Result<PathBuf> {
    let own = std::env::current_exe()
        .map_err(|error| Error::internal("cannot find this program's own file").with_source(error))?;
    let path = own.with_file_name("ffmpeg");
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::unavailable(format!("no stand-in at {}: cargo build --release --workspace", path.display())))
}
