//! The jobs that are judged by how long somebody waits.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use super::baseline;
use super::report::{Comparison, Promise, Row, Unit};
use super::server::{Server, read_raw_frame, read_y4m_frame};
use super::stage::Stage;
use crate::error::{Error, Result};

const DETECT: &str = "live.y4m?width=1280&height=720&fps=5";
const STILL: &str = "frame.jpg?width=1280";
/// Between two measurements: no divisor or multiple of the frame, grid and GOP intervals, so that their phases vary.
const PAUSE: Duration = Duration::from_millis(137);
/// The same where a worker is used up and a spare one has to be made ready, as in the time between a user's clicks.
const LONG_PAUSE: Duration = Duration::from_millis(2370);

/// From adding a camera to a running server, and from starting Frigate's ffmpeg, to the first 1280x720 picture.
pub fn first_frame(stage: &Stage) -> Result<Vec<Row>> {
    let server = Server::start(&stage.program, &stage.work)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for pair in 1..=stage.pairs.max(5) {
        eprintln!("first frame: pair {pair} of {}", stage.pairs.max(5));
        let camera = stage.camera()?;
        thread::sleep(LONG_PAUSE);
        let begun = Instant::now();
        server.add_stream("new", &camera.url)?;
        read_y4m_frame(server.media(&format!("new/{DETECT}"))?)?;
        ours.push(milliseconds(begun));
        server.remove_stream("new")?;

        let camera = stage.camera()?;
        let begun = Instant::now();
        let mut ffmpeg = baseline::first_frame(&camera.url, &stage.work)?;
        let stdout = ffmpeg.take_stdout().ok_or_else(|| ffmpeg.complain("has no standard output"))?;
        read_raw_frame(stdout)?;
        theirs.push(milliseconds(begun));
    }
    let comparison =
        Comparison { job: "first-frame", unit: Unit::Wait, baseline: "Frigate's ffmpeg, RTSP", reach: 0.30 };
    Ok(vec![comparison.row(&ours, &theirs)])
}

/// A still of a stream that a detector watches, and one of a stream that nobody decodes.
pub fn snapshot(stage: &Stage) -> Result<Vec<Row>> {
    const WARM: usize = 50;
    const COLD: usize = 9;
    let camera = stage.camera()?;
    let mut server = Server::start(&stage.program, &stage.work)?;
    server.add_live_stream("cam", &camera.url)?;

    eprintln!("snapshot: {WARM} of a stream that is being decoded");
    let detector = server.consume(&format!("cam/{DETECT}"))?;
    time_still(&server)?; // the first one starts the rendition
    let mut warm = Vec::new();
    for _ in 0..WARM {
        thread::sleep(PAUSE);
        warm.push(time_still(&server)?);
    }
    drop(detector);

    eprintln!("snapshot: {COLD} of a stream that nobody decodes");
    let mut cold = Vec::new();
    for _ in 0..COLD {
        server.wait_until_nothing_decodes("cam")?;
        thread::sleep(LONG_PAUSE);
        cold.push(time_still(&server)?);
    }
    Ok(vec![
        Promise { job: "snapshot", of: "decoded stream", reach: 10.0, unit: Unit::Wait }.row(&warm),
        Promise { job: "snapshot", of: "stream nobody decodes", reach: 500.0, unit: Unit::Wait }.row(&cold),
    ])
}

fn time_still(server: &Server) -> Result<f64> {
    let begun = Instant::now();
    let mut picture = Vec::new();
    let read = server.media(&format!("cam/{STILL}"))?.read_to_end(&mut picture);
    let waited = milliseconds(begun);
    read.map_err(|error| Error::unavailable("a still was cut short").with_source(error))?;
    if picture.starts_with(&[0xff, 0xd8]) && picture.ends_with(&[0xff, 0xd9]) {
        return Ok(waited);
    }
    Err(Error::internal(format!("camshaft sent {} bytes that are no JPEG picture", picture.len())))
}

/// From the request of a new viewer of a copy to the first bytes of its media.
pub fn join(stage: &Stage) -> Result<Vec<Row>> {
    const VIEWERS: usize = 20;
    let camera = stage.camera()?;
    let mut server = Server::start(&stage.program, &stage.work)?;
    server.add_live_stream("cam", &camera.url)?;
    eprintln!("join: {VIEWERS} viewers");
    let mut waits = Vec::new();
    for _ in 0..VIEWERS {
        thread::sleep(PAUSE);
        let begun = Instant::now();
        let mut box_header = [0; 8];
        let read = server.media("cam/live.mp4")?.read_exact(&mut box_header);
        waits.push(milliseconds(begun));
        read.map_err(|error| Error::unavailable("a viewer got no media").with_source(error))?;
        if !box_header.ends_with(b"ftyp") {
            return Err(Error::internal("camshaft's mp4 does not start with an 'ftyp' box"));
        }
    }
    Ok(vec![Promise { job: "join", of: "live.mp4, first byte", reach: 50.0, unit: Unit::Wait }.row(&waits)])
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
