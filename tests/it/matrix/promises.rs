//! `docs/reliability.md` says what is promised, which test holds it, and what was measured: neither more nor less than the
//! tests do.

use std::collections::BTreeSet;
use std::path::Path;

use super::{cameras, consumers, ends, hardware, workers};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The cells of the table under "The fault matrix".
fn rows() -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/reliability.md")).unwrap();
    let section = page.split("## The fault matrix").nth(1).expect("a section 'The fault matrix'");
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn every_fault_is_in_the_documentation_and_no_other() {
    let tested = [workers::faults(), cameras::faults(), hardware::faults(), consumers::faults(), ends::FAULTS.to_vec()];
    let tested: BTreeSet<String> = tested.concat().into_iter().map(str::to_owned).collect();
    let written: Vec<String> = rows().into_iter().map(|row| row[0].clone()).collect();
    let unique: BTreeSet<String> = written.iter().cloned().collect();
    assert_eq!(unique.len(), written.len(), "a fault stands there twice");
    assert_eq!(unique, tested);
}

#[test]
fn every_test_that_the_documentation_names_exists() {
    for row in rows() {
        let [fault, promise, test, figure] = row.as_slice() else { panic!("not four cells: {row:?}") };
        assert!(!promise.is_empty() && !figure.is_empty(), "{fault} promises nothing, or has no figure");
        let name = test.trim_matches('`');
        let (module, function) = name.rsplit_once("::").unwrap_or_else(|| panic!("no test: {name}"));
        let file = Path::new(ROOT).join("tests/it").join(module.replace("::", "/")).with_extension("rs");
        let code = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {}: {error}", file.display()));
        assert!(code.contains(&format!("#[test]\nfn {function}()")), "there is no test {name}");
    }
}
