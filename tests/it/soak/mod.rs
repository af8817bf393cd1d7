//! What comes and goes leaves nothing behind: readers of every output, workers that are killed, cameras that restart,
//! configurations that are reloaded, all at once and seeded. Descriptors, threads, processes and memory are taken in the
//! pauses between rounds, when all is quiet.
//!
//! A short form runs in the suite; `make soak` and `make load` are the long ones, whose figures stand in
//! `docs/reliability.md`.

mod churn;
mod load;
mod report;

use std::time::Duration;

use churn::{Churn, Plan};
use report::Report;

/// How much the service's memory may grow behind its first round.
const GROWTH: u64 = 16 << 20;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn soak(plan: Plan) -> Report {
    let mut churn = Churn::start(plan);
    let mut report = Report::new(plan.seed);
    while !churn.is_over() {
        churn.round();
        report.add(churn.settle());
    }
    churn.assert_undisturbed();
    report
}

#[test]
fn for_a_short_time() {
    let plan =
        Plan { seed: 1, rounds: 3, connects: 14, kills: 2, reloads: 2, cameras: 1, limit: Duration::from_secs(60) };
    let report = soak(plan);
    eprintln!("{report}");
    report.assert_flat(GROWTH);
}

#[test]
#[ignore = "takes SOAK_MINUTES; make soak"]
fn for_minutes() {
    let minutes = number("SOAK_MINUTES", 10);
    let limit = Duration::from_secs(minutes * 60);
    // 2 000 readers and 500 dead workers, if there is time.
    let plan =
        Plan { seed: number("SOAK_SEED", 1), rounds: 20, connects: 100, kills: 25, reloads: 10, cameras: 3, limit };
    let report = soak(plan);
    eprintln!("{report}");
    report.save("soak.json");
    report.assert_flat(GROWTH);
}

#[test]
#[ignore = "takes LOAD_SECONDS; make load"]
fn load() {
    load::run(Duration::from_secs(number("LOAD_SECONDS", 60)));
}
