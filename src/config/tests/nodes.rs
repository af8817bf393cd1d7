//! Several nodes that read the same files.

use super::{lines, load_all, load_one};
use crate::config::{StreamDefaults, stream_from_json};

#[test]
fn nodes_behind_a_balancer_connect_to_no_camera_by_themselves() {
    let load_on = |node: &str, streams: &str| {
        load_all(&[("c.yaml", &format!("streams: {{ {streams} }}"))], &[("CAMSHAFT_SERVER_NODE", node)])
    };
    let loaded = |node: &str, stream: &str| {
        let config = load_on(node, &format!("s: {stream}")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        config.streams.into_values().next().unwrap()
    };
    let on_demand = |node: &str, stream: &str| loaded(node, stream).on_demand;
    assert_eq!(loaded("a", "{ source: 'test:', node: b, on_demand: false }").node.as_deref(), Some("b"));
    assert!(on_demand("a", "{ source: 'test:' }"));
    assert!(on_demand("a", "{ source: 'test:', node: b, on_demand: false }"));
    assert!(!on_demand("b", "{ source: 'test:', node: b, on_demand: false }"));

    let refused = lines(load_on("a", "s: { source: 'test:', on_demand: false, renditions: { d: { fps: 5 } } }"));
    assert_eq!(refused.len(), 1);
    assert!(refused[0].starts_with("c.yaml:1: streams.s.on_demand: every node would connect"), "{refused:?}");
    assert!(refused[0].contains("pin the stream to one node with 'node'"), "{refused:?}");
    assert_eq!(lines(load_on("a b", "s: { source: 'test:' }")).len(), 1);
    let alone = lines(load_one("streams: { s: { source: 'test:', node: a } }"));
    assert!(alone[0].contains("means nothing without 'server.node'"), "{alone:?}");
    let request = stream_from_json(br#"{ "source": "test:", "node": "a" }"#, &StreamDefaults::default());
    assert!(lines(request)[0].contains("is for the files' streams"));
    assert!(lines(load_one("defaults: { node: a }"))[0].contains("unknown key"));
}
