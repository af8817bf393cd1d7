//! What has changed, told to whoever listens and to the log: states of streams, acceleration, breakers.

use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::broadcast;

use crate::media::WallClock;

/// Events that are kept for listeners who come back, and that a slow listener may fall behind.
const KEPT: usize = 256;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// A stream's state, as in its status.
    Stream,
    /// Where a stream's pixels are made: `hardware`, `software`, or `none` while nobody makes them.
    Acceleration,
    /// A device's breaker: `closed`, `open` or `held`.
    Breaker,
    /// What a stream gives up because the machine has no more to give: a step of the overload ladder, or all pixels.
    Load,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Event {
    /// Counts up from 1 in each life of the process.
    pub id: u64,
    /// When, in RFC 3339.
    pub at: String,
    /// What it is about.
    pub topic: Topic,
    /// The stream's id, or the device's path.
    pub subject: String,
    /// The state before.
    pub from: String,
    /// The state since.
    pub to: String,
    /// Why, for people.
    pub reason: Option<String>,
}

/// A change that is to be told.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What it is about.
    pub topic: Topic,
    /// The stream's id, or the device's path.
    pub subject: &'a str,
    /// The state before.
    pub from: &'a str,
    /// The state since.
    pub to: &'a str,
    /// Why, for people; no credentials.
    pub reason: Option<&'a str>,
}

/// The process's events.
#[derive(Debug)]
pub struct Events {
    kept: Mutex<VecDeque<Arc<Event>>>,
    listeners: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { kept: Mutex::default(), listeners: broadcast::Sender::new(KEPT) }
    }
}

impl Events {
    /// Tells listeners and the log.
    pub fn tell(&self, change: Change) {
        let Change { topic, subject, from, to, reason } = change;
        tracing::info!(?topic, subject, from, to, reason, "changed");
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Arc::new(Event {
            id: kept.back().map_or(1, |last| last.id + 1),
            at: WallClock::from(SystemTime::now()).to_string(),
            topic,
            subject: subject.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            reason: reason.map(str::to_owned),
        });
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        // Nobody has to listen. Sent under the lock, so that a new listener misses nothing and hears nothing twice.
        let _ = self.listeners.send(event);
    }

    /// The kept events after the one of number `after`, and all that are still to come.
    pub fn listen(&self, after: u64) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = kept.iter().filter(|event| event.id > after).cloned().collect();
        (missed, self.listeners.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(events: &Events, to: &str) {
        events.tell(Change { topic: Topic::Stream, subject: "door", from: "idle", to, reason: None });
    }

    #[tokio::test]
    async fn who_comes_back_hears_what_it_missed_and_what_comes_once_each() {
        let events = Events::default();
        (0..300).for_each(|n| tell(&events, &n.to_string()));
        let (missed, mut coming) = events.listen(298);
        assert_eq!(missed.iter().map(|event| event.to.as_str()).collect::<Vec<_>>(), ["298", "299"]);
        assert_eq!(events.listen(0).0.len(), KEPT);
        tell(&events, "new");
        assert_eq!((coming.recv().await.unwrap().id, coming.try_recv().is_err()), (301, true));
    }
}
