//! What the worker can be.

mod gpu;
mod gpu_time;
mod link;
mod pattern;
mod pixels;
mod probe;
mod trial;

use camshaft::link::{FailureKind, Role, ToWorker};
use std::io;

use crate::av::Silence;
use crate::{av, sandbox};
use gpu::Gpu;
pub use link::{End, Link};

/// Waits for the role, which takes a spare worker as long as it takes, and plays it.
///
/// # Errors
/// Why the worker ends other than by being told to.
pub fn run(link: &mut Link) -> Result<(), End> {
    let (ToWorker::Begin(role), _) = link.receive()? else {
        return Err(protocol("the first message is not a role"));
    };
    // The driver opens files and maps memory as it likes; what comes from outside is read only behind the limits.
    let gpu = Gpu::open_for(&role)?;
    sandbox::confine().map_err(|(what, error)| {
        End::failed(FailureKind::Codec, format!("cannot limit the worker's {what}: {error}"))
    })?;
    match role {
        Role::Pixels(task) => pixels::run(&task, gpu, link),
        Role::Trial { capabilities, .. } => match gpu {
            Some(gpu) => trial::run(&gpu, &capabilities, link),
            None => Err(protocol("a trial is of a device")),
        },
        Role::Pattern(source) => pattern::run(&source, link),
        Role::Probe { device } => probe::run(&device, link),
        Role::Ingest(_) => {
            let message = "ingest runs in 'camshaft worker ingest', not in camshaft-engine";
            Err(End::failed(FailureKind::Unsupported, message))
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
