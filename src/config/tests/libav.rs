//! `ingest: libav`, and what goes with it alone.

use super::{lines, login, stream};
use crate::config::Source;
use crate::media::{RtspClient, TlsTrust, Transport};

#[test]
fn an_encrypted_camera_is_read_with_what_stands_beside_it() {
    let keys = "{ source: 'rtsps://u:p@h:322/x?y=1', ingest: libav, tls: insecure, transport: multicast }";
    let camera = stream(keys).unwrap();
    let Source::Rtsp(source) = &camera.source else { panic!("{:?}", camera.source) };
    assert_eq!((source.client, source.tls), (RtspClient::Libav, TlsTrust::Insecure));
    assert_eq!((camera.transport, login(&camera)), (Transport::Multicast, Some(("u", "p"))));
    assert_eq!((source.url.port(), source.url.target()), (322, "/x?y=1"));
    assert_eq!(camera.source.to_string(), "rtsps://h/x?y=1");
}

#[test]
fn what_contradicts_the_client_is_named() {
    for (keys, problem) in [
        ("source: 'rtsps://h/'", "is encrypted RTSP, which needs ingest: libav"),
        ("source: 'rtsp://h/', tls: insecure, ingest: libav", "tls: means nothing for an rtsp: source"),
        ("source: 'rtsp://h/', ingest: ffmpeg", "ingest: must be one of native, libav"),
        ("source: 'rtsp://h/', transport: multicast", "transport: multicast needs ingest: libav"),
        ("source: 'http://h/', ingest: libav", "ingest: means nothing for an http: source"),
    ] {
        let found = lines(stream(&format!("{{ {keys} }}")));
        assert!(found.len() == 1 && found[0].contains(problem), "{keys}: {found:?}");
    }
}
