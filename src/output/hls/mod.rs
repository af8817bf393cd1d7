//! HTTP Live Streaming (RFC 8216bis): fragmented MP4 in segments, and in parts of half a second for low latency.
//!
//! [`Segmenter`] cuts and keeps a short window; [`playlist`] writes it down. Both are pure: whoever holds the segmenter
//! wakes those who wait for it.

mod playlist;
mod segmenter;
mod window;

pub use playlist::playlist;
pub use segmenter::Segmenter;
pub use window::{Resource, Window};
