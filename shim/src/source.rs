//! One camera as camshaft has it: opened, and opened again while that is worth it.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::camera::Camera;
use crate::client::{Client, Failure, SILENCE};
use crate::log::{Level, Log};

/// How long a reader is left without anything. Frigate kills what gives it no picture for 20 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the first connection may take: in a new pod, camshaft may come a moment later.
const GRACE: Duration = Duration::from_secs(3);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// How one direction of a command ended.
pub enum End {
    /// camshaft or the camera is gone for good.
    Lost,
    /// Whoever takes it takes no more.
    Reader(io::Error),
}

/// Media that camshaft is asked for.
pub trait Wanted {
    /// What it comes as.
    type Media;

    /// Asks for it; `stream` is the stream's path. It may take as long as `within` to begin.
    ///
    /// # Errors
    /// Why there is none.
    fn open(&self, client: &Client, stream: &str, within: Duration) -> Result<Self::Media, Failure>;
}

/// A camera at camshaft.
pub struct Source {
    client: Client,
    camera: Camera,
    log: Log,
}

impl Source {
    /// The `camera` that `client`'s camshaft is to serve.
    pub fn new(client: Client, camera: Camera, log: Log) -> Self {
        Self { client, camera, log }
    }

    /// Media of the camera.
    ///
    /// # Errors
    /// Why there is none.
    pub fn open<W: Wanted>(&self, wanted: &W) -> Result<W::Media, Failure> {
        let started = Instant::now();
        loop {
            match self.attempt(wanted, SILENCE) {
                Err(Failure::Away(_)) if started.elapsed() < GRACE => thread::sleep(PAUSE),
                end => return end,
            }
        }
    }

    /// The same after it broke off for the reason `broken`; `None` once nothing has come since `last` for too long.
    pub fn reopen<W: Wanted>(&self, wanted: &W, last: Instant, broken: &io::Error) -> Option<W::Media> {
        self.log.say(Level::Warning, &format!("camshaft broke off ({broken}), connecting again"));
        loop {
            match self.attempt(wanted, PATIENCE.saturating_sub(last.elapsed()).max(PAUSE)) {
                Ok(media) => return Some(media),
                Err(failure) if last.elapsed() + PAUSE >= PATIENCE || !may_heal(&failure) => {
                    self.log.say(Level::Error, &failure.to_string());
                    return None;
                }
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    fn attempt<W: Wanted>(&self, wanted: &W, within: Duration) -> Result<W::Media, Failure> {
        let stream = self.client.lease(&self.camera.lease(), within)?;
        wanted.open(&self.client, &stream, within)
    }
}

/// A client's mistake stays one; a lease that has just run out (404) does not.
fn may_heal(failure: &Failure) -> bool {
    match failure {
        Failure::Away(_) => true,
        Failure::Refused { status, .. } => *status == 404 || *status >= 500,
    }
}
