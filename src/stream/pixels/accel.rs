//! Which devices a stream leaves alone because it failed on them, and until when. Time is handed in.
//!
//! A failure costs the stream its device for the cool-down; too many that were the device's fault, for a long rest. Old
//! ones are forgiven. What is left alone looks to the planner like a device in trouble, so that plans and the reasons in
//! them come out right by themselves.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Recovery;
use crate::plan::va::Entrypoint;
use crate::plan::{Capabilities, DeviceCapabilities, Proof};

/// A part of a device that is left alone by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The whole of it.
    All,
    /// Its encoders.
    Encoders,
}

/// One stream's dealings with all devices.
#[derive(Debug)]
pub struct Accel {
    settings: Recovery,
    accounts: Mutex<HashMap<(String, Part), Account>>,
}

/// The same with one part of one device.
#[derive(Debug, Default)]
struct Account {
    /// Failures that were the device's fault, oldest first.
    failures: VecDeque<Instant>,
    until: Option<Instant>,
    why: String,
}

impl Accel {
    /// Nothing has failed yet.
    pub fn new(settings: Recovery) -> Self {
        Self { settings, accounts: Mutex::default() }
    }

    /// Leaves a device alone for the cool-down, because of `why`.
    pub fn leave(&self, device: &str, part: Part, why: &str, now: Instant) {
        let mut accounts = self.accounts();
        let account = accounts.entry((device.to_owned(), part)).or_default();
        account.until = account.until.max(Some(now + self.settings.cool_down));
        account.why = why.to_owned();
    }

    /// Counts a failure as the device's fault; with too many of them the device is left alone for the long rest.
    pub fn charge(&self, device: &str, part: Part, now: Instant) {
        let mut accounts = self.accounts();
        let account = accounts.entry((device.to_owned(), part)).or_default();
        account.failures.retain(|at| now.duration_since(*at) < self.settings.failure_window);
        account.failures.push_back(now);
        if account.failures.len() >= self.settings.failures as usize {
            account.failures.clear();
            account.until = Some(now + self.settings.rest);
            account.why += &format!(" ({} times in {:?})", self.settings.failures, self.settings.failure_window);
        }
    }

    /// What may be planned with now.
    pub fn capabilities(&self, mut all: Capabilities, now: Instant) -> Capabilities {
        for ((device, part), account) in self.accounts().iter() {
            let Some(left) = account.left(now) else { continue };
            let reason = format!("left alone for {} s more: {}", left.as_secs().max(1), account.why);
            if let Some(known) = all.devices.iter_mut().find(|known| known.path == *device) {
                withdraw(known, *part, reason);
            }
        }
        all
    }

    /// When a device may be used again next.
    pub fn next_return(&self, now: Instant) -> Option<Instant> {
        self.accounts().values().filter_map(|account| account.until).filter(|until| *until > now).min()
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<(String, Part), Account>> {
        // Accounts are plain values: even a panicking writer leaves them usable.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn left(&self, now: Instant) -> Option<Duration> {
        self.until?.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

fn withdraw(device: &mut DeviceCapabilities, part: Part, reason: String) {
    match part {
        Part::All => _ = device.error.get_or_insert(reason),
        Part::Encoders => {
            const ENCODERS: [Entrypoint; 3] = [Entrypoint::EncSlice, Entrypoint::EncSliceLp, Entrypoint::EncPicture];
            for claim in device.claims.iter_mut().filter(|claim| ENCODERS.contains(&claim.entry.entrypoint)) {
                claim.proof = Proof::Failed { reason: reason.clone() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::va::{Profile, RateControlMode};
    use crate::plan::{Claim, DeviceChoice, TableEntry};

    const NODE: &str = "/dev/dri/renderD128";

    fn accel() -> Accel {
        let (cool_down, rest, failure_window) =
            (Duration::from_secs(30), Duration::from_secs(1800), Duration::from_secs(600));
        Accel::new(Recovery { cool_down, failures: 3, failure_window, rest, ..Recovery::default() })
    }

    fn everything() -> Capabilities {
        let claim = |profile, entrypoint| Claim {
            entry: TableEntry {
                profile,
                entrypoint,
                rate_control: vec![],
                max_size: None,
                rt_formats: vec![],
                surface_formats: vec![],
            },
            proof: Proof::Proved,
            proved_rates: vec![RateControlMode::Cbr],
        };
        let device = |path: &str| DeviceCapabilities {
            path: path.into(),
            pci: None,
            name: "i965 on Haswell".into(),
            claims: vec![claim(Profile::H264Main, Entrypoint::Vld), claim(Profile::H264Main, Entrypoint::EncSlice)],
            breaker: Default::default(),
            load: 0,
            error: None,
        };
        Capabilities { devices: vec![device(NODE), device("/dev/dri/renderD129")], choice: DeviceChoice::Auto }
    }

    fn error(accel: &Accel, now: Instant) -> Option<String> {
        accel.capabilities(everything(), now).devices[0].error.clone()
    }

    #[test]
    fn a_failure_costs_the_cool_down_on_that_device_only() {
        let (accel, start) = (accel(), Instant::now());
        assert_eq!(accel.capabilities(everything(), start), everything());
        accel.leave(NODE, Part::All, "hang", start);
        let reason = error(&accel, start + Duration::from_secs(10)).unwrap();
        assert_eq!(reason, "left alone for 20 s more: hang");
        assert_eq!(accel.capabilities(everything(), start).devices[1].error, None);
        assert_eq!(accel.next_return(start), Some(start + Duration::from_secs(30)));
        assert_eq!(error(&accel, start + Duration::from_secs(30)), None);
        assert_eq!(accel.next_return(start + Duration::from_secs(30)), None);
    }

    #[test]
    fn too_many_failures_within_the_window_cost_the_long_rest() {
        let (accel, start) = (accel(), Instant::now());
        let fail = |second| {
            let now = start + Duration::from_secs(second);
            accel.leave(NODE, Part::All, "hang", now);
            accel.charge(NODE, Part::All, now);
            accel.next_return(now).unwrap() - now
        };
        let (short, long) = (Duration::from_secs(30), Duration::from_secs(1800));
        assert_eq!([fail(0), fail(300)], [short, short]);
        // The first one is forgiven by now, the second is not.
        assert_eq!([fail(600), fail(700)], [short, long]);
        assert!(error(&accel, start + Duration::from_secs(800)).unwrap().contains("3 times in 600s"));
        // The rest wipes the slate.
        assert_eq!(fail(2600), short);
    }

    #[test]
    fn failures_that_are_not_the_devices_never_cost_the_rest() {
        let (accel, start) = (accel(), Instant::now());
        for second in 0..50 {
            accel.leave(NODE, Part::All, "broken stream", start + Duration::from_secs(second));
        }
        assert_eq!(accel.next_return(start), Some(start + Duration::from_secs(49 + 30)));
    }

    #[test]
    fn encoders_are_left_alone_by_themselves() {
        let (accel, start) = (accel(), Instant::now());
        accel.leave(NODE, Part::Encoders, "packets of 0 bytes", start);
        let device = &accel.capabilities(everything(), start).devices[0];
        assert_eq!((&device.error, &device.claims[0].proof), (&None, &Proof::Proved));
        let Proof::Failed { reason } = &device.claims[1].proof else { panic!("{device:?}") };
        assert!(reason.contains("packets of 0 bytes"), "{reason}");
    }
}
