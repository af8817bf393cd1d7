//! Streams with a substream.

use secrecy::ExposeSecret;

use super::load_one;
use crate::config::StreamSettings;

fn stream(keys: &str) -> Result<StreamSettings, String> {
    let config = load_one(&format!("streams:\n  a: {{ {keys} }}\n"));
    config.map(|config| config.streams[&"a".parse().unwrap()].clone()).map_err(|mistakes| mistakes.to_string())
}

/// Those of the main stream and of the substream.
fn logins(settings: &StreamSettings) -> [Option<(&str, &str)>; 2] {
    let detect = settings.detect.as_ref().expect("a substream");
    [&settings.credentials, &detect.credentials].map(|login| {
        let login = login.as_ref()?;
        Some((login.username.as_str(), login.password.expose_secret()))
    })
}

#[test]
fn both_streams_of_a_camera_have_its_login() {
    let both = stream("source: 'rtsp://h/1', detect_source: 'rtsp://h/2', username: u, password: x").unwrap();
    assert_eq!(logins(&both), [Some(("u", "x")); 2]);
    let of_url = stream("source: 'rtsp://u:x@h/1', detect_source: 'rtsp://h/2'").unwrap();
    assert_eq!(logins(&of_url), [Some(("u", "x")); 2]);
    let own = stream("source: 'rtsp://u:x@h/1', detect_source: 'http://v:y@h/2.ts'").unwrap();
    assert_eq!(logins(&own), [Some(("u", "x")), Some(("v", "y"))]);
    let only_detect = stream("source: 'test:', detect_source: 'rtsp://h/2', username: u, password: x").unwrap();
    assert_eq!(logins(&only_detect), [None, Some(("u", "x"))]);
    assert_eq!(logins(&stream("source: 'rtsp://u:x@h/1', detect_source: 'test:'").unwrap())[1], None);
    let of_detect = own.of_detect().unwrap();
    assert_eq!((of_detect.source.to_string().as_str(), of_detect.detect), ("http://h/2.ts", None));
}

#[test]
fn mistakes_in_a_substream_are_its_own() {
    for (keys, problem) in [
        ("source: 'test:', detect_source: 'push:'", "streams.a.detect_source: cannot be push:"),
        ("source: 'test:', detect_source: 'test:?fps=0'", "streams.a.detect_source: parameter 'fps'"),
        ("source: 'test:', detect_source: 'rtsp://u:hunter2@'", "streams.a.detect_source: is no URL"),
        ("source: 'test:', detect_source: 'file:/srv/a.ts'", "streams.a.detect_source: "),
        ("source: 'test:', detect_source: 'test:', transport: udp", "means nothing for a test: source"),
    ] {
        let mistakes = stream(keys).unwrap_err();
        assert!(mistakes.contains(problem) && mistakes.lines().count() == 1, "{keys}: {mistakes}");
        assert!(!mistakes.contains("hunter2"), "{mistakes}");
    }
}
