//! What a worker gives up before it touches anything that came from outside, in layers that hold independently.
//!
//! ```text
//! limits    memory, descriptors, file size, no core files          setrlimit(2)
//! files     nothing can be opened, but for what a setting allows    Landlock, Linux 5.13
//! network   no TCP but to the camera's port, no abstract sockets,   Landlock, Linux 6.7 and 6.12
//!           no signals to others
//! calls     a list of system calls; the rest is refused or deadly   seccomp
//! ```
//!
//! [`confine`] is for good, and for all threads. Whoever calls it has opened before what it needs.

mod calls;
mod files;
mod reach;
mod system_call;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use serde::{Deserialize, Serialize};

pub use calls::{Answer, answer};
pub use files::is_landlock_there;
pub use reach::Reach;
pub use system_call::SystemCall;

/// One part of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Layer {
    /// Private writable memory is bounded (`RLIMIT_DATA`). A bound on address space would not do: encoders map far more
    /// than they touch.
    Memory,
    /// So is the number of descriptors (`RLIMIT_NOFILE`).
    Descriptors,
    /// And the size of files, memory files included (`RLIMIT_FSIZE`).
    FileSize,
    /// Landlock's rules for files.
    Files,
    /// Landlock's rules for TCP ports, and from Linux 6.12 on for abstract sockets and signals. Never required: kernels
    /// before 6.7 have none, and the system-call filter holds all but the ingest worker from the network anyway.
    Network,
    /// The system-call filter.
    SystemCalls,
}

impl Layer {
    /// All of them, in the order in which they are put on.
    pub const ALL: [Self; 6] =
        [Self::Memory, Self::Descriptors, Self::FileSize, Self::Files, Self::Network, Self::SystemCalls];

    /// The name used in status and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
            Self::FileSize => "file_size",
            Self::Files => "files",
            Self::Network => "network",
            Self::SystemCalls => "system_calls",
        }
    }

    /// Whether a worker without it counts as sandboxed.
    fn is_required(self) -> bool {
        self != Self::Network
    }
}

/// What happens where the kernel lacks a required layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// The worker does not work.
    #[default]
    Refused,
    /// It works without the layer, and says so.
    Accepted,
}

/// What becomes of refusals that leave the process alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusals {
    /// The caller gets its error.
    #[default]
    Silent,
    /// The engine names the call, and the path of an open, on standard error as well. Kills a thread that has SIGSYS
    /// blocked.
    Reported,
}

/// A worker's sandbox, as the supervisor wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Which layers are put on.
    pub layers: Vec<Layer>,
    /// What happens where the kernel lacks one.
    pub missing: Missing,
    /// Bytes of private memory.
    pub memory: u64,
    /// Open descriptors at once.
    pub descriptors: u64,
    /// Bytes of the largest file.
    pub file_size: u64,
    /// Files and directories that may be read, by absolute path.
    pub readable: Vec<String>,
    /// System calls that are allowed whatever their arguments.
    pub system_calls: Vec<SystemCall>,
    /// What becomes of refusals.
    pub refusals: Refusals,
}

impl Default for Confinement {
    /// Everything, with an engine's limits.
    fn default() -> Self {
        Self {
            layers: Layer::ALL.to_vec(),
            missing: Missing::default(),
            memory: 1 << 30,
            descriptors: 64,
            file_size: 0,
            readable: vec![],
            system_calls: vec![],
            refusals: Refusals::default(),
        }
    }
}

/// What confines the workers of either program.
#[derive(Clone, Debug, Default)]
pub struct Confinements {
    /// Of `camshaft worker ingest`.
    pub ingest: Confinement,
    /// Of `camshaft-engine`.
    pub engine: Confinement,
}

/// What a worker works with beside its link and what it has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Memory and threads.
    Nothing,
    /// The `ioctl`s of DRM.
    Device,
    /// A camera at this TCP port, and RTP over UDP.
    Camera {
        /// The port of its URL.
        port: u16,
    },
    /// A camera at this TCP port, and who comes to a socket that listens already.
    Tunnel {
        /// The port of its URL.
        port: u16,
    },
    /// The tunnel at this TCP port: nothing else, and no UDP.
    Tunnelled {
        /// The tunnel's port.
        port: u16,
    },
}

impl Needs {
    /// The one TCP port that is connected to.
    fn port(self) -> Option<u16> {
        match self {
            Self::Nothing | Self::Device => None,
            Self::Camera { port } | Self::Tunnel { port } | Self::Tunnelled { port } => Some(port),
        }
    }
}

/// How a process meets its end for a system call that no honest worker makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadly {
    /// The kernel kills it with SIGSYS.
    Kill,
    /// It is sent SIGSYS: it must have a handler that says which call it was, and ends it.
    Signal,
}

/// What a worker says that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confined {
    /// Layers that were asked for.
    pub asked: Vec<Layer>,
    /// Those of them that the kernel lacks, wholly or in part.
    pub missing: Vec<Layer>,
}

impl Confined {
    /// `enforced`, `degraded` where the kernel lacks a required layer, or `off` where a setting leaves one out.
    pub fn state(&self) -> &'static str {
        let required = || Layer::ALL.into_iter().filter(|layer| layer.is_required());
        if required().any(|layer| !self.asked.contains(&layer)) {
            return "off";
        }
        if required().any(|layer| self.missing.contains(&layer)) { "degraded" } else { "enforced" }
    }

    /// Whether every required layer holds.
    pub fn is_enforced(&self) -> bool {
        self.state() == "enforced"
    }
}

/// Why a worker could not be confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// A limit could not be set.
    #[error("cannot limit this process's {what}: {errno}")]
    Limit {
        /// Which.
        what: &'static str,
        /// What the kernel says.
        errno: rustix::io::Errno,
    },
    /// The kernel has no Landlock.
    #[error(
        "this kernel has no Landlock, which keeps a worker from the files: it needs Linux 5.13 and 'landlock' in \
         /sys/kernel/security/lsm. To do without, set workers.sandbox to degrade"
    )]
    NoLandlock,
    /// Landlock refused its rules.
    #[error("Landlock refused its rules: {0}")]
    Landlock(String),
    /// The kernel refused the system-call filter.
    #[error(
        "the kernel refused the system-call filter ({0}): it needs CONFIG_SECCOMP_FILTER. To do without, set \
         workers.sandbox to degrade"
    )]
    SystemCalls(String),
}

/// Confines this process for good.
///
/// # Errors
/// If a layer cannot be put on, unless the kernel lacks it and `confinement` accepts that.
pub fn confine(confinement: &Confinement, needs: Needs, deadly: Deadly) -> Result<Confined, ConfineError> {
    let asks = |layer| confinement.layers.contains(&layer);
    // Core files would hold pictures and passwords.
    limit("core files", Resource::Core, 0)?;
    let limits = [
        (Layer::Memory, "memory", Resource::Data, confinement.memory),
        (Layer::Descriptors, "descriptors", Resource::Nofile, confinement.descriptors),
        (Layer::FileSize, "file size", Resource::Fsize, confinement.file_size),
    ];
    for (_, what, resource, most) in limits.into_iter().filter(|(layer, ..)| asks(*layer)) {
        limit(what, resource, most)?;
    }
    let refused = |what| move |errno| ConfineError::Limit { what, errno };
    rustix::thread::set_no_new_privs(true).map_err(refused("privileges"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused("dumps"))?;
    let mut missing = files::restrict(confinement, needs)?;
    if asks(Layer::SystemCalls) {
        match calls::restrict(confinement, needs, deadly) {
            Ok(()) => {}
            Err(_) if confinement.missing == Missing::Accepted => missing.push(Layer::SystemCalls),
            Err(error) => return Err(ConfineError::SystemCalls(error)),
        }
    }
    missing.retain(|layer| asks(*layer));
    Ok(Confined { asked: confinement.layers.clone(), missing })
}

fn limit(what: &'static str, resource: Resource, most: u64) -> Result<(), ConfineError> {
    // What the service was started under may be less.
    let most = rustix::process::getrlimit(resource).maximum.map_or(most, |known| known.min(most));
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(resource, limit).map_err(|errno| ConfineError::Limit { what, errno })
}
