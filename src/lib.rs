#![forbid(unsafe_code)]
//! camshaft

pub mod error;
pub mod ingest;
pub mod link;
pub mod media;
pub mod plan;
