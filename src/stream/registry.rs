//! All streams by name: what the configuration says, what the API adds, and what came for a while.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::Stream;
use super::context::Context;
use crate::config::StreamSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::media::StreamId;

/// How often leases are looked at.
const LEASE_TICK: Duration = Duration::from_secs(1);

/// All streams.
#[derive(Debug)]
pub struct Streams {
    context: Arc<Context>,
    entries: Mutex<BTreeMap<StreamId, Entry>>,
    /// Held while streams are exchanged, so that two changes never meet.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Entry {
    stream: Arc<Stream>,
    origin: Origin,
}

/// Who made a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Origin {
    /// The configuration; a reload may take it away.
    Config,
    /// `PUT`; stays until it is deleted.
    Api,
    /// `POST` with a time to live, counted from the last use.
    Lease { ttl: Duration, last_used: Instant },
}

/// The same for the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Maker {
    /// The configuration: what a request changes holds until the next reload.
    Config,
    /// A request: gone after a restart.
    Api,
    /// A request, for as long as somebody uses it.
    Lease,
}

/// What [`Streams::put`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// There was none of that name.
    Created,
    /// The one of that name was replaced.
    Replaced,
    /// The one of that name was just so already, and was not touched.
    Unchanged,
}

impl Streams {
    /// No streams yet.
    pub fn new(context: Arc<Context>) -> Arc<Self> {
        Arc::new(Self { context, entries: Mutex::default(), changing: tokio::sync::Mutex::default() })
    }

    /// Every stream, by name.
    pub fn list(&self) -> Vec<Arc<Stream>> {
        self.entries().values().map(|entry| entry.stream.clone()).collect()
    }

    /// The stream of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub fn get(&self, id: &StreamId) -> Result<Arc<Stream>> {
        let mut entries = self.entries();
        let entry = entries.get_mut(id).ok_or_else(|| not_found(id))?;
        if let Origin::Lease { last_used, .. } = &mut entry.origin {
            *last_used = Instant::now();
        }
        Ok(entry.stream.clone())
    }

    /// Who made the stream of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub fn maker(&self, id: &StreamId) -> Result<Maker> {
        let entries = self.entries();
        let entry = entries.get(id).ok_or_else(|| not_found(id))?;
        Ok(match entry.origin {
            Origin::Config => Maker::Config,
            Origin::Api => Maker::Api,
            Origin::Lease { .. } => Maker::Lease,
        })
    }

    /// Creates or replaces a stream.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] at `limits.streams_max`, or where memory runs short.
    pub async fn put(self: &Arc<Self>, id: StreamId, settings: StreamSettings) -> Result<Put> {
        let streams = self.clone();
        to_the_end(async move {
            let _change = streams.changing.lock().await;
            streams.place(id, settings, Origin::Api).await
        })
        .await
    }

    /// Ends and forgets a stream.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn delete(self: &Arc<Self>, id: &StreamId) -> Result<()> {
        let (streams, id) = (self.clone(), id.clone());
        to_the_end(async move {
            let _change = streams.changing.lock().await;
            let entry = streams.entries().remove(&id).ok_or_else(|| not_found(&id))?;
            entry.stream.stop().await;
            streams.show_count();
            Ok(())
        })
        .await
    }

    /// The stream that has this source, made if need be; it goes `ttl` after its last consumer or call. True if it was
    /// made now.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] at `limits.streams_max`.
    pub async fn lease(self: &Arc<Self>, settings: StreamSettings, ttl: Duration) -> Result<(Arc<Stream>, bool)> {
        let streams = self.clone();
        to_the_end(async move { streams.find_or_lease(settings, ttl).await }).await
    }

    async fn find_or_lease(&self, settings: StreamSettings, ttl: Duration) -> Result<(Arc<Stream>, bool)> {
        let _change = self.changing.lock().await;
        let same = |entry: &Entry| {
            let own = entry.stream.settings();
            own.source == settings.source
                && own.detect == settings.detect
                && own.credentials == settings.credentials
                && own.transport == settings.transport
        };
        let found = self.entries().iter().find(|(_, entry)| same(entry)).map(|(id, _)| id.clone());
        if let Some(id) = found {
            return Ok((self.get(&id)?, false));
        }
        let id = self.free_name()?;
        let origin = Origin::Lease { ttl, last_used: Instant::now() };
        self.place(id.clone(), settings, origin).await?;
        Ok((self.get(&id)?, true))
    }

    /// Makes the streams of the configuration be what it says; streams that came through the API stay.
    pub async fn apply(&self, wanted: BTreeMap<StreamId, StreamSettings>) -> Result<()> {
        let _change = self.changing.lock().await;
        let gone: Vec<_> = self
            .entries()
            .iter()
            .filter(|(id, entry)| entry.origin == Origin::Config && !wanted.contains_key(id))
            .map(|(id, _)| id.clone())
            .collect();
        let ended: Vec<_> = gone.iter().filter_map(|id| self.entries().remove(id)).collect();
        stop_all(ended.into_iter().map(|entry| entry.stream)).await;
        for (id, settings) in wanted {
            self.place(id, settings, Origin::Config).await?;
        }
        self.show_count();
        Ok(())
    }

    /// Ends every stream.
    pub async fn stop(&self) {
        let _change = self.changing.lock().await;
        let entries = std::mem::take(&mut *self.entries());
        stop_all(entries.into_values().map(|entry| entry.stream)).await;
    }

    /// Ends leases that have run out, until `cancel`.
    pub async fn watch_leases(self: Arc<Self>, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(LEASE_TICK);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            for id in self.expired_leases() {
                tracing::info!(stream = id.as_str(), "its time to live is over");
                // Deleted by somebody else meanwhile is as good.
                let _ = self.delete(&id).await;
            }
        }
    }

    fn expired_leases(&self) -> Vec<StreamId> {
        let mut expired = Vec::new();
        for (id, entry) in self.entries().iter_mut() {
            let Origin::Lease { ttl, last_used } = &mut entry.origin else { continue };
            if entry.stream.consumer_count() > 0 {
                *last_used = Instant::now();
            } else if last_used.elapsed() >= *ttl {
                expired.push(id.clone());
            }
        }
        expired
    }

    async fn place(&self, id: StreamId, settings: StreamSettings, origin: Origin) -> Result<Put> {
        let before = self.entries().get(&id).cloned();
        let put = match before {
            Some(mut entry) if *entry.stream.settings() == settings => {
                entry.origin = origin;
                self.entries().insert(id, entry);
                return Ok(Put::Unchanged);
            }
            Some(entry) => {
                // The old one goes first: its series and the camera's connection are free for the new one.
                entry.stream.stop().await;
                self.entries().remove(&id);
                drop(entry);
                Put::Replaced
            }
            None => {
                // What the configuration says is to be there, now or later.
                if origin != Origin::Config {
                    self.context.memory.admit("stream")?;
                }
                let max = self.context.limits.streams_max as usize;
                if self.entries().len() >= max {
                    self.context.metrics.limits_reached.with_label_values(&["streams_max"]).inc();
                    let message = format!("there are {max} streams already (limits.streams_max): delete one first");
                    return Err(Error::new(ErrorKind::Overloaded, message));
                }
                Put::Created
            }
        };
        let stream = Stream::start(id.clone(), settings, self.context.clone());
        self.entries().insert(id, Entry { stream, origin });
        self.show_count();
        Ok(put)
    }

    fn free_name(&self) -> Result<StreamId> {
        let taken = self.entries();
        let names = (1..).map(|number| format!("lease-{number}"));
        let free = names.filter_map(|name| name.parse::<StreamId>().ok()).find(|id| !taken.contains_key(id));
        free.ok_or_else(|| Error::internal("no name is free"))
    }

    fn show_count(&self) {
        self.context.metrics.streams.set(self.entries().len() as f64);
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<StreamId, Entry>> {
        // Only whole entries are put in or taken out, so the map is sound even after a panic.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a change whole, even if the caller that asked for it goes away: half a replacement would be no stream at all.
async fn to_the_end<T: Send + 'static>(change: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let failed = |error| Error::internal("a change of the streams failed").with_source(error);
    tokio::spawn(change).await.map_err(failed)?
}

async fn stop_all(streams: impl Iterator<Item = Arc<Stream>>) {
    let mut tasks = tokio::task::JoinSet::new();
    for stream in streams {
        tasks.spawn(async move { stream.stop().await });
    }
    tasks.join_all().await;
}

fn not_found(id: &StreamId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no stream '{id}': GET /v1/streams lists those there are"))
}
