//! The devices' breakers at work: failures in, canary trials, and the hand that opens and closes them.

use std::time::Instant;

use super::breaker::Breaker;
use super::device::{Device, worth_trying};
use super::devices::Devices;
use super::report::DeviceReport;
use super::trials::trials;
use crate::error::Result;
use crate::events::{Change, Topic};
use crate::plan::Breaker as State;

impl Devices {
    /// Counts a failure of the device at `path` under `stream`, which its worker or its pictures have shown and for which
    /// the stream's camera is not to blame. May open the device's breaker.
    pub fn failed(&self, path: &str, stream: &str, why: &str) {
        self.change_breaker(path, |breaker| {
            breaker.failed(stream, why, Instant::now(), &self.breaker_settings);
        });
        // It may be gone altogether.
        self.nudge.notify_one();
    }

    /// Sets the breaker of the device called `name` (`renderD128`, or its PCI address) by hand.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::NotFound`] if there is none; the message lists those there are.
    pub fn set_breaker(&self, name: &str, state: State) -> Result<DeviceReport> {
        let (path, _) = self.find(name)?;
        self.change_breaker(&path, |breaker| breaker.set(state, Instant::now(), &self.breaker_settings));
        self.report_of(&path, name)
    }

    /// Tries every device whose breaker is open and that is due; closes the breaker if all that was proved is so still.
    pub(super) async fn try_canaries(&self) {
        let _one_at_a_time = self.asking.lock().await;
        let now = Instant::now();
        let due: Vec<_> = self
            .state()
            .devices
            .iter_mut()
            .filter_map(|device| {
                let capabilities = worth_trying(device.table.as_ref().ok()?);
                device.breaker.canary_is_due(now, &self.breaker_settings).then(|| (device.path.clone(), capabilities))
            })
            .collect();
        for (path, capabilities) in due {
            let results = trials(&self.spawner, &path, capabilities).await;
            let passed = self.with_device(&path, |device| device.still_holds(&results)).unwrap_or(false);
            tracing::info!(device = path, passed, "a canary trial of a device whose breaker is open");
            if passed {
                self.change_breaker(&path, |breaker| _ = breaker.canary_passed());
            }
        }
    }

    /// Changes a breaker; a new state is told, and wakes whoever works on the device.
    fn change_breaker(&self, path: &str, change: impl FnOnce(&mut Breaker)) {
        let states = self.with_device(path, |device| {
            let before = device.breaker.state().clone();
            change(&mut device.breaker);
            (before, device.breaker.state().clone())
        });
        let Some((before, after)) = states.filter(|(before, after)| before != after) else { return };
        let (from, to, reason) = (before.name(), after.name(), after.reason());
        self.events.tell(Change { topic: Topic::Breaker, subject: path, from, to, reason });
        self.changed.send_replace(());
    }

    fn with_device<T>(&self, path: &str, act: impl FnOnce(&mut Device) -> T) -> Option<T> {
        self.state().devices.iter_mut().find(|device| device.path == path).map(act)
    }
}
