//! camshaft

#![forbid(unsafe_code)]
// Nothing that comes from outside may end the process. Tests may.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

pub mod admission;
pub mod auth;
pub mod cli;
pub mod config;
pub mod error;
pub mod events;
pub mod fanout;
pub mod frigate;
pub mod http;
pub mod hw;
pub mod ingest;
pub mod job;
pub mod link;
pub mod media;
pub mod memory;
pub mod metrics;
pub mod output;
pub mod plan;
pub mod query;
pub mod ring;
pub mod rtsp;
pub mod sandbox;
pub mod shm;
pub mod stream;
pub mod tcp;
