//! A session with the driver: from vaInitialize to vaTerminate.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::control::{Action, Call};
use crate::escape;
use crate::objects::{Kind, Objects};
use crate::page::Page;
use crate::profiles::Personality;
use crate::va::*;

/// A session.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) personality: &'static Personality,
    pub(crate) page: Page,
    objects: Mutex<Objects>,
}

impl Driver {
    pub(crate) fn new(personality: &'static Personality, page: Page) -> Self {
        Self { personality, page, objects: Mutex::new(Objects::default()) }
    }

    /// Gives an object a number.
    pub(crate) fn insert<T: Kind>(&self, object: T) -> u32 {
        self.page.object_made(T::OBJECT);
        self.objects().insert(object)
    }

    /// The object of a number.
    ///
    /// # Errors
    /// The kind's own: [`Kind::INVALID`].
    pub(crate) fn get<T: Kind>(&self, id: u32) -> Result<Arc<T>> {
        self.objects().get(id)
    }

    /// Takes a number away. The object lives on while somebody works with it.
    ///
    /// # Errors
    /// The kind's own: [`Kind::INVALID`].
    pub(crate) fn remove<T: Kind>(&self, id: u32) -> Result<Arc<T>> {
        let object = self.objects().remove(id)?;
        self.page.object_gone(T::OBJECT);
        Ok(object)
    }

    /// Does what a call asks for, or what a fault makes of it. `work` learns of faults that change its result only.
    pub(crate) fn perform<T>(&self, call: Call, work: impl FnOnce(Option<Action>) -> Result<T>) -> Result<T> {
        self.perform_within(call, None, work)
    }

    /// Does what a call asks for that makes a `T`, of which there may not be too many.
    pub(crate) fn create<T: Kind, R>(&self, call: Call, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let live = self.objects().count::<T>();
        self.perform_within(call, Some(live), |_| work())
    }

    fn perform_within<T>(
        &self,
        call: Call,
        live: Option<u64>,
        work: impl FnOnce(Option<Action>) -> Result<T>,
    ) -> Result<T> {
        self.page.count_call(call);
        match self.page.strike(call, live) {
            Some(Action::Status(status)) => Status::from_raw(status).map_or_else(|| work(None), Err),
            Some(Action::Limit(_)) => Err(Status::ALLOCATION_FAILED),
            Some(Action::Block(time)) => {
                thread::sleep(time);
                work(None)
            }
            Some(Action::BlockForEver) => loop {
                thread::park();
            },
            Some(Action::Slow(factor)) => {
                let start = Instant::now();
                let result = work(None);
                thread::sleep(start.elapsed() * factor.saturating_sub(1));
                result
            }
            Some(Action::Abort) => process::abort(),
            Some(Action::SegmentationFault) => read_nowhere(),
            Some(
                need @ (Action::NeedFile | Action::NeedMemoryFile | Action::NeedMemory(_) | Action::NeedDescriptors(_)),
            ) if !escape::can_have(need) => Err(Status::OPERATION_FAILED),
            other => work(other),
        }
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the process as a stray pointer does.
fn read_nowhere() -> ! {
    let nowhere = ptr::without_provenance::<u8>(8);
    // SAFETY: there is none, and that is the point: the first page is never mapped, so the kernel ends the process here.
    let _byte = unsafe { nowhere.read_volatile() };
    process::abort()
}

/// Runs one of libva's calls: finds the driver, and turns errors and panics into a VAStatus.
pub(crate) fn enter(context: VADriverContextP, body: impl FnOnce(&Driver) -> Result<()>) -> VAStatus {
    let outcome = catch(|| {
        // SAFETY: libva passes the context of an open driver, or null.
        let context = unsafe { context.as_ref() }.ok_or(Status::INVALID_CONTEXT)?;
        let driver = context.pDriverData.cast::<Driver>().cast_const();
        // SAFETY: set by `open` to a driver that lives until vaTerminate, or null.
        body(unsafe { driver.as_ref() }.ok_or(Status::INVALID_CONTEXT)?)
    });
    status(outcome)
}

/// Runs `body`; a panic is [`Status::UNKNOWN`], for none may cross into C.
pub(crate) fn catch(body: impl FnOnce() -> Result<()>) -> Result<()> {
    let unknown = |_: Box<dyn Any + Send>| Err(Status::UNKNOWN);
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(unknown)
}

/// The number that libva takes.
pub(crate) fn status(outcome: Result<()>) -> VAStatus {
    outcome.map_or_else(Status::raw, |()| VA_STATUS_SUCCESS.cast_signed())
}
