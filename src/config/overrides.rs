//! `CAMSHAFT_SERVER_HTTP=…`: single keys from the environment, stronger than the documents.

use super::mistake::{Place, Report, suggestion};
use super::section::{KeyKind, not_built};
use super::tree::{Entry, Node, Scalar, Value};
use super::{SECTIONS, TopSection};

/// Puts every variable's value in the place of its key.
pub(super) fn apply(root: &mut Vec<Entry>, variables: &[(String, String)], report: &mut Report) {
    let names: Vec<(String, &TopSection, &str, KeyKind)> = SECTIONS
        .iter()
        .flat_map(|section| section.keys.iter().map(move |key| (section, key)))
        .map(|(section, key)| (variable_name(section.name, key.name), section, key.name, key.kind))
        .collect();
    for (variable, value) in variables.iter().filter(|(variable, _)| !is_service_link(variable)) {
        let place = Place { file: variable.as_str().into(), line: 0, column: 0 };
        let known = names.iter().find(|(name, ..)| name == variable);
        match known {
            Some((_, section, key, KeyKind::Scalar | KeyKind::List)) => set(root, section.name, key, value, place),
            Some((_, section, key, KeyKind::Map)) => {
                let message = "is a map, which the environment cannot hold; unset the variable";
                report.add(&place, &format!("{}.{key}", section.name), message);
            }
            Some((_, section, key, KeyKind::Unbuilt)) => {
                report.add(&place, &format!("{}.{key}", section.name), not_built(key));
            }
            None if variable.starts_with("CAMSHAFT_STREAMS") => {
                let message = "streams cannot be set from the environment; write ${VAR} in the file instead";
                report.add(&place, "", message);
            }
            None => {
                let scalars = names.iter().filter(|(.., kind)| matches!(kind, KeyKind::Scalar | KeyKind::List));
                let suggestion = suggestion(variable, scalars.map(|(name, ..)| name.as_str()));
                report.add(&place, "", format!("is the name of no setting; {suggestion}"));
            }
        }
    }
}

fn variable_name(section: &str, key: &str) -> String {
    format!("CAMSHAFT_{section}_{key}").to_ascii_uppercase()
}

fn set(root: &mut Vec<Entry>, section: &str, key: &str, value: &str, place: Place) {
    let value = Value::Scalar(Scalar::from(value.to_owned()));
    let entry = Entry { key: key.to_owned(), place: place.clone(), node: Node { place: place.clone(), value } };
    match root.iter_mut().find(|entry| entry.key == section).map(|entry| &mut entry.node.value) {
        // Every entry of the key goes, so that a double one is not reported as the variable's mistake.
        Some(Value::Map(entries)) => {
            entries.retain(|entry| entry.key != key);
            entries.push(entry);
        }
        Some(empty @ Value::Null) => *empty = Value::Map(vec![entry]),
        // No map: reported when the section is opened.
        Some(_) => {}
        None => {
            let node = Node { place: place.clone(), value: Value::Map(vec![entry]) };
            root.push(Entry { key: section.to_owned(), place, node });
        }
    }
}

/// Whether Kubernetes or Docker made the variable: for a Service named `camshaft` every pod of its namespace gets
/// `CAMSHAFT_SERVICE_HOST`, `CAMSHAFT_PORT_8080_TCP_ADDR` and so on (Kubernetes "Discovering services").
fn is_service_link(variable: &str) -> bool {
    let numbered_port = || variable.split("_PORT_").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.ends_with("_PORT")
        || numbered_port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_are_told_from_settings() {
        for link in [
            "CAMSHAFT_SERVICE_HOST",
            "CAMSHAFT_SERVICE_PORT",
            "CAMSHAFT_SERVICE_PORT_HTTP",
            "CAMSHAFT_PORT",
            "CAMSHAFT_PORT_8080_TCP",
            "CAMSHAFT_ADMIN_PORT_8081_TCP_ADDR",
        ] {
            assert!(is_service_link(link), "{link}");
        }
        for section in SECTIONS {
            for key in section.keys {
                assert!(!is_service_link(&variable_name(section.name, key.name)), "{}", key.name);
            }
        }
    }
}
