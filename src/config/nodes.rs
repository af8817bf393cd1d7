//! `server.node` and a stream's `node`: several nodes behind a balancer, which read the same files. Each camera is to have
//! one connection, on the node that the balancer sends its first consumer to; so no node may connect by itself.

use super::mistake::{Report, shown};
use super::section::Section;

/// Where the text that is read comes from.
#[derive(Clone, Copy)]
pub(super) enum Nodes<'a> {
    /// The files of a camshaft that is alone.
    One,
    /// The files of one node of several.
    Several {
        /// Its name.
        own: &'a str,
    },
    /// A request, which is for the node that it was sent to.
    Requested,
}

impl Nodes<'_> {
    /// Whether a balancer stands in front.
    pub fn are_several(self) -> bool {
        matches!(self, Self::Several { .. })
    }

    /// Whether the stream in `section` is on demand here, by its own word or because it is pinned to another node; and the
    /// node that it is pinned to.
    pub fn place(self, wanted: bool, section: &Section, report: &mut Report) -> (bool, Option<String>) {
        let pinned = section.parsed("node", report, parse_node);
        let complain = |report: &mut Report, key: &str, message: String| {
            let place = section.entry(key).map_or(&section.place, |entry| &entry.place);
            report.add(place, &section.path_of(key), message);
        };
        match (self, &pinned) {
            (Self::Requested, Some(_)) => {
                complain(report, "node", "is for the files' streams: a request is for the node it is sent to".into());
            }
            (Self::One, Some(_)) => {
                complain(report, "node", "means nothing without 'server.node', this node's name; set that too".into());
            }
            (Self::Several { own }, None) if !wanted => {
                let message = format!(
                    "every node would connect to this camera and keep its renditions warm ('server.node' is '{}'): set \
                     it to true, or pin the stream to one node with 'node'",
                    shown(own)
                );
                complain(report, "on_demand", message);
            }
            (Self::Several { own }, Some(node)) => return (wanted || node != own, pinned),
            (Self::Several { .. } | Self::One | Self::Requested, None) => {}
        }
        (wanted, pinned)
    }
}

/// A node's name, as Kubernetes has it (RFC 1123 subdomain), in either case.
pub(super) fn parse_node(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    if text.is_empty() || text.len() > 253 || !text.chars().all(legal) {
        return Err("a node's name has 1 to 253 letters, digits, '-', '_' and '.'".into());
    }
    Ok(text.to_owned())
}
