//! The link between the supervisor and its workers: message types and framing for both ends, and the supervisor's way
//! of starting, watching and ending a worker.
//!
//! A worker inherits one end of a Unix stream socket as its standard input and a pipe as its standard error, nothing
//! else. Every message is
//!
//! ```text
//! magic "CSL" | version u8 | descriptors u8 | 0 0 0 | meta length u32 LE | payload length u32 LE | meta | payload
//! ```
//!
//! where `meta` is a [`ToWorker`] or [`FromWorker`] in postcard's encoding and `payload` the media bytes that belong to
//! it. `descriptors` counts file descriptors sent with the message (`SCM_RIGHTS`); version 1 sends none.
//! Everything that arrives is hostile until checked: lengths are capped before anything is allocated.

mod effort;
mod message;
mod spawn;
mod stderr;
mod task;
mod usage;
pub mod wire;
mod worker;

pub use effort::Effort;
pub use message::*;
pub use spawn::{Program, Programs, Spawner};
pub use task::{DemuxInput, DemuxTask, InputAccess, JobTask, MAX_READ, SoundTask, TunnelledCamera};
pub use usage::{Usage, usage};
pub use worker::{Exit, Outgoing, Worker, WorkerEvent, WorkerGone};
