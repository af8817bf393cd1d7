//! What the worker can be.

mod adts;
mod demux;
mod gpu;
mod gpu_time;
mod job;
mod link;
mod pattern;
mod pixels;
mod probe;
mod sound;
mod trial;

use camshaft::link::{DemuxInput, DemuxTask, FailureKind, FromWorker, Role, ToWorker};
use camshaft::sandbox::{Confinement, Needs};
use std::io;
use std::path::Path;

use crate::av::Silence;
use crate::{av, sandbox, va};
use gpu::Gpu;
pub use link::{End, Link};

/// Waits for the role, which takes a spare worker as long as it takes, and plays it.
///
/// # Errors
/// Why the worker ends other than by being told to.
pub fn run(link: &mut Link) -> Result<(), End> {
    sandbox::give_back_what_linking_read();
    let (confinement, role) = receive_role(link)?;
    // The driver opens files and maps memory as it likes; what comes from outside is read only behind the sandbox.
    let gpu = Gpu::open_for(&role)?;
    let asked = match &role {
        Role::Probe { device } => Some(va::Driver::open(Path::new(device))),
        _ => None,
    };
    let needs = match &role {
        Role::Demux(DemuxTask { input: DemuxInput::Rtsp(camera), .. }) => demux::needs(camera),
        _ if gpu.is_some() || asked.is_some() => Needs::Device,
        _ => Needs::Nothing,
    };
    let confined = sandbox::confine(&confinement, needs)
        .map_err(|error| End::failed(FailureKind::Unsupported, error.to_string()))?;
    link.send(&FromWorker::Confined(confined), &[])?;
    match role {
        Role::Pixels(task) => pixels::run(&task, gpu, link),
        Role::Trial { capabilities, .. } => match gpu {
            Some(gpu) => trial::run(&gpu, &capabilities, link),
            None => Err(protocol("a trial is of a device")),
        },
        Role::Job(task) => job::run(&task, gpu, link),
        Role::Pattern(source) => pattern::run(&source, link),
        Role::Sound(task) => sound::run(&task, link),
        Role::Probe { .. } => match asked {
            Some(driver) => probe::run(driver, link),
            None => Err(protocol("a probe is of a device")),
        },
        Role::Demux(task) => demux::run(&task, link),
        Role::Ingest(_) | Role::Fetch(_) => {
            let message = "ingest runs in 'camshaft worker ingest', not in camshaft-engine";
            Err(End::failed(FailureKind::Unsupported, message))
        }
    }
}

/// The role, and what is to confine the process before it plays it.
fn receive_role(link: &mut Link) -> Result<(Confinement, Role), End> {
    let mut confinement = Confinement::default();
    loop {
        match link.receive()? {
            (ToWorker::Confine(wanted), _) => confinement = wanted,
            (ToWorker::Begin(role), _) => return Ok((confinement, role)),
            _ => return Err(protocol("the first message is not a role")),
        }
    }
}

fn protocol(message: &str) -> End {
    End::LinkBroken(io::Error::new(io::ErrorKind::InvalidData, message))
}

impl From<av::Error> for End {
    fn from(error: av::Error) -> Self {
        let kind = match error {
            av::Error::Silent(Silence::Empty, _) => FailureKind::EmptyPackets,
            av::Error::Silent(Silence::Stale, _) => FailureKind::StalePackets,
            av::Error::Silent(Silence::Missing, _) => FailureKind::FramesMissing,
            av::Error::Silent(Silence::WrongSize, _) => FailureKind::WrongSize,
            _ if error.is_device() => FailureKind::Device,
            _ if error.is_out_of_memory() => FailureKind::Limit,
            _ => FailureKind::Codec,
        };
        Self::failed(kind, error.to_string())
    }
}
