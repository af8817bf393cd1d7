//! Who may work: each stream's pixels cost something of the CPUs or of a GPU, and what all cost together stays within
//! the budgets. A stream of higher priority takes the place of those of lower; whoever had to go, or found no room, may
//! queue, and is let in again in order of priority.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{oneshot, watch};

use crate::error::{Error, ErrorKind, Result};
use crate::memory::{Memory, Pressure};
use crate::metrics::Metrics;
use crate::plan::{Cost, Resource};

/// What there is to spend, in pixels per second as [`Cost`] counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Of the CPUs.
    pub software: u64,
    /// Of each render node.
    pub device: u64,
}

impl Budgets {
    /// What a CPU (thread) decodes with a quarter of its time to spare; one of an AMD EPYC at 2.45 GHz does 400M.
    const PER_CPU: u64 = 300_000_000;
    /// Fifteen cameras of 1080p25: what a Haswell GT2 does.
    const PER_DEVICE: u64 = 800_000_000;

    /// What is given, else what this machine should be able to do.
    pub fn new(software: Option<u64>, device: Option<u64>) -> Self {
        let cpus = || std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        Self {
            software: software.unwrap_or_else(|| cpus() * Self::PER_CPU),
            device: device.unwrap_or(Self::PER_DEVICE),
        }
    }

    fn of(&self, resource: &Resource) -> u64 {
        match resource {
            Resource::Software => self.software,
            Resource::Device(_) => self.device,
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The stream's name, for messages and metrics.
    pub stream: String,
    /// The lowest gives way first.
    pub priority: u8,
}

/// The budgets, and who spends them.
#[derive(Debug)]
pub struct Admission {
    budgets: Budgets,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    /// In the order of their coming.
    grants: BTreeMap<u64, Held>,
    /// In the order of their coming.
    waiting: BTreeMap<u64, Waiting>,
    /// What metrics show.
    shown: BTreeSet<Resource>,
}

#[derive(Debug)]
struct Held {
    claimant: Claimant,
    cost: Cost,
    /// Says why the grant was taken back.
    revoked: watch::Sender<Option<String>>,
}

#[derive(Debug)]
struct Waiting {
    claimant: Claimant,
    options: Vec<Cost>,
    admitted: oneshot::Sender<Admitted>,
}

/// One of several ways to work, and whose grants must go for it.
struct Choice {
    option: usize,
    cost: Cost,
    victims: Vec<u64>,
}

/// Leave to work, given back when dropped.
#[derive(Debug)]
pub struct Grant {
    admission: Arc<Admission>,
    id: u64,
    revoked: watch::Receiver<Option<String>>,
}

/// Leave to work in one of several ways.
#[derive(Debug)]
pub struct Admitted {
    /// Which of the options was taken.
    pub option: usize,
    /// The leave.
    pub grant: Grant,
}

/// A place in the queue, given up when dropped.
#[derive(Debug)]
pub struct Turn {
    admission: Arc<Admission>,
    id: u64,
    admitted: oneshot::Receiver<Admitted>,
}

impl Admission {
    /// Nobody works yet.
    pub fn new(budgets: Budgets, memory: Arc<Memory>, metrics: Arc<Metrics>) -> Arc<Self> {
        let admission = Self { budgets, memory, metrics, state: Mutex::default() };
        let mut state = admission.state();
        state.shown.insert(Resource::Software);
        admission.show(&mut state);
        drop(state);
        Arc::new(admission)
    }

    /// Admits `claimant` with the first of `options`, best first, that there is room for; if there is none, with the
    /// first that there would be room for without streams of lower priority, which lose their grants.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] if there is no room, or memory runs short; nobody's grant is touched then.
    pub fn admit(self: &Arc<Self>, claimant: &Claimant, options: &[Cost]) -> Result<Admitted> {
        self.memory.admit("pixels")?;
        let mut state = self.state();
        let Choice { option, cost, victims } = self.choose(&state, claimant, options, None)?;
        state.revoke(&victims, claimant);
        let grant = self.grant(&mut state, claimant.clone(), cost);
        self.show(&mut state);
        Ok(Admitted { option, grant })
    }

    /// How short memory is.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// As [`Self::admit`] says; the grant `own` counts as free.
    fn choose(&self, state: &State, claimant: &Claimant, options: &[Cost], own: Option<u64>) -> Result<Choice> {
        let except: Vec<u64> = own.into_iter().collect();
        let fits = options.iter().position(|cost| self.over(state, cost, &except).is_none());
        let chosen = match fits {
            Some(option) => Some((option, vec![])),
            None => {
                options.iter().enumerate().find_map(|(at, cost)| Some((at, self.victims(state, claimant, cost, own)?)))
            }
        };
        match chosen.and_then(|(option, victims)| Some((option, options.get(option)?, victims))) {
            Some((option, cost, victims)) => Ok(Choice { option, cost: cost.clone(), victims }),
            None => Err(self.refusal(state, claimant, options.last(), &except)),
        }
    }

    /// Queues `claimant` until there is room for one of `options` without anyone having to go.
    pub fn queue(self: &Arc<Self>, claimant: Claimant, options: Vec<Cost>) -> Turn {
        let (admitted, turn) = oneshot::channel();
        let mut state = self.state();
        let id = state.take_id();
        state.waiting.insert(id, Waiting { claimant, options, admitted });
        drop(state);
        self.serve_queue();
        Turn { admission: self.clone(), id, admitted: turn }
    }

    /// Lets in whoever there is room for, by priority, unless memory runs short.
    pub fn serve_queue(self: &Arc<Self>) {
        if self.memory.pressure() > Pressure::None {
            return;
        }
        let mut state = self.state();
        let mut order: Vec<(u64, u8)> =
            state.waiting.iter().map(|(id, waiting)| (*id, waiting.claimant.priority)).collect();
        order.sort_by_key(|(id, priority)| (u8::MAX - priority, *id));
        let mut served = Vec::new();
        for (id, _) in order {
            let Some(Waiting { options, .. }) = state.waiting.get(&id) else { continue };
            let room = |cost: &Cost| self.over(&state, cost, &[]).is_none();
            let Some(option) = options.iter().position(room) else { continue };
            let Some(waiting) = state.waiting.remove(&id) else { continue };
            let Some(cost) = waiting.options.into_iter().nth(option) else { continue };
            let grant = self.grant(&mut state, waiting.claimant, cost);
            served.push((waiting.admitted, Admitted { option, grant }));
        }
        self.show(&mut state);
        drop(state);
        for (waiting, admitted) in served {
            // Whoever does not wait any more gives the grant back by not taking it.
            drop(waiting.send(admitted));
        }
    }

    fn grant(self: &Arc<Self>, state: &mut State, claimant: Claimant, cost: Cost) -> Grant {
        let id = state.take_id();
        let revoked = watch::Sender::new(None);
        let grant = Grant { admission: self.clone(), id, revoked: revoked.subscribe() };
        state.grants.insert(id, Held { claimant, cost, revoked });
        grant
    }

    /// The first resource that `cost` does not fit into beside all grants but those of `except`.
    fn over<'a>(&self, state: &State, cost: &'a Cost, except: &[u64]) -> Option<&'a Resource> {
        let free = |resource: &Resource| self.budgets.of(resource).saturating_sub(state.used(resource, except));
        cost.each().find(|(resource, pixels)| *pixels > free(resource)).map(|(resource, _)| resource)
    }

    /// Whose grants must go so that `cost` fits: lowest priority first, among equals the newest first. `None` if it
    /// would not fit even then.
    fn victims(&self, state: &State, claimant: &Claimant, cost: &Cost, own: Option<u64>) -> Option<Vec<u64>> {
        let mut lower: Vec<(u8, u64)> = state
            .grants
            .iter()
            .filter(|(_, held)| held.claimant.priority < claimant.priority)
            .map(|(id, held)| (held.claimant.priority, *id))
            .collect();
        lower.sort_by_key(|(priority, id)| (*priority, u64::MAX - id));
        let mut gone: Vec<u64> = own.into_iter().collect();
        for (_, id) in lower {
            let Some(short_of) = self.over(state, cost, &gone) else { break };
            if state.grants.get(&id).is_some_and(|held| held.cost.of(short_of) > 0) {
                gone.push(id);
            }
        }
        self.over(state, cost, &gone).is_none().then(|| gone.into_iter().filter(|id| Some(*id) != own).collect())
    }

    fn refusal(&self, state: &State, claimant: &Claimant, cost: Option<&Cost>, except: &[u64]) -> Error {
        self.metrics.admission_refused.with_label_values(&[&claimant.stream]).inc();
        let short = cost.and_then(|cost| Some((cost, self.over(state, cost, except)?)));
        let Some((cost, resource)) = short else {
            return Error::new(ErrorKind::Overloaded, "there is no room for this: try again later");
        };
        let (needed, budget) = (mega(cost.of(resource)), self.budgets.of(resource));
        let free = mega(budget.saturating_sub(state.used(resource, except)));
        let setting = match resource {
            Resource::Software => "limits.software_pixels",
            Resource::Device(_) => "limits.device_pixels",
        };
        let message = format!(
            "there is no room for this: it takes {needed} pixels/s of {name}, and {free} of {budget} are free \
             ({setting}): ask for fewer or smaller pictures, or try again when others have ended",
            name = resource.name(),
            budget = mega(budget),
        );
        Error::new(ErrorKind::Overloaded, message)
    }

    /// A device that nobody uses any more is shown with 0.
    fn show(&self, state: &mut State) {
        let State { grants, shown, .. } = state;
        shown.extend(grants.values().flat_map(|held| held.cost.each().map(|(resource, _)| resource.clone())));
        for resource in &state.shown {
            let (name, gauge) = ([resource.name()], |pixels: u64| i64::try_from(pixels).unwrap_or(i64::MAX));
            self.metrics.admission_used.with_label_values(&name).set(gauge(state.used(resource, &[])));
            self.metrics.admission_budget.with_label_values(&name).set(gauge(self.budgets.of(resource)));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Entries are put in and taken out whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn used(&self, resource: &Resource, except: &[u64]) -> u64 {
        let counted = self.grants.iter().filter(|(id, _)| !except.contains(id));
        counted.map(|(_, held)| held.cost.of(resource)).fold(0, u64::saturating_add)
    }

    fn revoke(&mut self, victims: &[u64], by: &Claimant) {
        for held in victims.iter().filter_map(|id| self.grants.remove(id)) {
            let reason = format!("gave way to '{}', whose priority is {}", by.stream, by.priority);
            held.revoked.send_replace(Some(reason));
        }
    }
}

impl Grant {
    /// Exchanges it for leave to work in the first of `options` that there is room for; as [`Admission::admit`], with its
    /// own cost so far counted as free. Returns which was taken.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] if there is no room, or the grant was taken back; the old cost stands then.
    pub fn change(&self, options: &[Cost]) -> Result<usize> {
        let admission = &self.admission;
        let mut state = admission.state();
        let Some(claimant) = state.grants.get(&self.id).map(|held| held.claimant.clone()) else {
            let message = "the stream's pixels have just given way to another stream's";
            return Err(Error::new(ErrorKind::Overloaded, message));
        };
        let Choice { option, cost, victims } = admission.choose(&state, &claimant, options, Some(self.id))?;
        state.revoke(&victims, &claimant);
        drop(state);
        self.set(cost);
        Ok(option)
    }

    /// Whether it has been taken back.
    pub fn is_revoked(&self) -> bool {
        self.revoked.borrow().is_some()
    }

    /// Notes what the work costs, room or not: it runs already.
    pub fn set(&self, cost: Cost) {
        if let Some(held) = self.admission.state().grants.get_mut(&self.id) {
            held.cost = cost;
        }
        self.admission.serve_queue();
    }

    /// Resolves when the grant is taken back, with the reason. Cancel-safe.
    pub async fn revoked(&mut self) -> String {
        let reason = self.revoked.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            // Given back by its owner: nothing is left to take.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        let held = self.admission.state().grants.remove(&self.id);
        if held.is_some() {
            self.admission.serve_queue();
        }
    }
}

impl Turn {
    /// Resolves when there is room. Cancel-safe.
    pub async fn admitted(&mut self) -> Admitted {
        match (&mut self.admitted).await {
            Ok(admitted) => admitted,
            // The admission is dropped only after this turn, which holds it.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.admission.state().waiting.remove(&self.id);
    }
}

/// Pixels as people write them: `51.8M`.
fn mega(pixels: u64) -> String {
    format!("{:.1}M", pixels as f64 / 1e6)
}

#[cfg(test)]
mod tests;
