//! The stand-in `ffprobe`: every probe is the real one's.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    camshaft_shim::ffprobe()
}
