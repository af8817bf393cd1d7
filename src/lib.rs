#![forbid(unsafe_code)]
//! camshaft

pub mod error;
pub mod fanout;
pub mod link;
pub mod media;
pub mod output;
pub mod plan;
pub mod ring;
