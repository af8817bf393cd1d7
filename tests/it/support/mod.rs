//! What the tests share: the service, cameras, clips, and readers of what comes out.

mod browser;
mod camera;
mod camshaft;
mod clip;
mod curl;
mod frigate;
mod gpu;
mod log;
mod media;
mod netns;
mod parts;
mod process;
mod relay;
mod rtsp;
mod shm;
mod stand_in;
mod web;

pub use browser::Browser;
pub use camera::{Camera, hostile_camera};
pub use camshaft::Camshaft;
pub use clip::{Clip, Coding};
pub use curl::Curl;
pub use frigate::{FrigateCamera, FrigateReader};
pub use gpu::{Action, ArmedFault, Call, Counter, Escape, Gpu, Outcome};
pub use media::{Picture, Y4m, access_units, ffprobe_packets, numbers_in, psnr, whole_boxes};
pub use netns::Network;
pub use parts::Parts;
pub use process::{children, command_output, kill, signal};
pub use relay::{Relay, Tamper};
pub use rtsp::RtspClient;
pub use shm::{SharedFrame, SharedReader};
pub use stand_in::StandIn;
pub use web::{Apache, Certificate, FfmpegServer, Nginx, hostile_server};

use std::time::{Duration, Instant};

/// How long anything that must happen may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `check` gives something; the wait itself is `pause`, which returns early when there is news.
pub fn eventually<T>(what: &str, pause: impl FnMut(), check: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, pause, check)
}

/// The same for what takes longer by its nature.
pub fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut pause: impl FnMut(),
    mut check: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "within {patience:?} it did not happen that {what}");
        pause();
    }
}
