//! Trials of a device, and what in the sandbox stood in the way where they pass only without it: the likeliest first
//! failure on hardware that nobody has tried camshaft on.
//!
//! What is tried is camshaft's own test pictures, so that a driver may have them without a sandbox.

use std::sync::Arc;

use super::ask::{Attempt, Trials, Tried, attempt};
use crate::link::{Capability, Program, Spawner};
use crate::sandbox::{Confinement, Layer, Refusals};

/// Refusals named in one reason.
const NAMED: usize = 8;

/// The limits, and the settings that raise them.
const LIMITS: [(Layer, &str); 3] = [
    (Layer::Memory, "its limit on memory stands in the way: raise limits.pixels_memory"),
    (Layer::Descriptors, "its limit on open descriptors stands in the way: raise limits.worker_files"),
    (Layer::FileSize, "its limit on the size of files stands in the way: raise limits.worker_file_size"),
];

/// Tries what the node at `path` is said to be good for, as real work is done. Failures that only the sandbox makes say
/// what in it, and the setting for that.
pub(super) async fn trials(spawner: &Arc<Spawner>, path: &str, capabilities: Vec<Capability>) -> Trials {
    let confinement = spawner.confinement(Program::Engine);
    let mut trials = attempt(spawner, path, capabilities.clone(), confinement).await.trials;
    let failed: Vec<_> = capabilities.into_iter().filter(|capability| !trials.proves(*capability)).collect();
    if failed.is_empty() || confinement.layers.is_empty() {
        return trials;
    }
    let bench = Bench { spawner, path, confinement };
    let free = bench.without(&Layer::ALL, failed.clone()).await.trials;
    let hindered: Vec<_> = failed.into_iter().filter(|capability| free.proves(*capability)).collect();
    if hindered.is_empty() {
        return trials;
    }
    let obstacle = bench.obstacle(&hindered).await;
    tracing::warn!(device = path, "what the driver can do without the sandbox fails in it: {obstacle}");
    for capability in hindered {
        blame(&mut trials, capability, &obstacle);
    }
    trials
}

fn blame(trials: &mut Trials, capability: Capability, obstacle: &str) {
    trials.tried.retain(|tried| tried.capability != capability);
    let failure = Some(format!("it passes without the sandbox, but fails in it; {obstacle}"));
    trials.tried.push(Tried { capability, failure });
}

/// Where a device is tried with less of the sandbox.
struct Bench<'a> {
    spawner: &'a Arc<Spawner>,
    path: &'a str,
    confinement: &'a Confinement,
}

impl Bench<'_> {
    async fn without(&self, left_out: &[Layer], capabilities: Vec<Capability>) -> Attempt {
        let layers = self.confinement.layers.iter().copied().filter(|layer| !left_out.contains(layer)).collect();
        let confinement = Confinement { layers, refusals: Refusals::Reported, ..self.confinement.clone() };
        attempt(self.spawner, self.path, capabilities, &confinement).await
    }

    /// What keeps these from passing, and the remedy.
    async fn obstacle(&self, hindered: &[Capability]) -> String {
        let passes = |attempt: &Attempt| hindered.iter().all(|capability| attempt.trials.proves(*capability));
        let unlimited = self.without(&LIMITS.map(|(layer, _)| layer), hindered.to_vec()).await;
        if !passes(&unlimited) {
            return refusals(&unlimited.refused);
        }
        for (layer, remedy) in LIMITS {
            if passes(&self.without(&[layer], hindered.to_vec()).await) {
                return remedy.into();
            }
        }
        "its limits stand in the way: raise limits.pixels_memory, limits.worker_files and limits.worker_file_size"
            .into()
    }
}

/// What was refused, and the settings that allow it.
fn refusals(refused: &[String]) -> String {
    if refused.is_empty() {
        return "what it refuses leaves no trace: set workers.sandbox to off, and report this".into();
    }
    let named = refused.get(..NAMED).unwrap_or(refused);
    let (paths, calls): (Vec<_>, Vec<_>) = named.iter().partition(|refusal| refusal.contains(' '));
    let paths: Vec<&str> = paths.iter().filter_map(|refusal| Some(refusal.split_once(' ')?.1)).collect();
    let calls: Vec<&str> = calls.into_iter().map(String::as_str).collect();
    let settings = [("workers.readable", paths.join(":")), ("workers.system_calls", calls.join(", "))];
    let settings: Vec<String> = settings
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}: \"{value}\""))
        .collect();
    format!("it refused {}: to allow that, set {}", named.join(", "), settings.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_come_with_their_settings() {
        let refused = ["openat /etc/drirc", "memfd_create", "openat /usr/share/drirc.d"].map(str::to_owned);
        assert_eq!(
            refusals(&refused),
            "it refused openat /etc/drirc, memfd_create, openat /usr/share/drirc.d: to allow that, set \
             workers.readable: \"/etc/drirc:/usr/share/drirc.d\" and workers.system_calls: \"memfd_create\""
        );
        assert!(refusals(&[]).contains("workers.sandbox to off"));
    }
}
