//! Surfaces: pictures on the device.

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::av::Picture;
use crate::format::{Format, Layout};
use crate::memory::Memory;
use crate::va::{Result, Status};

/// Larger surfaces than any driver has.
const LARGEST: u32 = 16_384;

/// A surface.
#[derive(Debug)]
pub(crate) struct Surface {
    pub(crate) layout: Layout,
    pub(crate) memory: Memory,
    /// Orders the driver's own accesses. An application that maps a surface has synchronized before.
    access: RwLock<()>,
    /// What vaSyncSurface returns.
    failure: Mutex<Option<Status>>,
}

impl Surface {
    pub(crate) fn new(format: &'static Format, width: u32, height: u32) -> Result<Self> {
        if !(1..=LARGEST).contains(&width) || !(1..=LARGEST).contains(&height) {
            return Err(Status::RESOLUTION_NOT_SUPPORTED);
        }
        let layout = Layout::new(format, width, height);
        let memory = Memory::new(layout.size)?;
        Ok(Self { layout, memory, access: RwLock::new(()), failure: Mutex::new(None) })
    }

    /// The picture for FFmpeg's functions. Hold a guard while it is used.
    pub(crate) fn picture(&self) -> Picture {
        Picture::new(&self.layout, &self.memory)
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, ()> {
        self.access.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, ()> {
        self.access.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks one surface to be read and another one to be written, always in the same order.
    ///
    /// # Errors
    /// [`Status::INVALID_SURFACE`] if they are the same.
    pub(crate) fn read_and_write<'a>(
        source: &'a Self,
        target: &'a Self,
    ) -> Result<(RwLockReadGuard<'a, ()>, RwLockWriteGuard<'a, ()>)> {
        match (&raw const *source).cmp(&&raw const *target) {
            std::cmp::Ordering::Equal => Err(Status::INVALID_SURFACE),
            std::cmp::Ordering::Less => {
                let reading = source.read();
                Ok((reading, target.write()))
            }
            std::cmp::Ordering::Greater => {
                let writing = target.write();
                Ok((source.read(), writing))
            }
        }
    }

    /// Sets what synchronizing returns from now on.
    pub(crate) fn finish(&self, failure: Option<Status>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Whether the last picture in this surface came about.
    pub(crate) fn outcome(&self) -> Result<()> {
        match *self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(status) => Err(status),
            None => Ok(()),
        }
    }
}
