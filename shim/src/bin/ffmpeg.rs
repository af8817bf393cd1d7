//! The stand-in `ffmpeg`.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    camshaft_shim::ffmpeg()
}
