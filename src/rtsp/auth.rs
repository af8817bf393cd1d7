//! Digest authentication (RFC 2069, the form without `qop`, which every RTSP client speaks).

use http_auth::parse_challenges;
use md5::{Digest as _, Md5};
use secrecy::ExposeSecret;

use crate::auth::{Access, Scope};
use crate::config::Credentials;

const REALM: &str = "camshaft";

/// What one connection is asked for: the login of the configuration, or a token as the password of any user. Its nonce
/// holds for this connection, so that nothing heard on one opens another.
#[derive(Debug)]
pub struct Challenge<'a> {
    login: Option<&'a Credentials>,
    access: &'a Access,
    nonce: &'a str,
}

impl<'a> Challenge<'a> {
    /// A challenge whose `nonce` nobody can foresee; `None` where nobody is asked.
    pub fn new(login: Option<&'a Credentials>, access: &'a Access, nonce: &'a str) -> Option<Self> {
        let open = login.is_none() && matches!(access, Access::Open);
        (!open).then_some(Self { login, access, nonce })
    }

    /// The value of `WWW-Authenticate`.
    pub fn header(&self) -> String {
        format!("Digest realm=\"{REALM}\", nonce=\"{}\"", self.nonce)
    }

    /// Whether `authorization`, the header's value, proves that the client knows a password. Its `uri` is taken as it
    /// is: clients name the stream or the track there, and the nonce ties it to this connection.
    pub fn is_met(&self, method: &str, authorization: &str) -> bool {
        // Challenges and answers have one grammar (RFC 7235 §2.1).
        let answers = parse_challenges(authorization).unwrap_or_default();
        let [answer] = &answers[..] else { return false };
        let param = |name: &str| {
            let found = answer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped()).unwrap_or_default()
        };
        let (username, request) = (param("username"), hex(&format!("{method}:{}", param("uri"))));
        let knows = |password: &str| {
            let secret = hex(&format!("{username}:{REALM}:{password}"));
            param("response") == hex(&format!("{secret}:{}:{request}", self.nonce))
        };
        let login = self.login.filter(|login| login.username == username);
        answer.scheme.eq_ignore_ascii_case("Digest")
            && param("realm") == REALM
            && param("nonce") == self.nonce
            && (login.is_some_and(|login| knows(login.password.expose_secret()))
                || self.access.any_token(Scope::MediaRead, knows) == Some(true))
    }
}

fn hex(text: &str) -> String {
    Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Tokens;
    use std::sync::Arc;
    use tokio::sync::watch;

    fn answer(username: &str, password: &str, nonce: &str) -> String {
        let (secret, request) = (hex(&format!("{username}:camshaft:{password}")), hex("DESCRIBE:rtsp://h/cam"));
        let response = hex(&format!("{secret}:{nonce}:{request}"));
        format!(
            "Digest username=\"{username}\", realm=\"camshaft\", nonce=\"{nonce}\", uri=\"rtsp://h/cam\", \
             response=\"{response}\""
        )
    }

    #[test]
    fn only_the_password_answers_the_challenge() {
        let login = Credentials { username: "viewer".into(), password: "hunter2".to_owned().into() };
        let challenge = Challenge::new(Some(&login), &Access::Open, "n1").unwrap();
        assert_eq!(challenge.header(), "Digest realm=\"camshaft\", nonce=\"n1\"");
        assert!(challenge.is_met("DESCRIBE", &answer("viewer", "hunter2", "n1")));
        for (method, answer) in [
            ("SETUP", answer("viewer", "hunter2", "n1")),
            ("DESCRIBE", answer("viewer", "hunter3", "n1")),
            ("DESCRIBE", answer("other", "hunter2", "n1")),
            ("DESCRIBE", answer("viewer", "hunter2", "n0")),
            ("DESCRIBE", String::new()),
            ("DESCRIBE", "Digest".into()),
            ("DESCRIBE", "Basic dmlld2VyOmh1bnRlcjI=".into()),
            ("DESCRIBE", "Digest username=\"a\\".into()),
        ] {
            assert!(!challenge.is_met(method, &answer), "{method} {answer}");
        }
        assert!(!format!("{challenge:?}").contains("hunter2"));
        assert!(Challenge::new(None, &Access::Open, "n1").is_none());
    }

    #[test]
    fn a_token_for_media_is_a_password_of_any_user() {
        let tokens = Tokens::parse("0123456789abcdef media:read\nfedcba9876543210 streams:read").unwrap();
        let access = Access::Tokens(watch::channel(Arc::new(tokens)).1);
        let challenge = Challenge::new(None, &access, "n1").unwrap();
        assert!(challenge.is_met("DESCRIBE", &answer("anybody", "0123456789abcdef", "n1")));
        assert!(!challenge.is_met("DESCRIBE", &answer("anybody", "fedcba9876543210", "n1")));
        assert!(!challenge.is_met("DESCRIBE", &answer("anybody", "", "n1")));
    }

    #[test]
    fn the_digest_is_that_of_rfc_2069() {
        // RFC 2617 §3.5's user and password without qop.
        assert_eq!(hex("Mufasa:testrealm@host.com:Circle Of Life"), "939e7578ed9e3c518a452acee763bce9");
    }
}
