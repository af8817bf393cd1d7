//! `server:`: TLS, and who may call over the Unix socket.

use super::*;
use crate::auth::{Scope, User};

fn server(keys: &str) -> Result<Server, String> {
    load_one(&format!("server: {{ {keys} }}")).map(|config| config.server).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn tls_has_both_files_and_a_port() {
    let files = "tls_certificate: /run/tls.crt, tls_key: /run/tls.key";
    let both = server(&format!("https: '127.0.0.1:8443', rtsps: '127.0.0.1:8322', {files}")).unwrap();
    assert_eq!((both.https, both.rtsps), ("127.0.0.1:8443".parse().ok(), "127.0.0.1:8322".parse().ok()));
    assert_eq!(both.tls, Some(TlsFiles { certificate: "/run/tls.crt".into(), key: "/run/tls.key".into() }));
    let one = server(&format!("https: '127.0.0.1:8443', rtsps: off, {files}")).unwrap();
    assert_eq!((one.https.is_some(), one.rtsps), (true, None));
    let off = server("https: off").unwrap();
    assert_eq!((off.https, off.tls), (None, None));
    for (keys, said) in [
        ("https: '127.0.0.1:8443'", "server.https: needs 'tls_certificate' and 'tls_key' beside it"),
        ("rtsps: '127.0.0.1:8443', tls_key: /k", "server.rtsps: needs 'tls_certificate' and 'tls_key' beside it"),
        ("https: '127.0.0.1:8443', tls_certificate: /c", "server.tls_certificate: needs 'tls_key', and an address"),
        (files, "server.tls_key: needs 'tls_certificate', and an address for 'https' or 'rtsps' beside it"),
        (&format!("https: off, {files}"), "server.tls_certificate: needs 'tls_key', and an address for 'https' or"),
        ("tls_key: key.pem", "server.tls_key: must be the absolute path of a file"),
        (&format!("https: '127.0.0.1:8080', {files}"), "'http' and 'https' are both 127.0.0.1:8080"),
        (&format!("https: '0.0.0.0:8443', {files}"), "server.https: 0.0.0.0:8443 is reached from other machines"),
        (&format!("rtsps: '[::]:8322', {files}"), "server.rtsps: [::]:8322 is reached from other machines"),
    ] {
        let mistakes = server(keys).unwrap_err();
        assert!(mistakes.contains(said), "{keys}: {mistakes}");
    }
    assert!(server(&format!("https: '0.0.0.0:8443', token_file: /t, {files}")).is_ok());
}

#[test]
fn users_of_the_unix_socket_are_listed_with_what_they_are_for() {
    let rules = server("unix: /run/c.sock, unix_users: [0, 'frigate media:read streams:read']").unwrap().unix_users;
    let rules = rules.unwrap();
    assert_eq!((&rules[0].user, &rules[0].scopes[..]), (&User::Id(0), &[Scope::Admin][..]));
    assert_eq!(rules[1].user, User::Name("frigate".into()));
    assert_eq!(rules[1].scopes, [Scope::MediaRead, Scope::StreamsRead]);
    let text = server("unix: /run/c.sock, unix_users: '0,1000 media:read'").unwrap().unix_users.unwrap();
    assert_eq!((text.len(), &text[1].user), (2, &User::Id(1000)));
    assert_eq!(server("unix: /run/c.sock").unwrap().unix_users, None);
    for (keys, said) in [
        ("unix_users: [0]", "server.unix_users: needs 'unix' beside it"),
        ("unix: /run/c.sock, unix_users: ['0 everything']", "with some of media:read, streams:read, streams:write"),
        ("unix: /run/c.sock, unix_users: [{ a: b }]", "must be a list of single values"),
    ] {
        let mistakes = server(keys).unwrap_err();
        assert!(mistakes.contains(said), "{keys}: {mistakes}");
    }
}
