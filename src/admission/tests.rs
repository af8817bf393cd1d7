use super::*;
use crate::memory::{Reading, Thresholds};
use crate::plan::{Backend, Codec, Work};

const NODE: &str = "/dev/dri/renderD128";

fn admission() -> Arc<Admission> {
    let metrics = Arc::new(Metrics::new());
    Admission::new(Budgets { software: 100, device: 50 }, Memory::new(Thresholds::default(), metrics.clone()), metrics)
}

fn who(stream: &str, priority: u8) -> Claimant {
    Claimant { stream: stream.into(), priority }
}

fn on(backend: &Backend, pixels: u64) -> Cost {
    let mut cost = Cost::default();
    cost.add(backend, Work::Decode(Codec::H264), pixels);
    cost
}

fn software(pixels: u64) -> Cost {
    on(&Backend::Software, pixels)
}

fn device(pixels: u64) -> Cost {
    on(&Backend::Vaapi { device: NODE.into() }, pixels)
}

/// The reason, if the grant was taken back.
fn taken_back(grant: &Grant) -> Option<String> {
    grant.revoked.borrow().clone()
}

#[test]
fn what_does_not_fit_is_refused_and_touches_nobody() {
    let admission = admission();
    let first = admission.admit(&who("a", 5), &[software(80)]).unwrap();
    let error = admission.admit(&who("b", 5), &[software(30)]).unwrap_err();
    assert_eq!((error.kind(), error.kind().status()), (ErrorKind::Overloaded, 503));
    assert!(error.message().contains("limits.software_pixels"), "{error}");
    // Not even what is lower is touched if that would not be enough.
    let low = admission.admit(&who("c", 1), &[software(20)]).unwrap();
    admission.admit(&who("d", 4), &[software(30)]).unwrap_err();
    assert_eq!((taken_back(&first.grant), taken_back(&low.grant)), (None, None));
    drop(first);
    assert!(admission.admit(&who("b", 5), &[software(30)]).is_ok());
    let text = admission.metrics.text();
    assert!(text.contains("camshaft_admission_refused_total{stream=\"b\"} 1"), "{text}");
    assert!(text.contains("camshaft_admission_budget_pixels{resource=\"software\"} 100"), "{text}");
}

#[test]
fn the_lowest_and_newest_give_way_and_no_more_than_must() {
    let admission = admission();
    let old = admission.admit(&who("old", 2), &[software(30)]).unwrap();
    let new = admission.admit(&who("new", 2), &[software(30)]).unwrap();
    let gpu = admission.admit(&who("gpu", 1), &[device(50)]).unwrap();
    let high = admission.admit(&who("high", 9), &[software(40)]).unwrap();
    let _urgent = admission.admit(&who("urgent", 5), &[software(20)]).unwrap();
    assert_eq!(taken_back(&new.grant).as_deref(), Some("gave way to 'urgent', whose priority is 5"));
    for kept in [&old, &gpu, &high] {
        assert_eq!(taken_back(&kept.grant), None);
    }
    drop(new);
    assert_eq!(admission.state().used(&Resource::Software, &[]), 90, "what was taken back is not given back twice");
}

#[test]
fn another_way_is_taken_before_anyone_has_to_go() {
    let admission = admission();
    let low = admission.admit(&who("low", 1), &[device(50)]).unwrap();
    let ways = [device(30), software(60)];
    let second = admission.admit(&who("high", 9), &ways).unwrap();
    assert_eq!((second.option, taken_back(&low.grant)), (1, None));
    let third = admission.admit(&who("higher", 10), &ways).unwrap();
    assert_eq!(third.option, 0);
    assert!(taken_back(&low.grant).is_some());
}

#[test]
fn work_that_grows_asks_again() {
    let admission = admission();
    let low = admission.admit(&who("low", 1), &[software(40)]).unwrap();
    let own = admission.admit(&who("own", 5), &[software(50)]).unwrap().grant;
    own.change(&[software(60)]).unwrap();
    assert_eq!(taken_back(&low.grant), None);
    own.change(&[software(70)]).unwrap();
    assert!(taken_back(&low.grant).is_some());
    own.change(&[software(101)]).unwrap_err();
    assert_eq!(admission.state().used(&Resource::Software, &[]), 70);
    low.grant.change(&[software(1)]).unwrap_err();
}

#[tokio::test]
async fn who_waits_is_let_in_by_priority_once_there_is_room() {
    let admission = admission();
    let running = admission.admit(&who("running", 5), &[software(100)]).unwrap();
    let mut low = admission.queue(who("low", 1), vec![software(60)]);
    let mut high = admission.queue(who("high", 3), vec![device(60), software(60)]);
    let gone = admission.queue(who("gone", 9), vec![software(100)]);
    drop(gone);
    drop(running);
    let admitted = high.admitted().await;
    assert_eq!(admitted.option, 1);
    assert!(low.admitted.try_recv().is_err(), "no room is left for it");
    drop(admitted);
    let _low = low.admitted().await;
}

#[tokio::test]
async fn an_admission_that_nobody_takes_is_given_back() {
    let admission = admission();
    let running = admission.admit(&who("running", 5), &[software(100)]).unwrap();
    let turn = admission.queue(who("slow", 5), vec![software(100)]);
    drop(running);
    assert_eq!(admission.state().used(&Resource::Software, &[]), 100);
    drop(turn);
    assert_eq!(admission.state().used(&Resource::Software, &[]), 0);
    let mut grant = admission.admit(&who("low", 1), &[software(100)]).unwrap().grant;
    let _high = admission.admit(&who("high", 2), &[software(1)]).unwrap();
    assert!(grant.revoked().await.contains("'high'"));
}

#[tokio::test]
async fn while_memory_runs_short_nobody_is_let_in_and_those_who_are_in_stay() {
    let admission = admission();
    let first = admission.admit(&who("a", 5), &[software(10)]).unwrap();
    admission.memory.note(Reading { used: 85, limit: 100 });
    let error = admission.admit(&who("b", 9), &[software(10)]).unwrap_err();
    assert!(error.message().contains("limits.memory_refuse"), "{error}");
    let mut turn = admission.queue(who("b", 9), vec![software(10)]);
    assert_eq!(taken_back(&first.grant), None);
    admission.memory.note(Reading { used: 10, limit: 100 });
    admission.serve_queue();
    turn.admitted().await;
}
