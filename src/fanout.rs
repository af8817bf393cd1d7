//! One sender, many receivers, a short shared queue: a slow receiver loses the oldest and is told exactly how many;
//! the sender never waits.

use tokio::sync::broadcast;

/// Pictures queued for a consumer. Raw pictures are large and only the newest matters, so the queue is as short as
/// jitter between two tasks allows.
const DEPTH: usize = 2;

/// The sending side. Dropping it ends every subscription.
#[derive(Debug)]
pub struct Fanout<T: Clone> {
    sender: broadcast::Sender<T>,
}

/// A receiving side.
#[derive(Debug)]
pub struct Subscription<T: Clone> {
    receiver: broadcast::Receiver<T>,
    /// Items lost since the last one that was yielded.
    dropped: u64,
}

/// What a subscription yields: an item, and how many were lost before it.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery<T> {
    /// The item.
    pub item: T,
    /// Items lost since the one before.
    pub dropped: u64,
}

impl<T: Clone> Default for Fanout<T> {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(DEPTH) }
    }
}

impl<T: Clone> Fanout<T> {
    /// Hands `item` to every subscription there is.
    pub fn send(&self, item: T) {
        // An error only says that nobody listens.
        let _ = self.sender.send(item);
    }

    /// A subscription to everything sent from now on.
    pub fn subscribe(&self) -> Subscription<T> {
        Subscription { receiver: self.sender.subscribe(), dropped: 0 }
    }
}

impl<T: Clone> Subscription<T> {
    /// The next item, or `None` when the sender is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Delivery<T>> {
        loop {
            match self.receiver.recv().await {
                Ok(item) => return Some(Delivery { item, dropped: std::mem::take(&mut self.dropped) }),
                Err(broadcast::error::RecvError::Lagged(count)) => self.dropped += count,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_receiver_sees_the_newest_and_the_exact_loss() {
        let fanout = Fanout::default();
        let mut slow = fanout.subscribe();
        for number in 0..10 {
            fanout.send(number);
        }
        assert_eq!(slow.next().await, Some(Delivery { item: 8, dropped: 8 }));
        assert_eq!(slow.next().await, Some(Delivery { item: 9, dropped: 0 }));
        drop(fanout);
        assert_eq!(slow.next().await, None);
    }
}
