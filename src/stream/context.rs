//! What every stream is given: the means of the process, and its limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

use crate::admission::{Admission, Budgets};
use crate::config::{Limits, Recovery};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Events;
use crate::hw::Devices;
use crate::link::Spawner;
use crate::media::MediaTime;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::ring::RingLimits;

use super::stagger::Stagger;

/// Shared by all streams.
#[derive(Debug)]
pub struct Context {
    /// Starts workers.
    pub spawner: Arc<Spawner>,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// The limits of the configuration.
    pub limits: Limits,
    /// When hardware is left, checked, and tried again.
    pub recovery: Recovery,
    /// The GPUs, and what they have proved.
    pub devices: Arc<Devices>,
    /// Where changes are told.
    pub events: Arc<Events>,
    /// Permits for short-lived workers beside the live ones.
    pub beside: Semaphore,
    /// Sets the first connections of a start apart.
    pub stagger: Stagger,
    consumers: Arc<AtomicUsize>,
    /// How short memory is.
    pub memory: Arc<Memory>,
    /// Who may work on pixels.
    pub admission: Arc<Admission>,
}

/// A place among all consumers of the process; free again when dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Context {
    /// The context of a process.
    pub fn new(
        spawner: Arc<Spawner>,
        devices: Arc<Devices>,
        events: Arc<Events>,
        metrics: Arc<Metrics>,
        memory: Arc<Memory>,
        limits: Limits,
        recovery: Recovery,
    ) -> Self {
        let beside = Semaphore::new(limits.workers_beside as usize);
        let budgets = Budgets::new(limits.software_pixels.0, limits.device_pixels.0);
        let admission = Admission::new(budgets, memory.clone(), metrics.clone());
        let stagger = Stagger::new(limits.connect_spread);
        let consumers = Arc::default();
        Self { spawner, metrics, limits, recovery, devices, events, beside, stagger, consumers, memory, admission }
    }

    /// Takes a place for a consumer.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] when `limits.consumers_total` are taken.
    pub fn take_place(&self) -> Result<Place> {
        self.place(&self.consumers, self.limits.consumers_total, "consumers_total")
    }

    /// Takes one of the `max` places that `taken` counts, which the limit `setting` gives.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] when all are taken.
    pub fn place(&self, taken: &Arc<AtomicUsize>, max: u32, setting: &'static str) -> Result<Place> {
        let free = |count: usize| (count < max as usize).then_some(count + 1);
        match taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free) {
            Ok(_) => Ok(Place(taken.clone())),
            Err(_) => {
                self.metrics.limits_reached.with_label_values(&[setting]).inc();
                let message =
                    format!("all {max} places for consumers are taken (limits.{setting}): try again when one has left");
                Err(Error::new(ErrorKind::Overloaded, message))
            }
        }
    }

    /// The bounds of a stream's ring.
    pub fn ring_limits(&self) -> RingLimits {
        let ticks = |duration: std::time::Duration| duration.as_micros() as i64 * MediaTime::HZ / 1_000_000;
        RingLimits {
            ticks: ticks(self.limits.ring_duration),
            bytes: self.limits.ring_bytes,
            hard_bytes: self.limits.ring_hard_bytes,
            lag_ticks: ticks(self.limits.consumer_lag),
            lag_bytes: self.limits.consumer_lag_bytes,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
