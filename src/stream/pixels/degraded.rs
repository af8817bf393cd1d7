//! A stream that there is no room for: its copies go on, its pixels wait.

use std::time::{Duration, Instant};

use super::load::{self, Load};
use super::{Command, PixelsTask};
use crate::error::{Error, ErrorKind};
use crate::ring::Start;

/// How often the ways to work are looked at anew: devices come and go.
const LOOK: Duration = Duration::from_secs(5);

impl PixelsTask {
    /// Waits until there is room for the stream's pixels, or nobody wants them any more; false when the task is to end.
    /// Consumers are held for a while, as when the camera is away.
    pub(super) async fn wait_for_room(&mut self, reason: &str) -> bool {
        self.budget.release();
        self.view.made_by_nobody(Some(reason.to_owned()));
        load::show(&self.setup, &self.view, Load::Degraded, Some(reason));
        let goes_on = self.queue(reason).await;
        load::show(&self.setup, &self.view, Load::default(), None);
        self.start = Start::NewestKeyframe;
        goes_on
    }

    async fn queue(&mut self, reason: &str) -> bool {
        let mut until = Some(Instant::now() + self.setup.context.limits.hold);
        loop {
            let Some(config) = self.setup.ring.video_config().filter(|_| self.renditions.any()) else { return true };
            let ways = self.setup.plan(&self.renditions, &config).candidates;
            if ways.is_empty() {
                return true;
            }
            let mut turn = self.budget.queue(&self.renditions.keys(), &config, &ways);
            let held = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.setup.cancel.cancelled() => return false,
                admitted = turn.admitted() => {
                    self.budget.take(admitted, &ways);
                    return true;
                }
                command = self.inbox.recv() => match command {
                    None => return false,
                    // An asker that went away needs no answer.
                    Some(Command::Subscribe { reply, .. }) => drop(reply.send(Err(no_room(reason)))),
                    Some(Command::KeepWarm(keys)) => drop(self.renditions.keep_warm(keys)),
                    Some(Command::Release(id)) => self.renditions.release(id),
                    Some(Command::ForceKeyframe(_)) => {}
                    Some(Command::Still { reply, .. }) => drop(reply.send(None)),
                },
                () = held => {
                    until = None;
                    self.renditions.turn_away(|| no_room(reason));
                }
                () = self.renditions.next_expiry() => drop(self.renditions.expire()),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

fn no_room(reason: &str) -> Error {
    Error::new(ErrorKind::Overloaded, format!("the stream's pixels are not made just now: {reason}"))
}
