use super::*;
use crate::cli::check::Level;

fn machine() -> Machine {
    Machine {
        memory: Some(4096 * MIB),
        shm: Some(64 * MIB),
        uid_map: "         0          0 4294967295\n".into(),
        now: PLAUSIBLE + 1,
        clock_source: Some("tsc".into()),
    }
}

fn levels(machine: &Machine, streams: usize) -> Vec<Level> {
    machine.findings(&Limits::default(), streams).iter().map(|finding| finding.level).collect()
}

#[test]
fn a_machine_as_it_should_be_has_four_good_lines() {
    assert_eq!(levels(&machine(), 4), [Level::Ok; 4]);
    assert_eq!(levels(&Machine { memory: None, shm: None, clock_source: None, ..machine() }, 200), [Level::Ok; 4]);
}

#[test]
fn memory_is_held_against_the_streams_and_against_one_worker() {
    let message = |memory, streams| {
        let machine = Machine { memory: Some(memory * MIB), ..machine() };
        machine.findings(&Limits::default(), streams).remove(0)
    };
    let few = message(256, 3);
    assert_eq!(few.level, Level::Warning);
    assert!(few.message.contains("allows 256 MiB, and 3 streams may take 328: raise"), "{few}");
    let worker = message(1024, 3);
    assert_eq!(worker.level, Level::Warning);
    assert!(worker.message.contains("set limits.pixels_memory to 512M"), "{worker}");
    assert_eq!(message(1025, 3).level, Level::Ok);
}

#[test]
fn a_namespace_and_a_clock_that_are_not_as_they_should_be_have_remedies() {
    let odd = Machine { uid_map: "0 1000 1\n1 100000 65536".into(), now: 12, ..machine() };
    let findings = odd.findings(&Limits::default(), 1);
    assert!(findings[2].message.contains("keep-groups") && findings[2].level == Level::Warning);
    assert!(findings[3].message.contains("NTP") && findings[3].level == Level::Problem);
    let slow = Machine { clock_source: Some("hpet".into()), ..machine() };
    assert_eq!(slow.findings(&Limits::default(), 1)[3].level, Level::Warning);
}
