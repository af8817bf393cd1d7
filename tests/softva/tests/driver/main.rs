//! The driver under unmodified ffmpeg and vainfo, on a machine that `with-softva.sh` makes up.

#[path = "../../src/control.rs"]
mod control;
mod decode;
mod encode;
mod escape;
mod faults;
mod machine;
mod media;
mod process;
