//! The stand-in `ffmpeg` and `ffprobe`: what camshaft can do for a live camera goes to camshaft, everything else to the
//! real programs.
//!
//! ```text
//! arguments ─▶ command.rs ─▶ decision.rs ─▶ Serve ─▶ client.rs ─▶ pieces.rs ──▶ relay.rs ─▶ standard output
//!              as ffmpeg       pure, never          │             packets.rs ─▶ a real ffmpeg's standard input
//!              reads them      guesses    └▶ Delegate ─▶ real.rs: exec
//! ```

#![forbid(unsafe_code)]
// Nothing that comes from outside may end the process. Tests may.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

pub mod camera;
pub mod client;
pub mod command;
pub mod decision;
mod filters;
mod log;
pub mod outputs;
mod packets;
mod pieces;
pub mod raw;
mod real;
mod relay;
mod session;
mod shared;
mod source;

pub use session::{ffmpeg, ffprobe};
