//! One reader: pictures in, slots lent and taken back.

use std::convert::Infallible;
use std::future;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::memory::Memory;
use super::slots::Slots;
use super::wire::{Ending, Layout, Message, Request};
use super::{Pool, Share, slot_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::fanout::Delivery;
use crate::media::{Frame, Geometry, PixelFormat};
use crate::stream::PictureStream;

/// What bounds a reader.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// A reader that leaves a picture waiting for this long is given up.
    pub stalled_consumer: Duration,
    /// Ends every reader when cancelled.
    pub shutdown: CancellationToken,
}

/// A memory with its slots.
#[derive(Debug)]
struct Area {
    layout: Layout,
    memory: Arc<Memory>,
    slots: Slots,
    announced: bool,
}

impl Area {
    fn bytes(&self) -> u64 {
        u64::from(self.layout.slots) * self.layout.slot_bytes
    }
}

/// A reader's pictures and memory.
#[derive(Debug)]
pub struct Session {
    pictures: PictureStream,
    format: PixelFormat,
    slots: u32,
    share: Share,
    /// The newest last; older ones stay while the reader has slots of them.
    areas: Vec<Area>,
    generation: u32,
    /// Pictures that the reader asked for and did not get yet.
    asked: u32,
    /// The newest picture, if the reader did not get it yet, and since when one waits.
    waiting: Option<(Frame, Instant)>,
    sequence: u64,
    dropped: u64,
}

impl Session {
    /// A reader of `pictures`, which are raw ones in `format`, with `slots` slots. Waits for the first picture.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the stream ends before it; [`ErrorKind::Overloaded`] if `pool` has no room.
    pub async fn open(pool: &Arc<Pool>, mut pictures: PictureStream, format: PixelFormat, slots: u32) -> Result<Self> {
        let share = pool.join(pictures.metrics())?;
        let first = pictures.next().await;
        let first = first.ok_or_else(|| Error::unavailable("the stream ended before its first picture"))?;
        let mut session = Self {
            pictures,
            format,
            slots,
            share,
            areas: Vec::new(),
            generation: 0,
            asked: 0,
            waiting: None,
            sequence: 0,
            dropped: 0,
        };
        session.add_area(first.item.header.size)?;
        session.keep(first);
        Ok(session)
    }

    /// Serves the reader at the other end of `connection` until one of the two has enough.
    pub async fn run(mut self, mut connection: Connection, options: SessionOptions) {
        let ending = tokio::select! {
            Err(ending) = self.serve(&mut connection, options.stalled_consumer) => ending,
            () = options.shutdown.cancelled() => Ending::Shutdown,
        };
        let Self { pictures, areas, share, .. } = self;
        share.metrics().count_by(&share.metrics().all.shm_closed, ending.name(), 1);
        tracing::debug!(stream = share.metrics().id(), reason = ending.name(), "a reader of shared memory ended");
        if ending == Ending::Stalled {
            pictures.note_stalled();
        }
        drop(pictures);
        // Its last pictures are the reader's until it hangs up; whoever is gone, or broke the rules, has none any more.
        let goodbye = async {
            if let Some(message) = ending.message() {
                connection.send(&message, None).await.ok()?;
            }
            if !matches!(ending, Ending::Left | Ending::Violation) {
                connection.hung_up().await;
            }
            Some(())
        };
        let _ = tokio::select! {
            said = timeout(options.stalled_consumer, goodbye) => said.ok().flatten(),
            // It takes its memory along when it ends, and takes nothing from the readers.
            () = options.shutdown.cancelled(), if ending != Ending::Shutdown => return,
        };
        if ending != Ending::Shutdown {
            areas.iter().for_each(|area| area.memory.give_back());
        }
    }

    async fn serve(&mut self, connection: &mut Connection, patience: Duration) -> Result<Infallible, Ending> {
        loop {
            self.deliver(connection, patience).await?;
            let stalled = self.waiting.as_ref().map(|(_, since)| *since + patience);
            tokio::select! {
                message = connection.receive() => {
                    let request = Request::read(&message.ok_or(Ending::Left)?);
                    self.take(request.ok_or(Ending::Violation)?)?;
                }
                picture = self.pictures.next() => self.keep(picture.ok_or(Ending::Ended)?),
                () = wait_until(stalled) => return Err(Ending::Stalled),
            }
        }
    }

    /// Keeps a picture until the reader wants it. Only the newest is kept.
    fn keep(&mut self, Delivery { item, dropped }: Delivery<Frame>) {
        let before = self.waiting.take();
        let superseded = u64::from(before.is_some());
        self.pictures.note_dropped(superseded);
        let metrics = self.share.metrics();
        metrics.count(&metrics.all.shm_dropped, dropped + superseded);
        self.dropped += dropped + superseded;
        let since = before.map_or_else(Instant::now, |(_, since)| since);
        self.waiting = Some((item, since));
    }

    fn take(&mut self, request: Request) -> Result<(), Ending> {
        match request {
            Request::Next if self.asked < self.slots => self.asked += 1,
            Request::Next => return Err(Ending::Violation),
            Request::Release { generation, slot } => {
                let mut areas = self.areas.iter_mut();
                let area = areas.find(|area| area.announced && area.layout.generation == generation);
                if !area.is_some_and(|area| area.slots.take_back(slot)) {
                    return Err(Ending::Violation);
                }
                self.retire_areas();
            }
        }
        Ok(())
    }

    /// Gives the waiting picture to the reader, if it asked for one and has a slot to spare.
    async fn deliver(&mut self, connection: &Connection, patience: Duration) -> Result<(), Ending> {
        let Some((frame, _)) = self.waiting.as_ref().filter(|_| self.asked > 0) else { return Ok(()) };
        let (header, data) = (frame.header, frame.data.clone());
        if self.areas.last().is_none_or(|area| area.layout.size != header.size) {
            self.add_area(header.size).map_err(|error| {
                tracing::info!(error = error.chain(), "there is no memory for pictures of another size");
                if error.kind() == ErrorKind::Overloaded { Ending::Limit } else { Ending::Failed }
            })?;
        }
        let Some(area) = self.areas.last_mut() else { return Ok(()) };
        let Some(slot) = area.slots.lend() else { return Ok(()) };
        if data.len() != area.layout.frame_bytes() {
            tracing::error!(size = %header.size, bytes = data.len(), "a picture has a wrong length");
            return Err(Ending::Failed);
        }
        if !area.announced {
            area.announced = true;
            let descriptor = area.memory.for_reading().map_err(failed)?;
            send(connection, &area.layout.message(), Some(descriptor.as_fd()), patience).await?;
        }
        let (memory, at) = (area.memory.clone(), u64::from(slot) * area.layout.slot_bytes);
        let written = tokio::task::spawn_blocking(move || memory.write(&data, at)).await;
        written.unwrap_or_else(|error| Err(error.into())).map_err(failed)?;
        let dropped = std::mem::take(&mut self.dropped);
        let sequence = self.sequence + dropped;
        send(connection, &area.layout.frame(slot, &header, sequence, dropped), None, patience).await?;
        self.sequence = sequence + 1;
        self.asked -= 1;
        self.waiting = None;
        Ok(())
    }

    /// Takes memory for pictures of `size`.
    fn add_area(&mut self, size: Geometry) -> Result<()> {
        let slot_bytes = slot_bytes(self.format.frame_bytes(size));
        let bytes = u64::from(self.slots) * slot_bytes;
        self.generation += 1;
        let (generation, slots) = (self.generation, self.slots);
        let layout = Layout { generation, slots, slot_bytes, format: self.format, size, rate: self.pictures.fps };
        self.share.grow(bytes)?;
        let memory = Memory::new(bytes);
        let memory = memory.map_err(|error| Error::unavailable("there is no shared memory").with_source(error))?;
        self.areas.push(Area { layout, memory: Arc::new(memory), slots: Slots::new(slots), announced: false });
        self.retire_areas();
        Ok(())
    }

    /// Lets go of memory for pictures of other sizes that the reader has nothing of any more.
    fn retire_areas(&mut self) {
        let newest = self.generation;
        for area in self.areas.extract_if(.., |area| area.layout.generation != newest && area.slots.all_free()) {
            area.memory.give_back();
            self.share.shrink(area.bytes());
        }
    }
}

fn failed(error: std::io::Error) -> Ending {
    tracing::error!(%error, "shared memory failed");
    Ending::Failed
}

async fn send(
    connection: &Connection,
    message: &Message,
    descriptor: Option<std::os::fd::BorrowedFd<'_>>,
    patience: Duration,
) -> Result<(), Ending> {
    match timeout(patience, connection.send(message, descriptor)).await {
        Ok(sent) => sent.map_err(|_| Ending::Left),
        Err(_) => Err(Ending::Stalled),
    }
}

async fn wait_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => future::pending().await,
    }
}
