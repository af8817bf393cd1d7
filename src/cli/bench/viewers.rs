//! What many viewers of one copy cost.

use std::thread;
use std::time::{Duration, Instant};

use super::process::{cpu_time, proportional_set_size};
use super::report::{Promise, Row, Unit};
use super::server::{Consumer, Server};
use super::stage::Stage;
use crate::error::{Error, Result};

/// Viewers at once.
const VIEWERS: usize = 200;
/// From the last viewer's request to the first instant that counts.
const SETTLE: Duration = Duration::from_secs(3);
/// What the clip has on average, in bits a second; viewers that get much less have lost pictures.
const BITRATE: f64 = 4e6;

/// The CPU time of the server and its workers, the camera's ingest included, while everyone takes the whole stream; and
/// how much more memory they then have than before the first viewer came.
pub fn viewers(stage: &Stage) -> Result<Vec<Row>> {
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    for run in 1..=stage.pairs {
        eprintln!("viewers: run {run} of {}", stage.pairs);
        let camera = stage.camera()?;
        let mut server = Server::start(&stage.program, &stage.work)?;
        server.add_live_stream("cam", &camera.url)?;
        thread::sleep(SETTLE);
        let memory_before = proportional_set_size(&[server.pid()])?;
        let viewers = (0..VIEWERS).map(|_| server.consume("cam/live.ts")).collect::<Result<Vec<_>>>()?;
        thread::sleep(SETTLE);
        let (begun, cpu_before, bytes_before) = (Instant::now(), cpu_time(&[server.pid()])?, bytes_of(&viewers));
        thread::sleep(stage.steady);
        let seconds = begun.elapsed().as_secs_f64();
        let used = cpu_time(&[server.pid()])?.saturating_sub(cpu_before);
        cpu.push(used.as_secs_f64() * 1e3 / seconds);
        memory.push(proportional_set_size(&[server.pid()])?.saturating_sub(memory_before) as f64 / 1e6);
        viewers.iter().try_for_each(Consumer::check_alive)?;
        check_whole((bytes_of(&viewers) - bytes_before) as f64 / seconds)?;
    }
    let promise = |of, unit, reach| Promise { job: "viewers", of, reach, unit };
    Ok(vec![
        promise("200 copies in ts", Unit::CpuPerSecond, 500.0).row(&cpu),
        promise("what they add", Unit::Memory, 67.1).row(&memory),
    ])
}

fn bytes_of(viewers: &[Consumer]) -> u64 {
    viewers.iter().map(Consumer::bytes).sum()
}

/// An error if the viewers together lost media: work left undone costs nothing.
fn check_whole(bytes_per_second: f64) -> Result<()> {
    let each = bytes_per_second * 8.0 / VIEWERS as f64;
    if each >= BITRATE * 0.8 {
        return Ok(());
    }
    let message = format!("viewers got {:.1} Mbit/s each instead of 4: the machine is too busy to measure", each / 1e6);
    Err(Error::unavailable(message))
}
