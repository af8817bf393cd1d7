//! The writers against independent readers: ffprobe and ffmpeg read what they write, without a warning.

mod clip;
mod frames;
mod hls;
mod hostile;
mod long;
mod packets;
