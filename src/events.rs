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

impl Topic {
    /// Every topic with its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("stream", Self::Stream),
        ("acceleration", Self::Acceleration),
        ("breaker", Self::Breaker),
        ("load", Self::Load),
    ];

    /// The topic's name, as in JSON.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, topic)| *topic == self).map_or("", |(name, _)| name)
    }
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

/// What a listener gets.
#[derive(Debug)]
pub struct Listener {
    /// Events that it missed and that are not kept any more.
    pub lost: u64,
    /// Events that it missed.
    pub missed: Vec<Arc<Event>>,
    /// What comes from now on.
    pub coming: broadcast::Receiver<Arc<Event>>,
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

    /// All events that are still to come; with `after`, those after the one of that number first, as far as they are
    /// kept. A number that was never given is one of an earlier life of the process: everything since its end counts as
    /// missed.
    pub fn listen(&self, after: Option<u64>) -> Listener {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = kept.back().map_or(0, |event| event.id);
        let after = after.map_or(newest, |after| if after > newest { 0 } else { after });
        let missed: Vec<_> = kept.iter().filter(|event| event.id > after).cloned().collect();
        let lost = newest - after - missed.len() as u64;
        Listener { lost, missed, coming: self.listeners.subscribe() }
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
        let mut listener = events.listen(Some(298));
        assert_eq!(listener.missed.iter().map(|event| event.to.as_str()).collect::<Vec<_>>(), ["298", "299"]);
        assert_eq!(listener.lost, 0);
        let from_start = events.listen(Some(0));
        assert_eq!((from_start.missed.len(), from_start.lost), (KEPT, 300 - KEPT as u64));
        let of_another_life = events.listen(Some(5000));
        assert_eq!((of_another_life.missed.len(), of_another_life.lost), (KEPT, 300 - KEPT as u64));
        assert!(events.listen(None).missed.is_empty());
        tell(&events, "new");
        assert_eq!((listener.coming.recv().await.unwrap().id, listener.coming.try_recv().is_err()), (301, true));
    }
}
