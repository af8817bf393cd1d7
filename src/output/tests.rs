//! The writers against independent readers: ffprobe and ffmpeg read what they write, without a warning.

mod clip;
mod frames;
mod hostile;
mod packets;
