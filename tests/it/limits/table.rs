//! `docs/limits.md` against the configuration, the metrics and the tests: a limit without any of them is none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

struct Row {
    limit: String,
    setting: String,
    default: String,
    metrics: Vec<String>,
    tests: Vec<String>,
}

/// The rows of all tables of the page that have a setting.
fn rows() -> Vec<Row> {
    let page = read("docs/limits.md");
    let lines = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| limit "));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [limit, setting, default, metrics, tests] = cells[..] else { panic!("not five cells: {line}") };
            let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            Row {
                limit: limit.to_owned(),
                setting: setting.trim_matches('`').to_owned(),
                default: default.to_owned(),
                metrics: names(metrics),
                tests: names(tests),
            }
        })
        .collect()
}

/// The keys of `limits:` with their defaults, as the example has them, which another test holds against the code.
fn defaults() -> BTreeMap<String, String> {
    let example = read("deploy/camshaft.example.yaml");
    let section = example.split("\nlimits:\n").nth(1).unwrap().split("\n\n# ").next().unwrap();
    let keys = section.lines().filter(|line| line.starts_with("  ") && !line.trim_start().starts_with('#'));
    keys.map(|line| {
        let (key, rest) = line.trim().split_once(':').unwrap_or_else(|| panic!("no key: {line}"));
        (key.to_owned(), rest.split('#').next().unwrap().trim().to_owned())
    })
    .collect()
}

#[test]
fn every_limit_of_the_configuration_is_in_the_table_with_its_default_and_no_other() {
    let defaults = defaults();
    let schema = camshaft::config::schema();
    let known: BTreeSet<&String> = schema["properties"]["limits"]["properties"].as_object().unwrap().keys().collect();
    assert_eq!(known, defaults.keys().collect::<BTreeSet<_>>(), "the example");
    let mut written = BTreeSet::new();
    for row in rows().iter().filter(|row| row.setting != "fixed") {
        assert!(written.insert(row.setting.clone()), "{} stands there twice", row.setting);
        assert_eq!(defaults.get(&row.setting), Some(&row.default), "{}", row.setting);
    }
    assert_eq!(written.iter().collect::<BTreeSet<_>>(), known);
}

#[test]
fn every_limit_can_be_seen_and_is_tested() {
    let declared = read("src/metrics.rs");
    for Row { limit, metrics, tests, .. } in rows() {
        assert!(!metrics.is_empty() && !tests.is_empty(), "{limit}: no metric, or no test");
        for metric in metrics {
            let bare = metric.strip_prefix("camshaft_").unwrap_or_else(|| panic!("{limit}: {metric}"));
            let name = bare.split('{').next().unwrap();
            let is_declared = [name, metric.as_str()].iter().any(|name| declared.contains(&format!("\"{name}\"")));
            assert!(is_declared, "{limit}: there is no metric {metric}");
        }
        for test in tests {
            assert!(exists(&test), "{limit}: there is no test {test}");
        }
    }
}

/// Whether a test of this name is in tests/it, or beside the code that it tests.
fn exists(test: &str) -> bool {
    let (module, function) = test.rsplit_once("::").unwrap_or_else(|| panic!("no test: {test}"));
    let path = module.replace("::", "/");
    let inner = path.strip_suffix("/tests").unwrap_or(&path);
    let files = [
        format!("tests/it/{path}.rs"),
        format!("tests/it/{path}/mod.rs"),
        format!("src/{path}.rs"),
        format!("src/{inner}.rs"),
        format!("src/{inner}/mod.rs"),
    ];
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(Path::new(ROOT).join(file)).ok());
    texts.into_iter().any(|text| {
        let at = text.find(&format!("fn {function}("));
        at.is_some_and(|at| text[..at].trim_end_matches("async ").trim_end().ends_with(']'))
    })
}
