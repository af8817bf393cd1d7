#![forbid(unsafe_code)]
//! camshaft

pub mod config;
pub mod error;
pub mod link;
pub mod media;
pub mod plan;
