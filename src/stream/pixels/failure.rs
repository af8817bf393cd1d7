//! Why a pixels worker was given up.

use crate::link::{Exit, FailureKind};

/// The reasons, as metrics name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No process could be started.
    Start,
    /// A signal killed it: drivers abort and segfault.
    Signal,
    /// It ended by itself, unasked.
    Exit,
    /// No progress while input was due.
    Hang,
    /// More memory than it may have.
    Memory,
    /// It broke the link's protocol.
    Protocol,
    /// It gave up, as it said itself.
    Said(FailureKind),
    /// The device gives the same picture again and again.
    Frozen,
    /// The device gives pictures without content.
    Flat,
    /// The device gives other pictures than the CPU.
    Mismatch,
    /// What the device encodes cannot be read.
    Damaged,
    /// No failure of the worker: its device is not to be used any more.
    Withdrawn,
}

impl Reason {
    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Signal => "signal",
            Self::Exit => "exit",
            Self::Hang => "hang",
            Self::Memory => "memory",
            Self::Protocol => "protocol",
            Self::Said(kind) => kind.name(),
            Self::Frozen => "frozen",
            Self::Flat => "flat",
            Self::Mismatch => "mismatch",
            Self::Damaged => "damaged",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether a comparison with the CPU has shown it already.
    pub fn is_proved(self) -> bool {
        matches!(self, Self::Frozen | Self::Flat | Self::Mismatch | Self::Damaged)
    }
}

/// A reason in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For machines.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// What a worker that sent `what` has done.
    pub fn breach(what: &str) -> Self {
        Self::new(Reason::Protocol, format!("broke the link's protocol: sent {what}"))
    }
}

impl From<Exit> for Failure {
    fn from(exit: Exit) -> Self {
        let reason = if exit.signal.is_some() { Reason::Signal } else { Reason::Exit };
        Self::new(reason, exit.description)
    }
}
