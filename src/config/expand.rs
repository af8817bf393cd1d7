//! `${VAR}` in values.

use super::mistake::Report;
use super::section::join;
use super::tree::{Node, Value};

/// What becomes of `${VAR}`.
pub(super) enum Variables<'a> {
    /// Looked up.
    From(&'a dyn Fn(&str) -> Option<String>),
    /// A mistake: the text comes from somebody who must not read the environment.
    Refused,
}

/// Expands every value below `node`, whose path is `path`.
pub(super) fn expand(node: &mut Node, path: &str, variables: &Variables, report: &mut Report) {
    match &mut node.value {
        Value::Null => {}
        Value::List(items) => {
            for item in items {
                expand(item, path, variables, report);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                expand(&mut entry.node, &join(path, &entry.key), variables, report);
            }
        }
        Value::Scalar(scalar) => match expanded(&scalar.written, variables) {
            Ok(text) => scalar.text = Some(text),
            Err(problem) => {
                scalar.text = None;
                report.add(&node.place, path, problem);
            }
        },
    }
}

/// `text` with `${NAME}` and `${NAME:-default}` replaced and `$$` made `$`. Any other `$` stands for itself. As in a
/// shell, the default also counts where the variable is empty.
fn expanded(text: &str, variables: &Variables) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let (inner, after) =
                after.split_once('}').ok_or("'${' has no '}'; a '$' that stands for itself is '$$'")?;
            out.push_str(&variable(inner, variables)?);
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn variable(inner: &str, variables: &Variables) -> Result<String, String> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.len() > 255 || !name.chars().all(legal) || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(
            "'${…}' must hold a variable's name: letters, digits and '_'; a '$' that stands for itself is '$$'".into(),
        );
    }
    let Variables::From(lookup) = variables else {
        return Err(
            "'${…}' is not expanded in a request: write the value itself; a '$' that stands for itself is '$$'".into(),
        );
    };
    match (lookup(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            Err(format!("the environment variable {name} is not set; set it, or give a default: ${{{name}:-default}}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_env(text: &str) -> Result<String, String> {
        let lookup = |name: &str| match name {
            "A" => Some("1$B".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        expanded(text, &Variables::From(&lookup))
    }

    #[test]
    fn variables_defaults_and_dollars() {
        let cases = [
            ("x${A}y", "x1$By"),
            ("${A:-2}${B:-2}${EMPTY:-3}${EMPTY}", "1$B23"),
            ("${B:-}", ""),
            ("${B:-a:-b}", "a:-b"),
            ("pa$word$", "pa$word$"),
            ("$${A}$$", "${A}$"),
        ];
        for (text, expected) in cases {
            assert_eq!(with_env(text).as_deref(), Ok(expected), "{text}");
        }
        for bad in ["${B}", "${A", "${}", "${1A}", "${A-2}", "${Ä}"] {
            assert!(with_env(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_reads_no_variable() {
        assert!(expanded("${A:-1}", &Variables::Refused).unwrap_err().contains("request"));
        assert_eq!(expanded("$$a$b", &Variables::Refused).as_deref(), Ok("$a$b"));
    }
}
